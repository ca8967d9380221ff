use std::time::Duration;

use hyper::header::HeaderValue;

use super::*;
use crate::clock::{FakeClock, Timestamp};
use crate::config::{RateLimit, Secret};

fn api_keys(clock: &Arc<FakeClock>, per_second: f64, burst: u32) -> ApiKeys {
    let mut settings = Api {
        keys: vec![Secret::new("a"), Secret::new("b")],
        ..Api::default()
    };
    settings.rate_limit.post = RateLimit { per_second, burst };
    let clock: Arc<dyn Clock> = Arc::<FakeClock>::clone(clock);
    ApiKeys::new(&settings, &clock)
}

fn headers(keys: &[&'static str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for key in keys {
        headers.append(API_KEY, HeaderValue::from_static(key));
    }
    headers
}

#[test]
fn exactly_one_known_key_authenticates() {
    let clock = Arc::new(FakeClock::at(Timestamp::from_millis(0)));
    let api_keys = api_keys(&clock, 1.0, 1);
    let authenticated = |keys: &[&'static str]| {
        let key = api_keys.authenticate(&headers(keys));
        key.map(|key| key.text().to_owned())
    };
    assert_eq!(authenticated(&["b"]), Some("b".to_owned()));
    for keys in [&[][..], &[""], &["c"], &["ab"], &["a", "b"], &["a", "a"]] {
        assert_eq!(authenticated(keys), None, "{keys:?}");
    }
}

#[test]
fn a_token_is_there_after_the_announced_wait_and_not_a_second_earlier() {
    let clock = Arc::new(FakeClock::at(Timestamp::from_millis(0)));
    let api_keys = api_keys(&clock, 0.1, 2);
    let key = |text| {
        let key = api_keys.authenticate(&headers(&[text]));
        key.expect("a known key")
    };
    let take = || key("a").take_token(&Method::POST);
    assert_eq!((take().remaining, take().remaining), (1, 0));
    let limited = take();
    assert_eq!((limited.is_allowed, limited.reset), (false, 10));
    clock.advance(Duration::from_secs(9));
    assert!(!take().is_allowed);
    clock.advance(Duration::from_secs(take().reset));
    assert!(take().is_allowed);
    // Other keys and other methods have buckets of their own.
    assert!(key("b").take_token(&Method::POST).is_allowed);
    assert!(key("a").take_token(&Method::GET).is_allowed);
}
