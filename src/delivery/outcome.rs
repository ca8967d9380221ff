//! The outcome of an attempt, and what follows from it. Pure.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::model::{FailureKind, Health, Retry, Transition};

/// The class of an outcome, which decides what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// The destination took it.
    Delivered,
    /// A later attempt may succeed.
    Transient,
    /// No later attempt will succeed.
    Permanent,
}

impl Class {
    /// The name of the class in logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Transient => "transient",
            Self::Permanent => "permanent",
        }
    }
}

/// The durations of an attempt's steps, as far as it got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Trace {
    /// The addresses of the name; none if a connection was reused.
    pub address: Option<String>,
    pub resolve: Option<Duration>,
    /// TLS included.
    pub connect: Option<Duration>,
    /// Of the time of connecting; none without TLS.
    pub tls: Option<Duration>,
    /// From the start until the answer's headers were read.
    pub first_byte: Option<Duration>,
}

/// The outcome of an attempt: data, not an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// False if this machine couldn't begin the attempt: it is made later, and nothing is spent.
    pub is_made: bool,
    pub class: Class,
    /// None if it was delivered.
    pub failure: Option<FailureKind>,
    pub status_code: Option<u16>,
    /// Why it was not delivered, as clients see it; none if it was.
    pub error: Option<String>,
    /// The same for the log, if that tells more than clients may know.
    pub cause: Option<String>,
    /// The first bytes of the answer.
    pub response: Option<Vec<u8>>,
    /// The destination's `Retry-After`.
    pub retry_after: Option<Duration>,
    pub trace: Trace,
}

impl Outcome {
    /// The outcome of an attempt that delivered.
    pub fn delivered() -> Self {
        Self {
            is_made: true,
            class: Class::Delivered,
            failure: None,
            status_code: None,
            error: None,
            cause: None,
            response: None,
            retry_after: None,
            trace: Trace::default(),
        }
    }

    /// The outcome of an attempt that failed before there was an answer.
    pub fn failed(class: Class, failure: FailureKind, error: impl Into<String>) -> Self {
        Self {
            class,
            failure: Some(failure),
            error: Some(error.into()),
            ..Self::delivered()
        }
    }

    /// Whether the receiver says that it is gone for good (RFC 9110, 15.5.11).
    pub fn is_gone(&self) -> bool {
        self.class == Class::Permanent && self.status_code == Some(410)
    }

    /// Whether the destination would take another delivery now: it took this one, or refuses this
    /// event alone.
    pub fn invites_another(&self) -> bool {
        let refuses_one = self.class == Class::Permanent && self.health() == Health::Well;
        let asks_for_pause = self.retry_after.is_some() || self.is_gone();
        self.class == Class::Delivered || (refuses_one && !asks_for_pause)
    }

    /// The destination's health by this outcome. An answer that refuses this one event is a healthy
    /// destination's; 429 says nothing.
    pub fn health(&self) -> Health {
        match (self.class, self.failure) {
            (Class::Delivered, _) | (Class::Permanent, Some(FailureKind::Status)) => Health::Well,
            (_, Some(FailureKind::Internal)) | (Class::Permanent, _) => Health::Unknown,
            (Class::Transient, _) if self.status_code == Some(429) => Health::Unknown,
            (Class::Transient, _) => Health::Failing,
        }
    }
}

/// The consequences of an outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    pub step: Transition,
    /// The time of the next attempt, for [`Transition::Retry`].
    pub next_attempt_at: Option<Timestamp>,
    /// Nothing goes to the destination before this time.
    pub hold_until: Option<Timestamp>,
    /// The consequence and its reason, in words.
    pub next: String,
}

/// Decides about a delivery after attempt number `attempt` (1-based). `random` in 0..1 chooses the
/// jitter.
pub(super) fn decide(
    attempt: u32,
    outcome: &Outcome,
    retry: &Retry,
    now: Timestamp,
    random: f64,
) -> Decision {
    let retry_after = outcome
        .retry_after
        .filter(|_| retry.honours_retry_after)
        .map(|wait| wait.min(Retry::MAX_RETRY_AFTER));
    let hold_until = retry_after.map(|wait| now.plus(wait));
    let finished = |step, next: String| Decision {
        step,
        next_attempt_at: None,
        hold_until,
        next,
    };
    match outcome.class {
        Class::Delivered => Decision {
            hold_until: None,
            ..finished(Transition::Deliver, "done".to_owned())
        },
        Class::Permanent => finished(
            Transition::DeadLetter,
            "given up: trying again would not help".to_owned(),
        ),
        Class::Transient => match retry.wait_after(attempt, random) {
            None => {
                // The schedule may have been longer before.
                let attempts = retry.max_attempts().max(attempt);
                let next = format!("given up: attempt {attempt} of {attempts} was the last");
                finished(Transition::DeadLetter, next)
            }
            // `Retry-After` is a lower bound on the next attempt, never an upper.
            Some(wait) => {
                let asked = retry_after.unwrap_or_default();
                let at = now.plus(wait.max(asked));
                let why = if asked > wait {
                    "Retry-After"
                } else {
                    "schedule"
                };
                Decision {
                    step: Transition::Retry,
                    next_attempt_at: Some(at),
                    hold_until,
                    next: format!("attempt {} at {at} ({why})", attempt + 1),
                }
            }
        },
    }
}

#[cfg(test)]
mod tests;
