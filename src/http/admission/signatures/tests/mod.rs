mod alternatives;
mod hmac;
mod places;
mod providers;
mod public_key;
mod standard_webhooks;
mod token;

use std::collections::BTreeMap;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;
use crate::clock::{FakeClock, Timestamp};
use crate::config::Source;
use crate::model::request::RequestView;

/// No certificate can be fetched.
fn no_certificates() -> Arc<Certificates> {
    let clock = FakeClock::at(Timestamp::from_millis(0));
    Arc::new(Certificates::new(Arc::new(|_| None), Arc::new(clock)))
}

/// The verifier of a scheme; the text is the content of `[sources.a.verify]`.
fn verifier_of(toml: &str) -> Box<dyn Verifier> {
    let settings: Verify = toml::from_str(toml).expect(toml);
    scheme(&settings, &no_certificates())
}

/// The verifier of a source; the text is the content of `[sources.a]`.
fn verifier_of_source(toml: &str) -> Box<dyn Verifier> {
    let toml = format!("destinations = ['d']\n{toml}");
    let source: Source = toml::from_str(&toml).expect(&toml);
    let mut config = crate::Config::default();
    config.sources.insert("a".to_owned(), source);
    let resolved = config.resolve();
    let policy = resolved.source("a").expect("a source");
    verifier(
        policy.verify.as_ref().expect("a scheme"),
        &no_certificates(),
    )
}

/// A request for a verifier.
#[derive(Clone, Debug, Default)]
struct Sent {
    headers: HeaderMap,
    query: Option<String>,
    body: Vec<u8>,
    params: BTreeMap<String, String>,
}

impl Sent {
    fn new(headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Self {
        let mut sent = Self {
            body: body.as_ref().to_vec(),
            ..Self::default()
        };
        for (name, value) in headers {
            let name = HeaderName::try_from(*name).expect("a name");
            let value = HeaderValue::from_str(value).expect("a value");
            sent.headers.append(name, value);
        }
        sent
    }

    /// The result of the verification at this millisecond. A request whose head is refused is
    /// refused as a whole.
    fn result_at(&self, verifier: &dyn Verifier, millis: i64) -> Result<Verified, Rejection> {
        let now = Timestamp::from_millis(millis);
        let view = |body| RequestView {
            method: "POST",
            path: "/webhooks/a",
            query: self.query.as_deref(),
            public_url: Some("https://hooks.example.com"),
            headers: &self.headers,
            body,
            params: &self.params,
        };
        let result = verifier.verify(&view(&self.body), now, &[]);
        let head = verifier.check_head(&view(&[]), now);
        if let Err(rejection) = head {
            assert!(result.is_err(), "the head alone is refused: {rejection}");
        }
        result
    }

    fn result(&self, verifier: &dyn Verifier) -> Result<Verified, Rejection> {
        self.result_at(verifier, 0)
    }

    /// The name of the result.
    fn name(&self, verifier: &dyn Verifier) -> &'static str {
        match self.result(verifier) {
            Ok(_) => "ok",
            Err(rejection) => rejection.result().name(),
        }
    }
}

/// Whether a request of these headers and this body verifies at this second.
fn verifies(verifier: &dyn Verifier, headers: &[(&str, &str)], body: &[u8], now: i64) -> bool {
    let sent = Sent::new(headers, body);
    sent.result_at(verifier, now * 1000).is_ok()
}

proptest! {
    #[test]
    fn no_header_panics_and_none_verifies_by_chance(
        value in "[ -~]{0,80}",
        time in "[ -~]{0,12}",
    ) {
        let standard = standard_webhooks::verifier_of_example();
        let headers = [
            standard_webhooks::ID,
            ("webhook-timestamp", &*time),
            ("webhook-signature", &*value),
        ];
        prop_assert!(!verifies(&*standard, &headers, b"other", standard_webhooks::NOW));
        let stripe = verifier_of(
            "[hmac]\n\
             header = 's'\n\
             format = 't={timestamp},v1={signature}'\n\
             signed = '{timestamp}.{body}'\n\
             secrets = ['x']",
        );
        let now = standard_webhooks::NOW;
        prop_assert!(!verifies(&*stripe, &[("s", &*value)], b"other", now));
    }
}
