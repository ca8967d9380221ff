mod hmac;
mod standard_webhooks;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;
use crate::clock::Timestamp;

fn verifier_of(toml: &str) -> Arc<dyn Verifier> {
    let settings: Verify = toml::from_str(toml).expect(toml);
    verifier(&settings)
}

/// Whether a request of these headers and this body verifies at this second.
fn verifies(verifier: &dyn Verifier, headers: &[(&str, &str)], body: &[u8], now: i64) -> bool {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name = HeaderName::try_from(*name).expect("a name");
        map.append(name, HeaderValue::from_str(value).expect("a value"));
    }
    verifier
        .read_headers(&map, Timestamp::from_millis(now * 1000))
        .is_some_and(|claim| verifier.verifies(&claim, body))
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
