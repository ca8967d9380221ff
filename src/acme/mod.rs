//! Certificates of the public listener by ACME (RFC 8555), with the challenge tls-alpn-01
//! (RFC 8737) on the listener itself.
//!
//! - `agent`: obtains and renews the certificate. `schedule`: when it tries; pure.
//! - `issue`: one order. `client`: HTTPS to the authority. `files`: the state on disk.

mod agent;
mod client;
mod files;
mod issue;
mod schedule;

pub(crate) use agent::{AcmeAgent, AcmeParts, start};
pub(crate) use files::stored_certificate;
