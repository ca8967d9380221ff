//! Checking a provider's signature before its event is let in. One mechanism: a header with one or
//! more signatures, each an HMAC under any of the secrets, of the body's bytes as they came and
//! whatever else the provider signs. It fails closed: what is missing, doubled or unreadable doesn't
//! verify.

use std::time::Duration;

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit, Mac};
use hyper::header::{HeaderMap, HeaderName};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq as _;

use crate::clock::Timestamp;
use crate::config::{
    Algorithm, Encoding, HmacScheme, Secret, SignatureFormat, SignedContent, SignedPart,
    StandardWebhooks, Verify,
};

/// Signatures looked at in one request. A provider sends one for each of its secrets, and has two
/// while it rolls them.
const MAX_SIGNATURES: usize = 16;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// How one source's events are verified.
pub(in crate::http) struct Verifier {
    keys: Vec<Vec<u8>>,
    algorithm: Algorithm,
    encoding: Encoding,
    header: HeaderName,
    format: SignatureFormat,
    timestamp_header: Option<HeaderName>,
    signed: SignedContent,
    tolerance: Duration,
}

/// What a request's headers claim; whether it is true, the body decides.
#[derive(Debug)]
pub(in crate::http) struct Claim {
    signatures: Vec<Vec<u8>>,
    /// What is signed before the body and after it.
    before: Vec<u8>,
    after: Vec<u8>,
}

fn header_name(text: &str) -> HeaderName {
    HeaderName::try_from(text).expect("a checked configuration's header names are such")
}

impl Verifier {
    /// From a checked configuration.
    pub fn new(settings: &Verify) -> Self {
        match settings {
            Verify::StandardWebhooks(scheme) => Self::standard_webhooks(scheme),
            Verify::Hmac(scheme) => Self::hmac(scheme),
        }
    }

    fn standard_webhooks(scheme: &StandardWebhooks) -> Self {
        let text = |text: &str| SignedPart::Text(text.to_owned());
        Self {
            keys: scheme
                .secrets
                .iter()
                .map(|secret| {
                    secret
                        .signing_key()
                        .expect("a checked configuration's secrets are whsec_…")
                })
                .collect(),
            algorithm: Algorithm::Sha256,
            encoding: Encoding::Base64,
            header: HeaderName::from_static("webhook-signature"),
            format: SignatureFormat {
                separator: None,
                signature: "v1,".to_owned(),
                timestamp: None,
            },
            timestamp_header: Some(HeaderName::from_static("webhook-timestamp")),
            signed: SignedContent(vec![
                SignedPart::Header("webhook-id".to_owned()),
                text("."),
                SignedPart::Timestamp,
                text("."),
                SignedPart::Body,
            ]),
            tolerance: scheme.tolerance,
        }
    }

    fn hmac(scheme: &HmacScheme) -> Self {
        Self {
            keys: scheme
                .secrets
                .iter()
                .map(Secret::reveal)
                .map(Vec::from)
                .collect(),
            algorithm: scheme.algorithm,
            encoding: scheme.encoding,
            header: header_name(&scheme.header),
            format: scheme.format.clone(),
            timestamp_header: scheme.timestamp_header.as_deref().map(header_name),
            signed: scheme.signed.clone(),
            tolerance: scheme.tolerance,
        }
    }

    /// Reads the headers; none if they can't belong to a signed request of this moment.
    pub fn claim(&self, headers: &HeaderMap, now: Timestamp) -> Option<Claim> {
        let mut signatures = Vec::new();
        let mut timestamp = match &self.timestamp_header {
            Some(name) => Some(only(headers, name)?),
            None => None,
        };
        for value in headers.get_all(&self.header) {
            let is_between = |c: char| c.is_whitespace() || Some(c) == self.format.separator;
            for field in value.to_str().ok()?.split(is_between) {
                if let Some(before) = &self.format.timestamp
                    && let Some(text) = field.strip_prefix(before.as_str())
                {
                    if timestamp.replace(text).is_some() {
                        return None;
                    }
                } else if let Some(text) = field.strip_prefix(self.format.signature.as_str())
                    && signatures.len() < MAX_SIGNATURES
                {
                    // One that can't be read may stand beside one that can.
                    signatures.extend(self.decode(text));
                }
            }
        }
        if signatures.is_empty() {
            return None;
        }
        if let Some(text) = timestamp
            && !self.is_recent(text, now)
        {
            return None;
        }
        let (mut before, mut after) = (Vec::new(), Vec::new());
        let mut place = &mut before;
        for part in &self.signed.0 {
            match part {
                SignedPart::Text(text) => place.extend_from_slice(text.as_bytes()),
                SignedPart::Timestamp => place.extend_from_slice(timestamp?.as_bytes()),
                SignedPart::Header(name) => {
                    place.extend_from_slice(only(headers, &header_name(name))?.as_bytes());
                }
                SignedPart::Body => place = &mut after,
            }
        }
        Some(Claim {
            signatures,
            before,
            after,
        })
    }

