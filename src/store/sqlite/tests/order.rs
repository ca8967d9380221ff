//! The lines of ordering keys, under random operations and crashes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use rusqlite::params;

use super::event_to;
use super::world::{World, settlement};
use crate::clock::{FakeClock, Timestamp};
use crate::model::{OnDead, OrderKey, Transition};
use crate::store::error::StoreError;
use crate::store::sqlite::columns::BLOCKED;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::ops::line;
use crate::store::sqlite::tx::Tx;
use crate::store::sqlite::write_op::WriteOp;
use crate::store::types::{
    Accept, BulkAction, ClaimRequest, Claimed, DeadLetterCursor, DestinationId, IntentRow,
    Settlement,
};

const DESTINATIONS: [&str; 2] = ["a", "b"];

#[derive(Clone, Debug)]
enum Action {
    /// Accepts an event for one destination; with the key zero it is unordered.
    Accept(usize, i64),
    /// Claims due deliveries of a destination.
    Claim {
        destination: usize,
        begin: usize,
        prefetch: usize,
    },
    /// Settles one claimed delivery.
    Settle(usize, Transition, OnDead),
    /// Settles all claimed deliveries, and claims in the same transaction.
    SettleAllAndClaim(Transition, OnDead),
    Release(usize),
    /// Replays or discards an event's dead letters, by the server or by a command.
    OfIntent(usize, BulkAction, bool),
    /// Gives up one that waits.
    GiveUp(usize),
    /// Sends a stored event to the other destination, too.
    Backfill(usize, i64),
    /// Dead letters of a destination no longer block.
    SkipDead(usize),
    Prune,
    /// The process ends, and the next one opens the files as they were on the disk.
    Crash,
    Restart,
}

fn action() -> impl Strategy<Value = Action> {
    use Action::{
        Accept, Backfill, Claim, Crash, GiveUp, OfIntent, Prune, Release, Restart, Settle,
        SettleAllAndClaim, SkipDead,
    };
    let step = prop_oneof![
        2 => Just(Transition::Deliver),
        2 => Just(Transition::Retry),
        2 => Just(Transition::DeadLetter)
    ];
    let on_dead = prop_oneof![Just(OnDead::Skip), Just(OnDead::Block)];
    let fate = prop_oneof![Just(BulkAction::Replay), Just(BulkAction::Discard)];
    prop_oneof![
        10 => (0..2usize, 0..3i64).prop_map(|(to, key)| Accept(to, key)),
        6 => (0..2usize, 0..4usize, 0..3usize)
            .prop_map(|(destination, begin, prefetch)| Claim { destination, begin, prefetch }),
        8 => (any::<usize>(), step.clone(), on_dead.clone())
            .prop_map(|(which, step, on_dead)| Settle(which, step, on_dead)),
        3 => (step, on_dead).prop_map(|(step, on_dead)| SettleAllAndClaim(step, on_dead)),
        2 => any::<usize>().prop_map(Release),
        5 => (any::<usize>(), fate, any::<bool>())
            .prop_map(|(which, fate, by_command)| OfIntent(which, fate, by_command)),
        3 => any::<usize>().prop_map(GiveUp),
        3 => (any::<usize>(), 0..3i64).prop_map(|(which, key)| Backfill(which, key)),
        1 => (0..2usize).prop_map(SkipDead),
        1 => Just(Prune),
        1 => Just(Crash),
        1 => Just(Restart),
    ]
}

/// A delivery of a stored event to a destination that it wasn't for.
struct AddDelivery {
    intent: IntentRow,
    destination: DestinationId,
    key: OrderKey,
}

impl WriteOp for AddDelivery {
    type Out = bool;

    fn apply(&self, tx: &Tx<'_>) -> Result<bool, StoreError> {
        let Self {
            intent,
            destination,
            key,
        } = *self;
        let may_be_added = tx.first(
            "SELECT 1 FROM intents WHERE id = ?1 AND NOT EXISTS
                 (SELECT 1 FROM deliveries WHERE intent_id = ?1 AND destination_id = ?2)",
            params![intent, destination],
            |_| Ok(()),
        )?;
        if may_be_added.is_none() {
            return Ok(false);
        }
        let due = line::enter(tx, intent, destination, key, tx.now)?;
        tx.execute(
            "INSERT INTO deliveries (intent_id, destination_id, state, next_attempt_at,
                                     updated_at, order_key, place)
             VALUES (?1, ?2, 0, ?3, ?4, ?5, ?1)",
            params![intent, destination, due, tx.now, key],
        )?;
        Ok(true)
    }
}

/// Gives up the deliveries of an event that wait.
struct GiveUp(IntentRow);

