//! TLS of a listener.
//!
//! - `identity`: the certificate that it presents, and rustls's settings. `listener`: the one that
//!   is in use. `handshake`: the begin of a connection.

mod handshake;
mod identity;
mod listener;

pub(crate) use identity::Identity;
pub(crate) use listener::ListenerTls;
