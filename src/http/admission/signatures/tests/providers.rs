//! The vectors of all providers: each verifies at its time, and with nothing changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use toml::{Table, Value};

use crate::Config;
use crate::clock::{FakeClock, Timestamp};
use crate::config::providers::{FILES, ProviderFile};
use crate::config::{Resolved, Source, SourcePolicy};
use crate::http::admission::certificates::Certificates;
use crate::http::admission::signatures::{Rejection, verifier};
use crate::model::request::RequestView;

/// The settings of a source that decide whether a request is verified.
const SETTINGS: [&str; 5] = [
    "accept_any_content",
    "params",
    "require",
    "verify",
    "verify_any",
];

/// An Ed25519 key of nobody here (RFC 8032, 7.1, test 2).
const OTHER_ED25519: &str = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";

#[derive(Deserialize)]
struct Vectors {
    vectors: Vec<Vector>,
}

/// A request that a provider sends, and the operator's settings.
#[derive(Clone, Deserialize)]
#[serde(default)]
struct Vector {
    origin: String,
    secrets: Vec<String>,
    public_keys: Vec<String>,
    params: BTreeMap<String, String>,
    public_url: Option<String>,
    certificates: BTreeMap<String, String>,
    method: String,
    path: String,
    query: Option<String>,
    time: Option<i64>,
    headers: BTreeMap<String, String>,
    body: String,
    body_base64: Option<String>,
}

impl Default for Vector {
    fn default() -> Self {
        Self {
            origin: String::new(),
            secrets: Vec::new(),
            public_keys: Vec::new(),
            params: BTreeMap::new(),
            public_url: None,
            certificates: BTreeMap::new(),
            method: "POST".to_owned(),
            path: String::new(),
            query: None,
            time: None,
            headers: BTreeMap::new(),
            body: String::new(),
            body_base64: None,
        }
    }
}

/// A request and the source that it comes to.
#[derive(Clone)]
struct Case {
    vector: Vector,
    settings: Table,
    body: Vec<u8>,
    now: i64,
}

impl Case {
    fn new(file: &ProviderFile, vector: &Vector) -> Self {
        let mut settings = file.settings();
        settings.retain(|name, _| SETTINGS.contains(&name));
        Self {
            settings,
            body: match &vector.body_base64 {
                Some(text) => STANDARD.decode(text).expect("base64"),
                None => vector.body.clone().into_bytes(),
            },
            now: vector.time.unwrap_or(1_700_000_000),
            vector: vector.clone(),
        }
    }

    fn resolved(&self) -> Resolved {
        let mut settings = self.settings.clone();
        let texts = |texts: &[String]| Value::from(texts.to_vec());
        settings.insert("destinations".to_owned(), texts(&["d".to_owned()]));
        settings.insert("secrets".to_owned(), texts(&self.vector.secrets));
        settings.insert("public_keys".to_owned(), texts(&self.vector.public_keys));
        let mut params = settings.remove("params").unwrap_or(Table::new().into());
        for (name, value) in &self.vector.params {
            let params = params.as_table_mut().expect("a table");
            params.insert(name.clone(), value.clone().into());
        }
        settings.insert("params".to_owned(), params);
        if let Some(url) = &self.vector.public_url {
            settings.insert("public_url".to_owned(), url.clone().into());
        }
        let source = Source::deserialize(settings).expect("a source");
        let mut config = Config::default();
        config.sources.insert("s".to_owned(), source);
        config.resolve()
    }

    /// Whether the request is verified, and meets the conditions.
    fn verify(&self) -> Result<(), Rejection> {
        let resolved = self.resolved();
        let source = resolved.source("s").expect("the source");
        let mut headers = HeaderMap::new();
        for (name, value) in &self.vector.headers {
            let name = HeaderName::try_from(name.as_str()).expect("a name");
            headers.append(name, HeaderValue::try_from(value).expect("a value"));
        }
        let request = RequestView {
            method: &self.vector.method,
            path: &self.vector.path,
            query: self.vector.query.as_deref(),
            public_url: source.public_url.as_deref(),
            headers: &headers,
            body: &self.body,
            params: &source.params,
        };
        self.verify_request(source, &request)?;
        match source.require.first_mismatch(&request) {
            None => Ok(()),
            Some(line) => Err(Rejection::Unreadable(line)),
        }
    }

