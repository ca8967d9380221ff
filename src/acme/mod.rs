//! Certificates of the public listener by ACME (RFC 8555), with the challenge tls-alpn-01
//! (RFC 8737) on the listener itself.
//!
//! - `agent`: obtains and renews the certificate. `schedule`: when it tries; pure.
//! - `ask`: asks the authority when to renew it. `advice`: the answers; pure.
//! - `issue`: one order. `client`: HTTPS to the authority. `files`: the state on disk. `stored`:
//!   the same, for commands.

mod advice;
mod agent;
mod ask;
mod client;
mod files;
mod issue;
mod schedule;
mod stored;

pub(crate) use agent::{AcmeAgent, AcmeParts, start};
pub(crate) use files::stored_certificate;
pub(crate) use stored::stored;
