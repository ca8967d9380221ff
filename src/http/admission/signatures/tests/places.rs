//! Signatures, times and secrets in the places and forms that providers have.

use super::{Sent, verifier_of};
use crate::config::Algorithm;
use crate::http::admission::signatures::Verifier;

fn signature(secret: &[u8], content: &str) -> String {
    hex::encode(Algorithm::Sha256.hmac(secret, &[content]))
}

fn name_at(sent: &Sent, verifier: &dyn Verifier, millis: i64) -> &'static str {
    match sent.result_at(verifier, millis) {
        Ok(_) => "ok",
        Err(rejection) => rejection.result().name(),
    }
}

#[test]
fn a_list_with_commas_verifies_in_either_order() {
    let pagerduty = verifier_of(
        "[hmac]\nheader = 'X-PagerDuty-Signature'\nformat = 'v1={signature}'\nsecrets = ['s']",
    );
    let (ours, other) = (signature(b"s", "{}"), signature(b"t", "{}"));
    for value in [
        format!("v1={other},v1={ours}"),
        format!("v1={ours},v1={other}"),
        format!("v1={other}, v1={ours}"),
        format!("v1={ours}"),
    ] {
        let sent = Sent::new(&[("x-pagerduty-signature", &value)], "{}");
        assert_eq!(sent.name(&*pagerduty), "ok", "{value}");
    }
    let sent = Sent::new(&[("x-pagerduty-signature", &format!("v1={other}"))], "{}");
    assert_eq!(sent.name(&*pagerduty), "mismatch");
    let sent = Sent::new(&[("x-pagerduty-signature", "v1=zz")], "{}");
    assert_eq!(sent.name(&*pagerduty), "unreadable");
}

#[test]
fn a_signature_in_one_of_two_headers_verifies() {
    let boxes = verifier_of("[hmac]\nheader = ['A', 'B']\nsecrets = ['s']");
    let (ours, other) = (signature(b"s", "{}"), signature(b"t", "{}"));
    for (headers, expected) in [
        (&[("a", &*ours)][..], "ok"),
        (&[("b", &*ours)], "ok"),
        (&[("a", &*other), ("b", &*ours)], "ok"),
        (&[("a", &*other), ("b", &*other)], "mismatch"),
        (&[], "no_header"),
    ] {
        assert_eq!(
            Sent::new(headers, "{}").name(&*boxes),
            expected,
            "{headers:?}"
        );
    }
}