    fn verify_request(
        &self,
        source: &SourcePolicy,
        request: &RequestView<'_>,
    ) -> Result<(), Rejection> {
        let now = Timestamp::from_millis(self.now * 1000);
        let served = self.vector.certificates.clone();
        let fetch = move |url: &str| served.get(url).map(|pem| pem.clone().into_bytes());
        let clock = Arc::new(FakeClock::at(now));
        let certificates = Arc::new(Certificates::new(Arc::new(fetch), clock));
        let settings = source.verify.as_ref().expect("a scheme");
        let verifier = verifier(settings, &certificates);
        // As a request is served: its head first.
        let head = RequestView {
            body: &[],
            ..*request
        };
        verifier.check_head(&head, now)?;
        match verifier.verify(request, now, &[]) {
            Err(Rejection::NeedsCertificate(url)) => {
                certificates.fetch(&url);
                verifier.verify(request, now, &[]).map(|_| ())
            }
            result => result.map(|_| ()),
        }
    }

    /// The schemes, as tables.
    fn schemes(&self) -> Vec<(&str, &Table)> {
        let any = self.settings.get("verify_any").and_then(Value::as_array);
        let any = any.into_iter().flatten().filter_map(Value::as_table);
        let one = self.settings.get("verify").and_then(Value::as_table);
        let tables = one.into_iter().chain(any).flat_map(Table::iter);
        tables
            .filter(|(name, _)| *name != "when")
            .map(|(name, scheme)| (name.as_str(), scheme.as_table().expect("a scheme")))
            .collect()
    }

    fn setting(&self, name: &str) -> Option<&str> {
        self.schemes()
            .iter()
            .find_map(|(_, scheme)| scheme.get(name)?.as_str())
    }

    fn is_signed(&self) -> bool {
        let signed = ["hmac", "public_key", "standard_webhooks"];
        self.schemes().iter().all(|(name, _)| signed.contains(name))
    }

    fn covers_body(&self) -> bool {
        let covers = |scheme: &Table| {
            let signed = scheme
                .get("signed")
                .and_then(Value::as_str)
                .unwrap_or("{body}");
            ["{body", "{form_sorted}"]
                .iter()
                .any(|part| signed.contains(part))
        };
        self.is_signed() && self.schemes().iter().all(|(_, scheme)| covers(scheme))
            // The hash of the body is a part of the URL.
            || self.setting("signed") == Some("{url}{form_sorted}")
    }

    fn has_time(&self) -> bool {
        self.schemes().iter().any(|(name, scheme)| {
            let is_timestamp = |(key, value): (&String, &Value)| {
                key.starts_with("timestamp")
                    || value.as_str().is_some_and(|t| t.contains("{timestamp}"))
            };
            *name == "standard_webhooks" || scheme.iter().any(is_timestamp)
        })
    }
}

fn cases() -> impl Iterator<Item = (String, Case)> {
    FILES.iter().flat_map(|file| {
        let vectors: Vectors = toml::from_str(file.text).expect("vectors");
        assert!(!vectors.vectors.is_empty(), "{}", file.name);
        let cases = vectors.vectors.into_iter().enumerate().map(|(at, vector)| {
            let name = format!("{}, vector {at} ({})", file.name, vector.origin);
            (name, Case::new(file, &vector))
        });
        cases.collect::<Vec<_>>()
    })
}

#[test]
fn every_vector_of_a_provider_verifies() {
    for (name, case) in cases() {
        assert_eq!(case.verify(), Ok(()), "{name}");
    }
}

/// The text with another character in the middle of each word that is long enough for a signature.
fn corrupted(text: &str) -> String {
    let is_of_word = |c: char| c.is_ascii_alphanumeric() || "+/=_-.".contains(c);
    let mut changed = String::new();
    let mut word = String::new();
    for c in text.chars().chain(['\n']) {
        if is_of_word(c) {
            word.push(c);
            continue;
        }
        if word.len() >= 15 {
            let middle = word.len() / 2;
            let other = if word.as_bytes()[middle] == b'0' {
                "1"
            } else {
                "0"
            };
            word.replace_range(middle..=middle, other);
        }
        changed.push_str(&word);
        word.clear();
        changed.push(c);
    }
    changed.pop();
    changed
}

#[test]
fn a_signature_with_a_changed_character_does_not_verify() {
    let mut changed = 0;
    for (name, case) in cases() {
        let mut forged = case.clone();
        for (header, value) in &mut forged.vector.headers {
            let header = header.to_ascii_lowercase();
            let is_signature = [
                "signature",
                "sig",
                "hmac",
                "mac",
                "token",
                "authorization",
                "webhook",
            ]
            .iter()
            .any(|word| header.contains(word));
            if is_signature && !header.ends_with("-id") {
                *value = corrupted(value);
            }
        }
        forged.vector.query = forged.vector.query.as_deref().map(corrupted);
        for member in ["hmacSignature", "signature", "Signature", "clientState"] {
            let text = String::from_utf8(forged.body.clone()).expect("text");
            let begin = format!("\"{member}\"");
            if let Some(at) = text.find(&begin) {
                let start = at + begin.len();
                let end = text[start..]
                    .find([',', '}'])
                    .map_or(text.len(), |end| start + end);
                let value = corrupted(&text[start..end]);
                forged.body = format!("{}{value}{}", &text[..start], &text[end..]).into_bytes();
            }
        }
        assert!(forged.verify().is_err(), "{name}");
        changed += 1;
    }
    assert!(changed > 90, "{changed}");
}

