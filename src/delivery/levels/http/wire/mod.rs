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

pub(super) use connection::{BUFFER, Wire};
pub(super) use dial::Dialer;
pub(super) use head::HeadTooLarge;
pub(super) use idle::Idle;
pub(super) use pooled::Pooled;
