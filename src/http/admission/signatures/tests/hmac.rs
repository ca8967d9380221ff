use ::hmac::{Hmac, KeyInit, Mac};
use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::GeneralPurpose;
use sha1::Sha1;
use sha2::{Sha256, Sha512};

use super::{verifier_of, verifies};
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

#[test]
fn a_prefixed_hexadecimal_signature_verifies() {
    // From GitHub's documentation of X-Hub-Signature-256.
    let github = verifier_of(
        "[hmac]\n\
         header = 'X-Hub-Signature-256'\n\
         format = 'sha256={signature}'\n\
         secrets = [\"It's a Secret to Everybody\"]",
    );
    let hex = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let with = |value: &str| {
        let headers = [("x-hub-signature-256", value)];
        verifies(&*github, &headers, b"Hello, World!", 0)
    };
    assert!(with(&format!("sha256={hex}")));
    assert!(with(&format!("sha256={}", hex.to_uppercase())));
    for wrong in [
        hex,
        "sha256=",
        &format!("sha1={hex}"),
        &format!("sha256={}", &hex[1..]),
        &format!("sha256={}", &hex[2..]),
        &format!("sha256={}", hex.replace('7', "8")),
        &format!("sha256={}", hex.replace('7', "+")),
        &format!("sha256={hex}0"),
        &format!("sha256=0x{hex}"),
    ] {
        assert!(!with(wrong), "{wrong}");
    }
    assert!(!verifies(&*github, &[], b"Hello, World!", 0));
}

/// The signature that a provider would send. It shows that the verifier puts the signed content
/// together as configured; the provider's own example above shows that the hash is right.
fn signed<M: Mac + KeyInit>(secret: &str, content: &str) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(secret.as_bytes()).expect("a key of any length");
    mac.update(content.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

#[test]
fn signatures_with_a_timestamp_verify() {
    let stripe = verifier_of(
        "[hmac]\n\
         header = 'Stripe-Signature'\n\
         format = 't={timestamp},v1={signature}'\n\
         signed = '{timestamp}.{body}'\n\
         secrets = ['whsec_abc']",
    );
    let good = hex::encode(signed::<Hmac<Sha256>>("whsec_abc", "1000.{}"));
    let with = |value: &str, now| verifies(&*stripe, &[("stripe-signature", value)], b"{}", now);
    assert!(with(&format!("t=1000,v1={good}"), 1000));
    assert!(with(&format!("t=1000, v0=00, v1=00, v1={good}"), 1300));
    assert!(!with(&format!("t=1000,v1={good}"), 1301));
    assert!(!with(&format!("t=1001,v1={good}"), 1000));
    assert!(!with(&format!("t=1000,t=1000,v1={good}"), 1000));
    assert!(!with(&format!("v1={good}"), 1000));
    assert!(!with("t=1000", 1000));

    let slack = verifier_of(
        "[hmac]\n\
         header = 'X-Slack-Signature'\n\
         format = 'v0={signature}'\n\
         timestamp_header = 'X-Slack-Request-Timestamp'\n\
         signed = 'v0:{timestamp}:{body}'\n\
         secrets = ['s']",
    );
    let good = hex::encode(signed::<Hmac<Sha256>>("s", "v0:1000:a=b"));
    let good = format!("v0={good}");
    let at = ("x-slack-request-timestamp", "1000");
    let signature = ("x-slack-signature", good.as_str());
    assert!(verifies(&*slack, &[at, signature], b"a=b", 1000));
    assert!(!verifies(&*slack, &[signature], b"a=b", 1000));
}

#[test]
fn every_hash_encoding_and_signed_header_verifies() {
    for (algorithm, bytes) in [
        ("sha1", signed::<Hmac<Sha1>>("s", "a-{}-z")),
        ("sha256", signed::<Hmac<Sha256>>("s", "a-{}-z")),
        ("sha512", signed::<Hmac<Sha512>>("s", "a-{}-z")),
    ] {
        let verifier = verifier_of(&format!(
            "[hmac]\n\
             header = 'S'\n\
             algorithm = '{algorithm}'\n\
             encoding = 'base64'\n\
             signed = '{{x-id}}-{{body}}-z'\n\
             secrets = ['s']"
        ));
        for alphabet in [&STANDARD, &URL_SAFE] {
            let text = GeneralPurpose::new(alphabet, LENIENT).encode(&bytes);
            for text in [text.as_str(), text.trim_end_matches('=')] {
                let signature = ("s", text);
                let with = |headers: &[(&str, &str)]| verifies(&*verifier, headers, b"{}", 0);
                assert!(with(&[("x-id", "a"), signature]), "{text}");
                assert!(!with(&[("x-id", "b"), signature]));
                assert!(!with(&[signature]));
            }
        }
    }
}
