//! The contract of a scheme.

use hyper::header::HeaderMap;

use crate::clock::Timestamp;

/// Verifies that an event comes from its provider. It fails closed: a part of the request that is
/// missing, doubled or unreadable never verifies.
pub(in crate::http) trait Verifier: Send + Sync {
    /// Reads the headers, before the body is read. `None` if no body could make the request verify
    /// at this time.
    fn read_headers(&self, headers: &HeaderMap, now: Timestamp) -> Option<SignatureClaim>;

    /// Whether the claim holds for this body.
    fn verifies(&self, claim: &SignatureClaim, body: &[u8]) -> bool;
}

/// The claim that a request's headers make. [`Verifier::verifies`] decides whether it is true.
#[derive(Debug)]
pub(in crate::http) struct SignatureClaim {
    pub(super) signatures: Vec<Vec<u8>>,
    /// The signed bytes before the body.
    pub(super) before_body: Vec<u8>,
    /// The signed bytes after the body.
    pub(super) after_body: Vec<u8>,
}