    /// Whether one of the signatures is one of the secrets'. All are compared, each in constant time.
    pub fn holds(&self, claim: &Claim, body: &[u8]) -> bool {
        let parts = [&claim.before, body, &claim.after];
        let mut holds = false;
        for key in &self.keys {
            let expected = match self.algorithm {
                Algorithm::Sha1 => mac::<Hmac<Sha1>>(key, parts),
                Algorithm::Sha256 => mac::<Hmac<Sha256>>(key, parts),
                Algorithm::Sha512 => mac::<Hmac<Sha512>>(key, parts),
            };
            for signature in &claim.signatures {
                holds |= bool::from(expected.ct_eq(signature));
            }
        }
        holds
    }

    fn decode(&self, text: &str) -> Option<Vec<u8>> {
        match self.encoding {
            Encoding::Hex => from_hex(text),
            Encoding::Base64 => {
                let alphabet = if text.contains(['-', '_']) {
                    &URL_SAFE
                } else {
                    &STANDARD
                };
                GeneralPurpose::new(alphabet, LENIENT).decode(text).ok()
            }
        }
        .filter(|bytes| !bytes.is_empty())
    }

    /// Whole seconds since the epoch, within the tolerance on either side.
    fn is_recent(&self, text: &str, now: Timestamp) -> bool {
        let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let Some(seconds) = text.parse::<i64>().ok().filter(|_| is_number) else {
            return false;
        };
        let signed_at = Timestamp::from_millis(seconds.saturating_mul(1000));
        // A timestamp is cut to the second: within it, it isn't in the past.
        let end = signed_at.plus(Duration::from_millis(999));
        now.since(end) <= self.tolerance && signed_at.since(now) <= self.tolerance
    }
}

/// The value of a header that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

