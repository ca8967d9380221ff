//! Level 1: a transport that answers itself.

use std::net::SocketAddr;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use serde::Deserialize;

use crate::clock::Timestamp;
use crate::config::Live;
use crate::delivery::attempt::Attempt;
use crate::delivery::context::Context;
use crate::delivery::levels::local::is_local;
use crate::delivery::outcome::{Class, Outcome};
use crate::delivery::transport::Transport;
use crate::model::{AddressPolicy, FailureKind, TargetUrl};
use crate::store::OutboundMessage;

/// Attempts that fail for `simulate_transient`.
const TRANSIENT_FAILURES: u32 = 2;

pub(super) struct Simulated {
    addresses: AddressPolicy,
    config: Live,
    aborted: Mutex<bool>,
    abort: Condvar,
}

/// A payload's instructions to the simulation; its other keys are ignored.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Instructions {
    #[serde(rename = "simulate_failure")]
    failure: bool,
    #[serde(rename = "simulate_transient")]
    transient: bool,
    #[serde(rename = "simulate_delay_ms")]
    delay_ms: u64,
}

impl Simulated {
    pub fn new(context: &Context) -> Self {
        let config = context.config.current();
        Self {
            addresses: config.address_policy(context.own_listeners.clone()),
            config: context.config.clone(),
            aborted: Mutex::new(false),
            abort: Condvar::new(),
        }
    }

    /// Waits as for a real answer; an abort ends the wait.
    fn wait(&self, time: Duration) {
        let aborted = self.aborted.lock().expect(NO_PANIC);
        drop(
            self.abort
                .wait_timeout_while(aborted, time, |aborted| !*aborted)
                .expect(NO_PANIC),
        );
    }

    /// Whether the URL's literal address is one of relay's listeners; names aren't looked up at
    /// this level.
    fn is_own_listener(&self, url: &str) -> bool {
        url.parse::<TargetUrl>().is_ok_and(|url| {
            url.literal_address().is_some_and(|ip| {
                let address = SocketAddr::new(ip, url.port());
                self.addresses.is_own_listener(address, is_local)
            })
        })
    }
}

const NO_PANIC: &str = "no code panics while holding this lock";

impl Transport for Simulated {
    fn send(&self, message: &OutboundMessage, attempt: &Attempt, _wall: Timestamp) -> Outcome {
        let asked: Instructions = serde_json::from_slice(&message.body).unwrap_or_default();
        let config = self.config.current();
        let (latency, timeout) = (config.delivery.simulated.latency, config.delivery.timeout);
        let delay = latency + Duration::from_millis(asked.delay_ms);
        self.wait(delay.min(timeout));
        if delay > timeout {
            return Outcome::failed(
                Class::Transient,
                FailureKind::Timeout,
                "simulated: timed out",
            );
        }
        if asked.failure {
            return answered(
                Class::Permanent,
                400,
                "simulated: failed as the payload asks",
            );
        }
        // This level makes one attempt, and only replays make more. The history then holds an
        // attempt, a replay, an attempt, …: two entries for each failure.
        if asked.transient && attempt.history / 2 < TRANSIENT_FAILURES {
            return answered(
                Class::Transient,
                503,
                "simulated: failed for now as the payload asks",
            );
        }
        let url = match &attempt.target.policy.url {
            Some(url) => url.as_str(),
            None => message.url.as_deref().unwrap_or_default(),
        };
        if self.is_own_listener(url) {
            return Outcome::failed(
                Class::Permanent,
                FailureKind::ForbiddenAddress,
                "forbidden_address: simulated: one of relay's own listeners",
            );
        }
        let would = format!(
            "simulated: would POST {} bytes of {} and {} bytes of headers to {url}",
            message.body.len(),
            message.label,
            message.headers.len()
        );
        Outcome {
            status_code: Some(200),
            response: Some(would.into_bytes()),
            ..Outcome::delivered()
        }
    }

    fn abort(&self) {
        *self.aborted.lock().expect(NO_PANIC) = true;
        self.abort.notify_all();
    }
}

fn answered(class: Class, status: u16, error: &str) -> Outcome {
    Outcome {
        status_code: Some(status),
        ..Outcome::failed(class, FailureKind::Status, error)
    }
}
