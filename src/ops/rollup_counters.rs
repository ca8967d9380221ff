//! The counts since the last flush of rollups, in memory.
//!
//! The writer counts what was accepted after its commit, and the dispatcher the attempts that have
//! ended: each has a lock of its own, which nobody else takes but the flush, every 10 s, and
//! requests that are refused. So a count costs a look-up of a name.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::model::{DestinationCounts, FailureKind, SourceCounts, Surface};

/// The name of relays among the sources. A source's name has no slash.
pub(crate) const RELAYS: &str = "/v1/relays";
/// The name that sources without a section share: senders choose their names.
const UNDECLARED: &str = "*";
/// The name that all ad hoc origins share, as in the metrics.
pub(crate) const ADHOC: &str = "adhoc";

/// The counts since the last flush, by source and destination.
#[derive(Debug)]
pub(crate) struct RollupCounters {
    sources: Mutex<Sources>,
    destinations: Mutex<Destinations>,
}

/// Bounded by the sources of relay.toml, those that reloads removed since the last flush, and two.
#[derive(Debug, Default)]
struct Sources {
    declared: HashMap<String, SourceCounts>,
    /// No longer declared: their counts keep their names until the flush.
    removed: HashMap<String, SourceCounts>,
    relays: SourceCounts,
    undeclared: SourceCounts,
}

/// Bounded by the destinations of relay.toml, those that reloads removed since the last flush, and
/// one.
#[derive(Debug, Default)]
struct Destinations {
    configured: HashMap<String, Tally>,
    /// No longer configured: their counts keep their names until the flush. An attempt that was in
    /// flight at the reload is counted here when it ends.
    removed: HashMap<String, DestinationCounts>,
    adhoc: DestinationCounts,
}

/// A destination's counts since the last flush, and its health since the start.
#[derive(Debug, Default)]
struct Tally {
    counts: DestinationCounts,
    health: AttemptHealth,
}

/// How a destination's latest attempts ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AttemptHealth {
    pub last_success_at: Option<Timestamp>,
    pub last_failure_at: Option<Timestamp>,
    /// The first failure since the last success; none if the last attempt was a success.
    pub failing_since: Option<Timestamp>,
    /// Failures since the last success.
    pub failures: u64,
    /// The class of the last failure.
    pub last_error: Option<ErrorClass>,
}

/// A failure without the answer or the words of its error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ErrorClass {
    pub kind: FailureKind,
    pub status_code: Option<u16>,
}

/// An attempt that has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndedAttempt<'a> {
    /// The name of a destination that was configured when it began; none: an ad hoc origin.
    pub destination: Option<&'a str>,
    pub result: AttemptResult,
    pub at: Timestamp,
}

/// The result of an attempt, as far as it is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AttemptResult {
    /// It arrived, this long after it was accepted.
    Delivered(Duration),
    /// It failed; whether the delivery was given up.
    Failed { is_dead: bool, error: ErrorClass },
}

/// The counts that were taken for a flush; names without a count are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TakenCounts {
    pub sources: Vec<(String, SourceCounts)>,
    pub destinations: Vec<(String, DestinationCounts)>,
}

impl RollupCounters {
    pub fn new() -> Self {
        Self {
            sources: Mutex::default(),
            destinations: Mutex::default(),
        }
    }