#[test]
fn a_body_with_a_flipped_bit_does_not_verify() {
    let mut flipped = 0;
    for (name, case) in cases().filter(|(_, case)| case.covers_body()) {
        for at in [0, case.body.len() / 2, case.body.len() - 1] {
            for bit in [1, 4] {
                let mut forged = case.clone();
                forged.body[at] ^= bit;
                assert!(forged.verify().is_err(), "{name}: byte {at}");
                flipped += 1;
            }
        }
    }
    assert!(flipped > 300, "{flipped}");
}

/// A secret of nobody, in the form of another one.
fn other_secret(secret: &str, encoding: Option<&str>) -> String {
    match encoding {
        Some("hex") => "00".repeat(32),
        Some("base64") => STANDARD.encode([0; 32]),
        _ if secret.starts_with("whsec_") => format!("whsec_{}", STANDARD.encode([0; 32])),
        _ => "another secret".to_owned(),
    }
}

#[test]
fn another_secret_or_key_does_not_verify() {
    let files = || cases().map(|(_, case)| case.vector);
    let certificates: Vec<String> = files()
        .flat_map(|vector| vector.certificates.into_values())
        .collect();
    let keys: Vec<String> = files().flat_map(|vector| vector.public_keys).collect();
    for (name, case) in cases() {
        let mut other = case.clone();
        let encoding = case.setting("secret_encoding").map(str::to_owned);
        for secret in &mut other.vector.secrets {
            *secret = other_secret(secret, encoding.as_deref());
        }
        for key in &mut other.vector.public_keys {
            *key = match case.setting("algorithm") {
                Some("ecdsa_p256_sha256") => {
                    let another = keys
                        .iter()
                        .find(|known| known.starts_with("MF") && *known != key);
                    another.expect("two keys").clone()
                }
                Some(_) => OTHER_ED25519.to_owned(),
                None => format!(
                    "whpk_{}",
                    STANDARD.encode(hex::decode(OTHER_ED25519).expect("hex"))
                ),
            };
        }
        for certificate in other.vector.certificates.values_mut() {
            let another = certificates.iter().find(|known| *known != certificate);
            *certificate = another.expect("two certificates").clone();
        }
        assert!(other.verify().is_err(), "{name}");
    }
}

#[test]
fn a_request_of_another_time_does_not_verify() {
    const WEEK: i64 = 7 * 86_400;
    const DAY: i64 = 86_400;
    let mut moved = 0;
    for (name, case) in cases() {
        assert_eq!(
            case.has_time() && !name.starts_with("aws-sns"),
            case.vector.time.is_some() && !name.starts_with("aws-sns"),
            "{name}"
        );
        if !case.has_time() {
            continue;
        }
        for by in [WEEK, -DAY] {
            let mut late = case.clone();
            late.now += by;
            let rejection = late.verify().expect_err(&name);
            let is_of_time = matches!(
                rejection,
                Rejection::TooOld { .. } | Rejection::TooEarly { .. }
            );
            assert!(is_of_time, "{name}: {rejection}");
            moved += 1;
        }
    }
    assert!(moved > 60, "{moved}");
}

/// Only the conditions keep a message out whose text imitates the fields that are signed with it.
#[test]
fn the_conditions_of_a_provider_are_part_of_its_verification() {
    for (name, case) in cases() {
        let mut other = case.clone();
        if name.starts_with("aws-sns") {
            other
                .vector
                .params
                .insert("topic_arn".to_owned(), "arn:aws:sns:x".to_owned());
            assert!(
                matches!(other.verify(), Err(Rejection::Unreadable(_))),
                "{name}"
            );
        }
        if name.starts_with("adyen") {
            let text = String::from_utf8(case.body).expect("text");
            let second = text.replacen("}]}", "},{}]}", 1);
            assert_ne!(text, second);
            other.body = second.into_bytes();
            assert!(
                matches!(other.verify(), Err(Rejection::Unreadable(_))),
                "{name}"
            );
            let object = text.replacen(":[", ":{\"0\":", 1);
            let object = object.replacen("}]}", "},\"2\":{}}}", 1);
            other.body = object.into_bytes();
            assert!(
                matches!(other.verify(), Err(Rejection::PartMissing(_))),
                "{name}"
            );
        }
    }
}
