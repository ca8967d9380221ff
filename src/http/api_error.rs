//! The errors that clients see, in the format of each surface.

use hyper::header::{ALLOW, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Method, StatusCode};
use serde::Serialize;

use crate::http::response::{Response, json};
use crate::store::StoreError;

/// `Retry-After` in seconds for an API key with too many waiting origins. An attempt to an origin
/// that hangs takes 15 s by default.
const ORIGINS_RETRY_AFTER: u64 = 15;

/// The format of errors: the relay API has `code` and `message`, the webhook API has `error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorFormat {
    Relay,
    Webhook,
}

/// An error response.
#[derive(Debug)]
pub(crate) struct ApiError {
    pub status: StatusCode,
    code: &'static str,
    message: String,
    /// The member, parameter or header that is wrong.
    member: Option<String>,
    retry_after: Option<u64>,
    allow: Option<&'static str>,
    /// Whether only the status is sent.
    has_no_body: bool,
    /// Whether the response asks for a token (RFC 6750, 3).
    authenticate: bool,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            member: None,
            retry_after: None,
            allow: None,
            has_no_body: false,
            authenticate: false,
        }
    }

    /// The same error without its body.
    pub fn without_body(self) -> Self {
        Self {
            has_no_body: true,
            ..self
        }
    }

    /// An error in a single member.
    fn in_member(
        member: &str,
        status: StatusCode,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            member: Some(member.to_owned()),
            ..Self::new(status, code, message)
        }
    }

    /// The problem, for a person.
    #[allow(
        dead_code,
        reason = "a build without the console shows errors to programs alone"
    )]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The seconds after which another try is welcome.
    #[allow(
        dead_code,
        reason = "a build without the console shows errors to programs alone"
    )]
    pub fn retry_after(&self) -> Option<u64> {
        self.retry_after
    }

    /// 400: `member` is wrong, and `message` says what is expected of it.
    pub fn invalid(member: &str, message: impl Into<String>) -> Self {
        Self::in_member(member, StatusCode::BAD_REQUEST, "invalid_request", message)
    }

    /// 400: the request as a whole is wrong, rather than a member.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", message)
    }

    /// 400: the request's target is for a proxy.
    pub fn no_proxy() -> Self {
        Self::malformed(
            "this is no proxy: expected a path such as /healthz as the request's target",
        )
    }

    /// 431 (RFC 6585, 5).
    pub fn head_too_large(bytes: u64, headers: usize) -> Self {
        Self::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "invalid_request",
            format!(
                "the request's line and headers are too large: expected at most {bytes} bytes \
                 and {headers} headers"
            ),
        )
    }

    pub fn unauthorized() -> Self {
        Self::in_member(
            "X-API-Key",
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "X-API-Key is missing or unknown: expected one of the configured keys",
        )
    }

    /// 401 for an event. It doesn't say what was wrong, because that would help only a forger.
    pub fn not_verified() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "the signature is missing or does not verify",
        )
    }

    /// 401 of the operator's listener.
    pub fn no_token() -> Self {
        Self {
            authenticate: true,
            ..Self::in_member(
                "Authorization",
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "Authorization is missing or unknown: expected Bearer and a token of \
                 admin.tokens_env or admin.read_tokens_env",
            )
        }
    }

    /// 421 (RFC 9110, 15.5.20): the request is for another host.
    pub fn misdirected(message: impl Into<String>) -> Self {
        Self::in_member(
            "Host",
            StatusCode::MISDIRECTED_REQUEST,
            "misdirected_request",
            message,
        )
    }

    /// 409: the state of what the request names is another than the request expects.
    pub fn changed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", message)
    }

    /// 403: the sender is who it says, or needs no proof of it, and still may not send this.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub fn method_not_allowed(allow: &'static str) -> Self {
        Self {
            allow: Some(allow),
            ..Self::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                format!("this path answers {allow} only"),
            )
        }
    }

    /// 405 to a method that the path answers if it asks a handshake.
    pub fn no_handshake(allow: &'static str, method: &Method, why: &str) -> Self {
        Self {
            message: format!("this {method} asks no handshake: {why}"),
            ..Self::method_not_allowed(allow)
        }
    }

    pub fn conflict() -> Self {
        Self::in_member(
            "Idempotency-Key",
            StatusCode::CONFLICT,
            "idempotency_conflict",
            "Idempotency-Key was used before with another body: expected the same bytes, \
             or a new key",
        )
    }

    pub fn too_large(limit: u64) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "payload_too_large",
            format!("the body is too large: expected at most {limit} bytes"),
        )
    }

    pub fn media_type() -> Self {
        Self::in_member(
            "Content-Type",
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "Content-Type is not JSON: expected application/json, or none",
        )
    }

    /// 415 of the operator's API, which takes JSON alone.
    pub fn not_json() -> Self {
        Self::in_member(
            "Content-Type",
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "Content-Type is not JSON: expected application/json",
        )
    }

    /// 415: the source decodes bodies, and this coding is none that it knows.
    pub fn content_encoding() -> Self {
        Self::in_member(
            "Content-Encoding",
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "Content-Encoding is none that this source decodes: expected gzip, or none",
        )
    }

    /// 415 of the console, whose pages send forms.
    #[allow(dead_code, reason = "a build without the console has no form")]
    pub fn not_a_form() -> Self {
        Self::in_member(
            "Content-Type",
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "Content-Type is not a form's: expected application/x-www-form-urlencoded",
        )
    }

    pub fn rate_limited(retry_after: u64) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limited",
                format!("too many requests: try again in {retry_after} s"),
            )
        }
    }

    /// 429: each waiting origin takes memory, and one key must not take all of it.
    pub fn too_many_origins(most: usize) -> Self {
        Self {
            retry_after: Some(ORIGINS_RETRY_AFTER),
            ..Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limited",
                format!(
                    "{most} origins have relays waiting for this API key, as many as may: \
                     expected an origin that has, or another try once some were delivered"
                ),
            )
        }
    }

    /// 503: the request may or may not have been recorded. Its idempotency key makes it safe to
    /// send again.
    pub fn overloaded(message: impl Into<String>) -> Self {
        Self {
            retry_after: Some(1),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message)
        }
    }

    fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "something failed here; the log has the details under this request id",
        )
    }

    /// The error of a failure of the store. A failure that an operator must act on is logged.
    pub fn from_store(error: &StoreError, request_id: &str) -> Self {
        match error {
            StoreError::Overloaded => {
                Self::overloaded("more requests than can be recorded: try again")
            }
            StoreError::Busy => Self::overloaded("the database is busy: try again"),
            StoreError::Unreachable(_) => {
                Self::overloaded("the database can't be reached: try again")
            }
            StoreError::AnswerLost => Self::overloaded(
                "the connection to the database was lost, and the change may be done: look",
            ),
            StoreError::Full => {
                Self::overloaded("too little free space to record anything: try again later")
            }
            StoreError::BudgetSpent => Self::overloaded(
                "the database has reached its size (database.max_bytes): try again later",
            ),
            StoreError::Stopped => Self::overloaded("stopping: try again"),
            StoreError::Broken(_)
            | StoreError::Displaced(_)
            | StoreError::Unexpected(_)
            | StoreError::Rejected(_) => {
                log::error!(request_id, error:% = error; "a request failed");
                Self::internal()
            }
        }
    }

    pub fn respond(&self, format: ErrorFormat, request_id: &str) -> Response {
        let mut response = match format {
            _ if self.has_no_body => {
                let mut response = Response::default();
                *response.status_mut() = self.status;
                response
            }
            ErrorFormat::Relay => json(
                self.status,
                &RelayErrorBody {
                    code: self.code,
                    message: &self.message,
                    details: self.member.as_deref().map(|member| ErrorDetails { member }),
                    request_id,
                },
            ),
            ErrorFormat::Webhook => json(
                self.status,
                &WebhookErrorBody {
                    error: &self.message,
                },
            ),
        };
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if self.authenticate {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RelayErrorBody<'a> {
    code: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<ErrorDetails<'a>>,
    request_id: &'a str,
}

#[derive(Serialize)]
struct ErrorDetails<'a> {
    member: &'a str,
}

#[derive(Serialize)]
struct WebhookErrorBody<'a> {
    error: &'a str,
}
