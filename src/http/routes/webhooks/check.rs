//! Verifies a request with its body, and checks the body against its source's settings.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use serde_json::value::RawValue;

use crate::clock::Timestamp;
use crate::config::{HandshakeMethod, SourcePolicy};
use crate::http::admission::SourceVerification;
use crate::http::admission::handshakes::{HandshakeAnswer, Handshakes};
use crate::http::admission::signatures::{Rejection, SignedId};
use crate::http::api_error::ApiError;
use crate::http::app::App;
use crate::http::offload::MAX_INLINE_BYTES;
use crate::http::request_context::RequestContext;
use crate::http::routes::webhooks::decode::{decoded, is_compressed};
use crate::http::routes::webhooks::event_view::EventView;
use crate::http::routes::webhooks::forwarded_headers::forwarded_headers;
use crate::http::routes::webhooks::keys::event_key;
use crate::http::routes::webhooks::order_keys::order_keys;
use crate::model::OrderKey;
use crate::model::request::{document, is_gzip, problem_of};
use crate::model::route::{RouteTable, RoutedEvent};

/// Bodies that a route looks into are checked and routed in place up to this size: the pass of the
/// routes takes as long again as the check, and each value that it finds is compared.
const MAX_ROUTED_INLINE_BYTES: usize = 64 * 1024;

/// Characters of a content type that an error shows.
const SHOWN_TYPE: usize = 64;

/// The values that are read from an event.
pub(super) struct EventFacts {
    /// The idempotency key; none if each request of the source is an event.
    pub key: Option<String>,
    pub event_type: Option<String>,
    /// Its destinations, each once; empty if no route wants it.
    pub destinations: Arc<[String]>,
    /// The ordering keys, each with the index of its destination.
    pub order_keys: Vec<(usize, OrderKey)>,
}

/// The result of checking a request.
pub(super) enum Checked {
    Event(EventFacts),
    /// A handshake of a verified request.
    SignedHandshake(HandshakeAnswer),
    /// A handshake that anybody may ask.
    UnsignedHandshake(HandshakeAnswer),
}

/// The reason why a request is refused.
pub(super) enum Refusal {
    /// The body can't be decoded, so that nothing could be verified.
    Undecodable(ApiError),
    /// The request is not the provider's.
    NotVerified(Rejection),
    /// The provider's request doesn't meet this condition of `require`.
    Unmet(String),
    /// The body or the key of the provider's request can't be used.
    Unusable(ApiError),
}

/// A request whose headers were checked.
#[derive(Clone)]
pub(super) struct Request<'a> {
    pub source: Cow<'a, Arc<SourcePolicy>>,
    pub verification: Cow<'a, Arc<SourceVerification>>,
    pub head: Cow<'a, Parts>,
    /// The time at which the headers came.
    pub now: Timestamp,
    /// Whether the body is decompressed before it is verified and checked.
    pub is_compressed: bool,
    /// The idempotency key, if it was found without the body.
    pub early_key: Option<String>,
    /// The source's name, if a destination has an order.
    pub ordered_source: Option<Cow<'a, str>>,
    /// The source's handshakes, if it has some.
    pub handshakes: Option<Arc<Handshakes>>,
    /// Why the request can't be verified; it may be an unsigned handshake nevertheless.
    pub rejection: Option<Rejection>,
}

impl<'a> Request<'a> {
    /// A request whose headers are still to be checked.
    pub fn new(
        name: &'a str,
        source: &'a Arc<SourcePolicy>,
        verification: &'a Arc<SourceVerification>,
        head: &'a Parts,
    ) -> Result<Self, ApiError> {
        Ok(Self {
            source: Cow::Borrowed(source),
            verification: Cow::Borrowed(verification),
            head: Cow::Borrowed(head),
            now: Timestamp::from_millis(0),
            is_compressed: is_compressed(source.decode, &head.headers)?,
            early_key: None,
            ordered_source: (!source.orders.is_empty()).then_some(Cow::Borrowed(name)),
            handshakes: verification.handshakes().cloned(),
            rejection: None,
        })
    }

    fn into_owned(self) -> Request<'static> {
        Request {
            source: Cow::Owned(self.source.into_owned()),
            verification: Cow::Owned(self.verification.into_owned()),
            head: Cow::Owned(self.head.into_owned()),
            now: self.now,
            is_compressed: self.is_compressed,
            early_key: self.early_key,
            ordered_source: self
                .ordered_source
                .map(|name| Cow::Owned(name.into_owned())),
            handshakes: self.handshakes,
            rejection: self.rejection,
        }
    }
}

