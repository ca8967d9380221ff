//! Whether a request that changes something comes from a page of another origin (CSRF).

use hyper::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue, ORIGIN};
use hyper::http::request::Parts;

use crate::http::api_error::ApiError;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses a request of the API that a page of another origin may have sent. A browser can't send
/// this content type to another origin without asking first, and is never granted it. The headers
/// that browsers add have to agree if they are there; programs send none.
pub(super) fn check(head: &Parts, is_secure: bool) -> Result<(), ApiError> {
    if !is_json(head.headers.get(CONTENT_TYPE)) {
        return Err(ApiError::not_json());
    }
    let site = head.headers.get(SEC_FETCH_SITE);
    if site.is_some_and(|site| site != "same-origin") {
        return Err(of_another("Sec-Fetch-Site"));
    }
    if site.is_none()
        && let Some(origin) = head.headers.get(ORIGIN)
        && !is_same(origin, head.headers.get(HOST), is_secure)
    {
        return Err(of_another("Origin"));
    }
    Ok(())
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
        check(&head, is_secure).map_err(|error| error.status.as_u16())
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
