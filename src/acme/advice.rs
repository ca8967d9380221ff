//! When an authority advises to renew a certificate (RFC 9773). Pure.
//!
//! An authority that revokes a certificate, or is about to, advises to renew it at once: so relay
//! notices a revocation by itself.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// The bounds of the time between two questions, whatever the authority says. Let's Encrypt says
/// six hours.
const SHORTEST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(86_400);
/// The wait after a question that brought no advice.
const AFTER_FAILURE: Duration = Duration::from_secs(3600);

/// An authority's advice on a certificate. Stored, so that a start asks no more often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Advice {
    /// The certificate, as the authority knows it.
    certificate: String,
    /// When to renew it, in milliseconds of the system's clock.
    renew_at: Option<i64>,
    /// When to ask again.
    ask_at: i64,
    /// Whether the last question brought no answer.
    #[serde(default)]
    is_failing: bool,
}

/// The time in which a certificate should be renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub start: Timestamp,
    pub end: Timestamp,
}

impl Advice {
    /// No advice yet on this certificate, which is asked for at once.
    pub fn on(certificate: String) -> Self {
        Self {
            certificate,
            renew_at: None,
            ask_at: i64::MIN,
            is_failing: false,
        }
    }

    pub fn is_on(&self, certificate: &str) -> bool {
        self.certificate == certificate
    }

    /// When to renew the certificate, if the authority has said so.
    pub fn renew_at(&self) -> Option<Timestamp> {
        self.renew_at.map(Timestamp::from_millis)
    }

    /// How long to wait before the next question. A clock that was set back makes it no longer than
    /// the longest wait.
    pub fn wait(&self, now: Timestamp) -> Duration {
        Timestamp::from_millis(self.ask_at).since(now).min(LONGEST)
    }

    /// Takes advice: `chance`, from 0 to 1, picks a time within the window, so that not all clients
    /// come at once. A time that was picked stays while it is within the window.
    pub fn take(&mut self, window: Window, chance: f64, again: Duration, now: Timestamp) {
        self.is_failing = false;
        self.ask_in(again, now);
        let Window { start, end } = window;
        if end < start {
            return;
        }
        let stays = self.renew_at().is_some_and(|at| start <= at && at <= end);
        if !stays {
            let into = end.since(start).mul_f64(chance.clamp(0.0, 1.0));
            self.renew_at = Some(start.plus(into).as_millis());
        }
    }

    /// The question brought no answer: whether that is news. Earlier advice holds.
    pub fn fail(&mut self, again: Option<Duration>, now: Timestamp) -> bool {
        self.ask_in(again.unwrap_or(AFTER_FAILURE), now);
        !std::mem::replace(&mut self.is_failing, true)
    }

    /// The authority gives no advice.
    pub fn is_not_given(&mut self, now: Timestamp) {
        self.is_failing = false;
        self.ask_in(LONGEST, now);
    }

    fn ask_in(&mut self, wait: Duration, now: Timestamp) {
        self.ask_at = now.plus(wait.clamp(SHORTEST, LONGEST)).as_millis();
    }
}

#[cfg(test)]
mod tests;
