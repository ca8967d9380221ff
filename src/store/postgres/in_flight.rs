//! The deliveries that this node has claimed, in memory, and how far each destination was read.
//!
//! A claim leaves the rows in `waiting` as they are, so that a delivery costs one change of its row
//! and no second one. So each look at `waiting` passes over what is in flight here. It reads this
//! memory before the table: what was settled in between is no longer in the table, and what was
//! claimed in between only seems to be due.
//!
//! A cursor says how far a destination was read: all before it is in flight, or was. It stays
//! behind the present by [`LATE`], since a row may be committed after one with a later time.
//! A delivery that becomes due in front of a cursor moves it back; a full scan begins at the
//! beginning.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::store::types::{Claim, ClaimId, Claimed, DestinationId, IntentRow, Release, Settlement};

/// How long after its time a row may be committed and still be found at once: an accepted batch
/// waits for its commit no longer than that, unless the database is in trouble. Later ones are
/// found by a full scan, which the writer asks for.
pub const LATE: Duration = Duration::from_secs(2);

/// A place in a destination's deliveries, which are ordered by time and intent.
pub type Position = (Timestamp, IntentRow);

/// Before all deliveries.
const BEGINNING: Position = (Timestamp::from_millis(i64::MIN), IntentRow(i64::MIN));

/// A delivery that is in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    pub turn: i64,
    /// Its number in the turn, from 1.
    pub nth: i32,
    pub claimed: Claimed,
    /// The ordering key of the line that it stands in.
    pub line: Option<i64>,
    /// Whether its destination is the origin of an ad hoc URL.
    pub is_adhoc: bool,
}

/// Where a look at a destination begins, and what it passes over.
#[derive(Clone, Debug)]
pub struct Start {
    pub after: Position,
    /// The deliveries in flight behind that, in order.
    pub in_flight: Vec<Position>,
}

impl Start {
    pub fn skips(&self, position: Position) -> bool {
        self.in_flight.binary_search(&position).is_ok()
    }
}

/// Claims that a transaction ends.
#[derive(Debug, Default)]
pub struct Ending {
    pub settled: Vec<(Settlement, Held)>,
    pub released: Vec<(Release, Held)>,
    /// Turns of which nothing is left after it.
    pub over: Vec<i64>,
}

impl Ending {
    pub fn is_empty(&self) -> bool {
        self.settled.is_empty() && self.released.is_empty() && self.over.is_empty()
    }
}

#[derive(Default)]
pub struct InFlight(Mutex<State>);

#[derive(Default)]
struct State {
    /// The node's life that claimed what is held.
    epoch: i64,
    /// The claims of this life and of those before are void.
    void_up_to: i64,
    held: HashMap<(DestinationId, IntentRow), Held>,
    /// How many deliveries are left of each turn.
    turns: HashMap<i64, usize>,
    destinations: HashMap<DestinationId, Destination>,
    last_turn: i64,
    /// Turns whose claim failed, and may have been committed.
    doubtful: Vec<i64>,
    latest_look: Option<Timestamp>,
}

struct Destination {
    in_flight: BTreeSet<Position>,
    cursor: Position,
}

impl InFlight {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the next turn, which was never used in this life of the node.
    pub fn next_turn(&self) -> i64 {
        let mut state = self.state();
        state.last_turn += 1;
        state.last_turn
    }

    /// The claim of this turn failed: whatever was committed of it ends with the next turn.
    pub fn doubt(&self, turn: i64) {
        self.state().doubtful.push(turn);
    }

    /// Where looks at these destinations begin.
    pub fn starts(&self, destinations: &[DestinationId], now: Timestamp) -> Vec<Start> {
        let mut state = self.state();
        if state.latest_look.is_some_and(|latest| now < latest) {
            // The clock was set back: cursors may be in its future.
            state.forget_cursors();
        }
        state.latest_look = Some(now);
        let of = |id: &DestinationId| state.start_of(*id);
        destinations.iter().map(of).collect()
    }

    /// Turns that may have been committed although their claim failed.
    pub fn doubtful(&self) -> Vec<i64> {
        self.state().doubtful.clone()
    }

    /// These turns are deleted.
    pub fn no_longer_doubt(&self, turns: &[i64]) {
        self.state().doubtful.retain(|turn| !turns.contains(turn));
    }

    /// All that is in flight, by destination.
    pub fn all(&self) -> HashMap<DestinationId, BTreeSet<Position>> {
        let state = self.state();
        let busy = state
            .destinations
            .iter()
            .filter(|(_, one)| !one.in_flight.is_empty());
        busy.map(|(id, one)| (*id, one.in_flight.clone())).collect()
    }

