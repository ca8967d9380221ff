//! Follows accepted intents and attempts by their keys, a look at a time. No index has attempts by
//! time: instead the deliveries that may be attempted soon are looked at again. So following costs
//! accepting and delivering nothing. The engine reads: [`TailReads`].

use std::time::Duration;

use super::types::{
    DestinationId, IntentRow, StoredAttempt, TailCursor, TailEntry, TailEvent, TailPage, TailQuery,
};
use crate::clock::Timestamp;
use crate::model::{DeliveryState, IntentId, Surface};

/// Intents of a look. A tail that is further behind looks again at once.
const MAX_INTENTS: usize = 1_000;
/// Deliveries that are looked at again: some 10 ms of a reader's time.
const MAX_TRACKED: usize = 5_000;
/// Deliveries of a destination that are found due in a look: more than it gets between two looks.
pub const DUE_OF_EACH: usize = 250;
/// Destinations whose due deliveries are looked for.
pub const MAX_DESTINATIONS: usize = 1_000;
/// How far ahead a delivery is due that may be attempted before the next look.
const AHEAD: Duration = Duration::from_secs(2);
/// Destinations of an intent that its entry names.
const NAMED: usize = 20;

/// A delivery by its key.
pub type DeliveryKey = (IntentRow, DestinationId);
/// The same with the number of entries in its history.
pub type Tracked = (DeliveryKey, i64);

/// The intent of a delivery, its destination's name, and entries of its history.
pub type NewEntries = (FollowedIntent, String, Vec<StoredAttempt>);

/// The reads of a look, in one snapshot as far as the engine has one.
pub trait TailReads {
    type Error;

    /// The destination of a name, if anything was ever sent there.
    fn destination(&mut self, name: &str) -> Result<Option<DestinationId>, Self::Error>;

    /// The newest intent.
    fn newest(&mut self) -> Result<Option<IntentRow>, Self::Error>;

    /// Up to `limit` intents after this one, oldest first.
    fn accepted(
        &mut self,
        after: IntentRow,
        limit: usize,
    ) -> Result<Vec<FollowedIntent>, Self::Error>;

    /// The deliveries of these intents, with the names of their destinations: by intent, and by
    /// destination. To one destination only, if given.
    fn deliveries(
        &mut self,
        intents: &[IntentRow],
        to: Option<DestinationId>,
    ) -> Result<Vec<(DeliveryKey, String)>, Self::Error>;

    /// The state of each of these deliveries; none of one that is gone.
    fn states(
        &mut self,
        keys: &[DeliveryKey],
        soon: Timestamp,
    ) -> Result<Vec<Option<FollowedState>>, Self::Error>;

    /// The intent and the destination's name of a delivery, and the entries of its history after
    /// those that were seen, up to the last one that its state counts.
    fn entries(
        &mut self,
        key: DeliveryKey,
        seen: i64,
        last: i64,
    ) -> Result<Option<NewEntries>, Self::Error>;

    /// The deliveries under way; to one destination only, if given.
    fn claimed(&mut self, to: Option<DestinationId>) -> Result<Vec<Tracked>, Self::Error>;

    /// The deliveries that are due before `soon`, the longest due first: [`DUE_OF_EACH`] of a
    /// destination at most, and those of one destination only, if given, or of
    /// [`MAX_DESTINATIONS`].
    fn due(
        &mut self,
        to: Option<DestinationId>,
        soon: Timestamp,
    ) -> Result<Vec<Vec<Tracked>>, Self::Error>;
}

/// The state of a delivery that is followed.
#[derive(Clone, Copy, Debug)]
pub struct FollowedState {
    pub state: DeliveryState,
    /// Entries of its history.
    pub history: i64,
    /// Whether it is due after the next look.
    pub is_later: bool,
}

/// An intent as its entries show it.
#[derive(Clone, Debug)]
pub struct FollowedIntent {
    pub id: IntentId,
    pub surface: Surface,
    pub label: String,
    pub event_type: Option<String>,
    pub created_at: Timestamp,
    /// Of its body.
    pub bytes: i64,
}

impl FollowedIntent {
    fn is_wanted(&self, query: &TailQuery) -> bool {
        let is_event = self.surface == Surface::Event;
        let own_type = if is_event {
            self.event_type.as_deref()
        } else {
            Some(self.label.as_str())
        };
        let is_of_source = query
            .source
            .as_ref()
            .is_none_or(|source| is_event && *source == self.label);
        is_of_source
            && query.event_type.as_deref().is_none_or(|wanted| {
                own_type.is_some_and(|own| match wanted.strip_suffix('*') {
                    Some(beginning) => own.starts_with(beginning),
                    None => own == wanted,
                })
            })
    }

    fn entry(self, at: Timestamp, what: TailEvent) -> TailEntry {
        TailEntry {
            at,
            id: self.id,
            surface: self.surface,
            label: self.label,
            event_type: self.event_type,
            what,
        }
    }
}

/// A look of a tail.
struct Look<'a, R> {
    reads: R,
    query: &'a TailQuery,
    /// The destination of the query; none: all, or one to which nothing was ever sent.
    destination: Option<DestinationId>,
    is_nobody: bool,
    cursor: &'a mut TailCursor,
    page: TailPage,
    now: Timestamp,
}