/// Verifies a request and checks its body, a large one on another thread.
pub(super) async fn check_body(
    app: &App,
    context: &RequestContext,
    request: &Request<'_>,
    body: &Bytes,
) -> Result<Result<Checked, Refusal>, ApiError> {
    let routes = request.source.routes.as_ref();
    let inline = if routes.is_some_and(RouteTable::reads_body) {
        MAX_ROUTED_INLINE_BYTES
    } else {
        MAX_INLINE_BYTES
    };
    // A compressed body can become as large as the source allows.
    if body.len() <= inline && !request.is_compressed {
        return Ok(check(request, body));
    }
    let (request, body) = (request.clone().into_owned(), body.clone());
    app.offload
        .run(context, move || check(&request, &body))
        .await
}

fn check(request: &Request<'_>, sent: &[u8]) -> Result<Checked, Refusal> {
    let limit = request.source.max_body_bytes;
    let decoded = if request.is_compressed {
        Cow::Owned(decoded(sent, limit).map_err(Refusal::Undecodable)?)
    } else {
        Cow::Borrowed(sent)
    };
    let verification = &request.verification;
    let view = verification.view(&request.head, &decoded);
    if let Some(handshakes) = &request.handshakes
        && let Some(rule) = handshakes.asked_in_body(HandshakeMethod::Post, &view)
    {
        let answer = rule.answer(&view, handshakes.first_key());
        return Ok(Checked::UnsignedHandshake(answer));
    }
    if let Some(rejection) = &request.rejection {
        return Err(Refusal::NotVerified(rejection.clone()));
    }
    let verified = verification
        .verify(&request.head, &decoded, request.now)
        .map_err(Refusal::NotVerified)?;
    if let Some(handshakes) = &request.handshakes
        && let Some(rule) = handshakes.asked_by_provider(HandshakeMethod::Post, &view)
    {
        let answer = rule.answer(&view, verified.key.as_deref());
        return Ok(Checked::SignedHandshake(answer));
    }
    if let Some(condition) = verification.unmet_requirement(&request.head, &decoded) {
        return Err(Refusal::Unmet(condition));
    }
    facts(request, sent, &decoded, verified.id)
        .map(Checked::Event)
        .map_err(Refusal::Unusable)
}

fn facts(
    request: &Request<'_>,
    sent: &[u8],
    decoded: &[u8],
    signed_id: Option<SignedId>,
) -> Result<EventFacts, ApiError> {
    let source = &request.source;
    let document = match document(decoded) {
        Ok(document) => Some(document),
        Err(_) if source.accept_any_content => None,
        Err(_) => return Err(not_json(request, decoded)),
    };
    let event = EventView {
        request: request.verification.view(&request.head, decoded),
        document,
        sent,
        signed_id,
    };
    let key = match &request.early_key {
        Some(key) => Some(key.clone()),
        None => event_key(&source.idempotency, &event)?,
    };
    let event_type = source.event_type.as_ref().and_then(|at| {
        let headers = &request.head.headers;
        let values = |name| headers.get_all(name).iter().map(HeaderValue::as_bytes);
        at.read(values, document)
    });
    let destinations = destinations(request, event_type.as_deref(), document);
    Ok(EventFacts {
        key,
        event_type,
        order_keys: match &request.ordered_source {
            Some(name) => order_keys(source, name, &destinations, &event),
            None => Vec::new(),
        },
        destinations,
    })
}

/// The destinations of an event. It is routed as it is kept, so that it can be again later.
fn destinations(
    request: &Request<'_>,
    event_type: Option<&str>,
    document: Option<&RawValue>,
) -> Arc<[String]> {
    let source = &request.source;
    let Some(routes) = &source.routes else {
        return Arc::clone(&source.destinations);
    };
    let headers = if routes.reads_headers() {
        forwarded_headers(&request.head.headers, source, &[])
    } else {
        Vec::new()
    };
    routes.route(&RoutedEvent {
        event_type,
        headers: &headers,
        document,
    })
}

/// 400 that names what came and the key to set: a form is the most common mistake.
fn not_json(request: &Request<'_>, body: &[u8]) -> ApiError {
    let problem = problem_of(body).unwrap_or_default();
    let headers = &request.head.headers;
    let mut codings = headers.get_all(CONTENT_ENCODING).iter();
    if !request.is_compressed && codings.any(|coding| is_gzip(coding.as_bytes())) {
        return ApiError::malformed(format!(
            "{problem}: expected a JSON document, and it came compressed: for a source of such \
             bodies set decode = \"gzip\""
        ));
    }
    let content_type = headers.get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let hint = match content_type.filter(|content_type| !content_type.contains("json")) {
        Some(content_type) => {
            let shown: String = content_type.chars().take(SHOWN_TYPE).collect();
            format!(
                ", and it came as {shown:?}: for a source of such bodies set \
                 accept_any_content = true"
            )
        }
        None => String::new(),
    };
    ApiError::malformed(format!("{problem}: expected a JSON document{hint}"))
}
