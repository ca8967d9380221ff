//! How much of its disk the store uses, and when it will be full.

use std::time::Duration;

use super::ids::IntentRow;
use crate::clock::Timestamp;
use crate::model::time_to_grow;
use crate::store::limits::STEP_ROWS;
use crate::store::row_budget::RowBudget;

/// The space that the store uses, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SpaceUse {
    /// Of the database without its free pages, and of the write-ahead log.
    pub used: u64,
    /// `database.max_bytes`.
    pub max: Option<u64>,
    /// The time until it is full, if it grows; zero while it is.
    pub full_in: Option<Duration>,
}

/// The space that was used at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpaceSample {
    pub at: Timestamp,
    pub used: u64,
}

/// The space that was used in the last days, and is used now.
#[derive(Debug)]
pub(crate) struct Growth {
    /// Oldest first. None was taken while nothing changed.
    pub samples: Vec<SpaceSample>,
    pub now: SpaceSample,
}

impl Growth {
    /// The time until it is full: until `max` bytes are used or, without a bound, until no more
    /// than `min_free` of the `free` bytes of the disk are left.
    pub fn full_in(&self, max: Option<u64>, free: Option<u64>, min_free: u64) -> Option<Duration> {
        let room = |free: u64| self.now.used.saturating_add(free.saturating_sub(min_free));
        self.until(max.or_else(|| free.map(room))?)
    }

    /// The time until this many bytes are used: none once they are; before, by the trend of the
    /// samples. None if they don't grow, or are known for less than half an hour.
    #[expect(
        clippy::cast_precision_loss,
        reason = "an estimate needs no more than 53 bits"
    )]
    fn until(&self, limit: u64) -> Option<Duration> {
        if self.now.used >= limit {
            return Some(Duration::ZERO);
        }
        let first = self.samples.first()?;
        let all = self.samples.iter().chain([&self.now]);
        let point = |one: &SpaceSample| (one.at.since(first.at).as_secs_f64(), one.used as f64);
        time_to_grow((limit - self.now.used) as f64, all.map(point))
    }
}

/// How far a pass through finished events that may be shed has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShedCursor {
    /// Events with deliveries, after this one.
    Routed(IntentRow),
    /// Events that no route wanted, after this one.
    Unrouted(IntentRow),
    /// The pass is over.
    End,
}

impl ShedCursor {
    /// The beginning of a pass.
    pub const START: Self = Self::Routed(IntentRow(0));
}

/// Finished events that a part of a pass found.
#[derive(Debug)]
pub(crate) struct Sheddable {
    pub(in crate::store) events: Vec<ShedEvent>,
    /// Where the pass continues.
    pub next: ShedCursor,
}

/// A finished event, to make room with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShedEvent {
    pub(in crate::store) intent: IntentRow,
    /// Rows that are written for it.
    pub(in crate::store) rows: usize,
    /// Whether its idempotency window is over, so that nothing of it has to be kept.
    pub(in crate::store) is_over: bool,
}

/// Sheds the events that were found, in steps.
pub(crate) struct Shed {
    pub(in crate::store) events: Vec<ShedEvent>,
    /// Events that are shed, and those shed once the step under way is durable.
    pub(in crate::store) done: usize,
    pub(in crate::store) next: usize,
    /// Events that gave up their payload or all of their rows.
    pub made: usize,
}

impl Shed {
    /// None if nothing was found.
    pub fn new(found: Sheddable) -> Option<Self> {
        (!found.events.is_empty()).then_some(Self {
            events: found.events,
            done: 0,
            next: 0,
            made: 0,
        })
    }

    /// The events of the next step; none once all are shed. The same again until they are
    /// [`Self::committed`].
    pub(in crate::store) fn next_events(&mut self) -> Option<Vec<ShedEvent>> {
        let rest = &self.events[self.done..];
        let count = RowBudget::of(STEP_ROWS).spend_on(rest, |event| event.rows);
        self.next = self.done + count;
        (count > 0).then(|| rest[..count].to_vec())
    }

    /// The step is durable: it shed this many events.
    pub(in crate::store) fn committed(&mut self, shed: usize) {
        self.done = self.next;
        self.made += shed;
    }
}

#[cfg(test)]
mod tests;
