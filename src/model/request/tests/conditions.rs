use super::*;

fn matches(conditions: &str, request: &TestRequest) -> bool {
    let conditions: Conditions = toml::from_str(conditions).expect(conditions);
    conditions.match_request(&request.view())
}

/// Whether `{"a": value}` matches the patterns.
fn value_matches(patterns: &str, value: &str) -> bool {
    let request = TestRequest::of_body(format!("{{\"a\":{value}}}"));
    matches(&format!("body.\"/a\" = {patterns}"), &request)
}

#[test]
fn patterns_are_strict_about_types() {
    for (patterns, value, expected) in [
        ("['x']", "\"x\"", true),
        ("['x', 'y']", "\"y\"", true),
        ("['1']", "1", false),
        ("[1]", "1", true),
        ("[1]", "1.0", true),
        ("[1]", "1e0", true),
        ("[1]", "\"1\"", false),
        ("[1.5]", "15e-1", true),
        ("[9007199254740993]", "9007199254740993", true),
        ("[9007199254740993]", "9007199254740992", false),
        ("[9007199254740993]", "9007199254740993.0", true),
        ("[9007199254740993]", "9007199254740992.0", false),
        ("[0.1]", "0.10000000000000000001", false),
        ("[{ max = 1 }]", "1.00000000000000000001", false),
        ("[{ min = 1 }]", "1e999999999999999999999", true),
        ("[{ max = 1 }]", "-1e999999999999999999999", true),
        ("[true]", "true", true),
        ("[true]", "\"true\"", false),
        ("[true]", "null", false),
        ("[{ min = 1000 }]", "1000", true),
        ("[{ min = 1000 }]", "999.9", false),
        ("[{ min = 1, max = 2 }]", "3", false),
        ("[{ min = 1 }]", "\"3\"", false),
        ("[{ prefix = 'ab', suffix = 'yz' }]", "\"ab-yz\"", true),
        ("[{ prefix = 'ab', suffix = 'yz' }]", "\"ab\"", false),
        ("[{ contains = 'b' }]", "\"abc\"", true),
        ("[{ equals_ignore_case = 'AB' }]", "\"ab\"", true),
        ("[{ exists = true }]", "null", true),
        ("[{ exists = true }]", "{}", true),
        ("[{ exists = false }]", "1", false),
        ("[{ not = 'x' }]", "\"y\"", true),
        ("[{ not = ['x', { prefix = 'y' }] }]", "\"yy\"", false),
        ("[{ not = 'x' }]", "\"x\"", false),
    ] {
        assert_eq!(
            value_matches(patterns, value),
            expected,
            "{patterns} {value}"
        );
    }
}

#[test]
fn a_missing_value_matches_only_its_absence() {
    let request = TestRequest::of_body("{}");
    for (patterns, expected) in [
        ("[{ exists = false }]", true),
        ("[{ not = 'x' }]", false),
        ("[{ exists = true }]", false),
        ("['x']", false),
    ] {
        let conditions = format!("body.\"/a\" = {patterns}");
        assert_eq!(matches(&conditions, &request), expected, "{patterns}");
    }
}

#[test]
fn an_ambiguous_value_matches_nothing() {
    let repeated = TestRequest::of_body(r#"{"a":1,"a":1}"#)
        .header("x", "1")
        .header("x", "1")
        .query("x=1&x=1");
    for line in ["body.\"/a\" = [1", "headers.x = ['1'", "query.x = ['1'"] {
        let conditions = format!("{line}, {{ exists = true }}, {{ exists = false }}]");
        assert!(!matches(&conditions, &repeated), "{line}");
    }
    let spelled = TestRequest::of_body(r#"{"a":1,"\u0061":1}"#);
    assert!(!matches("body.\"/a\" = [1]", &spelled), "the same name");
    let no_json = TestRequest::of_body("a");
    assert!(!matches("body.\"/a\" = [{ exists = false }]", &no_json));
}

/// A receiver in PHP can't tell the object from the array.
#[test]
fn a_number_is_the_index_of_an_array_and_no_member() {
    for (body, first, has_no_second) in [
        (r#"{"a":["x"]}"#, true, true),
        (r#"{"a":["x","y"]}"#, true, false),
        (r#"{"a":{"0":"x"}}"#, false, true),
        (r#"{"a":{"0":"x","1":"y"}}"#, false, false),
        (r#"{"a":{"b":"x"}}"#, false, true),
    ] {
        let request = TestRequest::of_body(body);
        assert_eq!(matches("body.'/a/0' = ['x']", &request), first, "{body}");
        assert_eq!(request.text("{json./a/0}").is_some(), first, "{body}");
        let second = "body.'/a/1' = [{ exists = false }]";
        assert_eq!(matches(second, &request), has_no_second, "{body}");
    }
}

#[test]
fn all_lines_must_match() {
    let request = TestRequest::of_body(r#"{"a":1}"#)
        .header("X-Kind", "ping")
        .query("b=%32");
    assert!(matches(
        "headers.x-kind = ['ping']\nquery.b = ['2']\nbody.'/a' = [1]",
        &request
    ));
    assert!(!matches(
        "headers.x-kind = ['ping']\nquery.b = ['3']",
        &request
    ));
    assert!(matches("", &request));
}

#[test]
fn a_text_may_name_parts_of_the_request() {
    let mut request = TestRequest::of_body(r#"{"a":"arn:1"}"#);
    request
        .params
        .insert("topic".to_owned(), "arn:1".to_owned());
    assert!(matches("body.'/a' = ['{param.topic}']", &request));
    request
        .params
        .insert("topic".to_owned(), "arn:2".to_owned());
    assert!(!matches("body.'/a' = ['{param.topic}']", &request));
    let request =
        request.query("sum=f0b5e50c50e4e6d8f10d6b1b8a7b3f5d1f1d1f1d1f1d1f1d1f1d1f1d1f1d1f1d");
    assert!(!matches("query.sum = ['{body_sha256}']", &request));
    let sum = request.text("{body_sha256}").expect("a digest");
    assert!(matches(
        "query.sum = ['{body_sha256}']",
        &request.query(&format!("sum={sum}"))
    ));
}

#[test]
fn a_media_type_is_compared_in_any_case() {
    let form = TestRequest::default().header("content-type", "Application/X-FORM; charset=UTF-8");
    let other = TestRequest::default().header("x-type", "Application/X-FORM; charset=UTF-8");
    for pattern in [
        "{ prefix = 'application/x-form' }",
        "{ contains = 'charset=utf-8' }",
        "'APPLICATION/x-form; Charset=UTF-8'",
    ] {
        assert!(matches(
            &format!("headers.Content-Type = [{pattern}]"),
            &form
        ));
        assert!(!matches(&format!("headers.X-Type = [{pattern}]"), &other));
    }
    let not = "headers.Content-Type = [{ not = { prefix = 'application/x-form' } }]";
    assert!(!matches(not, &form));
}
