use std::borrow::Cow;

use super::{Sent, verifier_of_source};
use crate::config::Algorithm;
use crate::http::admission::signatures::hmac::hmac;

const GITLAB: &str = "[[verify_any]]
token = { header = 'X-Token', secrets = ['s'] }
[[verify_any]]
when.headers.X-Kind = ['signed']
hmac = { header = 'X-Signature', secrets = ['k'] }
[[verify_any]]
when.body.'/kind' = ['basic']
basic = { user = 'u', secrets = ['p'] }";

#[test]
fn the_first_scheme_that_verifies_decides() {
    let any = verifier_of_source(GITLAB);
    let hmac = hex::encode(hmac(Algorithm::Sha256, b"k", &[Cow::Borrowed(b"{}")]));
    for (headers, body, expected) in [
        (&[("x-token", "s")][..], "{}", "ok"),
        (&[("x-kind", "signed"), ("x-signature", &*hmac)], "{}", "ok"),
        (
            &[
                ("x-kind", "signed"),
                ("x-signature", &*hmac),
                ("x-token", "wrong"),
            ],
            "{}",
            "ok",
        ),
        // Only requests that the scheme is for.
        (&[("x-signature", &*hmac)], "{}", "no_header"),
        (
            &[("x-kind", "signed"), ("x-signature", &*hmac)],
            "{ }",
            "mismatch",
        ),
        (&[("x-token", "wrong")], "{}", "mismatch"),
        (
            &[("authorization", "Basic dTpw")],
            r#"{"kind":"basic"}"#,
            "ok",
        ),
        (
            &[("authorization", "Basic dTpw")],
            r#"{"kind":"other"}"#,
            "no_header",
        ),
        (&[], "{}", "no_header"),
    ] {
        assert_eq!(
            Sent::new(headers, body).name(&*any),
            expected,
            "{headers:?} {body}"
        );
    }
}

#[test]
fn a_request_that_no_scheme_is_for_is_not_verified() {
    let any = verifier_of_source(
        "[[verify_any]]\n\
         when.headers.X-Kind = ['a']\n\
         token = { header = 'X-Token', secrets = ['s'] }",
    );
    assert_eq!(
        Sent::new(&[("x-token", "s")], "{}").name(&*any),
        "part_missing"
    );
    let sent = Sent::new(&[("x-token", "s"), ("x-kind", "a")], "{}");
    assert_eq!(sent.name(&*any), "ok");
}

#[test]
fn schemes_share_the_secrets_of_their_source() {
    let any = verifier_of_source(
        "secrets = ['s']\n\
         [[verify_any]]\n\
         token = { header = 'A' }\n\
         [[verify_any]]\n\
         token = { header = 'B' }",
    );
    assert_eq!(Sent::new(&[("a", "s")], "{}").name(&*any), "ok");
    assert_eq!(Sent::new(&[("b", "s")], "{}").name(&*any), "ok");
    assert_eq!(Sent::new(&[("b", "t")], "{}").name(&*any), "mismatch");
}