/// The entries since the look before.
pub fn look<R: TailReads>(
    mut reads: R,
    query: &TailQuery,
    cursor: &mut TailCursor,
    now: Timestamp,
) -> Result<TailPage, R::Error> {
    let destination = match &query.destination {
        Some(name) => reads.destination(name)?,
        None => None,
    };
    let is_first = cursor.last.is_none();
    let mut look = Look {
        reads,
        query,
        destination,
        is_nobody: query.destination.is_some() && destination.is_none(),
        cursor,
        page: TailPage::default(),
        now,
    };
    if is_first {
        look.begin()?;
    }
    if query.since.is_some() || !is_first {
        look.accepted()?;
    }
    if !look.is_nobody {
        look.attempted()?;
        look.track_waiting()?;
    }
    let mut page = look.page;
    page.entries.sort_by_key(|entry| entry.at);
    Ok(page)
}

impl<R: TailReads> Look<'_, R> {
    fn begin(&mut self) -> Result<(), R::Error> {
        let last = match self.query.since {
            Some(since) => IntentRow(IntentRow::first_at(since).0 - 1),
            None => self.reads.newest()?.unwrap_or(IntentRow(0)),
        };
        self.cursor.last = Some(last);
        Ok(())
    }

    /// Intents that were accepted since the look before; their deliveries are tracked from their
    /// first entry on.
    fn accepted(&mut self) -> Result<(), R::Error> {
        let after = self.cursor.last.unwrap_or(IntentRow(0));
        let found = self.reads.accepted(after, MAX_INTENTS)?;
        self.page.has_more = found.len() == MAX_INTENTS;
        if let Some(last) = found.last() {
            self.cursor.last = Some(IntentRow::of(last.id));
        }
        if self.is_nobody {
            return Ok(());
        }
        let wanted: Vec<FollowedIntent> = found
            .into_iter()
            .filter(|intent| intent.is_wanted(self.query))
            .collect();
        let rows: Vec<IntentRow> = wanted.iter().map(|one| IntentRow::of(one.id)).collect();
        let deliveries = self.reads.deliveries(&rows, self.destination)?;
        let mut deliveries = deliveries.into_iter().peekable();
        for intent in wanted {
            let row = IntentRow::of(intent.id);
            let mut destinations = Vec::new();
            while let Some((key, name)) = deliveries.next_if(|(key, _)| key.0 == row) {
                if destinations.len() < NAMED {
                    destinations.push(name);
                }
                if self.cursor.tracked.len() < MAX_TRACKED {
                    self.cursor.tracked.insert(key, 0);
                } else {
                    self.page.has_gap = true;
                }
            }
            let is_to_destination = self.query.destination.is_none() || !destinations.is_empty();
            if self.query.status.is_none() && is_to_destination {
                let (at, bytes) = (intent.created_at, intent.bytes);
                let what = TailEvent::Accepted {
                    bytes,
                    destinations,
                };
                self.page.entries.push(intent.entry(at, what));
            }
        }
        Ok(())
    }

    /// The new entries in the histories of tracked deliveries. A delivery that won't be attempted
    /// soon is not tracked any more.
    fn attempted(&mut self) -> Result<(), R::Error> {
        let soon = self.now.plus(AHEAD);
        let tracked: Vec<Tracked> = self.cursor.tracked.iter().map(|(k, v)| (*k, *v)).collect();
        let keys: Vec<DeliveryKey> = tracked.iter().map(|(key, _)| *key).collect();
        let states = self.reads.states(&keys, soon)?;
        for ((key, seen), found) in tracked.into_iter().zip(states) {
            let Some(found) = found else {
                self.cursor.tracked.remove(&key);
                continue;
            };
            if found.history > seen {
                self.page.has_gap |= self.cursor.edges.contains(&key);
                self.tell(key, seen, found)?;
            }
            let is_over = matches!(
                found.state,
                DeliveryState::Delivered | DeliveryState::DeadLettered
            );
            if is_over || found.is_later {
                self.cursor.tracked.remove(&key);
            } else {
                self.cursor.tracked.insert(key, found.history);
            }
        }
        self.cursor.edges.clear();
        Ok(())
    }

    /// Adds the entries of a delivery's history after those that were seen.
    fn tell(&mut self, key: DeliveryKey, seen: i64, found: FollowedState) -> Result<(), R::Error> {
        let state = found.state;
        if self.query.status.is_some_and(|status| status != state) {
            return Ok(());
        }
        let entries = self.reads.entries(key, seen, found.history)?;
        let Some((intent, destination, entries)) = entries else {
            return Ok(());
        };
        if !intent.is_wanted(self.query) {
            return Ok(());
        }
        for entry in entries {
            let took = u64::try_from(entry.duration_ms).unwrap_or(0);
            let at = entry.started_at.plus(Duration::from_millis(took));
            let what = TailEvent::Attempt {
                destination: destination.clone(),
                state,
                entry: Box::new(entry),
            };
            self.page.entries.push(intent.clone().entry(at, what));
        }
        Ok(())
    }

    /// Tracks the deliveries that are under way, and those that are due before the next look.
    fn track_waiting(&mut self) -> Result<(), R::Error> {
        for found in self.reads.claimed(self.destination)? {
            self.track(found);
        }
        for due in self.reads.due(self.destination, self.now.plus(AHEAD))? {
            if let Some((last, _)) = due.last().filter(|_| due.len() == DUE_OF_EACH) {
                self.cursor.edges.insert(*last);
            }
            for found in due {
                self.track(found);
            }
        }
        Ok(())
    }

    fn track(&mut self, (key, history): Tracked) {
        if self.cursor.tracked.len() < MAX_TRACKED {
            self.cursor.tracked.entry(key).or_insert(history);
        }
    }
}
