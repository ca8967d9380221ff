//! `cloudevents`: OPTIONS with `WebHook-Request-Origin`, as the `CloudEvents` specification of
//! webhooks has it.

use hyper::StatusCode;
use hyper::header::{ALLOW, HeaderName, HeaderValue};

use crate::config::SourcePolicy;
use crate::http::admission::handshakes::reply::{
    HandshakeAnswer, check_echo, plain_text, uncached,
};
use crate::http::api_error::ApiError;
use crate::model::request::RequestView;

const REQUEST_ORIGIN: HeaderName = HeaderName::from_static("webhook-request-origin");
const ALLOWED_ORIGIN: HeaderName = HeaderName::from_static("webhook-allowed-origin");
const ALLOWED_RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");

pub(super) struct CloudEvents {
    /// The origins that may send events; none: any.
    origins: Option<Vec<String>>,
    /// Requests a minute, or `*`.
    rate: HeaderValue,
}

impl CloudEvents {
    pub fn new(source: &SourcePolicy) -> Self {
        let rate = match source.rate_limit {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a checked rate is above zero, and a million a second at most"
            )]
            Some(limit) => HeaderValue::from(((limit.per_second * 60.0) as u64).max(1)),
            None => HeaderValue::from_static("*"),
        };
        Self {
            origins: source.origins.clone(),
            rate,
        }
    }

    pub fn answer(&self, request: &RequestView<'_>) -> HandshakeAnswer {
        let origin = request.header(&REQUEST_ORIGIN).unwrap_or_default();
        let origin = String::from_utf8_lossy(origin);
        check_echo(&origin)?;
        if let Some(origins) = &self.origins
            && !origins
                .iter()
                .any(|known| known.eq_ignore_ascii_case(&origin))
        {
            return Err(ApiError::forbidden(
                "WebHook-Request-Origin is none of the origins that may send events",
            ));
        }
        let allowed = HeaderValue::try_from(&*origin).expect("a checked value is visible ASCII");
        let mut response = uncached(plain_text(StatusCode::OK, String::new()));
        let headers = response.headers_mut();
        headers.insert(ALLOWED_ORIGIN, allowed);
        headers.insert(ALLOWED_RATE, self.rate.clone());
        headers.insert(ALLOW, HeaderValue::from_static("POST"));
        Ok(response)
    }
}
