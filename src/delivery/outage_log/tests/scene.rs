//! Destinations, attempts and time for the tests.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::config::Destination;
use crate::delivery::attempt::Body;
use crate::delivery::outage_log::destination::OutageRule;
use crate::delivery::outage_log::tests::{MINUTE, SECOND};
use crate::delivery::outage_log::*;
use crate::delivery::outcome::Class;
use crate::model::{Breaker, BreakerRules, FailureKind};
use crate::store::{ClaimId, DestinationId, IntentRow};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    Well,
    /// It is retried.
    Fails,
    /// The last attempt of a delivery.
    FailsForGood,
    /// This one event is refused.
    Refused,
    /// Too many requests.
    Throttled,
    /// Relay can't load the body.
    Lost,
}

impl Ends {
    pub fn outcome(self) -> Outcome {
        let answered = |class, status, error: &str| Outcome {
            status_code: Some(status),
            ..Outcome::failed(class, FailureKind::Status, error)
        };
        match self {
            Self::Well => Outcome::delivered(),
            Self::Fails | Self::FailsForGood => {
                answered(Class::Transient, 503, "answered 503 Service Unavailable")
            }
            Self::Refused => answered(Class::Permanent, 422, "answered 422"),
            Self::Throttled => answered(Class::Transient, 429, "answered 429"),
            Self::Lost => Outcome {
                cause: Some("page 7 is damaged".to_owned()),
                ..Outcome::failed(Class::Transient, FailureKind::Internal, "its log says why")
            },
        }
    }

    pub fn step(self) -> Transition {
        match self {
            Self::Well => Transition::Deliver,
            Self::Fails | Self::Throttled | Self::Lost => Transition::Retry,
            Self::FailsForGood | Self::Refused => Transition::DeadLetter,
        }
    }
}

/// The log of a dispatcher, on a clock that is moved by hand.
pub struct Scene {
    pub outages: Outages,
    pub now: Timestamp,
    pub logged: Vec<(Timestamp, Line)>,
}

pub struct To {
    pub attempt: Attempt,
    pub log: OutageLog,
    pub breaker: Option<Breaker>,
}

impl To {
    pub fn new(id: i64, name: &str, rules: Option<BreakerRules>) -> Self {
        let mut config = Config::default();
        let url = "http://example.com/".parse().expect("a URL");
        config
            .destinations
            .insert("orders".to_owned(), Destination::new(url));
        let rule = rules.map_or(OutageRule::InARow, |rules| OutageRule::Breaker {
            failures: rules.failures,
        });
        let target = Target::new(DestinationId::of_test(id), name, &config.resolve(), true);
        Self {
            attempt: Attempt {
                intent: IntentRow::of_test(1),
                target: Arc::new(target),
                claim: ClaimId::of_test(1),
                number: 1,
                history: 0,
                body: Body::Unreadable("on purpose".into()),
            },
            log: OutageLog::with(rule, false),
            breaker: rules.map(Breaker::new),
        }
    }

    pub fn orders(rules: Option<BreakerRules>) -> Self {
        Self::new(1, "orders", rules)
    }
}

impl Scene {
    pub fn new() -> Self {
        Self {
            outages: Outages::default(),
            now: Timestamp::from_millis(1_700_000_000_000),
            logged: Vec::new(),
        }
    }

    pub fn monotonic(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.now.as_millis()).expect("after the epoch"))
    }

    /// Makes an attempt, if the breaker admits it.
    pub fn attempt(&mut self, to: &mut To, ends: Ends) -> bool {
        let at = self.monotonic();
        let outcome = ends.outcome();
        let change = match &mut to.breaker {
            Some(breaker) if breaker.admits(at, 0).is_err() => return false,
            Some(breaker) => breaker.note(outcome.health(), at),
            None => None,
        };
        let lines = to
            .log
            .note(&to.attempt, &outcome, ends.step(), change, self.now);
        self.admitted(to, lines);
        true
    }

    pub fn admitted(&mut self, to: &mut To, lines: Vec<Line>) {
        let (log, target) = (&mut to.log, &to.attempt.target);
        let lines = self.outages.admitted(log, target, lines, self.now);
        self.logged
            .extend(lines.into_iter().map(|line| (self.now, line)));
    }

    /// Advances the clock, with a tick of the dispatcher each second.
    pub fn wait(&mut self, time: Duration, to: &mut To) {
        let end = self.now.plus(time);
        while self.now < end {
            self.now = self.now.plus(SECOND).min(end);
            while let Some((at, _)) = self.outages.due.first().copied()
                && at <= self.now
            {
                self.outages.due.pop_first();
                let lines = to.log.due_lines(self.now);
                self.admitted(to, lines);
            }
        }
    }

    pub fn lines(&self) -> Vec<&Line> {
        self.logged.iter().map(|(_, line)| line).collect()
    }

    /// The most lines in any minute.
    pub fn most_in_a_minute(&self) -> usize {
        let times: Vec<_> = self.logged.iter().map(|(at, _)| *at).collect();
        let mut most = 0;
        let mut first = 0;
        for (last, at) in times.iter().enumerate() {
            while at.since(times[first]) >= MINUTE {
                first += 1;
            }
            most = most.max(last + 1 - first);
        }
        most
    }

    /// Failures and dead letters that digests and single lines count.
    pub fn counted(&self) -> (u64, u64) {
        self.logged
            .iter()
            .fold((0, 0), |(failures, dead), (_, line)| match line {
                Line::Failure { .. } => (failures + 1, dead),
                Line::Failures { failures: more, .. } => (failures + more, dead),
                Line::DeadLetter { .. } => (failures, dead + 1),
                Line::DeadLetters { dead_letters, .. } => (failures, dead + dead_letters),
                _ => (failures, dead),
            })
    }
}
