//! Rollups: what was accepted and delivered, by minute for two days and by hour for 90.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::model::{DestinationCounts, SourceCounts};
use crate::store::limits::STEP_ROWS;
use crate::store::row_budget::RowBudget;

/// The length of the period that a stored row covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RollupGrain {
    Minute,
    Hour,
}

impl RollupGrain {
    pub const ALL: [Self; 2] = [Self::Minute, Self::Hour];

    /// The length of a period.
    pub const fn length(self) -> Duration {
        match self {
            Self::Minute => Duration::from_secs(60),
            Self::Hour => Duration::from_secs(3600),
        }
    }

    /// How long its rows are kept. A thousand destinations that never rest take 2.9 million minutes
    /// and 2.2 million hours, 60 bytes each.
    pub const fn kept(self) -> Duration {
        match self {
            Self::Minute => Duration::from_secs(48 * 3600),
            Self::Hour => Duration::from_secs(90 * 86_400),
        }
    }

    /// The beginning of the period that `at` falls into.
    pub fn begin(self, at: Timestamp) -> Timestamp {
        begin(at, self.length())
    }

    /// The grain's number in the tables: its seconds.
    pub(in crate::store) fn seconds(self) -> i64 {
        i64::try_from(self.length().as_secs()).unwrap_or(i64::MAX)
    }
}

/// The beginning of the period of this length that `at` falls into.
fn begin(at: Timestamp, length: Duration) -> Timestamp {
    let length = i64::try_from(length.as_millis()).unwrap_or(i64::MAX).max(1);
    Timestamp::from_millis(at.as_millis().div_euclid(length).saturating_mul(length))
}

/// Adds counts to the rows of a minute and of its hour, in steps of a bounded number of rows.
#[derive(Debug)]
pub(crate) struct RecordRollups {
    pub(in crate::store) at: Timestamp,
    pub(in crate::store) sources: Arc<Vec<(String, SourceCounts)>>,
    pub(in crate::store) destinations: Arc<Vec<(String, DestinationCounts)>>,
    /// Names that are durable: of sources first, then of destinations.
    pub(in crate::store) done: usize,
    pub(in crate::store) next: usize,
    /// The token of the step under way: made again after its answer was lost, it adds nothing.
    #[allow(dead_code, reason = "SQLite's writer answers for each step")]
    pub(in crate::store) token: u128,
}

impl RecordRollups {
    /// The counts of a period that ended within the minute of `at`.
    pub fn new(
        at: Timestamp,
        sources: Vec<(String, SourceCounts)>,
        destinations: Vec<(String, DestinationCounts)>,
    ) -> Self {
        Self {
            at,
            sources: Arc::new(sources),
            destinations: Arc::new(destinations),
            done: 0,
            next: 0,
            token: rand::random(),
        }
    }

    /// The names of the next step, of at most `rows` rows: of sources first, then of destinations;
    /// none once all are durable. The same again until they are [`Self::committed`].
    pub(in crate::store) fn next_names(&mut self, rows: usize) -> Option<Range<usize>> {
        let names = self.sources.len() + self.destinations.len();
        let mut budget = RowBudget::of(rows.min(STEP_ROWS));
        let fitting = (self.done..names).take_while(|_| budget.spend(ROWS_OF_A_NAME));
        self.next = self.done + fitting.count();
        (self.next > self.done).then_some(self.done..self.next)
    }

    /// The step is durable.
    pub(in crate::store) fn committed(&mut self) {
        self.done = self.next;
        self.token = rand::random();
    }
}

/// Rows of a name: one for each grain.
pub(in crate::store) const ROWS_OF_A_NAME: usize = RollupGrain::ALL.len();

/// Steps of a query at most: a day in minutes, and a little more.
const MAX_STEPS: u64 = 1500;
/// Rows of an answer at most, some 8 MiB: six hundred destinations over an hour of minutes fit into
/// it.
const MAX_ROLLUPS: usize = 40_000;

/// A query for rollups, in steps of a whole number of minutes or hours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RollupQuery {
    /// The only destination that is wanted, without any source. None: all of both.
    pub(in crate::store) destination: Option<String>,
    pub(in crate::store) from: Timestamp,
    pub(in crate::store) to: Timestamp,
    pub(in crate::store) step: Duration,
    pub(in crate::store) grain: RollupGrain,
}

impl RollupQuery {
    /// The rollups of a time, in steps of `step`. The time begins and ends with a step; hours stand
    /// in for minutes that are no longer kept at `now`. An error says what was expected.
    pub fn new(
        from: Timestamp,
        to: Timestamp,
        step: Duration,
        now: Timestamp,
    ) -> Result<Self, String> {
        if from >= to {
            return Err("from: expected a time before to".to_owned());
        }
        let minute = RollupGrain::Minute.length();
        if step < minute || !step.as_millis().is_multiple_of(minute.as_millis()) {
            return Err("step: expected a whole number of minutes, such as 1m, 15m or 1h".into());
        }
        let grain = grain_of(from, step, now);
        let step = whole(step, grain.length());
        let query = Self {
            destination: None,
            from: begin(from, step),
            to,
            step,
            grain,
        };
        let steps = to.since(query.from).as_millis().div_ceil(step.as_millis());
        if steps > u128::from(MAX_STEPS) {
            return Err(format!(
                "step: expected one that divides the time into {MAX_STEPS} parts at most"
            ));
        }
        Ok(query)
    }

