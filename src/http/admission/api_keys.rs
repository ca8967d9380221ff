//! API keys: authentication, and the rate limits of each key.

use std::sync::Arc;

use hyper::Method;
use hyper::header::{HeaderMap, HeaderName};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::clock::Clock;
use crate::config::Api;
use crate::http::admission::rate_limits::{Buckets as _, RateLimitStatus, TokenBucket};
use crate::limiter::Monotonic;

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The configured keys.
pub(in crate::http) struct ApiKeys(Vec<ApiKey>);

/// A configured key with its token buckets. Unknown keys have none, so that they take no memory.
pub(in crate::http) struct ApiKey {
    text: String,
    digest: [u8; 32],
    post: Arc<TokenBucket>,
    get: Arc<TokenBucket>,
}

impl ApiKeys {
    pub fn new(settings: &Api, clock: &Arc<dyn Clock>) -> Self {
        Self(Vec::new()).reloaded(settings, clock)
    }

    /// The keys of a reload. A key that was there before keeps its token buckets.
    pub fn reloaded(&self, settings: &Api, clock: &Arc<dyn Clock>) -> Self {
        let limits = &settings.rate_limit;
        let bucket = |limit| {
            let clock = Monotonic(Arc::clone(clock));
            Arc::new(TokenBucket::new(limit, clock))
        };
        let keys = settings.keys.iter().map(|key| {
            let text = key.reveal();
            let (post, get) = match self.0.iter().find(|known| known.text == text) {
                Some(known) => (
                    known.post.with_limit(limits.post),
                    known.get.with_limit(limits.get),
                ),
                None => (bucket(limits.post), bucket(limits.get)),
            };
            ApiKey {
                text: text.to_owned(),
                digest: Sha256::digest(text).into(),
                post,
                get,
            }
        });
        Self(keys.collect())
    }

    /// The configured key that the request carries. All keys are compared, each in constant time,
    /// so that the time of a response tells nothing about how close a guess was.
    pub fn authenticate(&self, headers: &HeaderMap) -> Option<&ApiKey> {
        let mut values = headers.get_all(API_KEY).iter();
        let (Some(given), None) = (values.next(), values.next()) else {
            return None;
        };
        let given: [u8; 32] = Sha256::digest(given.as_bytes()).into();
        let mut found = None;
        for key in &self.0 {
            if bool::from(key.digest.ct_eq(&given)) {
                found = Some(key);
            }
        }
        found
    }
}

impl ApiKey {
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Takes a token for a request of this method.
    pub fn take_token(&self, method: &Method) -> RateLimitStatus {
        if *method == Method::POST {
            self.post.take()
        } else {
            self.get.take()
        }
    }
}

#[cfg(test)]
mod tests;
