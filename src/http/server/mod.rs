//! The listeners: they accept connections, bound and serve them, and drain them at the stop.
//!
//! - `accept`: accepts connections. `connection`: serves one to its end.
//! - `connection_slots`: bounds the connections that are open at once.
//! - `event_loops`: the threads that serve HTTP.
//! - `limits`: bounds of a listener and of a request's head.
//! - `socket`: a client's socket, with the deadlines and the close that hyper leaves out.

mod accept;
mod connection;
pub(super) mod connection_slots;
pub(crate) mod event_loops;
mod limits;
mod socket;

pub(crate) use accept::serve;
pub(in crate::http) use limits::ListenerLimits;
