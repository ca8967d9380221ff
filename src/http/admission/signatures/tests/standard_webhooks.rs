use proptest::prelude::*;
use standardwebhooks::Webhook;

use super::{verifier_of, verifies};
use crate::http::admission::signatures::Verifier;
use crate::http::admission::signatures::signed_request::MAX_SIGNATURES;

pub(super) const NOW: i64 = 1_614_265_330;
// From the Standard Webhooks specification's reference libraries.
pub(super) const ID: (&str, &str) = ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek");
const AT: (&str, &str) = ("webhook-timestamp", "1614265330");
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const SIGNED: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
const BODY: &[u8] = br#"{"test": 2432232314}"#;

pub(super) fn verifier_of_example() -> Box<dyn Verifier> {
    verifier_of(&format!("[standard_webhooks]\nsecrets = ['{SECRET}']"))
}

/// Whether the example's body verifies with these headers.
fn example_verifies(headers: &[(&str, &str)], now: i64) -> bool {
    verifies(&*verifier_of_example(), headers, BODY, now)
}

#[test]
fn the_specifications_example_verifies() {
    let at = |signature: &str, now| {
        let headers = [ID, AT, ("webhook-signature", signature)];
        example_verifies(&headers, now)
    };
    assert!(at(SIGNED, NOW));
    let other = "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    // A provider that rotates its secrets signs with all of them, and with newer schemes too.
    assert!(at(&format!("v1a,xyz {other} {SIGNED}"), NOW));
    assert!(!at(other, NOW));
    assert!(!at("", NOW));
    assert!(!at(&SIGNED.replace("v1,", "v2,"), NOW));
    assert!(!at(SIGNED.trim_start_matches("v1,"), NOW));
    // Five minutes either way, and no more.
    assert!(at(SIGNED, NOW + 300) && at(SIGNED, NOW - 300));
    assert!(!at(SIGNED, NOW + 301) && !at(SIGNED, NOW - 301));
    // Two header lines are as good as one.
    let lines = [
        ID,
        AT,
        ("webhook-signature", other),
        ("webhook-signature", SIGNED),
    ];
    assert!(example_verifies(&lines, NOW));
}

#[test]
fn missing_doubled_and_changed_parts_do_not_verify() {
    let signature = ("webhook-signature", SIGNED);
    let compact = b"{\"test\":2432232314}";
    assert!(!verifies(
        &*verifier_of_example(),
        &[ID, AT, signature],
        compact,
        NOW
    ));
    assert!(!example_verifies(&[AT, signature], NOW));
    assert!(!example_verifies(&[ID, signature], NOW));
    assert!(!example_verifies(&[ID, AT], NOW));
    assert!(!example_verifies(&[ID, ID, AT, signature], NOW));
    assert!(!example_verifies(&[ID, AT, AT, signature], NOW));
    for time in [
        "",
        "now",
        "-1",
        "+1614265330",
        "1614265330.0",
        "99999999999999999999",
    ] {
        let at = ("webhook-timestamp", time);
        assert!(!example_verifies(&[ID, at, signature], NOW), "{time}");
    }
}

#[test]
fn a_signature_of_any_of_the_secrets_verifies() {
    let two = verifier_of(&format!(
        "[standard_webhooks]\n\
         secrets = ['whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA', '{SECRET}']"
    ));
    let headers = [ID, AT, ("webhook-signature", SIGNED)];
    assert!(verifies(&*two, &headers, BODY, NOW));
}

#[test]
fn signatures_beyond_the_bound_are_not_compared() {
    let many = format!("{} {SIGNED}", ["v1,AAAA"; MAX_SIGNATURES].join(" "));
    assert!(!example_verifies(
        &[ID, AT, ("webhook-signature", &many)],
        NOW
    ));
}

#[test]
fn the_older_names_of_the_headers_verify_alone() {
    let svix = [
        ("svix-id", ID.1),
        ("svix-timestamp", AT.1),
        ("svix-signature", SIGNED),
    ];
    assert!(example_verifies(&svix, NOW));
    assert!(!example_verifies(&svix, NOW + 301));
    // The parts of one request are not mixed with those of another.
    let mixed = [ID, ("svix-timestamp", AT.1), ("svix-signature", SIGNED)];
    assert!(!example_verifies(&mixed, NOW));
    let standard = [ID, AT, ("webhook-signature", SIGNED)];
    assert!(!example_verifies(&[&svix[..], &standard].concat(), NOW));
}

#[test]
fn a_public_key_verifies_v1a_and_a_secret_v1() {
    use base64::Engine as _;
    use ring::signature::{Ed25519KeyPair, KeyPair as _};

    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a key");
    let encode = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let content = [format!("{}.{}.", ID.1, AT.1).as_bytes(), BODY].concat();
    let signature = encode(pair.sign(&content).as_ref());
    let key = format!("whpk_{}", encode(pair.public_key().as_ref()));
    let public = verifier_of(&format!("[standard_webhooks]\npublic_keys = ['{key}']"));
    let result = |verifier: &dyn Verifier, signatures: &str| {
        let sent = super::Sent::new(&[ID, AT, ("webhook-signature", signatures)], BODY);
        match sent.result_at(verifier, NOW * 1000) {
            Ok(_) => "ok",
            Err(rejection) => rejection.result().name(),
        }
    };
    let v1a = format!("v1a,{signature}");
    assert_eq!(result(&*public, &v1a), "ok");
    assert_eq!(result(&*public, &format!("{SIGNED} {v1a}")), "ok");
    assert_eq!(result(&*public, &format!("v1,{signature}")), "unknown_key");
    assert_eq!(result(&*public, SIGNED), "unknown_key");
    let secret = verifier_of_example();
    assert_eq!(result(&*secret, &v1a), "unknown_key");
    assert_eq!(
        result(&*secret, &SIGNED.replace("v1,", "v1a,")),
        "unknown_key"
    );
    let both = verifier_of(&format!(
        "[standard_webhooks]\nsecrets = ['{SECRET}']\npublic_keys = ['{key}']"
    ));
    for (signatures, expected) in [
        (SIGNED, "ok"),
        (&v1a, "ok"),
        (&SIGNED.replace("v1,", "v1a,"), "mismatch"),
        (&format!("v1,{signature}"), "mismatch"),
    ] {
        assert_eq!(result(&*both, signatures), expected, "{signatures}");
    }
}

proptest! {
    /// The specification's reference library is the oracle.
    #[test]
    fn a_request_that_the_reference_library_signed_verifies(
        id in "[!-~]{1,64}",
        seconds in 0_i64..4_000_000_000,
        body in ".{0,200}",
    ) {
        let oracle = Webhook::new(SECRET).expect("a secret of the specification's form");
        let signature = oracle.sign(&id, seconds, body.as_bytes()).expect("a text is signed");
        let at = seconds.to_string();
        let headers = [
            ("webhook-id", id.as_str()),
            ("webhook-timestamp", &at),
            ("webhook-signature", &signature),
        ];
        let verifier = verifier_of_example();
        prop_assert!(verifies(&*verifier, &headers, body.as_bytes(), seconds));
        let changed = format!("{body}.");
        prop_assert!(!verifies(&*verifier, &headers, changed.as_bytes(), seconds));
    }
}