    /// The rollups of a whole time as one step. It begins with a minute, or with an hour if its
    /// minutes are no longer kept at `now`.
    pub fn total(from: Timestamp, to: Timestamp, now: Timestamp) -> Self {
        let grain = grain_of(from, RollupGrain::Minute.length(), now);
        let from = grain.begin(from);
        Self {
            destination: None,
            from,
            to,
            step: Duration::MAX,
            grain,
        }
    }

    /// The same of one destination alone.
    #[allow(dead_code, reason = "a build without the console asks for all")]
    #[must_use]
    pub fn of_destination(self, name: &str) -> Self {
        Self {
            destination: Some(name.to_owned()),
            ..self
        }
    }

    /// The beginning of the first step.
    pub fn from(&self) -> Timestamp {
        self.from
    }

    /// The length of a step.
    pub fn step(&self) -> Duration {
        self.step
    }

    /// The beginning of the step that a row belongs to.
    pub(in crate::store) fn step_of(&self, at: Timestamp) -> Timestamp {
        if self.step == Duration::MAX {
            return self.from;
        }
        begin(at, self.step)
    }
}

/// The rows that a query reads: minutes while they are kept, and only if hours wouldn't do.
fn grain_of(from: Timestamp, step: Duration, now: Timestamp) -> RollupGrain {
    let is_kept = from >= now.minus(RollupGrain::Minute.kept());
    let hour = RollupGrain::Hour.length().as_millis();
    if is_kept && !step.as_millis().is_multiple_of(hour) {
        RollupGrain::Minute
    } else {
        RollupGrain::Hour
    }
}

/// The next multiple of a length.
fn whole(step: Duration, length: Duration) -> Duration {
    let lengths = step.as_millis().div_ceil(length.as_millis());
    length.saturating_mul(u32::try_from(lengths).unwrap_or(u32::MAX))
}

/// A step of a name: its beginning, and the counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rollup<C> {
    pub at: Timestamp,
    /// A source, `*` for those without a section, or `/v1/relays`; a destination, or `adhoc`.
    pub name: String,
    pub counts: C,
}

/// The answer to a [`RollupQuery`], by time and name. Steps without a count are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rollups {
    pub sources: Vec<Rollup<SourceCounts>>,
    pub destinations: Vec<Rollup<DestinationCounts>>,
    /// Whether it was cut short, being too long: a longer step makes it shorter.
    pub is_cut_short: bool,
}

/// Takes the stored rows of a query one by one, each table by time and name.
pub(crate) trait RollupSink: Clone + Send + 'static {
    /// Takes a source's counts of a minute or an hour; false if it wants no more of sources.
    fn source(&mut self, at: Timestamp, name: &str, counts: &SourceCounts) -> bool;
    /// Takes a destination's; false if it wants no more of destinations.
    fn destination(&mut self, at: Timestamp, name: &str, counts: &DestinationCounts) -> bool;
}

/// Adds stored rows up in the steps of a query. The rows come by time and name.
#[derive(Clone)]
struct AddUp<C> {
    finished: Vec<Rollup<C>>,
    step: Timestamp,
    /// The counts of the step, by name.
    names: BTreeMap<String, C>,
}

impl<C: Default> AddUp<C> {
    fn new() -> Self {
        Self {
            finished: Vec::new(),
            step: Timestamp::from_millis(i64::MIN),
            names: BTreeMap::new(),
        }
    }

    /// The counts of a name in a step, to which a row is added. None if there are too many.
    fn of(&mut self, step: Timestamp, name: &str) -> Option<&mut C> {
        if step != self.step {
            self.finish();
            self.step = step;
        }
        if !self.names.contains_key(name) {
            if self.finished.len() + self.names.len() >= MAX_ROLLUPS {
                return None;
            }
            self.names.insert(name.to_owned(), C::default());
        }
        self.names.get_mut(name)
    }

    fn finish(&mut self) {
        let at = self.step;
        let names = std::mem::take(&mut self.names).into_iter();
        let rollups = names.map(|(name, counts)| Rollup { at, name, counts });
        self.finished.extend(rollups);
    }

    /// All of them, by time and name.
    fn all(mut self) -> Vec<Rollup<C>> {
        self.finish();
        self.finished
    }
}

/// Adds rows up to [`Rollups`].
#[derive(Clone)]
pub(in crate::store) struct Listed {
    query: RollupQuery,
    sources: AddUp<SourceCounts>,
    destinations: AddUp<DestinationCounts>,
    is_cut_short: bool,
}

impl Listed {
    pub fn new(query: &RollupQuery) -> Self {
        Self {
            query: query.clone(),
            sources: AddUp::new(),
            destinations: AddUp::new(),
            is_cut_short: false,
        }
    }

    pub fn rollups(self) -> Rollups {
        Rollups {
            sources: self.sources.all(),
            destinations: self.destinations.all(),
            is_cut_short: self.is_cut_short,
        }
    }
}

impl RollupSink for Listed {
    fn source(&mut self, at: Timestamp, name: &str, counts: &SourceCounts) -> bool {
        let sum = self.sources.of(self.query.step_of(at), name);
        self.is_cut_short |= sum.is_none();
        sum.map(|sum| sum.add(counts)).is_some()
    }

    fn destination(&mut self, at: Timestamp, name: &str, counts: &DestinationCounts) -> bool {
        let sum = self.destinations.of(self.query.step_of(at), name);
        self.is_cut_short |= sum.is_none();
        sum.map(|sum| sum.add(counts)).is_some()
    }
}

#[cfg(test)]
mod tests;