    /// Sets the names that are counted apart. Counts that are not flushed yet keep the names that
    /// they were counted under.
    pub fn declare<'a>(
        &self,
        sources: impl Iterator<Item = &'a str>,
        destinations: impl Iterator<Item = &'a str>,
    ) {
        let mut known = lock(&self.sources);
        let mut old = std::mem::take(&mut known.declared);
        old.extend(std::mem::take(&mut known.removed));
        for name in sources.filter(|name| *name != UNDECLARED) {
            let counts = old.remove(name).unwrap_or_default();
            known.declared.insert(name.to_owned(), counts);
        }
        known.removed = old;
        drop(known);
        let mut known = lock(&self.destinations);
        let mut old = std::mem::take(&mut known.configured);
        for name in destinations {
            let mut tally = old.remove(name).unwrap_or_default();
            if let Some(counts) = known.removed.remove(name) {
                tally.counts.add(&counts);
            }
            known.configured.insert(name.to_owned(), tally);
        }
        let removed = old.into_iter().map(|(name, tally)| (name, tally.counts));
        known.removed.extend(removed);
    }

    /// Counts an intent that was recorded.
    pub fn accepted(&self, surface: Surface, label: &str) {
        lock(&self.sources).of(surface, label).accepted += 1;
    }

    /// Counts a request whose key named an earlier intent.
    pub fn duplicate(&self, surface: Surface, label: &str) {
        lock(&self.sources).of(surface, label).duplicates += 1;
    }

    /// Counts a request that was refused.
    pub fn refused(&self, surface: Surface, label: &str) {
        lock(&self.sources).of(surface, label).refused += 1;
    }

    /// Counts an attempt.
    pub fn attempt(&self, attempt: EndedAttempt<'_>) {
        let mut known = lock(&self.destinations);
        let Some(name) = attempt.destination else {
            return count(&mut known.adhoc, attempt.result);
        };
        if let Some(tally) = known.configured.get_mut(name) {
            count(&mut tally.counts, attempt.result);
            tally.health.note(attempt.result, attempt.at);
        } else {
            let counts = known.removed.entry(name.to_owned()).or_default();
            count(counts, attempt.result);
        }
    }

    /// How the latest attempts of each configured destination ended.
    pub fn health(&self) -> HashMap<String, AttemptHealth> {
        let known = lock(&self.destinations);
        let tallies = known.configured.iter();
        tallies
            .map(|(name, tally)| (name.clone(), tally.health.clone()))
            .collect()
    }

    /// Takes the counts since the last call.
    pub fn take(&self) -> TakenCounts {
        let mut taken = TakenCounts::default();
        let mut take = |name: &str, counts: &mut SourceCounts| {
            let counts = std::mem::take(counts);
            if counts != SourceCounts::default() {
                taken.sources.push((name.to_owned(), counts));
            }
        };
        let mut known = lock(&self.sources);
        for (name, counts) in &mut known.declared {
            take(name, counts);
        }
        for (name, mut counts) in std::mem::take(&mut known.removed) {
            take(&name, &mut counts);
        }
        take(RELAYS, &mut known.relays);
        take(UNDECLARED, &mut known.undeclared);
        drop(known);
        let mut take = |name: &str, counts: &mut DestinationCounts| {
            let counts = std::mem::take(counts);
            if counts != DestinationCounts::default() {
                taken.destinations.push((name.to_owned(), counts));
            }
        };
        let mut known = lock(&self.destinations);
        for (name, tally) in &mut known.configured {
            take(name, &mut tally.counts);
        }
        for (name, mut counts) in std::mem::take(&mut known.removed) {
            take(&name, &mut counts);
        }
        take(ADHOC, &mut known.adhoc);
        taken
    }
}

impl Sources {
    fn of(&mut self, surface: Surface, label: &str) -> &mut SourceCounts {
        match surface {
            // A relay's label is its event type.
            Surface::Relay => &mut self.relays,
            Surface::Event => self.declared.get_mut(label).unwrap_or(&mut self.undeclared),
        }
    }
}

impl AttemptHealth {
    fn note(&mut self, result: AttemptResult, at: Timestamp) {
        match result {
            AttemptResult::Delivered(_) => {
                self.last_success_at = Some(at);
                self.failing_since = None;
                self.failures = 0;
            }
            AttemptResult::Failed { error, .. } => {
                self.last_failure_at = Some(at);
                self.failing_since.get_or_insert(at);
                self.failures += 1;
                self.last_error = Some(error);
            }
        }
    }
}

fn count(counts: &mut DestinationCounts, result: AttemptResult) {
    match result {
        AttemptResult::Delivered(latency) => {
            counts.delivered += 1;
            counts.latency.record(latency);
        }
        AttemptResult::Failed { is_dead, .. } => {
            counts.failed += 1;
            counts.dead += u64::from(is_dead);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Counts are whole after each statement: a panic elsewhere leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
