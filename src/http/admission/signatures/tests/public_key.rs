use std::sync::Mutex;

use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::*;

fn pair() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[1; 32]).expect("a key")
}

#[test]
fn a_public_key_verifies_the_time_and_the_body() {
    let pair = pair();
    let discord = verifier_of(&format!(
        "[public_key]\n\
         algorithm = 'ed25519'\n\
         header = 'X-Signature-Ed25519'\n\
         timestamp_header = 'X-Signature-Timestamp'\n\
         signed = '{{timestamp}}{{body}}'\n\
         public_keys = ['{}']",
        hex::encode(pair.public_key())
    ));
    let signature = hex::encode(pair.sign(b"1000{}"));
    let headers = [
        ("x-signature-ed25519", &*signature),
        ("x-signature-timestamp", "1000"),
    ];
    let name = |headers: &[(&str, &str)], body: &str, now: i64| match Sent::new(headers, body)
        .result_at(&*discord, now * 1000)
    {
        Ok(_) => "ok",
        Err(rejection) => rejection.result().name(),
    };
    assert_eq!(name(&headers, "{}", 1000), "ok");
    assert_eq!(name(&headers, "{ }", 1000), "mismatch");
    assert_eq!(name(&headers, "{}", 2000), "too_old");
    assert_eq!(name(&headers[..1], "{}", 1000), "no_header");
    assert_eq!(name(&headers[1..], "{}", 1000), "no_header");
    let forged = [("x-signature-ed25519", "00"), headers[1]];
    assert_eq!(name(&forged, "{}", 1000), "mismatch");
}

const CERTIFICATE: &str = "[public_key]
algorithm = 'ed25519'
signature = '{json./Signature}'
encoding = 'hex'
signed = '{json./Message}'
certificate_url = '{json./Url}'
certificate_hosts = ['sns.*.amazonaws.com']";

#[test]
fn a_certificate_is_fetched_from_a_configured_host_and_kept() {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
    let names = vec!["sns.example".to_owned()];
    let parameters = rcgen::CertificateParams::new(names).expect("a name");
    let pem = parameters.self_signed(&key).expect("a certificate").pem();
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&key.serialize_der()).expect("a key");
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    let fetch = move |url: &str| {
        log.lock().expect("no panic").push(url.to_owned());
        Some(pem.clone().into_bytes())
    };
    let clock = FakeClock::at(Timestamp::from_millis(0));
    let certificates = Arc::new(Certificates::new(Arc::new(fetch), Arc::new(clock)));
    let settings: Verify = toml::from_str(CERTIFICATE).expect(CERTIFICATE);
    let verifier = scheme(&settings, &certificates);
    let url = "https://sns.us-east-1.amazonaws.com/a.pem";
    let body = |url: &str, message: &str| {
        let signature = hex::encode(pair.sign(b"hello"));
        format!(r#"{{"Signature":"{signature}","Message":"{message}","Url":"{url}"}}"#)
    };
    let result = |body: String| Sent::new(&[], body).result(&*verifier);
    let needed = result(body(url, "hello")).expect_err("not fetched yet");
    assert_eq!(needed, Rejection::NeedsCertificate(url.to_owned()));
    certificates.fetch(url);
    assert!(result(body(url, "hello")).is_ok());
    assert_eq!(
        result(body(url, "other")).expect_err("changed"),
        Rejection::Mismatch
    );
    for other in [
        "https://sns.us-east-1.amazonaws.com.example.com/a.pem",
        "https://evil.example/sns.us-east-1.amazonaws.com/a.pem",
        "https://sns.s3.amazonaws.com/a.pem",
        "https://sns.s3-us-west-2.amazonaws.com/a.pem",
        "https://sns.a.amazonaws.com/a.pem",
        "https://sns.x.y.amazonaws.com/a.pem",
        "https://sns.us-east-1.amazonaws.com:8443/a.pem",
        "https://a@sns.us-east-1.amazonaws.com/a.pem",
        "http://sns.us-east-1.amazonaws.com/a.pem",
        "https://sns.us-east-1.amazonaws.com",
        "https://sns.us-east-1.amazonaws.com\\\\.evil.example/a.pem",
        "https:///a.pem",
    ] {
        let rejection = result(body(other, "hello")).expect_err(other);
        assert!(
            matches!(
                rejection,
                Rejection::UnknownKey(_) | Rejection::Unreadable(_)
            ),
            "{other}: {rejection}"
        );
    }
    assert_eq!(asked.lock().expect("no panic").len(), 1);
}
