//! `relay send`: makes up the request that a source's sender would send, and posts it to the relay
//! that serves the configuration.
//!
//! - `draft`: the request. `key`: its idempotency key. `sign`: its signature or token.
//! - `post`: sends it. `unverified`: TLS to a listener of this machine. `command`: the command.

mod command;
mod draft;
mod key;
pub(super) mod post;
pub(super) mod sign;
#[cfg(test)]
mod tests;
mod unverified;

pub(super) use command::Send;
pub(super) use draft::Draft;