impl WriteOp for GiveUp {
    type Out = ();

    fn apply(&self, tx: &Tx<'_>) -> Result<(), StoreError> {
        let waiting: Vec<DestinationId> = tx.rows(
            "SELECT destination_id FROM deliveries
             WHERE intent_id = ?1 AND next_attempt_at IS NOT NULL",
            [self.0],
            |row| row.get(0),
        )?;
        for destination in waiting {
            line::leave(tx, self.0, destination)?;
            tx.execute(
                "UPDATE deliveries SET state = 4, next_attempt_at = NULL, last_error = 'given up'
                 WHERE intent_id = ?1 AND destination_id = ?2",
                params![self.0, destination],
            )?;
        }
        Ok(())
    }
}

/// A delivery that stands in a line.
#[derive(Debug)]
struct InLine {
    intent: i64,
    destination: i64,
    key: i64,
    place: i64,
    state: i64,
    is_blocked: bool,
}

struct Lines {
    world: World,
    clock: Arc<FakeClock>,
    /// Deliveries that were ever claimed, replayed, or made later than at acceptance: the others
    /// are to be claimed in the order of acceptance.
    old: HashSet<(i64, i64)>,
}

impl Lines {
    fn new() -> Self {
        let clock = Arc::new(FakeClock::at(Timestamp::from_millis(1_700_000_000_000)));
        Self {
            world: World::new(Arc::<FakeClock>::clone(&clock)),
            clock,
            old: HashSet::new(),
        }
    }

    fn change(&mut self, settlements: Vec<Settlement>, requests: Vec<ClaimRequest>) {
        let claimed = self.world.change(settlements, Vec::new(), requests);
        self.check_first_claims(&claimed);
    }

    /// A delivery that is claimed for the first time has no older one before it in its line that
    /// was not claimed yet.
    fn check_first_claims(&mut self, claimed: &[Claimed]) {
        let standing = self.standing();
        for one in claimed {
            let id = (one.intent.0, one.destination.0);
            let own = standing
                .iter()
                .find(|other| (other.intent, other.destination) == id);
            if let Some(own) = own.filter(|_| !self.old.contains(&id)) {
                for other in &standing {
                    let is_older = (other.destination, other.key) == (own.destination, own.key)
                        && other.intent < own.intent
                        && other.place < own.place;
                    let is_late = self.old.contains(&(other.intent, other.destination));
                    assert!(!is_older || is_late, "{other:?} is overtaken by {own:?}");
                }
            }
            self.old.insert(id);
        }
    }

