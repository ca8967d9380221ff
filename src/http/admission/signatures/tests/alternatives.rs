use super::{Sent, verifier_of_source};
use crate::config::Algorithm;
use crate::http::admission::signatures::Rejection;

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
    let hmac = hex::encode(Algorithm::Sha256.hmac(b"k", &["{}"]));
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

/// As Mercado Pago signs: in which unit its time is can't be told before.
const TIMES: &str = "secrets = ['s']
[[verify_any]]
hmac = { header = 'S', format = 't={timestamp},v={signature}', signed = '{timestamp}' }
[[verify_any]]
hmac = { header = 'S', format = 't={timestamp},v={signature}', signed = '{timestamp}', \
timestamp_format = 'milliseconds' }";

#[test]
fn the_nearest_rejection_is_the_reason() {
    let any = verifier_of_source(TIMES);
    for (time, signature, expected) in [
        ("1000000000", "00", "mismatch"),
        ("1000000000000", "00", "mismatch"),
        ("999999000", "00", "too_old"),
        ("999999000000", "00", "too_old"),
        ("1000001000", "00", "too_early"),
        ("1000001000000", "00", "too_early"),
        ("1000001000000", "", "unreadable"),
    ] {
        let value = format!("t={time},v={signature}");
        let sent = Sent::new(&[("s", &value)], "{}");
        let rejection = sent
            .result_at(&*any, 1_000_000_000_000)
            .expect_err("a forgery");
        assert_eq!(rejection.result().name(), expected, "{value}: {rejection}");
        if let Rejection::TooOld { by, .. } | Rejection::TooEarly { by, .. } = rejection {
            assert!(by.as_secs() <= 1000, "{value}: {by:?}");
        }
    }
}

#[test]
fn a_certificate_that_is_needed_is_not_hidden_by_another_scheme() {
    let scheme = "public_key = { algorithm = 'ed25519', header = 'S', \
                  certificate_url = '{header.U}', certificate_hosts = ['HOST'] }";
    let of_host = |host: &str| scheme.replace("HOST", host);
    let (live, sandbox) = (of_host("live.example.com"), of_host("sandbox.example.com"));
    let token = "token = { header = 'T', secrets = ['s'] }".to_owned();
    for first in [token, live] {
        for (one, other) in [(&first, &sandbox), (&sandbox, &first)] {
            let any = format!("[[verify_any]]\n{one}\n[[verify_any]]\n{other}");
            let url = "https://sandbox.example.com/a.pem";
            let sent = Sent::new(&[("s", "00"), ("t", "wrong"), ("u", url)], "{}");
            let rejection = sent.result(&*verifier_of_source(&any));
            let expected = Rejection::NeedsCertificate(url.to_owned());
            assert_eq!(rejection.expect_err("no certificate"), expected, "{any}");
        }
    }
}
