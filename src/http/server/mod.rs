//! The listeners: they accept connections, bound and serve them, and drain them at the stop.
//!
//! - `accept`: accepts connections. `connection`: serves one to its end.
//! - `connection_slots`: bounds the connections that are open at once.
//! - `event_loops`: the threads that serve HTTP.
//! - `limits`: bounds of a listener and of a request's head.
//! - `socket`: a client's socket, with the deadlines and the close that hyper leaves out.
//! - `tls/`: certificates and handshakes. `stream`: a connection's bytes, with or without TLS.

mod accept;
mod connection;
pub(super) mod connection_slots;
pub(crate) mod event_loops;
mod limits;
mod socket;
mod stream;
mod tls;

pub(crate) use accept::{Listener, serve};
pub(in crate::http) use limits::ListenerLimits;
pub(crate) use tls::{Identity, ListenerTls};
