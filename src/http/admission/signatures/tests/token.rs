use super::{Sent, verifier_of};

#[test]
fn a_token_verifies_alone_and_once() {
    let gitlab = verifier_of("[token]\nheader = 'X-Gitlab-Token'\nsecrets = ['s3cret', 'next']");
    let name = |headers: &[(&str, &str)]| Sent::new(headers, "{}").name(&*gitlab);
    assert_eq!(name(&[("x-gitlab-token", "s3cret")]), "ok");
    assert_eq!(name(&[("x-gitlab-token", "next")]), "ok");
    assert_eq!(name(&[("x-gitlab-token", "s3cre")]), "mismatch");
    assert_eq!(name(&[("x-gitlab-token", "s3cret2")]), "mismatch");
    assert_eq!(name(&[("x-gitlab-token", "S3cret")]), "mismatch");
    assert_eq!(name(&[("x-gitlab-token", "")]), "mismatch");
    assert_eq!(name(&[]), "no_header");
    let twice = [("x-gitlab-token", "s3cret"), ("x-gitlab-token", "s3cret")];
    assert_eq!(name(&twice), "unreadable");
}

#[test]
fn the_name_of_an_authentication_scheme_is_written_in_any_case() {
    let bearer =
        verifier_of("[token]\nheader = 'Authorization'\nprefix = 'Bearer '\nsecrets = ['s3cret']");
    for (value, expected) in [
        ("Bearer s3cret", "ok"),
        ("bearer s3cret", "ok"),
        ("Bearer S3cret", "mismatch"),
        ("Bearer  s3cret", "mismatch"),
        ("s3cret", "unreadable"),
        ("Basic s3cret", "unreadable"),
        ("Bearers3cret", "unreadable"),
    ] {
        let sent = Sent::new(&[("authorization", value)], "{}");
        assert_eq!(sent.name(&*bearer), expected, "{value}");
    }
    let custom = verifier_of("[token]\nheader = 'X'\nprefix = 'Key='\nsecrets = ['s']");
    assert_eq!(Sent::new(&[("x", "Key=s")], "").name(&*custom), "ok");
    assert_eq!(
        Sent::new(&[("x", "key=s")], "").name(&*custom),
        "unreadable"
    );
}

#[test]
fn a_token_may_stand_in_the_query_or_the_body() {
    let query = verifier_of("[token]\nvalue = '{query.token}'\nsecrets = ['s+3']");
    for (text, expected) in [
        (Some("token=s%2B3"), "ok"),
        (Some("a=1&token=s%2B3&b"), "ok"),
        (Some("token=s+3"), "mismatch"),
        (Some("token=s%2B3&token=s%2B3"), "part_missing"),
        (Some("Token=s%2B3"), "part_missing"),
        (None, "part_missing"),
    ] {
        let sent = Sent {
            query: text.map(str::to_owned),
            ..Sent::default()
        };
        assert_eq!(sent.name(&*query), expected, "{text:?}");
    }
    let graph = verifier_of("[token]\nvalue = '{json./value/0/clientState}'\nsecrets = ['s']");
    let name = |body: &str| Sent::new(&[], body).name(&*graph);
    assert_eq!(name(r#"{"value":[{"clientState":"s"}]}"#), "ok");
    assert_eq!(name(r#"{"value":[{"clientState":"t"}]}"#), "mismatch");
    assert_eq!(name(r#"{"value":[]}"#), "part_missing");
    assert_eq!(name("s"), "part_missing");
}

#[test]
fn a_users_password_verifies() {
    let basic = verifier_of("[basic]\nuser = 'relay'\nsecrets = ['s3cret', 'a:b']");
    for (value, expected) in [
        ("Basic cmVsYXk6czNjcmV0", "ok"),
        ("basic cmVsYXk6czNjcmV0", "ok"),
        // relay:a:b, other:s3cret, relay:s3cre, relay:, relay
        ("Basic cmVsYXk6YTpi", "ok"),
        ("Basic b3RoZXI6czNjcmV0", "mismatch"),
        ("Basic cmVsYXk6czNjcmU=", "mismatch"),
        ("Basic cmVsYXk6", "mismatch"),
        ("Basic cmVsYXk=", "mismatch"),
        ("Basic ", "mismatch"),
        ("Basic %%%%", "unreadable"),
        ("Bearer cmVsYXk6czNjcmV0", "unreadable"),
    ] {
        let sent = Sent::new(&[("authorization", value)], "{}");
        assert_eq!(sent.name(&*basic), expected, "{value}");
    }
    assert_eq!(Sent::default().name(&*basic), "no_header");
    let line = ("authorization", "Basic cmVsYXk6czNjcmV0");
    assert_eq!(Sent::new(&[line, line], "{}").name(&*basic), "unreadable");
}
