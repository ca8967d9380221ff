//! Senders that no file of `providers/` is for, connected by hand: one configuration each, the
//! request that it takes, and some that it must not.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
};
use sha1::Sha1;
use sha2::{Sha256, Sha512};

use super::{NOW, Scene, hmac_hex};

const KEY: &str = "k3y";

fn source(settings: &str) -> Scene {
    Scene::new(&format!(
        "[server]\npublic_url = \"https://hooks.example.com\"\n\
         [sources.a]\ndestinations = [\"orders\"]\nidempotency = \"none\"\n{settings}"
    ))
}

fn mac<M: Mac + KeyInit>(key: &[u8], content: &[u8]) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("any key");
    mac.update(content);
    mac.finalize().into_bytes().to_vec()
}

fn sha256(content: &[u8]) -> Vec<u8> {
    mac::<Hmac<Sha256>>(KEY.as_bytes(), content)
}

/// A request to the source `a`: query, headers, body, and the status of the answer.
type Sent<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [u8], u16);

/// Posts requests, of which those that are accepted are stored.
fn assert_answers(scene: &Scene, requests: &[Sent<'_>]) {
    for (query, headers, body, status) in requests {
        let before = scene.stored();
        let reply = scene.post(&format!("/webhooks/a{query}"), headers, body);
        let shown = String::from_utf8_lossy(body);
        assert_eq!(
            reply.status,
            *status,
            "{query} {headers:?} {shown}: {}",
            reply.text()
        );
        assert_eq!(scene.stored() - before, i64::from(*status == 202));
    }
}

#[test]
fn recurly_signs_with_a_time_and_a_list_after_it() {
    let scene = source(
        "[sources.a.verify.hmac]\nheader = \"Recurly-Signature\"\n\
         format = \"{timestamp},{signature}\"\ntimestamp_format = \"milliseconds\"\n\
         signed = \"{timestamp}.{body}\"\nsecrets = [\"k3y\"]",
    );
    let of = |millis: i64, key: &str| hmac_hex(key, format!("{millis}.{{}}").as_bytes());
    let now = NOW * 1000;
    let (ours, theirs) = (of(now, KEY), of(now, "other"));
    let old = now - 420_000;
    for (value, status) in [
        (format!("{now},{ours}"), 202),
        (format!("{now},{theirs},{ours}"), 202),
        (format!("{now}, {ours}, {theirs}"), 202),
        (format!("{now},{theirs}"), 401),
        (format!("{old},{}", of(old, KEY)), 401),
        (format!("{old},{ours}"), 401),
        (ours.clone(), 401),
        (format!("{ours},{now}"), 401),
        (format!("{now},"), 401),
        (",".to_owned(), 401),
        (String::new(), 401),
    ] {
        assert_answers(
            &scene,
            &[("", &[("Recurly-Signature", &value)], b"{}", status)],
        );
    }
}

#[test]
fn persona_repeats_the_time_beside_each_signature() {
    let scene = source(
        "[sources.a.verify.hmac]\nheader = \"Persona-Signature\"\n\
         format = \"t={timestamp},v1={signature}\"\nsigned = \"{timestamp}.{body}\"\n\
         secrets = [\"k3y\"]",
    );
    let of = |time: i64, key: &str| hmac_hex(key, format!("{time}.{{}}").as_bytes());
    let (ours, theirs) = (of(NOW, KEY), of(NOW, "other"));
    let other = NOW - 1;
    for (value, status) in [
        (format!("t={NOW},v1={ours}"), 202),
        (format!("t={NOW},v1={theirs} t={NOW},v1={ours}"), 202),
        (format!("t={NOW},v1={ours} t={NOW},v1={theirs}"), 202),
        (format!("t={NOW},v1={ours} t={other},v1={theirs}"), 401),
        (format!("t={other},v1={ours} t={NOW},v1={ours}"), 401),
    ] {
        assert_answers(
            &scene,
            &[("", &[("Persona-Signature", &value)], b"{}", status)],
        );
    }
}

#[test]
fn signatures_come_in_every_encoding_and_hash() {
    let body = b"{\"a\":1}";
    let digest = sha256(body);
    let hex = hex::encode(&digest);
    for (settings, value) in [
        ("format = \"sha256={signature}\"", format!("sha256={hex}")),
        ("", hex.to_uppercase()),
        ("encoding = \"base64\"", STANDARD.encode(&digest)),
        ("encoding = \"base64\"", URL_SAFE_NO_PAD.encode(&digest)),
        (
            "encoding = \"base64\"\nformat = \"sha256={signature}\"",
            format!("sha256={}", STANDARD.encode(&digest)),
        ),
        (
            "algorithm = \"sha1\"",
            hex::encode(mac::<Hmac<Sha1>>(KEY.as_bytes(), body)),
        ),
        (
            "algorithm = \"sha512\"",
            hex::encode(mac::<Hmac<Sha512>>(KEY.as_bytes(), body)),
        ),
        // The old drafts of HTTP signatures.
        (
            "encoding = \"base64\"\nformat = 'signature=\"{signature}\"'",
            format!(
                "keyId=\"a\",algorithm=\"hmac-sha256\",signature=\"{}\"",
                STANDARD.encode(&digest)
            ),
        ),
        (
            "format = \"HMAC-SHA256 {signature}\"",
            format!("HMAC-SHA256 {hex}"),
        ),
    ] {
        let scene = source(&format!(
            "[sources.a.verify.hmac]\nheader = \"X-Sig\"\nsecrets = [\"k3y\"]\n{settings}"
        ));
        let signed = [("X-Sig", value.as_str())];
        // A character within the signature.
        let mut changed = value.clone();
        let at = value.len() - 5;
        let other = if &value[at..=at] == "0" { "1" } else { "0" };
        changed.replace_range(at..=at, other);
        let changed = [("X-Sig", changed.as_str())];
        assert_answers(
            &scene,
            &[
                ("", &signed, body, 202),
                ("", &signed, b"{\"a\":2}", 401),
                ("", &changed, body, 401),
                ("", &[], body, 401),
            ],
        );
    }
}

#[test]
fn times_are_read_in_the_spellings_of_iso_8601() {
    let scene = source(
        "[sources.a.verify.hmac]\nheader = \"X-Sig\"\ntimestamp_header = \"X-Time\"\n\
         timestamp_format = \"rfc3339\"\nsigned = \"{timestamp}\\n{body}\"\nsecrets = [\"k3y\"]",
    );
    // 1 750 000 000 is 2025-06-15T15:06:40Z.
    for (time, status) in [
        ("2025-06-15T15:06:40Z", 202),
        ("2025-06-15T15:06:40.123Z", 202),
        ("2025-06-15T15:06:40.123456789Z", 202),
        ("2025-06-15T17:06:40+02:00", 202),
        ("2025-06-15T17:06:40+0200", 202),
        ("2025-06-15 15:06:40Z", 202),
        ("20250615T150640Z", 202),
        ("2025-06-15T15:06:40-02:00", 401),
        ("2025-06-15T14:59:40Z", 401),
        ("2025-06-15T15:13:40Z", 401),
        // Without an offset nobody knows the time.
        ("2025-06-15T15:06:40", 401),
        ("1750000000", 401),
        ("", 401),
        ("2025-13-45T99:99:99Z", 401),
    ] {
        let signature = hmac_hex(KEY, format!("{time}\n{{}}").as_bytes());
        let headers = [("X-Sig", signature.as_str()), ("X-Time", time)];
        assert_answers(&scene, &[("", &headers, b"{}", status)]);
    }
}

#[test]
fn numbers_that_are_no_times_verify_nothing() {
    let scene = source(
        "[sources.a.verify.hmac]\nheader = \"X-Sig\"\ntimestamp_header = \"X-Time\"\n\
         signed = \"{timestamp}{body}\"\nsecrets = [\"k3y\"]",
    );
    for (time, status) in [
        ("1750000000", 202),
        ("0001750000000", 202),
        ("1750000000.5", 401),
        ("+1750000000", 401),
        ("-1", 401),
        ("1750000000000", 401),
        ("99999999999999999999999", 401),
        ("0x684ee180", 401),
        ("NaN", 401),
    ] {
        let signature = hmac_hex(KEY, format!("{time}{{}}").as_bytes());
        let headers = [("X-Sig", signature.as_str()), ("X-Time", time)];
        assert_answers(&scene, &[("", &headers, b"{}", status)]);
    }
}

#[test]
fn a_signature_in_the_body_is_found_however_deep() {
    let scene = source(
        "[sources.a.verify.hmac]\nsignature = \"{json./meta/0/sig~1v1}\"\n\
         timestamp = \"{json./meta/0/t~0}\"\nsigned = \"{timestamp}|{json./data/id}|{json./n?}\"\n\
         secrets = [\"k3y\"]",
    );
    let body = |id: &str, signed: &str, more: &str| {
        let signature = hmac_hex(KEY, signed.as_bytes());
        format!(r#"{{"meta":[{{"sig/v1":"{signature}","t~":{NOW}}}],"data":{{"id":{id}{more}}}}}"#)
    };
    let signed = |id: &str| format!("{NOW}|{id}|");
    for (body, status) in [
        (body("\"a\"", &signed("a"), ""), 202),
        (body("\"\\u0061\"", &signed("a"), ""), 202),
        (
            body(
                "12345678901234567890123",
                &signed("12345678901234567890123"),
                "",
            ),
            202,
        ),
        (body("\"b\"", &signed("a"), ""), 401),
        // Two readers could see two ids.
        (body("\"a\"", &signed("a"), ",\"id\":\"b\""), 401),
        (body("[\"a\"]", &signed("a"), ""), 401),
        (body("null", &signed(""), ""), 401),
        ("[]".to_owned(), 401),
        ("{".to_owned(), 401),
    ] {
        assert_answers(&scene, &[("", &[], body.as_bytes(), status)]);
    }
}

#[test]
fn docusign_has_a_header_for_each_key() {
    let scene = source(
        "[sources.a.verify.hmac]\n\
         header = [\"X-DocuSign-Signature-1\", \"X-DocuSign-Signature-2\"]\n\
         encoding = \"base64\"\nsecrets = [\"k3y\"]",
    );
    let ours = STANDARD.encode(sha256(b"{}"));
    let theirs = STANDARD.encode(mac::<Hmac<Sha256>>(b"other", b"{}"));
    let (one, two) = ("X-DocuSign-Signature-1", "X-DocuSign-Signature-2");
    assert_answers(
        &scene,
        &[
            ("", &[(one, &ours)], b"{}", 202),
            ("", &[(two, &ours)], b"{}", 202),
            ("", &[(one, &theirs), (two, &ours)], b"{}", 202),
            ("", &[(one, &theirs)], b"{}", 401),
            ("", &[("X-DocuSign-Signature-3", &ours)], b"{}", 401),
            ("", &[], b"{}", 401),
        ],
    );
}

#[test]
fn mandrill_signs_the_url_and_the_sorted_form() {
    let scene = source(
        "accept_any_content = true\nevent_type = { header = \"X-Event\" }\n\
         [sources.a.verify.hmac]\nheader = \"X-Mandrill-Signature\"\nalgorithm = \"sha1\"\n\
         encoding = \"base64\"\nsigned = \"{url}{form_sorted}\"\nsecrets = [\"k3y\"]",
    );
    let url = "https://hooks.example.com/webhooks/a?key=1";
    let events = r#"[{"event":"send"}]"#;
    let signed = format!("{url}a+b{}mandrill_events{events}", " ");
    let signature = STANDARD.encode(mac::<Hmac<Sha1>>(KEY.as_bytes(), signed.as_bytes()));
    let headers = [
        ("X-Mandrill-Signature", signature.as_str()),
        (
            "Content-Type",
            "application/x-www-form-urlencoded; charset=utf-8",
        ),
    ];
    let as_json = [headers[0], ("Content-Type", "application/json")];
    let form = b"mandrill_events=%5B%7B%22event%22%3A%22send%22%7D%5D&a%2Bb=+";
    let other = b"mandrill_events=%5B%7B%22event%22%3A%22open%22%7D%5D&a%2Bb=+";
    assert_answers(
        &scene,
        &[
            ("?key=1", &headers, form, 202),
            ("?key=1", &headers, other, 401),
            ("?key=2", &headers, form, 401),
            ("", &headers, form, 401),
            ("?key=1", &as_json, form, 401),
        ],
    );
}

#[test]
fn a_password_may_hold_colons_and_other_characters() {
    let scene = source(
        "[sources.a.verify.basic]\nuser = \"r\u{e9}lay\"\nsecrets = [\"a:b:c \u{1f511}\", \"old\"]",
    );
    let basic = |scheme: &str, text: &str| format!("{scheme} {}", STANDARD.encode(text));
    for (value, status) in [
        (basic("Basic", "r\u{e9}lay:a:b:c \u{1f511}"), 202),
        (basic("basic", "r\u{e9}lay:old"), 202),
        (basic("BASIC ", "r\u{e9}lay:old"), 202),
        (basic("Basic", "r\u{e9}lay:a:b"), 401),
        (basic("Basic", "r\u{e9}lay:a"), 401),
        (basic("Basic", "r\u{e9}lay:"), 401),
        (basic("Basic", "r\u{e9}lay"), 401),
        (basic("Basic", ":old"), 401),
        (basic("Basic", "relay:old"), 401),
        (basic("Bearer", "r\u{e9}lay:old"), 401),
        ("Basic !".to_owned(), 401),
        ("Basic".to_owned(), 401),
    ] {
        assert_answers(&scene, &[("", &[("Authorization", &value)], b"{}", status)]);
    }
}

#[test]
fn a_token_may_stand_in_the_query_or_the_body_and_the_query_s_goes_no_further() {
    let scene = source("verify.token = { value = \"{query.to ken}\", secrets = [\"s=&cret\"] }");
    assert_answers(
        &scene,
        &[
            ("?to+ken=s%3D%26cret&x=1", &[], b"{}", 202),
            ("?x=1&to%20ken=%73%3d%26cret", &[], b"{}", 202),
            ("?to+ken=s%3D%26cre", &[], b"{}", 401),
            ("?to+ken=s%3D%26cret&to%20ken=other", &[], b"{}", 401),
            ("?to+ken=", &[], b"{}", 401),
            ("?token=s%3D%26cret", &[], b"{}", 401),
            ("", &[], b"{}", 401),
        ],
    );
    let all: Vec<String> = scene.relay.peek_rows("SELECT headers FROM intents");
    for headers in all {
        assert!(headers.contains("relay-query: x=1\r\n"), "{headers}");
    }
    // Figma's passcode.
    let scene = source("verify.token = { value = \"{json./passcode}\", secrets = [\"s\"] }");
    assert_answers(
        &scene,
        &[
            ("", &[], br#"{"passcode":"s"}"#, 202),
            ("", &[], br#"{"passcode":"t"}"#, 401),
            ("", &[], br#"{"passcode":"t","passcode":"s"}"#, 401),
            ("", &[], b"{}", 401),
            ("", &[], b"s", 401),
        ],
    );
}

#[test]
fn a_canonical_request_is_a_template() {
    let scene = source(
        "[sources.a.verify.hmac]\nheader = \"X-Sig\"\ntimestamp_header = \"X-Time\"\n\
         signed = \"{method}\\n{path}\\n{query}\\n{header.x-nonce}\\n{timestamp}\\n{body_sha256}\"\n\
         secret_encoding = \"hex\"\nsecrets = [\"6B3379\"]",
    );
    let digest = {
        use sha2::Digest as _;
        hex::encode(Sha256::digest(b"{}"))
    };
    let signed = format!("POST\n/webhooks/a\nx=%20\nn1\n{NOW}\n{digest}");
    let (signature, time) = (hmac_hex(KEY, signed.as_bytes()), NOW.to_string());
    let headers = [
        ("X-Sig", &*signature),
        ("X-Time", &*time),
        ("X-Nonce", "n1"),
    ];
    let nonce = [headers[0], headers[1], ("X-Nonce", "n2")];
    let twice = [headers[0], headers[1], headers[2], headers[2]];
    assert_answers(
        &scene,
        &[
            ("?x=%20", &headers, b"{}", 202),
            ("?x=+", &headers, b"{}", 401),
            ("", &headers, b"{}", 401),
            ("?x=%20", &nonce, b"{}", 401),
            ("?x=%20", &twice, b"{}", 401),
            ("?x=%20", &headers[..2], b"{}", 401),
            ("?x=%20", &headers, b"{ }", 401),
        ],
    );
}

#[test]
fn an_elliptic_signature_comes_as_two_numbers_or_in_asn_1() {
    let random = SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random);
    let document = document.expect("a key");
    for algorithm in [
        &ECDSA_P256_SHA256_ASN1_SIGNING,
        &ECDSA_P256_SHA256_FIXED_SIGNING,
    ] {
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).expect("a key");
        let key = STANDARD.encode(pair.public_key());
        let scene = source(&format!(
            "verify.public_key = {{ algorithm = \"ecdsa_p256_sha256\", header = \"X-Sig\", \
             encoding = \"base64\", timestamp_header = \"X-Time\", signed = \"{{timestamp}}{{body}}\", \
             public_keys = [\"{key}\"] }}"
        ));
        let time = NOW.to_string();
        let signature = pair.sign(&random, format!("{time}{{}}").as_bytes());
        let signature = STANDARD.encode(signature.expect("a signature"));
        let headers = [("X-Sig", signature.as_str()), ("X-Time", time.as_str())];
        let cut = &signature[..signature.len() - 8];
        let cut = [("X-Sig", cut), ("X-Time", time.as_str())];
        assert_answers(
            &scene,
            &[
                ("", &headers, b"{}", 202),
                ("", &headers, b"[]", 401),
                ("", &cut, b"{}", 401),
            ],
        );
    }
}

#[test]
fn xml_is_verified_and_stored_byte_for_byte() {
    let scene = source(
        "accept_any_content = true\n\
         verify.hmac = { header = \"X-Sig\", secrets = [\"k3y\"] }",
    );
    let body = b"<?xml version=\"1.0\"?><a>\xff\x00</a>";
    let signature = hex::encode(sha256(body));
    assert_answers(&scene, &[("", &[("X-Sig", &signature)], body, 202)]);
    let stored: Vec<u8> = scene.relay.peek("SELECT body FROM intents");
    assert_eq!(stored, body);
}

/// Questions of senders, answered by tables of one's own.
#[test]
fn questions_of_other_senders_are_answered() {
    for (settings, method, path, headers, body, expected) in [
        // Okta
        (
            "handshakes = [{ method = \"GET\", signed = false, \
             when.headers.x-okta-verification-challenge = [{ exists = true }], \
             json = { verification = \"{header.x-okta-verification-challenge}\" } }]",
            "GET",
            "/webhooks/a",
            &[("x-okta-verification-challenge", "c1")][..],
            "",
            r#"{"verification":"c1"}"#,
        ),
        // Strava
        (
            "handshakes = [{ method = \"GET\", signed = false, \
             when.query.\"hub.verify_token\" = [\"t\"], \
             json = { \"hub.challenge\" = \"{query.hub.challenge}\" } }]",
            "GET",
            "/webhooks/a?hub.verify_token=t&hub.challenge=15f7&hub.mode=subscribe",
            &[],
            "",
            r#"{"hub.challenge":"15f7"}"#,
        ),
        // monday.com
        (
            "handshakes = [{ method = \"POST\", signed = false, \
             when.body.\"/challenge\" = [{ exists = true }], \
             json = { challenge = \"{json./challenge}\" } }]",
            "POST",
            "/webhooks/a",
            &[],
            r#"{"challenge":"3eZbrw1a"}"#,
            r#"{"challenge":"3eZbrw1a"}"#,
        ),
        // Smartsheet
        (
            "handshakes = [{ method = \"POST\", signed = false, \
             when.headers.Smartsheet-Hook-Challenge = [{ exists = true }], \
             json = { smartsheetHookResponse = \"{header.Smartsheet-Hook-Challenge}\" } }]",
            "POST",
            "/webhooks/a",
            &[("Smartsheet-Hook-Challenge", "c-2")],
            "{\"webhookId\":1}",
            r#"{"smartsheetHookResponse":"c-2"}"#,
        ),
        // WooCommerce pings with a form.
        (
            "handshakes = [{ method = \"POST\", signed = false, \
             when.headers.content-type = [{ prefix = \"application/x-www-form-urlencoded\" }] }]",
            "POST",
            "/webhooks/a",
            &[("Content-Type", "application/x-www-form-urlencoded")],
            "webhook_id=7",
            "",
        ),
    ] {
        let scene = source(&format!(
            "{settings}\nverify.hmac = {{ header = \"X-Sig\", secrets = [\"k3y\"] }}"
        ));
        let reply = scene.client.send(method, path, headers, body.as_bytes());
        assert_eq!(
            (reply.status, reply.text().as_str()),
            (200, expected),
            "{settings}"
        );
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(scene.stored(), 0);
        let signature = hex::encode(sha256(b"{\"id\":1}"));
        assert_answers(
            &scene,
            &[
                ("", &[("X-Sig", &signature)], b"{\"id\":1}", 202),
                ("", &[], b"{\"id\":1}", 401),
            ],
        );
    }
}

/// Rule 7: a browser must not take a stranger's value for a page.
#[test]
fn dangerous_values_are_not_reflected() {
    let scene = source(
        "handshakes = [\"echo\", { method = \"GET\", signed = false, \
         when.query.c = [{ exists = true }], json = { c = \"{query.c}\" } }]",
    );
    for value in [
        "%3Cscript%3Ealert(1)%3C/script%3E",
        "%3Cimg%20src=x%20onerror=alert(1)%3E",
        "a%0d%0aSet-Cookie:%20a=b",
        "a%00",
        "javascript:alert(1)",
        "%E2%80%AE",
        "%2522",
        "%22%7D",
        "true",
        "",
    ] {
        let twice = format!("challenge={value}&challenge=a");
        for query in [format!("challenge={value}"), twice, format!("c={value}")] {
            scene.clock.advance(std::time::Duration::from_secs(1));
            let reply = scene.get(&format!("/webhooks/a?{query}"));
            let text = reply.text();
            let is_refused = [400, 405].contains(&reply.status);
            assert!(is_refused, "{query}: {} {text}", reply.status);
            assert!(
                !text.contains("<script") && !text.contains("onerror"),
                "{text}"
            );
            assert_eq!(reply.header("set-cookie"), None);
        }
    }
    assert_eq!(scene.stored(), 0);
}
