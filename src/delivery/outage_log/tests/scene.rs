//! Destinations, attempts and time for the tests.

use std::sync::Arc;

use crate::config::{Config, Destination};
use crate::delivery::outage_log::tests::{MINUTE, SECOND};
use crate::delivery::outage_log::*;
use crate::delivery::pool::Freight;
use crate::model::{Breaker, BreakerRules, FailureKind};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    Well,
    /// To be tried again.
    Fails,
    /// The last attempt of a delivery.
    FailsForGood,
    /// This one event is refused.
    Refused,
    /// Too many requests.
    Throttled,
    /// Relay can't load it.
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

/// A dispatcher's part in it, on a clock that is moved by hand.
pub struct Scene {
    pub outages: Outages,
    pub now: Timestamp,
    pub said: Vec<(Timestamp, Line)>,
}

pub struct To {
    pub job: Job,
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
        let rule = rules.map_or(Rule::InARow, |rules| Rule::Breaker {
            failures: rules.failures,
        });
        let target = Target::new(id, name, &config.resolve(), true);
        Self {
            job: Job {
                intent: 1,
                target: Arc::new(target),
                claim: 1,
                due: Timestamp::from_millis(0),
                attempt: 1,
                history: 0,
                freight: Freight::Lost("on purpose".into()),
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
            said: Vec::new(),
        }
    }

    pub fn monotonic(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.now.as_millis()).expect("after the epoch"))
    }

    /// An attempt, if the breaker lets it through.
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
            .note(&to.job, &outcome, ends.step(), change, self.now);
        self.admitted(to, lines);
        true
    }

    pub fn admitted(&mut self, to: &mut To, lines: Vec<Line>) {
        let (log, target) = (&mut to.log, &to.job.target);
        let lines = self.outages.admitted(log, target, lines, self.now);
        self.said
            .extend(lines.into_iter().map(|line| (self.now, line)));
    }

    /// Lets time go by, with a tick of the dispatcher a second.
    pub fn pass(&mut self, time: Duration, to: &mut To) {
        let end = self.now.plus(time);
        while self.now < end {
            self.now = self.now.plus(SECOND).min(end);
            while let Some((at, _)) = self.outages.due.first().copied()
                && at <= self.now
            {
                self.outages.due.pop_first();
                let lines = Outages::due_lines(&mut to.log, self.now);
                self.admitted(to, lines);
            }
        }
    }

    pub fn lines(&self) -> Vec<&Line> {
        self.said.iter().map(|(_, line)| line).collect()
    }

    /// The most lines in any minute.
    pub fn most_in_a_minute(&self) -> usize {
        let times: Vec<_> = self.said.iter().map(|(at, _)| *at).collect();
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

    /// Failures and dead letters that digests and single lines tell of.
    pub fn told(&self) -> (u64, u64) {
        self.said
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
