//! Whether a request that changes something comes from a page of another origin (CSRF).

use hyper::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue, ORIGIN};
use hyper::http::request::Parts;

use crate::http::api_error::ApiError;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses a request of the API without a JSON body's content type, which a browser can't send to
/// another origin without asking first, and is never granted.
pub(super) fn check_json(head: &Parts) -> Result<(), ApiError> {
    if is_json(head.headers.get(CONTENT_TYPE)) {
        return Ok(());
    }
    Err(ApiError::not_json())
}

/// Refuses a request that says that a page of another origin sent it. Programs say nothing.
pub(super) fn check_given(head: &Parts, is_secure: bool) -> Result<(), ApiError> {
    if head.headers.contains_key(SEC_FETCH_SITE) || head.headers.contains_key(ORIGIN) {
        return check_own(head, is_secure);
    }
    Ok(())
}

/// Refuses a request that doesn't say that a page of this listener sent it. Browsers say so in
/// `Sec-Fetch-Site`, which they send over TLS and to loopback alone, and in `Origin`.
pub(super) fn check_own(head: &Parts, is_secure: bool) -> Result<(), ApiError> {
    if let Some(site) = head.headers.get(SEC_FETCH_SITE) {
        if site == "same-origin" {
            return Ok(());
        }
        return Err(of_another("Sec-Fetch-Site"));
    }
    match head.headers.get(ORIGIN) {
        Some(origin) if is_same(origin, head.headers.get(HOST), is_secure) => Ok(()),
        Some(_) => Err(of_another("Origin")),
        None => Err(ApiError::forbidden(
            "neither Sec-Fetch-Site nor Origin says which page sent this: expected one of this \
             listener's",
        )),
    }
}

/// Whether the page that sent a request came over TLS, perhaps through a proxy that ends it.
pub(super) fn is_secure(head: &Parts) -> bool {
    let origin = head.headers.get(ORIGIN);
    origin.is_some_and(|origin| origin.as_bytes().starts_with(b"https://"))
}

fn of_another(header: &str) -> ApiError {
    ApiError::forbidden(format!(
        "{header} says that a page of another origin sent this: expected one of this listener"
    ))
}

fn is_json(content_type: Option<&HeaderValue>) -> bool {
    let text = content_type.and_then(|value| value.to_str().ok());
    let kind = text
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/json")
}

/// Whether an origin is that of the request's own host. Over TLS its scheme is `https`; without, a
/// proxy in front of relay may have ended TLS.
fn is_same(origin: &HeaderValue, host: Option<&HeaderValue>, is_secure: bool) -> bool {
    let (Ok(origin), Some(Ok(host))) = (origin.to_str(), host.map(HeaderValue::to_str)) else {
        return false;
    };
    let plain = origin.strip_prefix("http://").filter(|_| !is_secure);
    let authority = plain.or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_with(headers: &[(&str, &str)], is_secure: bool) -> Result<(), u16> {
        let mut request = hyper::Request::post("/api/reload");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).expect("a request").into_parts();
        let checked = check_json(&head).and_then(|()| check_given(&head, is_secure));
        checked.map_err(|error| error.status.as_u16())
    }

    #[test]
    fn a_form_has_to_come_from_a_page_of_this_listener() {
        let host = ("Host", "127.0.0.1:8081");
        let own = ("Origin", "http://127.0.0.1:8081");
        let null = ("Origin", "null");
        for (headers, is_own) in [
            (vec![host], false),
            (vec![host, own], true),
            (vec![host, ("Origin", "https://127.0.0.1:8081")], true),
            (vec![host, null], false),
            (vec![host, null, ("Sec-Fetch-Site", "same-origin")], true),
            (vec![host, own, ("Sec-Fetch-Site", "same-site")], false),
            (vec![host, own, ("Sec-Fetch-Site", "cross-site")], false),
            (vec![host, own, ("Sec-Fetch-Site", "none")], false),
            (vec![host, ("Origin", "http://127.0.0.1:8082")], false),
            (vec![host, ("Origin", "http://evil.example")], false),
            (vec![host, ("Origin", "127.0.0.1:8081")], false),
            (vec![own], false),
        ] {
            let mut request = hyper::Request::post("/operations");
            for (name, value) in &headers {
                request = request.header(*name, *value);
            }
            let (head, ()) = request.body(()).expect("a request").into_parts();
            assert_eq!(check_own(&head, false).is_ok(), is_own, "{headers:?}");
        }
    }

    #[test]
    fn a_request_of_another_origin_is_refused() {
        let json = ("Content-Type", "application/json; charset=utf-8");
        let host = ("Host", "127.0.0.1:8081");
        for (headers, expected) in [
            (vec![json, host], Ok(())),
            (vec![json, host, ("Sec-Fetch-Site", "same-origin")], Ok(())),
            (
                vec![json, host, ("Origin", "http://127.0.0.1:8081")],
                Ok(()),
            ),
            (vec![host], Err(415)),
            (vec![host, ("Content-Type", "text/plain")], Err(415)),
            (
                vec![host, ("Content-Type", "application/x-www-form-urlencoded")],
                Err(415),
            ),
            (vec![json, host, ("Sec-Fetch-Site", "cross-site")], Err(403)),
            (vec![json, host, ("Sec-Fetch-Site", "same-site")], Err(403)),
            (vec![json, host, ("Sec-Fetch-Site", "none")], Err(403)),
            (
                vec![json, host, ("Origin", "http://evil.example")],
                Err(403),
            ),
            (vec![json, host, ("Origin", "null")], Err(403)),
            (
                vec![json, host, ("Origin", "http://127.0.0.1:8082")],
                Err(403),
            ),
        ] {
            assert_eq!(check_with(&headers, false), expected, "{headers:?}");
        }
    }

    #[test]
    fn over_tls_a_page_without_it_is_another_origin() {
        let json = ("Content-Type", "application/json");
        let host = ("Host", "relay.internal:8081");
        for (origin, over_tls, without) in [
            ("http://relay.internal:8081", Err(403), Ok(())),
            ("https://relay.internal:8081", Ok(()), Ok(())),
            ("https://relay.internal", Err(403), Err(403)),
        ] {
            let headers = [json, host, ("Origin", origin)];
            assert_eq!(check_with(&headers, true), over_tls, "{origin}");
            assert_eq!(check_with(&headers, false), without, "{origin}");
        }
    }
}
