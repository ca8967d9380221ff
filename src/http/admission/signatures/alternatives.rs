//! Several schemes, of which one has to verify a request. They are tried in order.

use crate::clock::Timestamp;
use crate::http::admission::signatures::contract::{Key, Rejection, Verified, Verifier};
use crate::model::request::{Conditions, RequestView};

/// Schemes, each with the requests that it is for.
pub(super) struct AnyVerifier(pub Vec<(Conditions, Box<dyn Verifier>)>);

impl AnyVerifier {
    /// The first success, or the nearest rejection: the scheme that it is of is most likely the
    /// request's.
    fn first<T>(
        &self,
        is_tried: impl Fn(&Conditions) -> bool,
        attempt: impl Fn(&dyn Verifier) -> Result<T, Rejection>,
    ) -> Result<T, Rejection> {
        let mut rejection = Rejection::NoScheme;
        for (when, verifier) in &self.0 {
            if !is_tried(when) {
                continue;
            }
            match attempt(&**verifier) {
                Ok(result) => return Ok(result),
                Err(found) if found.nearness() > rejection.nearness() => rejection = found,
                Err(_) => {}
            }
        }
        Err(rejection)
    }
}

impl Verifier for AnyVerifier {
    fn check_head(&self, request: &RequestView<'_>, now: Timestamp) -> Result<(), Rejection> {
        self.first(
            |when| when.needs_body() || when.match_request(request),
            |verifier| verifier.check_head(request, now),
        )
    }

    fn verify(
        &self,
        request: &RequestView<'_>,
        now: Timestamp,
        learned: &[Key],
    ) -> Result<Verified, Rejection> {
        self.first(
            |when| when.match_request(request),
            |verifier| verifier.verify(request, now, learned),
        )
    }
}
