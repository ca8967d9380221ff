//! Verification of a provider's signature, before its event is accepted. One file a scheme:
//!
//! - `standard_webhooks`: the Standard Webhooks specification.
//! - `hmac`: any other HMAC of the body, as configured.
//!
//! A new scheme is a file that implements [`Verifier`], and a row in [`verifier`].

mod contract;
mod hmac;
mod standard_webhooks;

use std::sync::Arc;

use crate::config::Verify;

pub(in crate::http) use contract::{SignatureClaim, Verifier};

/// The table of schemes: the verifier of a checked setting.
pub(super) fn verifier(settings: &Verify) -> Arc<dyn Verifier> {
    match settings {
        Verify::StandardWebhooks(scheme) => Arc::new(standard_webhooks::verifier(scheme)),
        Verify::Hmac(scheme) => Arc::new(hmac::HmacVerifier::new(scheme)),
    }
}

#[cfg(test)]
mod tests;
