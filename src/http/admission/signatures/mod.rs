//! Signatures of events: one file a scheme.

pub(in crate::http) mod hmac;
