//! The attempts of the last hour, by destination. One query has those of a whole page.

use std::collections::BTreeMap;
use std::time::Duration;

use super::visit::grouped;
use crate::clock::Timestamp;
use crate::model::{DestinationCounts, SourceCounts};
use crate::store::{RollupQuery, RollupSink};

const MINUTE: Duration = Duration::from_secs(60);
/// Minutes of an hour, the present one included.
pub(super) const MINUTES: u32 = 60;
/// The time without a success after which a destination that fails counts as failing, as the alert
/// `destination.failing` has it.
const FAILING_AFTER: Duration = Duration::from_secs(5 * 60);

/// Bounded by the destinations that had attempts.
#[derive(Clone)]
pub(super) struct LastHour {
    now: Timestamp,
    by_name: BTreeMap<String, Attempts>,
}

#[derive(Clone, Copy, Default)]
struct Attempts {
    hour: DestinationCounts,
    /// Those of the last [`FAILING_AFTER`].
    recent: DestinationCounts,
}

impl LastHour {
    pub fn new(now: Timestamp) -> Self {
        Self {
            now,
            by_name: BTreeMap::new(),
        }
    }

    /// The query for its rows.
    pub fn query(now: Timestamp) -> RollupQuery {
        let from = now.minus(MINUTE.saturating_mul(MINUTES - 1));
        let query = RollupQuery::new(from, now.plus(MINUTE), MINUTE, now);
        query.expect("the steps are few")
    }

    /// The counts of a destination; none of an ad hoc origin, since those are counted together.
    pub fn counts(&self, name: &str) -> Option<DestinationCounts> {
        let attempts = self.by_name.get(name).copied().unwrap_or_default();
        (!name.contains("://")).then_some(attempts.hour)
    }

    /// Whether its latest attempts failed without a success.
    pub fn is_failing(&self, name: &str) -> bool {
        let attempts = self.by_name.get(name);
        attempts.is_some_and(|one| one.recent.failed > 0 && one.recent.delivered == 0)
    }
}

/// A number of some counts, or the sign for none.
pub(super) fn number(
    counts: Option<&DestinationCounts>,
    of: impl Fn(&DestinationCounts) -> u64,
) -> String {
    counts.map_or_else(|| "–".to_owned(), |counts| grouped(of(counts)))
}

impl RollupSink for LastHour {
    fn source(&mut self, _: Timestamp, _: &str, _: &SourceCounts) -> bool {
        false
    }

    fn destination(&mut self, at: Timestamp, name: &str, counts: &DestinationCounts) -> bool {
        if !self.by_name.contains_key(name) {
            self.by_name.insert(name.to_owned(), Attempts::default());
        }
        if let Some(attempts) = self.by_name.get_mut(name) {
            attempts.hour.add(counts);
            if at.plus(FAILING_AFTER) >= self.now {
                attempts.recent.add(counts);
            }
        }
        true
    }
}
