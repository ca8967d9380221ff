//! Connections for ureq: dialled to checked addresses, and read while they are written to. ureq's
//! own connection writes the whole request before it reads a byte, and so never sees the answer of
//! a receiver that refuses a large body and closes.
//!
//! - `dial`: makes a connection. `connection`: sends a request and reads its answer. `deadline`:
//!   the time left for a step. `scene`: connections of tests.
//! - `idle`: connections that wait for their next request. `pooled`: takes them out and puts them
//!   back.
//! - `socket`: bytes in the clear or in TLS, without blocking. `head`: an answer's status line and
//!   headers. `tunnel`: a way through a proxy.

mod connection;
mod deadline;
mod dial;
mod head;
mod idle;
mod pooled;
#[cfg(test)]
mod scene;
mod socket;
mod tunnel;

pub(super) use connection::Wire;
pub(super) use dial::Dialer;
pub(super) use head::HeadTooLarge;
pub(super) use idle::Idle;
pub(super) use pooled::Pooled;

/// Each of a connection's two buffers, in bytes. It has none while it idles. An answer's headers
/// may be larger (`head.rs`): then they take up to 64 KiB more until they are read, at most 4 MiB
/// with 64 workers. A longer line of a request's head takes a larger buffer for this one request,
/// within `server.max_header_bytes`.
pub(super) const BUFFER: usize = 16 * 1024;
