//! The answer to an event that was accepted, or is a duplicate.

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use serde::Serialize;

use crate::config::Answer;
use crate::http::response::{Response, json};

/// The id of the event, in an answer of the source's own.
const EVENT_ID: HeaderName = HeaderName::from_static("relay-event-id");

#[derive(Serialize)]
struct AcceptedEvent<'a> {
    event_id: &'a str,
    status: &'static str,
}

/// The contract's answer, or the source's own.
pub(super) fn answer(own: Option<&Answer>, event_id: &str, status: &'static str) -> Response {
    let Some(own) = own else {
        return json(StatusCode::ACCEPTED, &AcceptedEvent { event_id, status });
    };
    let mut response = Response::new(own.body.clone().into());
    *response.status_mut() = StatusCode::from_u16(own.status).expect("a checked status");
    let headers = response.headers_mut();
    let id = HeaderValue::try_from(event_id).expect("an id is visible ASCII");
    headers.insert(EVENT_ID, id);
    if let Some(content_type) = own.content_type() {
        let content_type = HeaderValue::try_from(content_type);
        headers.insert(CONTENT_TYPE, content_type.expect("a checked media type"));
    }
    response
}
