use super::*;
use crate::config::{Config, Destination};
use proptest::prelude::*;
use ureq::http::HeaderValue;

fn class_of(code: u16, policy: &DestinationPolicy) -> Class {
    let status = StatusCode::from_u16(code).expect("a status");
    classify(status, policy, None).0
}

#[test]
fn each_status_has_the_class_of_the_contract() {
    let config = Config::default().resolve();
    let class = |code| class_of(code, config.destination("http://adhoc"));
    for code in [200, 201, 202, 204, 226, 299] {
        assert_eq!(class(code), Class::Delivered, "{code}");
    }
    for code in [
        400, 405, 406, 410, 411, 413, 414, 415, 422, 426, 431, 451, 501, 505,
    ] {
        assert_eq!(class(code), Class::Permanent, "{code}");
    }
    for code in [
        101, 301, 302, 304, 307, 308, 401, 403, 404, 408, 409, 418, 425, 429, 500, 502, 503, 504,
        506, 599, 600, 999,
    ] {
        assert_eq!(class(code), Class::Transient, "{code}");
    }
}

#[test]
fn a_destinations_settings_change_the_class_of_a_status() {
    let mut settings = Destination::new("http://example.com/".parse().expect("a URL"));
    settings.transient_statuses = vec![422];
    settings.permanent_statuses = vec![404, 503];
    let mut config = Config::default();
    config.destinations.insert("a".to_owned(), settings);
    let config = config.resolve();
    let class = |code| class_of(code, config.destination("a"));
    assert_eq!(class(422), Class::Transient);
    assert_eq!(class(404), Class::Permanent);
    assert_eq!(class(503), Class::Permanent);
    assert_eq!(class(400), Class::Permanent);
}

#[test]
fn a_redirects_location_is_shown_without_secrets_and_within_bounds() {
    let error_from = |from: &str, code: u16, location: &[u8]| {
        let to = &HeaderValue::from_bytes(location).expect("a value");
        let status = StatusCode::from_u16(code).expect("a status");
        let config = Config::default().resolve();
        let policy = config.destination("http://adhoc");
        let redirect = Redirect { to, from };
        classify(status, policy, Some(&redirect))
            .1
            .expect("an error")
    };
    let error = |code, location: &[u8]| error_from("http://example.com/", code, location);
    let to = |location: &str| {
        let error = error(301, location.as_bytes());
        let to = error.strip_prefix("answered 301 Moved Permanently to ");
        to.expect(location).to_owned()
    };
    for (location, shown) in [
        ("https://example.com/hooks/", "https://example.com/hooks/"),
        ("/login", "/login"),
        ("hooks/", "hooks/"),
        ("https://example.com", "https://example.com"),
        ("https://u:pass@example.com/a@b", "https://example.com/a@b"),
        ("https://u:p@ss@example.com", "https://example.com"),
        ("//u:pass@example.com/", "//example.com/"),
        ("https:\\\\u:pass@example.com", "https:\\\\example.com"),
        (
            "https://example.com/?token=secret",
            "https://example.com/?…",
        ),
        ("https://u:pass@e.com?a=/#secret", "https://e.com?…"),
        ("/a#secret", "/a?…"),
        ("/\u{202e}x\u{9b}y", "/\u{fffd}x\u{fffd}y"),
        (
            "/\u{61c}\u{2028}\u{200b}\u{feff}",
            "/\u{fffd}\u{fffd}\u{fffd}\u{fffd}",
        ),
        ("/\u{e0041}x", "/\u{fffd}x"),
    ] {
        assert_eq!(to(location), shown, "{location}");
    }
    let long = to(&format!("https://example.com/{}", "x".repeat(2000)));
    assert_eq!(long.chars().count(), MAX_LOCATION + 1);
    assert_eq!(error(302, b"/\xff"), "answered 302 Found to /\u{fffd}");
    for (own, location, shown) in [
        ("/T0/hush", "https://e.com/T0/hush", "https://e.com/…"),
        ("/T0/hush?a", "https://e.com/T0/hush?a", "https://e.com/…?…"),
        ("/T0/hush", "/T0/hush/", "/…/"),
        ("/T0/hush/", "/T0/hush", "/…"),
        ("/T0/hush", "https://e.com/moved", "https://e.com/moved"),
        (
            "/hooks",
            "https://hooks.e.com/hooks",
            "https://hooks.e.com/…",
        ),
        (
            "/hooks",
            "https://e.com/hooks2/hooks",
            "https://e.com/hooks2/hooks",
        ),
        ("/T0/hush", "//u:pass@e.com/T0/hush", "//e.com/…"),
        ("?hush", "https://e.com/moved", "https://e.com/moved"),
    ] {
        let error = error_from(&format!("http://e.com{own}"), 308, location.as_bytes());
        let expected = format!("answered 308 Permanent Redirect to {shown}");
        assert_eq!(error, expected, "{location} from {own}");
    }
    // Only a redirect shows it.
    assert_eq!(error(404, b"/"), "answered 404 Not Found");
}

#[test]
fn a_timeout_says_for_what_there_was_no_time() {
    let config = Config::default().resolve();
    let error = |phase| {
        let outcome = failure(&ureq::Error::Timeout(phase), config.adhoc());
        assert_eq!(outcome.failure, Some(FailureKind::Timeout));
        outcome.error.expect("words")
    };
    let words = "timed out: its name was not found within delivery.connect_timeout";
    assert_eq!(error(ureq::Timeout::Resolve), words);
    let words = "timed out: no connection, TLS included, within delivery.connect_timeout";
    assert_eq!(error(ureq::Timeout::Connect), words);
    for phase in [ureq::Timeout::Global, ureq::Timeout::RecvResponse] {
        let words = "timed out: no complete answer within 15000 ms";
        assert_eq!(error(phase), words);
    }
}

fn header(status: u16, value: &str) -> Option<u64> {
    let mut headers = HeaderMap::new();
    headers.insert(RETRY_AFTER, HeaderValue::from_str(value).expect("a value"));
    // Wed, 21 Oct 2015 07:28:00 GMT
    let now = Timestamp::from_millis(1_445_412_480_000);
    retry_after(&headers, status, now).map(|wait| wait.as_secs())
}

#[test]
fn retry_after_is_read_as_seconds_or_as_a_date() {
    assert_eq!(header(503, "120"), Some(120));
    assert_eq!(header(429, " 0 "), Some(0));
    assert_eq!(header(429, "99999999999999999999999"), Some(u64::MAX));
    assert_eq!(header(503, "Wed, 21 Oct 2015 07:29:00 GMT"), Some(60));
    assert_eq!(header(503, "Wed, 21 Oct 2015 07:00:00 GMT"), Some(0));
    for value in [
        "",
        "-5",
        "1.5",
        "+5",
        "soon",
        "Wed, 99 Oct 2015 07:29:00 GMT",
    ] {
        assert_eq!(header(503, value), None, "{value:?}");
    }
    assert_eq!(header(500, "120"), None);
}

proptest! {
    #[test]
    fn no_location_panics(bytes in prop::collection::vec(32u8..127, 0..60)) {
        let location = HeaderValue::from_bytes(&bytes).expect("visible");
        let from = "http://example.com";
        let shown = shown_location(&Redirect { to: &location, from });
        prop_assert!(shown.chars().count() <= MAX_LOCATION + 2);
    }

    #[test]
    fn no_retry_after_panics(value in "[ -~]{0,40}") {
        let _ = header(503, &value);
    }
}
