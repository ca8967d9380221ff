//! `asana`: POST with `X-Hook-Secret`, which brings the secret of the requests to come.

use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};

use crate::config::Secret;
use crate::http::admission::handshakes::reply::{check_echo, plain_text, uncached};
use crate::http::api_error::ApiError;
use crate::http::response::Response;
use crate::model::request::RequestView;

const HOOK_SECRET: HeaderName = HeaderName::from_static("x-hook-secret");

/// The secret that a request brings. It is echoed, and so it has harmless characters only.
pub(in crate::http) fn hook_secret(request: &RequestView<'_>) -> Result<Secret, ApiError> {
    let value = request.header(&HOOK_SECRET).unwrap_or_default();
    let text = String::from_utf8_lossy(value);
    check_echo(&text)?;
    Ok(Secret::new(text))
}

/// The answer once the secret is learned: the same header.
pub(in crate::http) fn confirmation(secret: &Secret) -> Response {
    let mut value = HeaderValue::try_from(secret.reveal()).expect("a checked value is ASCII");
    value.set_sensitive(true);
    let mut response = uncached(plain_text(StatusCode::OK, String::new()));
    response.headers_mut().insert(HOOK_SECRET, value);
    response
}
