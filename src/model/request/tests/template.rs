use proptest::prelude::*;

use super::*;

/// Templates that are refused, and what their errors contain.
const REFUSED: &[(&str, &str)] = &[
    ("{json}", "{json}: expected a pointer such as {json./id}"),
    (
        "{json.id}",
        "{json.id}: expected a pointer such as {json./id}",
    ),
    ("{json./a~2}", "expected a pointer such as {json./id}"),
    ("{form}", "{form}: expected a field such as {form.NAME}"),
    (
        "{param}",
        "{param}: expected a parameter such as {param.NAME}",
    ),
    (
        "{header}",
        "{header}: expected a header such as {header.NAME}",
    ),
    ("{signature}", "{signature}: expected a part of the request"),
    (
        "{query.}",
        "{query.}: expected a field such as {query.NAME}",
    ),
    ("{Body}", "{Body}: expected one of {body}"),
    ("{body.id}", "{body.id}: expected one of {body}"),
    ("{timestamp.}", "{timestamp.}: expected one of {body}"),
    ("{Json./id}", "{Json./id}: expected one of {body}"),
    ("{Signature}", "{Signature}: expected one of {body}"),
    ("{header.a b}", "{header.a b}: expected one of {body}"),
    ("{}", "{}: expected one of {body}"),
    ("a{body", "{body: expected a } that closes it"),
    ("{?json./a|b", "expected a } that closes it"),
    ("{?json./a}", "expected a section such as {?json./a|text}"),
    (
        "{?header.a|b}",
        "expected a section such as {?json./a|text}",
    ),
    (
        "{?json./a|{?json./b|c}}",
        "expected no section within a section",
    ),
];

#[test]
fn an_error_names_the_part_and_the_expectation() {
    for (text, expected) in REFUSED {
        let error = Template::parse(text).expect_err(text).to_string();
        assert!(error.contains(expected), "{error}\n  not  {expected}");
    }
    let many = "{body}".repeat(65);
    let error = Template::parse(&many).expect_err("too many parts");
    assert!(error.to_string().contains("at most 64 parts"), "{error}");
    let many = format!("{{?json./a|{}}}", "{body}".repeat(64));
    Template::parse(&many).expect_err("the parts of a section count, too");
    Template::parse(&"a".repeat(5000)).expect_err("too long");
}

#[test]
fn parts_as_they_were_sent() {
    let mut request = TestRequest::of_body("b\u{e4}").query("a=%20&b");
    assert_eq!(
        request.text("{method} {path}?{query}|{body}}").as_deref(),
        Some("POST /webhooks/a%20b?a=%20&b|b\u{e4}}")
    );
    assert_eq!(request.text("{url}"), None, "without a public URL");
    request.public_url = Some("https://hooks.example.com/in".to_owned());
    assert_eq!(
        request.text("{url}").as_deref(),
        Some("https://hooks.example.com/in/webhooks/a%20b?a=%20&b")
    );
    request.query = Some(String::new());
    assert_eq!(
        request.text("{url}").as_deref(),
        Some("https://hooks.example.com/in/webhooks/a%20b")
    );
    request.query = None;
    assert_eq!(request.text("{query}").as_deref(), Some(""));
    assert_eq!(request.text("{timestamp}"), None);
}

#[test]
fn digests_of_the_body() {
    let request = TestRequest::of_body("123456789");
    // The check value of CRC-32, and the SHA-256 that `sha256sum` prints.
    assert_eq!(request.text("{body_crc32}").as_deref(), Some("3421780262"));
    assert_eq!(
        request.text("{body_sha256}").as_deref(),
        Some("15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225")
    );
}

#[test]
fn headers_by_both_names_and_once() {
    let request = TestRequest::default().header("X-Id", "7");
    assert_eq!(request.text("{x-id}{header.X-ID}").as_deref(), Some("77"));
    assert_eq!(request.text("{x-other}"), None);
    let request = request.header("Timestamp", "8").header("body.x", "9");
    assert_eq!(
        request
            .text("{header.timestamp}{header.Body.x}{X-Id}")
            .as_deref(),
        Some("897")
    );
    assert_eq!(request.header("x-id", "7").text("{x-id}"), None);
}

