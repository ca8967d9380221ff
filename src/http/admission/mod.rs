//! Admission: decides whether a request is let in, and how fast requests may come.
//!
//! - `api_keys`: authenticates callers of the relay API, and limits each key's rate.
//! - `source_gates`: the rate limit, the senders and the verification of each webhook source.
//! - `addresses`: the addresses that may send. `verification`: verifies a source's requests.
//!   `learned_secrets`: secrets that handshakes brought.
//! - `signatures/`: the schemes of verification, one a file. `certificates`: keys that are fetched.
//! - `rate_limits`: token buckets, and the headers that report them. `bounded_buckets`: bounds the
//!   buckets of source names that senders choose.

mod addresses;
mod api_keys;
mod bounded_buckets;
mod certificates;
pub(super) mod handshakes;
mod learned_secrets;
mod rate_limits;
pub(super) mod signatures;
mod source_gates;
mod verification;

pub(super) use api_keys::{ApiKey, ApiKeys};
pub(crate) use learned_secrets::LearnedSecrets;
pub(super) use source_gates::SourceGates;
pub(super) use verification::SourceVerification;
