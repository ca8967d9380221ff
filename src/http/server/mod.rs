//! The listeners: they accept connections, bound and serve them, and drain them at the stop.
//!
//! - `accept`: accepts connections and serves each to its end.
//! - `connection_slots`: bounds the connections that are open at once.
//! - `event_loops`: the threads that serve HTTP.
//! - `socket`: a client's socket, with the deadlines and the close that hyper leaves out.

pub(super) mod accept;
pub(super) mod connection_slots;
pub(crate) mod event_loops;
pub(super) mod socket;
