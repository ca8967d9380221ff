//! Verification of a request, before its event is accepted. One file a scheme:
//!
//! - `standard_webhooks`: the Standard Webhooks specification.
//! - `hmac`: any other HMAC. `public_key`: any other signature by a private key.
//! - `token`: secrets that come with the request.
//! - `alternatives`: several schemes for one source.
//! - `contract`: the contract of a scheme. `signed_request`: reads signatures and times.
//!
//! A new scheme: a variant of `Verify` in `config/sections/source/verify/scheme.rs`, and a field in
//! `alternatives.rs` beside it; a file here that implements [`Verifier`], and a row in `scheme`.

mod alternatives;
mod contract;
mod hmac;
mod public_key;
mod signed_request;
mod standard_webhooks;
mod token;

use std::sync::Arc;

use crate::config::{SourceVerify, Verify};
use crate::http::admission::certificates::Certificates;

pub(in crate::http) use contract::{Key, Rejection, SignedId, Verified, Verifier};

/// The table of schemes: the verifier of a checked setting.
fn scheme(settings: &Verify, certificates: &Arc<Certificates>) -> Box<dyn Verifier> {
    match settings {
        Verify::StandardWebhooks(scheme) => {
            Box::new(standard_webhooks::StandardWebhooksVerifier::new(scheme))
        }
        Verify::Hmac(scheme) => Box::new(hmac::HmacVerifier::new(scheme)),
        Verify::Token(scheme) => Box::new(token::TokenVerifier::new(scheme)),
        Verify::Basic(scheme) => Box::new(token::BasicVerifier::new(scheme)),
        Verify::PublicKey(scheme) => {
            Box::new(public_key::PublicKeyVerifier::new(scheme, certificates))
        }
    }
}

/// The verifier of a source.
pub(super) fn verifier(
    settings: &SourceVerify,
    certificates: &Arc<Certificates>,
) -> Box<dyn Verifier> {
    match settings {
        SourceVerify::One(settings) => scheme(settings, certificates),
        SourceVerify::Any(schemes) => {
            let schemes = schemes.iter();
            let schemes =
                schemes.map(|(when, settings)| (when.clone(), scheme(settings, certificates)));
            Box::new(alternatives::AnyVerifier(schemes.collect()))
        }
    }
}

#[cfg(test)]
mod tests;