fn mac<M: Mac + KeyInit>(key: &[u8], parts: [&[u8]; 3]) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.as_bytes()
        .chunks_exact(2)
        .map(|pair| u8::try_from(digit(&pair[0])? * 16 + digit(&pair[1])?).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use hyper::header::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn verifier(toml: &str) -> Verifier {
        let settings: Verify = toml::from_str(toml).expect(toml);
        Verifier::new(&settings)
    }

    /// Whether a request of these headers and this body verifies at this second.
    fn verifies(verifier: &Verifier, headers: &[(&str, &str)], body: &[u8], now: i64) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).expect("a value");
            map.append(header_name(name), value);
        }
        verifier
            .claim(&map, Timestamp::from_millis(now * 1000))
            .is_some_and(|claim| verifier.holds(&claim, body))
    }

    const NOW: i64 = 1_614_265_330;
    const STANDARD_ONE: &str =
        "[standard_webhooks]\nsecrets = ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw']";
    // From the Standard Webhooks specification's reference libraries.
    const ID: (&str, &str) = ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek");
    const AT: (&str, &str) = ("webhook-timestamp", "1614265330");
    const SIGNED: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;

    #[test]
    fn standard_webhooks_verify() {
        let one = verifier(STANDARD_ONE);
        let at = |signature: &str, now| {
            verifies(&one, &[ID, AT, ("webhook-signature", signature)], BODY, now)
        };
        assert!(at(SIGNED, NOW));
        let other = "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        // A provider that rolls its secrets signs with all of them, in newer versions too.
        assert!(at(&format!("v1a,xyz {other} {SIGNED}"), NOW));
        assert!(!at(other, NOW));
        assert!(!at("", NOW));
        assert!(!at(&SIGNED.replace("v1,", "v2,"), NOW));
        assert!(!at(SIGNED.trim_start_matches("v1,"), NOW));
        // Five minutes either way, and no more.
        assert!(at(SIGNED, NOW + 300) && at(SIGNED, NOW - 300));
        assert!(!at(SIGNED, NOW + 301) && !at(SIGNED, NOW - 301));

        let signature = ("webhook-signature", SIGNED);
        assert!(!verifies(
            &one,
            &[ID, AT, signature],
            b"{\"test\":2432232314}",
            NOW
        ));
        assert!(!verifies(&one, &[AT, signature], BODY, NOW));
        assert!(!verifies(&one, &[ID, signature], BODY, NOW));
        assert!(!verifies(&one, &[ID, AT], BODY, NOW));
        assert!(!verifies(&one, &[ID, ID, AT, signature], BODY, NOW));
        assert!(!verifies(&one, &[ID, AT, AT, signature], BODY, NOW));
        for time in [
            "",
            "now",
            "-1",
            "+1614265330",
            "1614265330.0",
            "99999999999999999999",
        ] {
            let at = ("webhook-timestamp", time);
            assert!(!verifies(&one, &[ID, at, signature], BODY, NOW), "{time}");
        }
        // Two header lines are as good as one.
        assert!(verifies(
            &one,
            &[ID, AT, ("webhook-signature", other), signature],
            BODY,
            NOW
        ));
    }

    #[test]
    fn any_of_several_secrets_will_do() {
        let two = verifier(
            "[standard_webhooks]\nsecrets = ['whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA', 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw']",
        );
        assert!(verifies(
            &two,
            &[ID, AT, ("webhook-signature", SIGNED)],
            BODY,
            NOW
        ));
    }

    #[test]
    fn a_prefixed_hexadecimal_signature_verifies() {
        // From GitHub's documentation of X-Hub-Signature-256.
        let github = verifier(
            "[hmac]\nheader = 'X-Hub-Signature-256'\nformat = 'sha256={signature}'\nsecrets = [\"It's a Secret to Everybody\"]",
        );
        let hex = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let with = |value: &str| {
            verifies(
                &github,
                &[("x-hub-signature-256", value)],
                b"Hello, World!",
                0,
            )
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
        ] {
            assert!(!with(wrong), "{wrong}");
        }
        assert!(!verifies(&github, &[], b"Hello, World!", 0));
    }

    /// What the provider would have sent, made with the same parts as what is tested: it shows that
    /// they are put together as they should be. The examples above show that the parts are right.
    fn signed<M: Mac + KeyInit>(secret: &str, content: &str) -> Vec<u8> {
        mac::<M>(secret.as_bytes(), [content.as_bytes(), b"", b""])
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a String takes all");
            text
        })
    }

    #[test]
    fn timestamped_schemes_verify() {
        let stripe = verifier(
            "[hmac]\nheader = 'Stripe-Signature'\nformat = 't={timestamp},v1={signature}'\nsigned = '{timestamp}.{body}'\nsecrets = ['whsec_abc']",
        );
        let good = hex(&signed::<Hmac<Sha256>>("whsec_abc", "1000.{}"));
        let with = |value: &str, now| verifies(&stripe, &[("stripe-signature", value)], b"{}", now);
        assert!(with(&format!("t=1000,v1={good}"), 1000));
        assert!(with(&format!("t=1000, v0=00, v1=00, v1={good}"), 1300));
        assert!(!with(&format!("t=1000,v1={good}"), 1301));
        assert!(!with(&format!("t=1001,v1={good}"), 1000));
        assert!(!with(&format!("t=1000,t=1000,v1={good}"), 1000));
        assert!(!with(&format!("v1={good}"), 1000));
        assert!(!with("t=1000", 1000));

        let slack = verifier(
            "[hmac]\nheader = 'X-Slack-Signature'\nformat = 'v0={signature}'\ntimestamp_header = 'X-Slack-Request-Timestamp'\nsigned = 'v0:{timestamp}:{body}'\nsecrets = ['s']",
        );
        let good = format!("v0={}", hex(&signed::<Hmac<Sha256>>("s", "v0:1000:a=b")));
        let at = ("x-slack-request-timestamp", "1000");
        let signature = ("x-slack-signature", good.as_str());
        assert!(verifies(&slack, &[at, signature], b"a=b", 1000));
        assert!(!verifies(&slack, &[signature], b"a=b", 1000));
    }

    #[test]
    fn other_hashes_encodings_and_headers_verify() {
        for (algorithm, bytes) in [
            ("sha1", signed::<Hmac<Sha1>>("s", "a-{}-z")),
            ("sha256", signed::<Hmac<Sha256>>("s", "a-{}-z")),
            ("sha512", signed::<Hmac<Sha512>>("s", "a-{}-z")),
        ] {
            let it = verifier(&format!(
                "[hmac]\nheader = 'S'\nalgorithm = '{algorithm}'\nencoding = 'base64'\nsigned = '{{x-id}}-{{body}}-z'\nsecrets = ['s']"
            ));
            for alphabet in [&STANDARD, &URL_SAFE] {
                let text = GeneralPurpose::new(alphabet, LENIENT).encode(&bytes);
                for text in [text.as_str(), text.trim_end_matches('=')] {
                    assert!(
                        verifies(&it, &[("x-id", "a"), ("s", text)], b"{}", 0),
                        "{text}"
                    );
                    assert!(!verifies(&it, &[("x-id", "b"), ("s", text)], b"{}", 0));
                    assert!(!verifies(&it, &[("s", text)], b"{}", 0));
                }
            }
        }
    }

    #[test]
    fn no_more_signatures_are_tried_than_anybody_sends() {
        let one = verifier(STANDARD_ONE);
        let many = format!("{} {SIGNED}", ["v1,AAAA"; MAX_SIGNATURES].join(" "));
        assert!(!verifies(
            &one,
            &[ID, AT, ("webhook-signature", &many)],
            BODY,
            NOW
        ));
    }

    proptest! {
        #[test]
        fn no_header_panics_and_none_verifies_by_chance(value in "[ -~]{0,80}", time in "[ -~]{0,12}") {
            let headers = [ID, ("webhook-timestamp", &*time), ("webhook-signature", &*value)];
            prop_assert!(!verifies(&verifier(STANDARD_ONE), &headers, b"other", NOW));
            let stripe = verifier(
                "[hmac]\nheader = 's'\nformat = 't={timestamp},v1={signature}'\nsigned = '{timestamp}.{body}'\nsecrets = ['x']",
            );
            prop_assert!(!verifies(&stripe, &[("s", &*value)], b"other", NOW));
        }
    }
}