    /// The claims of these settlements and releases that are still this node's, each once.
    pub fn ending(&self, settlements: &[Settlement], releases: &[Release]) -> Ending {
        let state = self.state();
        let mut ending = Ending::default();
        let mut left = HashMap::new();
        let mut seen = BTreeSet::new();
        let mut take = |key: (DestinationId, IntentRow), claim: ClaimId| {
            let held = *state.held.get(&key)?;
            if held.claimed.claim != claim || !seen.insert((held.turn, held.nth)) {
                return None;
            }
            *left
                .entry(held.turn)
                .or_insert_with(|| state.turns.get(&held.turn).copied().unwrap_or(0)) -= 1;
            Some(held)
        };
        for settlement in settlements {
            let claim = settlement.claim;
            match take((claim.destination, claim.intent), claim.id) {
                Some(held) => ending.settled.push((settlement.clone(), held)),
                None => log::warn!(
                    intent = claim.intent.0, destination = claim.destination.0;
                    "an attempt ended whose delivery was no longer claimed by it"
                ),
            }
        }
        for release in releases {
            if let Some(held) = take((release.destination, release.intent), release.claim) {
                ending.released.push((*release, held));
            }
        }
        let over = left.into_iter().filter(|(_, left)| *left == 0);
        ending.over = over.map(|(turn, _)| turn).collect();
        ending.over.extend(&state.doubtful);
        ending
    }

    /// The transaction is durable: forgets what it ended. `now` is when deliveries became due whose
    /// line it let go.
    pub fn ended(&self, ending: &Ending, now: Timestamp) {
        let mut state = self.state();
        for (settlement, held) in &ending.settled {
            state.forget(held);
            let due = settlement.next_attempt_at();
            let due = due.map(|at| (at, held.claimed.intent));
            let next = held.line.map(|_| (now, IntentRow(i64::MIN)));
            for position in due.into_iter().chain(next) {
                state.move_back(held.claimed.destination, position);
            }
        }
        for (release, held) in &ending.released {
            state.forget(held);
            let position = (release.due_at(now), held.claimed.intent);
            state.move_back(held.claimed.destination, position);
        }
        state.doubtful.retain(|turn| !ending.over.contains(turn));
    }

    /// A claim of a life is durable. False if that life is over: then it is void.
    #[must_use]
    pub fn claimed(&self, epoch: i64, turn: i64, claimed: &[Held]) -> bool {
        let mut state = self.state();
        if epoch <= state.void_up_to {
            return false;
        }
        state.epoch = epoch;
        if !claimed.is_empty() {
            state.turns.insert(turn, claimed.len());
        }
        for held in claimed {
            let (id, intent) = (held.claimed.destination, held.claimed.intent);
            let destination = state.destinations.entry(id).or_insert(Destination {
                in_flight: BTreeSet::new(),
                cursor: BEGINNING,
            });
            destination.in_flight.insert((held.claimed.due, intent));
            state.held.insert((id, intent), *held);
        }
        true
    }

    /// The life that holds a claim; none if it is void, or over.
    pub fn holder(&self, claim: Claim) -> Option<i64> {
        let state = self.state();
        let held = state.held.get(&(claim.destination, claim.intent))?;
        (held.claimed.claim == claim.id).then_some(state.epoch)
    }

    /// All of a destination up to a position was read, and is in flight or was.
    pub fn read_up_to(&self, destination: DestinationId, read: Position, now: Timestamp) {
        let mut state = self.state();
        let Some(destination) = state.destinations.get_mut(&destination) else {
            return;
        };
        let latest = (now.minus(LATE), IntentRow(i64::MIN));
        destination.cursor = destination.cursor.max(read.min(latest));
    }

    /// Looks begin at the beginning from now on.
    pub fn look_from_start(&self) {
        self.state().forget_cursors();
    }

    /// Forgets everything of a life that is over: others may have what it had.
    pub fn void(&self, epoch: i64) {
        let mut state = self.state();
        if epoch <= state.void_up_to {
            return;
        }
        let last_turn = state.last_turn;
        *state = State {
            void_up_to: epoch,
            last_turn,
            ..State::default()
        };
    }
}

impl State {
    fn forget_cursors(&mut self) {
        self.destinations.retain(|_, one| !one.in_flight.is_empty());
        for destination in self.destinations.values_mut() {
            destination.cursor = BEGINNING;
        }
    }

    fn start_of(&self, destination: DestinationId) -> Start {
        let Some(known) = self.destinations.get(&destination) else {
            return Start {
                after: BEGINNING,
                in_flight: Vec::new(),
            };
        };
        let behind = (Bound::Excluded(known.cursor), Bound::Unbounded);
        Start {
            after: known.cursor,
            in_flight: known.in_flight.range(behind).copied().collect(),
        }
    }

    fn forget(&mut self, held: &Held) {
        let (id, intent) = (held.claimed.destination, held.claimed.intent);
        self.held.remove(&(id, intent));
        if let Some(destination) = self.destinations.get_mut(&id) {
            destination.in_flight.remove(&(held.claimed.due, intent));
        }
        if let Some(left) = self.turns.get_mut(&held.turn) {
            *left -= 1;
            if *left == 0 {
                self.turns.remove(&held.turn);
            }
        }
    }

    /// Something is due at this position: the cursor isn't beyond it.
    fn move_back(&mut self, destination: DestinationId, position: Position) {
        if let Some(destination) = self.destinations.get_mut(&destination) {
            let before = (position.0, IntentRow(position.1.0.saturating_sub(1)));
            destination.cursor = destination.cursor.min(before);
        }
    }
}

#[cfg(test)]
mod tests;
