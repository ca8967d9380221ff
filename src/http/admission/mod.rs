//! Admission: API keys, rate limits and signatures decide whether a request is let in.
//!
//! - `source_gates`: keys and token buckets. `bounded_buckets`: token buckets by source name.
//! - `signatures`: how events are verified.

pub(super) mod bounded_buckets;
pub(super) mod signatures;
pub(super) mod source_gates;