#[test]
fn a_signature_and_its_time_may_stand_in_the_body() {
    let mailgun = verifier_of(
        "[hmac]\n\
         signature = '{json./signature/signature}'\n\
         timestamp = '{json./signature/timestamp}'\n\
         signed = '{timestamp}{json./signature/token}'\n\
         secrets = ['s']",
    );
    let body = |time: &str, signature: &str| {
        format!(r#"{{"signature":{{"timestamp":"{time}","token":"t","signature":"{signature}"}}}}"#)
    };
    let sent = Sent::new(&[], body("1000", &signature(b"s", "1000t")));
    assert_eq!(name_at(&sent, &*mailgun, 1_000_000), "ok");
    assert_eq!(name_at(&sent, &*mailgun, 1_301_000), "too_old");
    assert_eq!(name_at(&sent, &*mailgun, 699_000), "too_early");
    let sent = Sent::new(&[], body("1000", &signature(b"other", "1000t")));
    assert_eq!(name_at(&sent, &*mailgun, 1_000_000), "mismatch");
    assert_eq!(
        name_at(&Sent::new(&[], "{}"), &*mailgun, 1_000_000),
        "part_missing"
    );
}

#[test]
fn a_time_is_read_in_its_format_and_no_other() {
    let verifier = |format: &str| {
        verifier_of(&format!(
            "[hmac]\n\
             header = 'S'\n\
             format = 't={{timestamp}},v1={{signature}}'\n\
             timestamp_format = '{format}'\n\
             signed = '{{timestamp}}.{{body}}'\n\
             secrets = ['s']"
        ))
    };
    for (format, time, now, expected) in [
        ("milliseconds", "1700000000123", 1_700_000_000_123, "ok"),
        ("milliseconds", "1700000000123", 1_700_000_300_123, "ok"),
        (
            "milliseconds",
            "1700000000123",
            1_700_000_300_124,
            "too_old",
        ),
        (
            "milliseconds",
            "1700000000123",
            1_699_999_700_122,
            "too_early",
        ),
        ("seconds", "1700000000123", 1_700_000_000_123, "too_early"),
        ("milliseconds", "1700000000", 1_700_000_000_123, "too_old"),
        ("seconds", "1700000000", 1_700_000_300_999, "ok"),
        ("seconds", "1700000000", 1_700_000_301_000, "too_old"),
        ("rfc3339", "2023-11-14T22:13:20.5Z", 1_700_000_000_500, "ok"),
        (
            "rfc3339",
            "2023-11-14T15:13:20-07:00",
            1_700_000_000_000,
            "ok",
        ),
        (
            "rfc3339",
            "2023-11-14T22:13:20Z",
            1_700_000_300_001,
            "too_old",
        ),
        ("rfc3339", "1700000000", 1_700_000_000_000, "unreadable"),
        (
            "rfc3339",
            "2023-11-14T22:13:20",
            1_700_000_000_000,
            "unreadable",
        ),
        ("seconds", "1e9", 1_000_000_000_000, "unreadable"),
        ("milliseconds", "-1", 0, "unreadable"),
        ("seconds", "99999999999999999999", 0, "unreadable"),
        ("seconds", "9223372036854775807", 0, "too_early"),
    ] {
        let signature = signature(b"s", &format!("{time}.{{}}"));
        let sent = Sent::new(&[("s", &format!("t={time},v1={signature}"))], "{}");
        assert_eq!(
            name_at(&sent, &*verifier(format), now),
            expected,
            "{format} {time} {now}"
        );
    }
}

#[test]
fn a_long_tolerance_reaches_back_and_not_far_ahead() {
    let paypal = verifier_of(
        "[hmac]\n\
         header = 'S'\n\
         timestamp_header = 'T'\n\
         signed = '{timestamp}.{body}'\n\
         tolerance = '4d'\n\
         secrets = ['s']",
    );
    let signature = signature(b"s", "1000000.{}");
    let sent = Sent::new(&[("s", &signature), ("t", "1000000")], "{}");
    let hours = |hours: i64| (1_000_000 + hours * 3600) * 1000;
    assert_eq!(name_at(&sent, &*paypal, hours(96)), "ok");
    assert_eq!(name_at(&sent, &*paypal, hours(97)), "too_old");
    assert_eq!(name_at(&sent, &*paypal, hours(-1)), "ok");
    assert_eq!(name_at(&sent, &*paypal, hours(-2)), "too_early");
}

#[test]
fn a_secret_stands_for_bytes_in_its_encoding() {
    for (encoding, secret, key) in [
        ("text", "c2VjcmV0", &b"c2VjcmV0"[..]),
        ("base64", "c2VjcmV0", b"secret"),
        ("base64", "_-8", &[0xff, 0xef]),
        ("hex", "00FFab", &[0, 0xff, 0xab]),
    ] {
        let verifier = verifier_of(&format!(
            "[hmac]\nheader = 'S'\nsecret_encoding = '{encoding}'\nsecrets = ['{secret}']"
        ));
        let sent = Sent::new(&[("s", &signature(key, "{}"))], "{}");
        assert_eq!(sent.name(&*verifier), "ok", "{encoding}");
        let sent = Sent::new(&[("s", &signature(b"other", "{}"))], "{}");
        assert_eq!(sent.name(&*verifier), "mismatch", "{encoding}");
    }
}

#[test]
fn a_url_and_a_form_are_signed_as_twilio_does() {
    // From the tests of Twilio's libraries, with their URL.
    let twilio = verifier_of(
        "[hmac]\n\
         header = 'X-Twilio-Signature'\n\
         algorithm = 'sha1'\n\
         encoding = 'base64'\n\
         signed = 'https://mycompany.com/myapp.php?{query}{form_sorted}'\n\
         secrets = ['12345']",
    );
    let headers = [
        (
            "content-type",
            "application/x-www-form-urlencoded; charset=utf-8",
        ),
        ("x-twilio-signature", "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
    ];
    let form = "CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&\
                From=%2B14158675309&To=%2B18005551212";
    let with = |headers: &[(&str, &str)], form: &str| {
        let mut sent = Sent::new(headers, form);
        sent.query = Some("foo=1&bar=2".to_owned());
        sent.name(&*twilio)
    };
    assert_eq!(with(&headers, form), "ok");
    assert_eq!(with(&headers, &form.replace("1234&", "1235&")), "mismatch");
    assert_eq!(with(&headers, &format!("{form}&A=1")), "mismatch");
    assert_eq!(
        with(&headers[1..], form),
        "part_missing",
        "no form by its content type"
    );
    let many = Sent::new(&headers, "a=1&".repeat(1001)).result_at(&*twilio, 0);
    assert_eq!(
        many.expect_err("too many fields").to_string(),
        "the request has no {form_sorted}: expected a form of at most 1000 fields"
    );
}