    fn standing(&self) -> Vec<InLine> {
        self.world
            .store
            .read_blocking(|sql| {
                let mut statement = sql.prepare(
                    "SELECT intent_id, destination_id, order_key, place, state,
                            next_attempt_at IS ?1
                     FROM deliveries WHERE place IS NOT NULL",
                )?;
                let rows = statement.query_map([BLOCKED], |row| {
                    Ok(InLine {
                        intent: row.get(0)?,
                        destination: row.get(1)?,
                        key: row.get(2)?,
                        place: row.get(3)?,
                        state: row.get(4)?,
                        is_blocked: row.get(5)?,
                    })
                })?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
            .expect("a read")
    }

    /// Exactly one delivery of each line is not blocked; none stands in a line that is finished,
    /// but for dead letters; and nothing waits for ever.
    fn check(&self) {
        let mut free: HashMap<(i64, i64), Vec<InLine>> = HashMap::new();
        let mut lines = HashSet::new();
        for one in self.standing() {
            assert_ne!(one.state, 3, "delivered, and in a line: {one:?}");
            assert!(!one.is_blocked || one.state == 0, "{one:?}");
            lines.insert((one.destination, one.key));
            if !one.is_blocked {
                free.entry((one.destination, one.key))
                    .or_default()
                    .push(one);
            }
        }
        for line in lines {
            let free = free.remove(&line).unwrap_or_default();
            assert_eq!(free.len(), 1, "of line {line:?} these may go: {free:?}");
        }
        let wrong = |condition: &str| -> i64 {
            let sql = format!("SELECT count(*) FROM deliveries WHERE {condition}");
            let store = &self.world.store;
            store
                .read_blocking(|connection| {
                    Ok(connection.query_row(&sql, [BLOCKED], |row| row.get(0))?)
                })
                .expect("a count")
        };
        assert_eq!(wrong("next_attempt_at = ?1 AND place IS NULL"), 0);
        assert_eq!(
            wrong("state < 3 AND order_key IS NOT NULL AND place IS NULL AND ?1 > 0"),
            0
        );
        self.check_counts();
    }

    fn check_counts(&self) {
        let said = self.world.counted(Sqlite::blocking);
        let said: i64 = said.iter().map(|(_, count)| count).sum();
        let stored = self.standing().into_iter().filter(|one| one.state == 4);
        assert_eq!(said, i64::try_from(stored.count()).expect("few"));
    }

    fn act(&mut self, action: &Action) {
        self.clock.advance(Duration::from_secs(2));
        match *action {
            Action::Accept(destination, key) => {
                let order_keys = (key > 0).then_some((0, OrderKey::from_number(key)));
                self.world.accept(Accept {
                    order_keys: order_keys.into_iter().collect(),
                    ..event_to(&[DESTINATIONS[destination]])
                });
            }
            Action::Claim {
                destination,
                begin,
                prefetch,
            } => {
                let names = &[DESTINATIONS[destination]];
                let requests = self.world.requests(names, begin, prefetch);
                self.change(Vec::new(), requests);
            }
            Action::Settle(which, step, on_dead) => {
                if let Some(claimed) = self.world.take_claimed(which) {
                    let settlement = settlement(&claimed, step).ordered(Some(on_dead));
                    self.change(vec![settlement], Vec::new());
                }
            }
            Action::SettleAllAndClaim(step, on_dead) => {
                let claimed = std::mem::take(&mut self.world.claimed);
                let settled = |one: &Claimed| settlement(one, step).ordered(Some(on_dead));
                let settlements = claimed.iter().map(settled).collect();
                let requests = self.world.requests(&DESTINATIONS, 20, 0);
                self.change(settlements, requests);
            }
            Action::Release(which) => self.world.release(which),
            Action::OfIntent(which, fate, by_command) => self.of_intent(which, fate, by_command),
            Action::GiveUp(which) => {
                if let Some(id) = self.world.accepted(which) {
                    let op = GiveUp(IntentRow::of(id));
                    self.world.store.write_blocking(op).expect("committed");
                }
            }
            Action::Backfill(which, key) => self.backfill(which, key),
            Action::SkipDead(destination) => self.skip_dead(DESTINATIONS[destination]),
            Action::Prune => self.world.prune(),
            Action::Crash => self.world.crash(),
            Action::Restart => self.world.restart(),
        }
    }

    fn of_intent(&self, which: usize, fate: BulkAction, by_command: bool) {
        let Some(id) = self.world.accepted(which) else {
            return;
        };
        let done = match (fate, by_command) {
            (BulkAction::Replay, true) => self.world.operator().replay(id),
            (BulkAction::Replay, false) => self.world.store.replay(id),
            (_, true) => self.world.operator().discard(id),
            (_, false) => self.world.store.discard(id),
        };
        done.expect("committed");
    }

    fn backfill(&mut self, which: usize, key: i64) {
        let Some(id) = self.world.accepted(which).filter(|_| key > 0) else {
            return;
        };
        for name in DESTINATIONS {
            let Some(destination) = self.world.destination(name) else {
                continue;
            };
            let op = AddDelivery {
                intent: IntentRow::of(id),
                destination,
                key: OrderKey::from_number(key),
            };
            if self.world.store.write_blocking(op).expect("committed") {
                self.old.insert((id.row(), destination.0));
            }
        }
    }

    fn skip_dead(&self, destination: &str) {
        let Some(destination) = self.world.destination(destination) else {
            return;
        };
        let store = &self.world.store;
        let found = store
            .reader()
            .blocking_letters(destination, DeadLetterCursor::START)
            .expect("a read");
        store.skip_dead(found.letters).expect("committed");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn one_delivery_of_each_line_may_go_after_any_operations(
        actions in prop::collection::vec(action(), 1..120)
    ) {
        let mut lines = Lines::new();
        for action in &actions {
            lines.act(action);
            lines.check();
        }
        lines.world.store.stop();
    }

    /// The lines drain once nothing fails any more and the dead letters that block are replayed.
    #[test]
    fn every_line_drains(actions in prop::collection::vec(action(), 1..80)) {
        let mut lines = Lines::new();
        for action in &actions {
            lines.act(action);
        }
        lines.act(&Action::SettleAllAndClaim(Transition::Deliver, OnDead::Skip));
        let accepted = lines.world.accepted.clone();
        for id in &accepted {
            lines.world.store.replay(*id).expect("committed");
        }
        for _ in 0..=accepted.len() * DESTINATIONS.len() {
            lines.act(&Action::SettleAllAndClaim(Transition::Deliver, OnDead::Skip));
        }
        lines.check();
        prop_assert!(lines.standing().is_empty(), "{:?}", lines.standing());
        lines.world.store.stop();
    }
}
