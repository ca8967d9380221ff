//! The public listener: maps a path and a method to a route.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{CONNECTION, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use percent_encoding::percent_decode_str;

use crate::http::api_error::{ApiError, ErrorFormat};
use crate::http::app::App;
use crate::http::body::{Body, Request};
use crate::http::framing::check_framing;
use crate::http::request_context::{REQUEST_ID, RequestContext};
use crate::http::response::{Response, with_type};
use crate::http::routes::{events, health, relays, webhooks};

/// The contract itself, served at `/openapi.yaml`.
const OPENAPI: &str = include_str!("../../openapi.yaml");

#[derive(Clone, Debug, PartialEq, Eq)]
enum Route<'a> {
    Relays,
    Relay(&'a str),
    Healthz,
    Readyz,
    OpenApi,
    Webhook(Cow<'a, str>),
    Event(&'a str),
    Health,
    Ready,
}

impl<'a> Route<'a> {
    fn find(path: &'a str) -> Option<Self> {
        Some(match path {
            "/v1/relays" => Self::Relays,
            "/healthz" => Self::Healthz,
            "/readyz" => Self::Readyz,
            "/openapi.yaml" => Self::OpenApi,
            "/health" => Self::Health,
            "/ready" => Self::Ready,
            _ => {
                // Some providers end every URL that they are given with a slash.
                let source = path.strip_prefix("/webhooks/");
                let path = match source.and_then(|source| source.strip_suffix('/')) {
                    Some(source) if !source.is_empty() => &path[..path.len() - 1],
                    _ => path,
                };
                let (kind, last) = path.rsplit_once('/')?;
                if last.is_empty() {
                    return None;
                }
                match kind {
                    "/v1/relays" => Self::Relay(last),
                    "/webhooks" => Self::Webhook(percent_decoded(last)),
                    "/events" => Self::Event(last),
                    _ => return None,
                }
            }
        })
    }

    fn allows(&self) -> &'static str {
        match self {
            Self::Relays => "GET, HEAD, POST",
            Self::Webhook(_) => "POST",
            _ => "GET, HEAD",
        }
    }

    /// The route's label in the metrics. A template, so that the number of labels is bounded.
    fn template(&self) -> &'static str {
        match self {
            Self::Relays => "/v1/relays",
            Self::Relay(_) => "/v1/relays/{id}",
            Self::Healthz => "/healthz",
            Self::Readyz => "/readyz",
            Self::OpenApi => "/openapi.yaml",
            Self::Webhook(_) => "/webhooks/{source}",
            Self::Event(_) => "/events/{id}",
            Self::Health => "/health",
            Self::Ready => "/ready",
        }
    }
}

/// Percent-decodes a path segment. If the result is not UTF-8 the segment is returned unchanged,
/// and matches no source.
fn percent_decoded(segment: &str) -> Cow<'_, str> {
    let decoded = percent_decode_str(segment).decode_utf8();
    decoded.unwrap_or(Cow::Borrowed(segment))
}

/// The error format of a path, of an unknown one too.
fn error_format(path: &str) -> ErrorFormat {
    let first = path.split(['/', '?']).nth(1).unwrap_or_default();
    match first {
        "webhooks" | "events" | "health" | "ready" => ErrorFormat::Webhook,
        _ => ErrorFormat::Relay,
    }
}

/// The method's label in the metrics. Clients can invent methods, which share one label.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

impl App {
    /// Answers a request of the public listener.
    pub async fn answer(self: Arc<Self>, request: Request) -> Response {
        let start = self.clock.monotonic();
        let (head, mut body) = request.into_parts();
        let timeout = self.config.server.request_timeout;
        let context = RequestContext::new(&head.headers, body.is_secure, timeout);
        let context = context.by(&head.method);
        let method = method_label(&head.method);
        let format = error_format(head.uri.path());
        let framing = check_framing(&self.own_authorities, &self.config.server, &head);
        let is_well_framed = framing.is_ok();
        let (template, result) = match framing {
            Ok(()) => dispatch(&self, &context, &head, &mut body).await,
            Err(error) => ("other", Err(error)),
        };
        let mut response = result.unwrap_or_else(|error| error.respond(format, context.id()));
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID, context.request_id.clone());
        // The bytes that follow on this connection might not be the next request.
        if !is_well_framed || !body.drain().await {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let took = self.clock.monotonic().saturating_sub(start);
        let status = response.status().as_u16();
        self.metrics.request(template, method, status, took);
        log::debug!(
            request_id = context.id(), method, route = template, status,
            duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            "request"
        );
        response
    }

    /// Answers bytes that hyper can't parse as a request, on either listener. `start` is the first
    /// of these bytes.
    pub fn answer_malformed(&self, status: StatusCode, start: &[u8]) -> Response {
        let start = String::from_utf8_lossy(start);
        let line = start.lines().next().unwrap_or_default();
        let format = error_format(line.split(' ').nth(1).unwrap_or_default());
        let timeout = self.config.server.request_timeout;
        let context = RequestContext::new(&HeaderMap::new(), false, timeout);
        let error = if status == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE {
            let server = &self.config.server;
            ApiError::head_too_large(server.max_header_bytes, server.max_headers)
        } else {
            ApiError::malformed("this is not an HTTP/1.1 request")
        };
        let mut response = error.respond(format, context.id());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID, context.request_id.clone());
        let status = status.as_u16();
        self.metrics
            .request("other", "other", status, Duration::ZERO);
        log::debug!(request_id = context.id(), status; "a request can't be read");
        response
    }
}

/// Calls the route. The first value is the route's label in the metrics.
async fn dispatch(
    app: &App,
    context: &RequestContext,
    head: &Parts,
    body: &mut Body,
) -> (&'static str, Result<Response, ApiError>) {
    let path = head.uri.path();
    let Some(route) = Route::find(path) else {
        return (
            "other",
            Err(ApiError::not_found("there is nothing at this path")),
        );
    };
    let template = route.template();
    let method = match head.method {
        Method::HEAD => &Method::GET,
        ref other => other,
    };
    let result = match (route, method) {
        (Route::Relays | Route::Relay(_), &Method::GET) | (Route::Relays, &Method::POST) => {
            let id = path.strip_prefix("/v1/relays/");
            relays::answer(app, context, id, head, body).await
        }
        (Route::Webhook(source), &Method::POST) => {
            webhooks::accept(app, context, &source, head, body).await
        }
        (Route::Webhook(source), _) => webhooks::ask(app, context, &source, head, body),
        (Route::Event(id), &Method::GET) => events::show(app, context, id, &head.headers).await,
        (Route::Healthz, &Method::GET) => Ok(health::healthz()),
        (Route::Readyz, &Method::GET) => health::readyz(app),
        (Route::Health, &Method::GET) => Ok(health::health(app)),
        (Route::Ready, &Method::GET) => Ok(health::ready(app)),
        (Route::OpenApi, &Method::GET) => {
            Ok(with_type(StatusCode::OK, "application/yaml", OPENAPI))
        }
        (route, _) => Err(ApiError::method_not_allowed(route.allows())),
    };
    (template, result)
}

#[cfg(test)]
mod tests;
