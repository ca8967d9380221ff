//! Admission: decides whether a request is let in, and how fast requests may come.
//!
//! - `api_keys`: authenticates callers of the relay API, and limits each key's rate.
//! - `source_gates`: the rate limit and the signature check of each webhook source.
//! - `rate_limits`: token buckets, and the headers that report them. `bounded_buckets`: bounds the
//!   buckets of source names that senders choose.
//! - `signatures/`: verifies events, one scheme a file.

mod api_keys;
mod bounded_buckets;
mod rate_limits;
pub(super) mod signatures;
mod source_gates;

pub(super) use api_keys::{ApiKey, ApiKeys};
pub(super) use source_gates::SourceGates;
