//! `hub`: GET with `hub.mode=subscribe` and a challenge, from Meta with a token that was agreed on,
//! or from a `WebSub` hub for a topic that was subscribed to.

use std::borrow::Cow;

use hyper::StatusCode;
use subtle::ConstantTimeEq as _;

use crate::config::{Secret, SourcePolicy};
use crate::http::admission::handshakes::reply::{
    HandshakeAnswer, check_echo, plain_text, uncached,
};
use crate::http::api_error::ApiError;
use crate::model::request::RequestView;

pub(super) struct Hub {
    tokens: Vec<Secret>,
    topics: Vec<String>,
}

impl Hub {
    pub fn new(source: &SourcePolicy) -> Self {
        Self {
            tokens: source.hub_tokens.clone(),
            topics: source.hub_topics.clone(),
        }
    }

    pub fn answer(&self, request: &RequestView<'_>) -> HandshakeAnswer {
        if !self.is_expected(request) {
            return Err(ApiError::forbidden(
                "neither hub.verify_token nor hub.topic is one that is expected",
            ));
        }
        let challenge = request.query_field("hub.challenge").unwrap_or_default();
        let challenge = String::from_utf8_lossy(&challenge).into_owned();
        check_echo(&challenge)?;
        Ok(uncached(plain_text(StatusCode::OK, challenge)))
    }

    /// Compares with every token, each in constant time.
    fn is_expected(&self, request: &RequestView<'_>) -> bool {
        let token = request.query_field("hub.verify_token");
        let mut is_expected = false;
        for expected in &self.tokens {
            let expected = expected.reveal().as_bytes();
            is_expected |= token
                .as_deref()
                .is_some_and(|token| bool::from(expected.ct_eq(token)));
        }
        let topic: Option<Cow<'_, [u8]>> = request.query_field("hub.topic");
        let topics = &self.topics;
        is_expected
            || topic.is_some_and(|topic| topics.iter().any(|known| known.as_bytes() == &*topic))
    }
}
