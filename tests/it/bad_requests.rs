//! Every bad request gets a status, a code, and a message that names the member and the
//! expectation: the same in every build.

use serde_json::json;

use crate::support::{KEY, TestRelay, URL, off, relay_to};

const DESTINATION: &str = r#""destination":{"type":"webhook","url":"http://127.0.0.1:9/hook"}"#;

#[test]
fn a_relays_members_are_checked_one_by_one() {
    let relay = TestRelay::start_with(URL, off);
    let long = "x".repeat(129);
    let url = |url: &str| {
        format!(
            r#"{{"eventType":"a","destination":{{"type":"webhook","url":{}}},"payload":{{}}}}"#,
            json!(url)
        )
    };
    let with = |members: &str| format!("{{{members}}}");
    let long_url = format!("http://127.0.0.1:9/{}", "x".repeat(2048 - 18));
    for (body, member, says) in [
        // The body itself.
        (String::new(), None, "expected a JSON object"),
        ("null".to_owned(), None, "expected a JSON object"),
        ("[]".to_owned(), None, "expected a JSON object"),
        ("\"text\"".to_owned(), None, "expected a JSON object"),
        ("{".to_owned(), None, "not JSON: EOF"),
        (
            "{}x".to_owned(),
            None,
            "trailing characters at line 1 column 3",
        ),
        ("{} {}".to_owned(), None, "trailing characters"),
        ("{\"a\":1,}".to_owned(), None, "not JSON"),
        ("{'a':1}".to_owned(), None, "not JSON"),
        ("{\"a\":NaN}".to_owned(), None, "not JSON"),
        ("{\"a\":01}".to_owned(), None, "not JSON"),
        (
            "{\"a\":\"\u{1}\"}".to_owned(),
            None,
            "not JSON: control character",
        ),
        ("\u{feff}{}".to_owned(), None, "expected a JSON object"),
        // Members that are missing, blank, too long, of the wrong type, unknown, or duplicated.
        (
            with(&format!(r#"{DESTINATION},"payload":{{}}"#)),
            Some("eventType"),
            "missing",
        ),
        (
            with(&format!(r#""eventType":null,{DESTINATION},"payload":{{}}"#)),
            Some("eventType"),
            "expected a string",
        ),
        (
            with(&format!(r#""eventType":7,{DESTINATION},"payload":{{}}"#)),
            Some("eventType"),
            "expected a string",
        ),
        (
            with(&format!(r#""eventType":"",{DESTINATION},"payload":{{}}"#)),
            Some("eventType"),
            "1 to 128",
        ),
        (
            with(&format!(
                r#""eventType":" \t\u00a0 ",{DESTINATION},"payload":{{}}"#
            )),
            Some("eventType"),
            "1 to 128",
        ),
        (
            with(&format!(
                r#""eventType":"{long}",{DESTINATION},"payload":{{}}"#
            )),
            Some("eventType"),
            "1 to 128",
        ),
        (
            with(&format!(
                r#""eventType":"a\u0000b",{DESTINATION},"payload":{{}}"#
            )),
            Some("eventType"),
            "without control characters",
        ),
        (
            with(&format!(
                r#""eventType":"a\ud800",{DESTINATION},"payload":{{}}"#
            )),
            Some("eventType"),
            "expected a string",
        ),
        (
            with(&format!(
                r#""eventType":"a","eventType":"a",{DESTINATION},"payload":{{}}"#
            )),
            Some("eventType"),
            "once",
        ),
        (
            with(&format!(
                r#""eventType":"a","event\u0054ype":"a",{DESTINATION},"payload":{{}}"#
            )),
            Some("eventType"),
            "once",
        ),
        (
            with(&format!(r#""eventtype":"a",{DESTINATION},"payload":{{}}"#)),
            Some("eventtype"),
            "unknown member; expected eventType, destination, payload, metadata",
        ),
        (
            with(&format!(
                r#""eventType":"a",{DESTINATION},"payload":{{}},"id":1"#
            )),
            Some("id"),
            "unknown member",
        ),
        (
            with(&format!(
                r#""eventType":"a",{DESTINATION},"payload":{{}},"{long}":1"#
            )),
            Some(&*format!("{}…", "x".repeat(64))),
            "unknown member",
        ),
        (
            with(r#""eventType":"a","payload":{}"#),
            Some("destination"),
            "missing",
        ),
        (
            with(r#""eventType":"a","destination":"http://a/","payload":{}"#),
            Some("destination"),
            "expected a JSON object",
        ),
        (
            with(r#""eventType":"a","destination":["webhook","http://a/"],"payload":{}"#),
            Some("destination"),
            "expected a JSON object",
        ),
        (
            with(r#""eventType":"a","destination":{"url":"http://a/"},"payload":{}"#),
            Some("destination.type"),
            "missing",
        ),
        (
            with(
                r#""eventType":"a","destination":{"type":"queue","url":"http://a/"},"payload":{}"#,
            ),
            Some("destination.type"),
            "expected \"webhook\"",
        ),
        (
            with(r#""eventType":"a","destination":{"type":"webhook"},"payload":{}"#),
            Some("destination.url"),
            "missing",
        ),
        (
            with(r#""eventType":"a","destination":{"type":"webhook","url":5},"payload":{}"#),
            Some("destination.url"),
            "expected a string",
        ),
        (
            with(
                r#""eventType":"a","destination":{"type":"webhook","url":"http://a/","x":1},"payload":{}"#,
            ),
            Some("destination.x"),
            "unknown member; expected type, url",
        ),
        (
            with(
                r#""eventType":"a","destination":{"type":"webhook","type":"webhook","url":"http://a/"},"payload":{}"#,
            ),
            Some("destination.type"),
            "once",
        ),
        (
            with(&format!(r#""eventType":"a",{DESTINATION}"#)),
            Some("payload"),
            "missing",
        ),
        (
            with(&format!(r#""eventType":"a",{DESTINATION},"payload":null"#)),
            Some("payload"),
            "expected a JSON object",
        ),
        (
            with(&format!(
                r#""eventType":"a",{DESTINATION},"payload":[{{}}]"#
            )),
            Some("payload"),
            "expected a JSON object",
        ),
        (
            with(&format!(
                r#""eventType":"a",{DESTINATION},"payload":{{}},"metadata":null"#
            )),
            Some("metadata"),
            "expected a JSON object",
        ),
        (
            with(&format!(
                r#""eventType":"a",{DESTINATION},"payload":{{}},"metadata":{{"k":null}}"#
            )),
            Some("metadata.k"),
            "expected a string",
        ),
        (
            with(&format!(
                r#""eventType":"a",{DESTINATION},"payload":{{}},"metadata":{{"k":{{}}}}"#
            )),
            Some("metadata.k"),
            "expected a string",
        ),
        (
            with(&format!(
                r#""eventType":"a",{DESTINATION},"payload":{{}},"metadata":{{"k":"1","k":"1"}}"#
            )),
            Some("metadata.k"),
            "once",
        ),
        // URLs.
        (url(""), Some("destination.url"), "absolute http or https"),
        (
            url("/hook"),
            Some("destination.url"),
            "absolute http or https",
        ),
        (
            url("//127.0.0.1/hook"),
            Some("destination.url"),
            "absolute http or https",
        ),
        (
            url("127.0.0.1:9/hook"),
            Some("destination.url"),
            "absolute http or https",
        ),
        (
            url("ftp://127.0.0.1/"),
            Some("destination.url"),
            "absolute http or https",
        ),
        (
            url("file:///etc/passwd"),
            Some("destination.url"),
            "absolute http or https",
        ),
        (
            url("javascript:alert(1)"),
            Some("destination.url"),
            "absolute http or https",
        ),
        (
            url("http:127.0.0.1"),
            Some("destination.url"),
            "absolute http or https",
        ),
        (
            url(" http://127.0.0.1/"),
            Some("destination.url"),
            "absolute http or https",
        ),
        (url("http://"), Some("destination.url"), "name a host"),
        (url("http:///hook"), Some("destination.url"), "name a host"),
        (url("http://:80/"), Some("destination.url"), "name a host"),
        (
            url("http://user@127.0.0.1/"),
            Some("destination.url"),
            "user name or password",
        ),
        (
            url("http://user:pw@127.0.0.1/"),
            Some("destination.url"),
            "user name or password",
        ),
        (
            url("http://127.0.0.1/#top"),
            Some("destination.url"),
            "fragment",
        ),
        (
            url("http://127.0.0.1:0/"),
            Some("destination.url"),
            "port from 1 to 65535",
        ),
        (
            url("http://127.0.0.1:65536/"),
            Some("destination.url"),
            "port from 1 to 65535",
        ),
        (
            url("http://127.0.0.1:http/"),
            Some("destination.url"),
            "port from 1 to 65535",
        ),
        (
            url("http://b\u{fc}cher.example/"),
            Some("destination.url"),
            "write international host names as xn--",
        ),
        (
            url("http://127.0.0.1/\u{fc}"),
            Some("destination.url"),
            "percent-encode",
        ),
        (
            url("http://127.0.0.1/a b"),
            Some("destination.url"),
            "visible ASCII",
        ),
        (
            url("http://127.0.0.1/\r\nX: y"),
            Some("destination.url"),
            "visible ASCII",
        ),
        (
            url(&long_url),
            Some("destination.url"),
            "at most 2048 characters",
        ),
        (
            url("http://10.1.2.3/"),
            Some("destination.url"),
            "delivery.allow_networks",
        ),
    ] {
        let reply = relay.client.create(&[], &body);
        assert_eq!(reply.status, 400, "{body}: {}", reply.text());
        let error = reply.json();
        assert_eq!(error["code"], "invalid_request", "{body}");
        assert_eq!(
            error["details"]["member"].as_str(),
            member,
            "{body}: {error}"
        );
        let message = error["message"].as_str().expect("a message");
        assert!(
            message.contains(says),
            "{body}: {message:?} should say {says:?}"
        );
        if let Some(member) = member {
            assert!(
                message.contains(member),
                "{message:?} should name {member:?}"
            );
        }
    }
    assert_eq!(
        relay.client.get("/v1/relays").json()["items"],
        json!([]),
        "nothing was recorded"
    );
}

#[test]
fn unusual_but_valid_json_is_kept_byte_for_byte() {
    let relay = TestRelay::start_with(URL, |config| {
        off(config);
        config.server.max_body_bytes = 1 << 20;
    });
    let kept = |payload: &str| {
        let body = format!(r#"{{"eventType":"a",{DESTINATION},"payload":{payload}}}"#);
        let reply = relay.client.create(&[], &body);
        assert_eq!(reply.status, 201, "{}", reply.text());
        let text = reply.text();
        assert!(text.contains(payload), "{payload:.80} is kept");
        let path = reply.header("location").expect("a location").to_owned();
        assert_eq!(relay.client.get(&path).text(), text);
    };
    kept(r#"{"n":123456789012345678901234567890.000000000000000000001}"#);
    kept(r#"{"n":1e400,"m":-0,"o":1E+2,"p":0.10}"#);
    kept(r#"{"a":1,"a":2,"":3}"#);
    kept(r#"{"s":"\ud800 \/ \u0041"}"#);
    kept("{ \"spaced\" :\n\t[ ] }");
    let deep = format!(r#"{{"d":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    kept(&deep);
    let long = "ü".repeat(128);
    let body = format!(r#"{{"eventType":" {long}\n",{DESTINATION},"payload":{{}}}}"#);
    assert_eq!(relay.client.create(&[], &body).json()["eventType"], long);
    // Members in another order, one of their names with an escape.
    let body = format!(r#"{{"payload":{{}},{DESTINATION},"event\u0054ype":"a"}}"#);
    assert_eq!(relay.client.create(&[], &body).status, 201);
    assert_eq!(
        relay
            .client
            .create(&[], &relay_to("HTTP://[::ffff:127.0.0.1]:9/?q=1", "{}"))
            .json()["destination"]["url"],
        "HTTP://[::ffff:127.0.0.1]:9/?q=1"
    );
}

#[test]
fn deep_nesting_is_refused_without_a_crash_where_scalars_are_expected() {
    let relay = TestRelay::start_with(URL, |config| {
        off(config);
        config.server.max_body_bytes = 1 << 20;
        let mut source = relay::config::Source::to(["orders"]);
        source.idempotency = relay::config::IdempotencyKeyAt::JsonPointer("/a/a/a".to_owned());
        config.sources.insert("pointed".to_owned(), source);
    });
    let lists = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let objects = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    for body in [
        lists(100_000),
        objects(100_000),
        format!(r#"{{"eventType":{}}}"#, lists(100_000)),
        format!(r#"{{"eventType":"a","destination":{}}}"#, objects(100_000)),
        format!(
            r#"{{"eventType":"a",{DESTINATION},"payload":{{}},"metadata":{}}}"#,
            objects(100_000)
        ),
        "[".repeat(1_000_000),
    ] {
        let reply = relay.client.create(&[], &body);
        assert_eq!(reply.status, 400, "{body:.40}");
    }
    // The body of an event may be any JSON document.
    let deep = lists(100_000);
    let id = crate::support::event_id(&relay.client.hook("deep", deep.as_bytes()));
    assert!(
        relay
            .client
            .get(&format!("/events/{id}"))
            .text()
            .contains(&deep)
    );
    assert_eq!(
        relay
            .client
            .hook("open", "[".repeat(100_000).as_bytes())
            .status,
        400
    );
    let pointed = |body: &str| {
        let reply = relay
            .client
            .send("POST", "/webhooks/pointed", &[], body.as_bytes());
        reply.status
    };
    assert_eq!(pointed(&objects(100_000)), 400, "what is there isn't a key");
    assert_eq!(pointed(&objects(3)), 202);
}

#[test]
fn bytes_that_are_not_utf_8_are_refused() {
    let relay = TestRelay::start_with(URL, off);
    let mut body = relay_to(URL, r#"{"a":"?"}"#).into_bytes();
    let at = body.iter().position(|&b| b == b'?').expect("it is there");
    body[at] = 0xff;
    let reply = relay
        .client
        .send("POST", "/v1/relays", &[("X-API-Key", KEY)], &body);
    assert_eq!(reply.status, 400);
    assert!(reply.text().contains("not UTF-8"), "{}", reply.text());
}
