//! Signing in and out.

use askama::Template;
use hyper::StatusCode;
use hyper::header::{HeaderValue, RETRY_AFTER, SET_COOKIE};
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;

use super::page::{Frame, html, see_other};
use super::visit::form;
use crate::http::admin::api::query::Parameters;
use crate::http::api_error::ApiError;
use crate::http::app::App;
use crate::http::body::Body;
use crate::http::request_context::RequestContext;
use crate::http::response::Response;

/// The path of the form.
pub(super) const PATH: &str = "/sign-in";

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn {
    frame: Frame,
    next: String,
    problem: Option<String>,
}

impl SignIn {
    fn new(next: String, problem: Option<String>) -> Self {
        Self {
            frame: Frame::of_stranger("Sign in"),
            next,
            problem,
        }
    }
}

/// The form. Without a token configured nobody has to sign in.
pub(super) fn show(app: &App, head: &Parts) -> Result<Response, ApiError> {
    app.admin_access.check_host(head)?;
    let next = next(&mut Parameters::parse(head.uri.query()))?;
    if !app.admin_access.wants_sign_in() {
        return Ok(see_other(&next));
    }
    Ok(html(&SignIn::new(next, None)))
}

/// Begins a session.
pub(super) async fn sign_in(
    app: &App,
    context: &RequestContext,
    head: &Parts,
    body: &mut Body,
) -> Result<Response, ApiError> {
    app.admin_access.check_host(head)?;
    if !app.admin_access.wants_sign_in() {
        return Ok(see_other("/"));
    }
    let mut fields = form(context, head, body).await?;
    let next = next(&mut fields)?;
    let token = fields.take("token")?.unwrap_or_default();
    match app.admin_access.sign_in(head, context.is_secure, &token) {
        Ok((_, cookie)) => {
            let mut response = see_other(&next);
            response.headers_mut().insert(SET_COOKIE, cookie);
            Ok(response)
        }
        Err(error) if error.status == StatusCode::UNAUTHORIZED => {
            let problem = "This is none of the configured tokens.".to_owned();
            let mut response = html(&SignIn::new(next, Some(problem)));
            *response.status_mut() = error.status;
            Ok(response)
        }
        Err(error) if error.status == StatusCode::TOO_MANY_REQUESTS => {
            let wait = error.retry_after().unwrap_or(1);
            let problem = format!("Too many sign-ins have failed. Try again in {wait} s.");
            let mut response = html(&SignIn::new(next, Some(problem)));
            *response.status_mut() = error.status;
            let headers = response.headers_mut();
            headers.insert(RETRY_AFTER, HeaderValue::from(wait));
            Ok(response)
        }
        Err(error) => Err(error),
    }
}

/// Ends the session.
pub(super) fn sign_out(app: &App, head: &Parts) -> Response {
    let cookie = app.admin_access.sign_out(head);
    let mut response = see_other(PATH);
    response.headers_mut().insert(SET_COOKIE, cookie);
    response
}

/// The answer to a request of somebody who has not signed in.
pub(super) fn first(head: &Parts) -> Response {
    let target = head.uri.path_and_query().map(PathAndQuery::as_str);
    let next = target.filter(|_| head.method != hyper::Method::POST);
    match next.filter(|next| *next != "/") {
        Some(next) => {
            let next: String = form_urlencoded::byte_serialize(next.as_bytes()).collect();
            see_other(&format!("{PATH}?next={next}"))
        }
        None => see_other(PATH),
    }
}

fn next(fields: &mut Parameters) -> Result<String, ApiError> {
    let given = fields.take("next")?.unwrap_or_default();
    let next = if is_own_path(&given) { &given } else { "/" };
    Ok(next.to_owned())
}

/// Whether a target leads to this listener: browsers take `//` and `\` for another host.
fn is_own_path(target: &str) -> bool {
    target.starts_with('/')
        && !target.starts_with("//")
        && target.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_in_leads_to_a_path_of_this_listener_alone() {
        for target in ["/", "/deliveries?status=retrying", "/events/evt_1#payload"] {
            assert!(is_own_path(target), "{target}");
        }
        for target in [
            "",
            "deliveries",
            "//evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "https://evil.example/",
            "javascript:alert(1)",
            "/a\r\nSet-Cookie: x=y",
            "/\u{e9}",
        ] {
            assert!(!is_own_path(target), "{target}");
        }
    }
}
