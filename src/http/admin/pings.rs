//! Tests of destinations, at the operator's request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::http::api_error::ApiError;
use crate::http::request_context::RequestContext;
use crate::model::{PingError, PingReport, SendPing};
use crate::store::StoreError;

/// Tests at once. Each occupies a thread for up to its destination's timeout.
const MAX_AT_ONCE: usize = 8;
/// The time between two tests of a destination: it may be down because too much was sent to it.
const EVERY: Duration = Duration::from_secs(1);

/// Tests destinations, bounded in number and rate. Clones share the bounds.
#[derive(Clone)]
pub(in crate::http) struct Pings {
    send: SendPing,
    permits: Arc<Semaphore>,
    /// When each destination was tested last, by the steady clock. Times past [`EVERY`] are
    /// dropped, so that there are no more than destinations tested in a second.
    last: Arc<Mutex<HashMap<String, Duration>>>,
}

impl Pings {
    pub fn new(send: SendPing) -> Self {
        Self {
            send,
            permits: Arc::new(Semaphore::new(MAX_AT_ONCE)),
            last: Arc::default(),
        }
    }

    /// Tests a destination away from the event loop, and waits for the result: a client that goes
    /// away leaves the attempt to its end.
    pub async fn ping(
        &self,
        context: &RequestContext,
        clock: &dyn Clock,
        name: &str,
    ) -> Result<PingReport, ApiError> {
        let permit = Arc::clone(&self.permits).try_acquire_owned();
        let permit = permit.map_err(|_| {
            ApiError::overloaded(format!(
                "{MAX_AT_ONCE} destinations are being tested: try again"
            ))
        })?;
        if !self.may_ping(name, clock.monotonic()) {
            return Err(ApiError::rate_limited(EVERY.as_secs()));
        }
        let (send, owned) = (Arc::clone(&self.send), name.to_owned());
        let work = move || {
            let result = send(&owned);
            drop(permit);
            result
        };
        let result = tokio::task::spawn_blocking(work).await.map_err(|error| {
            let error = StoreError::Unexpected(format!("a ping panicked: {error}"));
            ApiError::from_store(&error, context.id())
        })?;
        result.map_err(|error| refused(error, name))
    }

    fn may_ping(&self, name: &str, now: Duration) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.retain(|_, at| now.saturating_sub(*at) < EVERY);
        if last.contains_key(name) {
            return false;
        }
        last.insert(name.to_owned(), now);
        true
    }
}

fn refused(error: PingError, name: &str) -> ApiError {
    match error {
        PingError::NotConfigured => ApiError::changed(format!(
            "{name} is not configured, so that there is no URL to send a ping to"
        )),
        PingError::ContactsNobody(level) => ApiError::changed(format!(
            "nothing can be pinged: this relay contacts nobody (delivery.level is {level}); \
             expected http or durable"
        )),
    }
}
