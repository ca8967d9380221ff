use hyper::header::HeaderValue;

use super::*;
use crate::config::{Config, Source};

#[test]
fn each_of_thousands_of_connection_options_takes_a_binary_search() {
    let names: Vec<String> = (10..74).map(|number| format!("x-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut options = vec!["a"; 8_000];
    options[4_000] = "X-30";
    options.push("x-73");
    let mut comparisons = 0;
    let found = named_by(&names, options.iter().copied(), |name, option| {
        comparisons += 1;
        compare(name, option)
    });
    assert_eq!(found, ["x-30", "x-73"]);
    assert!(comparisons <= 8 * options.len(), "{comparisons}");
}

#[test]
fn hop_by_hop_headers_and_secrets_are_not_forwarded() {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "relay"),
        ("connection", "close, X-Hop"),
        ("x-hop", "1"),
        ("content-type", "application/json"),
        ("cookie", "a=b"),
        ("authorization", "Bearer x"),
        ("x-api-key", "k"),
        ("relay-event-type", "forged"),
        ("accept-encoding", "gzip"),
        ("x-github-event", "push"),
    ] {
        headers.append(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    headers.append("x-multi", HeaderValue::from_static("1"));
    headers.append(
        "x-multi",
        HeaderValue::from_bytes(b"\xff").expect("obs-text"),
    );
    let policy = |forward_authorization| {
        let mut config = Config::default();
        let mut source = Source::to(["a"]);
        source.forward_authorization = forward_authorization;
        config.sources.insert("s".to_owned(), source);
        config.resolve().source("s").expect("the source").clone()
    };
    let kept = forwarded_headers(&headers, &policy(false), &[("relay-query", "a=1")]);
    let lines: Vec<&[u8]> = kept.split(|&b| b == b'\n').collect();
    assert_eq!(
        lines,
        [
            &b"content-type: application/json\r"[..],
            b"x-github-event: push\r",
            b"x-multi: 1\r",
            b"x-multi: \xff\r",
            b"relay-query: a=1\r",
            b"",
        ]
    );
    let kept =
        String::from_utf8_lossy(&forwarded_headers(&headers, &policy(true), &[])).into_owned();
    assert!(kept.contains("authorization: Bearer x\r\n"));
}
