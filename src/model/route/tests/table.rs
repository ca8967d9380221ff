use super::{document, routes, table};
use crate::model::route::{RouteTable, RoutedEvent, Verdict};

/// An event of this type and body, with one header that is there twice.
fn event(event_type: &'static str, body: &str) -> RoutedEvent<'static> {
    RoutedEvent {
        event_type: Some(event_type).filter(|found| !found.is_empty()),
        headers: b"content-type: application/json\r\nx-account: acct_1\r\nx-account: acct_2\r\n\
                   x-bytes: \xff\r\nx-colon: a: b\r\nx-account-id: 7\r\n",
        document: Some(document(body)),
    }
}

/// Whether a route with this `when` wants an event.
fn wants(when: &str, event: &RoutedEvent<'_>) -> bool {
    let table = table(&format!("[[routes]]\nto = [\"billing\"]\n{when}"));
    let wanted = table.route(event);
    let verdicts = table.explain(event);
    assert_eq!(verdicts[1].is_wanted(), wanted.len() == 2, "{when}");
    wanted.len() == 2
}

#[test]
fn a_type_matches_as_a_whole_or_by_its_beginning() {
    for (types, event_type, expected) in [
        (r#"["invoice.paid"]"#, "invoice.paid", true),
        (r#"["invoice.paid"]"#, "invoice.paid.late", false),
        (r#"["invoice.*"]"#, "invoice.paid", true),
        (r#"["invoice.*"]"#, "invoice.", true),
        (r#"["invoice.*"]"#, "invoice", false),
        (r#"["invoice.*"]"#, "Invoice.paid", false),
        (r#"["a", "b"]"#, "b", true),
        (r#"["*"]"#, "anything", true),
        (r#"["*"]"#, "", false),
        (r#"["a"]"#, "", false),
    ] {
        let when = format!("when.type = {types}");
        assert_eq!(
            wants(&when, &event(event_type, "{}")),
            expected,
            "{types} {event_type}"
        );
    }
}

#[test]
fn a_header_matches_if_one_of_its_values_does() {
    for (line, expected) in [
        (r#""X-Account" = ["acct_2"]"#, true),
        (r#""x-account" = ["acct_3", "acct_1"]"#, true),
        (r#""X-Account" = ["acct_3"]"#, false),
        (r#""X-Account" = [{ not = "acct_1" }]"#, true),
        (r#""X-Account" = [{ not = ["acct_1", "acct_2"] }]"#, false),
        (r#""X-Account" = [{ exists = false }]"#, false),
        (
            r#""X-Account" = [{ prefix = "acct_", suffix = "2" }]"#,
            true,
        ),
        (
            r#""X-Account" = [{ prefix = "acct_", suffix = "3" }]"#,
            false,
        ),
        (r#""X-None" = [{ exists = false }]"#, true),
        (r#""X-None" = [{ exists = true }]"#, false),
        (r#""X-None" = [{ not = "a" }]"#, false),
        (r#""X-Colon" = ["a: b"]"#, true),
        (r#""X-Bytes" = [{ exists = true }]"#, true),
        (r#""X-Bytes" = [{ contains = "" }]"#, false),
        (
            r#""X-Account" = ["acct_1"]
            when.headers."X-Colon" = ["b"]"#,
            false,
        ),
        (
            r#""X-Account" = ["acct_1"]
            when.headers."X-Colon" = [{ contains = ": " }]"#,
            true,
        ),
    ] {
        let when = format!("when.headers.{line}");
        assert_eq!(wants(&when, &event("", "{}")), expected, "{line}");
    }
}

#[test]
fn types_of_the_body_are_strict_and_operators_are_conjunctions() {
    let body = r#"{"text":"Paid","number":1000,"yes":true,"null":null,"list":["Paid"],"digits":"1000",
                   "half":"\ud800","escaped":"P\u0061id"}"#;
    for (line, expected) in [
        (r#""/text" = ["Paid"]"#, true),
        (r#""/escaped" = ["Paid"]"#, true),
        (r#""/text" = ["paid"]"#, false),
        (r#""/text" = [{ equals_ignore_case = "pAID" }]"#, true),
        (r#""/number" = [1e3]"#, true),
        (r#""/number" = ["1000"]"#, false),
        (r#""/digits" = [1000]"#, false),
        (r#""/digits" = [{ min = 1 }]"#, false),
        (r#""/number" = [{ min = 1000 }]"#, true),
        (r#""/number" = [{ min = 1000.5 }]"#, false),
        (r#""/number" = [{ min = 1, max = 999 }]"#, false),
        (r#""/number" = [{ max = 1000, not = 999 }]"#, true),
        (
            r#""/number" = [{ max = 1000, not = [999, 1000.0] }]"#,
            false,
        ),
        (r#""/yes" = [true]"#, true),
        (r#""/yes" = [false]"#, false),
        (r#""/yes" = ["true"]"#, false),
        (r#""/null" = [{ exists = true }]"#, true),
        (r#""/null" = [{ exists = false }]"#, false),
        (r#""/null" = [{ not = "a" }]"#, true),
        (r#""/none" = [{ not = "a" }]"#, false),
        (r#""/none" = [{ exists = false }]"#, true),
        (r#""/none" = ["a", { exists = false }]"#, true),
        (r#""/list" = ["Paid"]"#, false),
        (r#""/list/0" = ["Paid"]"#, true),
        (r#""/half" = [{ contains = "" }]"#, false),
        (r#""/half" = [{ exists = true }]"#, true),
        (
            r#""/text" = [{ prefix = "P", contains = "ai", suffix = "d" }]"#,
            true,
        ),
        (r#""/text" = [{ prefix = "P", contains = "x" }]"#, false),
    ] {
        let when = format!("when.body.{line}");
        assert_eq!(wants(&when, &event("", body)), expected, "{line}");
    }
}

#[test]
fn a_body_that_is_no_json_matches_no_line() {
    let event = RoutedEvent {
        document: None,
        ..event("push", "{}")
    };
    for line in [r#"["a"]"#, "[{ exists = false }]", "[{ not = 1 }]"] {
        assert!(
            !wants(&format!("when.body.\"/a\" = {line}"), &event),
            "{line}"
        );
    }
    assert!(wants("when.type = [\"push\"]", &event));
}

#[test]
fn each_destination_is_named_once_however_many_routes_lead_there() {
    let table = table(
        "[[routes]]\nto = [\"audit\", \"billing\"]\nwhen.type = [\"a*\"]\n\
         [[routes]]\nto = [\"billing\", \"crm\"]\nwhen.type = [\"ab*\"]\n",
    );
    assert_eq!(table.destinations(), ["audit", "billing", "crm"]);
    for (event_type, expected) in [
        ("x", &["audit"][..]),
        ("a", &["audit", "billing"]),
        ("abc", &["audit", "billing", "crm"]),
    ] {
        assert_eq!(
            *table.route(&event(event_type, "{}")),
            *expected,
            "{event_type}"
        );
    }
    let none = RouteTable::new(
        [].into(),
        &routes("[[routes]]\nto = [\"a\"]\nwhen.type = [\"b\"]"),
    );
    assert!(none.route(&event("x", "{}")).is_empty());
}

#[test]
fn the_first_line_that_fails_is_named_with_the_value_that_was_found() {
    let toml = r#"
        [[routes]]
        to = ["billing"]
        when.type = ["invoice.*", "refund"]
        when.headers."X-Account" = ["acct_2"]
        when.body."/amount" = [{ min = 1000, not = 2000 }]
        [[routes]]
        to = ["crm", "billing"]
        when.headers."X-Account" = ["acct_3"]
    "#;
    let table = table(toml);
    let failed = |event: &RoutedEvent<'_>, destination: usize, route: usize| {
        let verdicts = table.explain(event);
        let failed = verdicts[destination].routes[route].failed.clone();
        failed.map(|failed| (failed.line, failed.expected, failed.found))
    };
    let said = |line: &str, expected: &str, found: Option<&str>| {
        Some((
            line.to_owned(),
            expected.to_owned(),
            found.map(str::to_owned),
        ))
    };
    let types = r#""invoice.*", "refund""#;
    let amount = "{ min = 1000, not = [2000] }";
    for (event_type, body, expected) in [
        (
            "push",
            r#"{"amount":1000}"#,
            said("type", types, Some("\"push\"")),
        ),
        ("", r#"{"amount":1000}"#, said("type", types, None)),
        ("refund", r#"{"amount":1000}"#, None),
        (
            "refund",
            r#"{"amount":"9"}"#,
            said("body./amount", amount, Some("\"9\"")),
        ),
        ("refund", "{}", said("body./amount", amount, None)),
        (
            "refund",
            r#"{"amount":2e3}"#,
            said("body./amount", amount, Some("2e3")),
        ),
        (
            "refund",
            r#"{"amount":null}"#,
            said("body./amount", amount, Some("null")),
        ),
    ] {
        assert_eq!(
            failed(&event(event_type, body), 1, 0),
            expected,
            "{event_type} {body}"
        );
    }
    let account = said(
        "headers.x-account",
        "\"acct_3\"",
        Some("\"acct_1\", \"acct_2\""),
    );
    let refund = event("refund", r#"{"amount":1000}"#);
    assert_eq!(failed(&refund, 1, 1), account);
    assert_eq!(failed(&refund, 2, 0), account);
    let verdicts = table.explain(&refund);
    let by: Vec<_> = verdicts.iter().map(Verdict::matching_route).collect();
    assert_eq!(by, [None, Some(0), None]);
    assert_eq!(verdicts[2].routes[0].number, 1);
}

#[test]
fn a_long_value_is_shown_shortened() {
    let long = format!(
        r#"{{"a":"{}","b":[{}1]}}"#,
        "ä".repeat(5000),
        "1,".repeat(5000)
    );
    let table = table(
        "[[routes]]\nto=[\"b\"]\nwhen.body.\"/a\"=[1]\n[[routes]]\nto=[\"b\"]\nwhen.body.\"/b\"=[1]",
    );
    let verdicts = table.explain(&event("", &long));
    for route in &verdicts[1].routes {
        let found = route
            .failed
            .as_ref()
            .and_then(|failed| failed.found.as_ref());
        let found = found.expect("a value");
        assert!(
            found.ends_with('…') && found.chars().count() < 90,
            "{found}"
        );
    }
}
