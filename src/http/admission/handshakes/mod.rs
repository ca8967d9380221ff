//! Handshakes: the questions that providers ask before they send events. A handshake is answered
//! and never stored.
//!
//! - `rule`: one handshake, and the requests that ask it.
//! - `reply`: the answer, and the rules for values that strangers choose.
//! - `hub`, `cloudevents`: handshakes with a condition that no pattern can state.
//! - `hook_secret`: the handshake that brings a secret.

mod cloudevents;
mod hook_secret;
mod hub;
mod reply;
mod rule;
use std::sync::Arc;

use crate::config::{HandshakeMethod, RateLimit, SourcePolicy, SourceVerify};
use crate::http::admission::signatures::Key;
use crate::model::request::RequestView;
pub(in crate::http) use hook_secret::{confirmation, hook_secret};
pub(in crate::http) use reply::HandshakeAnswer;
pub(in crate::http) use rule::Rule;

/// Unsigned handshakes that are answered: of each source, however many strangers ask.
pub(super) const UNSIGNED_RATE: RateLimit = RateLimit {
    per_second: 10.0,
    burst: 10,
};

/// The handshakes of a source, in the order in which they are tried.
pub(in crate::http) struct Handshakes {
    rules: Vec<Rule>,
    /// The first secret's key, if the source verifies by an HMAC.
    first_key: Option<Key>,
}

impl Handshakes {
    /// The handshakes of a checked source; none if it has none.
    pub fn new(source: &SourcePolicy) -> Option<Arc<Self>> {
        let rules = Rule::all(source);
        (!rules.is_empty()).then(|| {
            Arc::new(Self {
                rules,
                first_key: first_key(source),
            })
        })
    }

    /// The key that signs answers to strangers.
    pub fn first_key(&self) -> Option<&[u8]> {
        self.first_key.as_deref()
    }

    /// The methods that the source answers, as `Allow` lists them.
    pub fn allow(&self) -> &'static str {
        let has = |method| self.rules.iter().any(|rule| rule.method == method);
        match (has(HandshakeMethod::Get), has(HandshakeMethod::Options)) {
            (false, false) => "POST",
            (true, false) => "GET, HEAD, POST",
            (false, true) => "OPTIONS, POST",
            (true, true) => "GET, HEAD, OPTIONS, POST",
        }
    }

    /// Whether some handshake of this method is asked by verified requests.
    pub fn has_signed(&self, method: HandshakeMethod) -> bool {
        let mut rules = self.rules.iter();
        rules.any(|rule| rule.is_signed && rule.method == method)
    }

    /// The unsigned handshake that a request asks by its head alone.
    pub fn asked_in_head(
        &self,
        method: HandshakeMethod,
        request: &RequestView<'_>,
    ) -> Option<&Rule> {
        self.unsigned(method)
            .find(|rule| !rule.needs_body() && rule.matches(request))
    }

    /// Whether the request's body decides whether it asks an unsigned handshake.
    pub fn may_be_asked_in_body(&self, method: HandshakeMethod, request: &RequestView<'_>) -> bool {
        self.unsigned(method)
            .any(|rule| rule.needs_body() && rule.may_match_head(request))
    }

    /// The unsigned handshake that a request asks by its body.
    pub fn asked_in_body(
        &self,
        method: HandshakeMethod,
        request: &RequestView<'_>,
    ) -> Option<&Rule> {
        self.unsigned(method)
            .find(|rule| rule.needs_body() && rule.matches(request))
    }

    /// The handshake that a verified request asks.
    pub fn asked_by_provider(
        &self,
        method: HandshakeMethod,
        request: &RequestView<'_>,
    ) -> Option<&Rule> {
        let mut signed = self.rules.iter().filter(|rule| rule.is_signed);
        signed.find(|rule| rule.method == method && rule.matches(request))
    }

    /// Why a request without a body asks none of the handshakes of its method. Empty if there are
    /// none of it.
    pub fn explain_head(&self, method: HandshakeMethod, request: &RequestView<'_>) -> String {
        let rules = self.rules.iter().filter(|rule| rule.method == method);
        let reasons: Vec<_> = rules
            .filter_map(|rule| rule.explain_head(request))
            .collect();
        reasons.join("; ")
    }

    fn unsigned(&self, method: HandshakeMethod) -> impl Iterator<Item = &Rule> {
        self.rules
            .iter()
            .filter(move |rule| !rule.is_signed && rule.method == method)
    }
}

fn first_key(source: &SourcePolicy) -> Option<Key> {
    let schemes = source.verify.iter().flat_map(SourceVerify::schemes);
    let mut keys = schemes.filter_map(|scheme| scheme.hmac_key(scheme.secrets().first()?));
    keys.next().map(Key::from)
}