#[test]
fn decoded_fields_of_a_query_and_a_form() {
    let request = TestRequest::default().query("a=1+2&b=%2B&c&d=1&d=1");
    assert_eq!(
        request.text("{query.a}{query.b}{query.c}").as_deref(),
        Some("1 2+")
    );
    assert_eq!(request.text("{query.d}"), None, "twice");
    assert_eq!(request.text("{query.e}"), None);
    let form = TestRequest::form("a=1&b=%C3%A4&b%5B%5D=%FF");
    assert_eq!(form.text("{form.a}{form.b}").as_deref(), Some("1\u{e4}"));
    assert_eq!(form.text("{form.b[]}"), None, "no text");
    assert_eq!(
        TestRequest::of_body("a=1").text("{form.a}"),
        None,
        "no form"
    );
    let form = TestRequest::form("b=2&a=1&a=1&a=0&B=3");
    assert_eq!(form.text("{form_sorted}").as_deref(), Some("B3a0a1b2"));
    let many = vec!["a=1"; MAX_FIELDS + 1].join("&");
    assert_eq!(TestRequest::form(many).text("{form_sorted}"), None);
}

#[test]
fn scalars_of_a_document() {
    let body = r#"{"a":{"b/c":["x",12345678901234567890.10,true,null,{}]},"~":1,"d":1,"d":2}"#;
    let request = TestRequest::of_body(format!("\u{feff}{body}"));
    assert_eq!(request.text("{json./a/b~1c/0}").as_deref(), Some("x"));
    assert_eq!(
        request.text("{json./a/b~1c/1}").as_deref(),
        Some("12345678901234567890.10")
    );
    assert_eq!(
        request.text("{json./a/b~1c/2}{json./~0}").as_deref(),
        Some("true1")
    );
    for part in [
        "/a",
        "/a/b~1c/3",
        "/a/b~1c/4",
        "/a/b~1c/00",
        "/a/b~1c/9",
        "/d",
        "/e",
    ] {
        assert_eq!(request.text(&format!("{{json.{part}}}")), None, "{part}");
    }
    assert_eq!(TestRequest::of_body("a").text("{json./a}"), None);
}

#[test]
fn optional_values_and_sections_are_left_out_when_they_are_missing() {
    let template = "{json./a?}:{?json./b|b={json./b};}end";
    let text = |body: &str| TestRequest::of_body(body).text(template);
    assert_eq!(text(r#"{"a":1,"b":""}"#).as_deref(), Some("1:b=;end"));
    assert_eq!(text("{}").as_deref(), Some(":end"));
    assert_eq!(text(r#"{"a":null,"b":null}"#).as_deref(), Some(":end"));
    // Neither missing nor a text.
    for body in [
        r#"{"a":{}}"#,
        r#"{"b":[]}"#,
        r#"{"a":1,"a":1}"#,
        r#"{"b":1,"b":1}"#,
        "",
        "{",
    ] {
        assert_eq!(text(body), None, "{body}");
    }
}

#[test]
fn the_head_is_checked_without_the_body() {
    let template = Template::parse("{x-id}{json./a}{body}").expect("a template");
    let request = TestRequest::default();
    let missing = template.check_head(&request.view(), None);
    assert_eq!(missing.expect_err("no header").to_string(), "{header.x-id}");
    let request = request.header("x-id", "1");
    assert_eq!(template.check_head(&request.view(), None), Ok(()));
}

proptest! {
    #[test]
    fn no_template_panics(text in "[{}?|/a-z._ ~]{0,40}") {
        if let Ok(template) = Template::parse(&text) {
            let request = TestRequest::form(&text).query(&text).header("a", "b");
            let _ = template.evaluate(&request.view());
        }
    }

    #[test]
    fn no_request_panics(
        body in proptest::collection::vec(any::<u8>(), 0..200),
        query in "[ -~]{0,60}",
    ) {
        let request = TestRequest::form(&body).query(&query);
        for template in [
            "{json./a}{json./0/b?}",
            "{?json./a|x}",
            "{form_sorted}",
            "{form.a}",
            "{query.a}",
            "{url}",
        ] {
            let _ = request.text(template);
        }
    }

    /// Twilio's order of the fields is not the order in which they are sent.
    #[test]
    fn the_order_of_a_form_does_not_change_what_is_signed(
        fields in proptest::collection::vec(("[a-c]{1,2}", "[a-c%+]{0,3}"), 0..6),
    ) {
        let text = |fields: &[(String, String)]| {
            let fields: Vec<String> =
                fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
            TestRequest::form(fields.join("&")).text("{form_sorted}")
        };
        let mut reversed = fields.clone();
        reversed.reverse();
        prop_assert_eq!(text(&fields), text(&reversed));
    }
}
