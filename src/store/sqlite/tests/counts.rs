//! The counts that the server keeps in memory, beside those of the database.

use std::sync::Arc;

use proptest::prelude::*;
use rusqlite::params;

use super::event_to;
use super::world::{World, settlement};
use crate::clock::SystemClock;
use crate::model::{DeliveryState, Transition};
use crate::store::error::StoreError;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::tx::Tx;
use crate::store::sqlite::write_op::WriteOp;
use crate::store::types::{
    Accept, AdvanceBulk, BulkAction, BulkFilter, ClaimId, Claimed, DestinationId, NewBulk,
    NoRouting, Release,
};

const DESTINATIONS: [&str; 3] = ["a", "b", "https://c.example"];

#[derive(Clone, Debug)]
enum Action {
    /// Accepts an event for the destinations whose bit is set.
    Accept(u8),
    /// Accepts, and then fails.
    Fail,
    Claim {
        destination: usize,
        begin: usize,
        prefetch: usize,
    },
    /// Claims all due deliveries.
    ClaimAll,
    /// Settles all claimed deliveries.
    SettleAll(Transition),
    /// Settles one claimed delivery.
    Settle(usize, Transition),
    /// Settles and releases a delivery by a claim that is no longer its own.
    SettleLate(usize),
    Release(usize),
    Replay(usize, By),
    Discard(usize, By),
    /// All dead letters of a destination, by a command that creates a bulk operation.
    Bulk(usize, BulkAction),
    AdvanceBulk,
    Prune,
    /// The process ends, and the next one opens the files as they were on the disk.
    Crash,
    Restart,
}

#[derive(Clone, Copy, Debug)]
enum By {
    Server,
    /// A command beside the server.
    Command,
    /// A command while no server runs.
    CommandAlone,
}

fn action() -> impl Strategy<Value = Action> {
    use Action::{
        Accept, AdvanceBulk as Advance, Bulk, Claim, ClaimAll, Crash, Discard, Fail, Prune,
        Release, Replay, Restart, Settle, SettleAll, SettleLate,
    };
    let by = prop_oneof![
        4 => Just(By::Server),
        4 => Just(By::Command),
        1 => Just(By::CommandAlone),
    ];
    let kind = prop_oneof![Just(BulkAction::Replay), Just(BulkAction::Discard)];
    let step = prop_oneof![
        Just(Transition::Deliver),
        Just(Transition::Retry),
        Just(Transition::DeadLetter)
    ];
    prop_oneof![
        6 => (1..8u8).prop_map(Accept),
        1 => Just(Fail),
        6 => (0..3usize, 0..4usize, 0..3usize)
            .prop_map(|(destination, begin, prefetch)| Claim { destination, begin, prefetch }),
        4 => Just(ClaimAll),
        4 => step.clone().prop_map(SettleAll),
        4 => (any::<usize>(), step).prop_map(|(which, step)| Settle(which, step)),
        1 => any::<usize>().prop_map(SettleLate),
        2 => any::<usize>().prop_map(Release),
        2 => (any::<usize>(), by.clone()).prop_map(|(which, by)| Replay(which, by)),
        2 => (any::<usize>(), by).prop_map(|(which, by)| Discard(which, by)),
        1 => (0..3usize, kind).prop_map(|(destination, kind)| Bulk(destination, kind)),
        2 => Just(Advance),
        2 => Just(Prune),
        1 => Just(Crash),
        1 => Just(Restart),
    ]
}

/// An operation that records a change of the counts, and fails.
struct Failing(Accept);

impl WriteOp for Failing {
    type Out = ();

    fn apply(&self, tx: &Tx<'_>) -> Result<(), StoreError> {
        self.0.apply(tx)?;
        Err(StoreError::Unexpected("on purpose".to_owned()))
    }
}

struct Counted(World);

impl Counted {
    fn act(&mut self, action: &Action) {
        let world = &mut self.0;
        match *action {
            Action::Accept(bits) => world.accept(accept(bits)),
            Action::Fail => {
                let failed = world.store.write_blocking(Failing(accept(7)));
                failed.expect_err("it fails");
            }
            Action::Claim {
                destination,
                begin,
                prefetch,
            } => {
                let requests = world.requests(&[DESTINATIONS[destination]], begin, prefetch);
                world.change(Vec::new(), Vec::new(), requests);
            }
            Action::ClaimAll => {
                let requests = world.requests(&DESTINATIONS, 50, 0);
                world.change(Vec::new(), Vec::new(), requests);
            }
            Action::SettleAll(step) => {
                let claimed = std::mem::take(&mut world.claimed);
                let settlements = claimed.iter().map(|claimed| settlement(claimed, step));
                world.change(settlements.collect(), Vec::new(), Vec::new());
            }
            Action::Settle(which, step) => {
                if let Some(claimed) = world.take_claimed(which) {
                    world.change(vec![settlement(&claimed, step)], Vec::new(), Vec::new());
                }
            }
            Action::SettleLate(which) => {
                if let Some(claimed) = world.take_claimed(which) {
                    let late = Claimed {
                        claim: ClaimId(claimed.claim.0 + 1_000),
                        ..claimed
                    };
                    let settlement = settlement(&late, Transition::Retry);
                    let release = Release::untouched(&late);
                    world.change(vec![settlement], vec![release], Vec::new());
                    world.claimed.push(claimed);
                }
            }
            Action::Release(which) => world.release(which),
            Action::Replay(which, by) => self.of_intent(which, by, BulkAction::Replay),
            Action::Discard(which, by) => self.of_intent(which, by, BulkAction::Discard),
            Action::Bulk(destination, action) => self.bulk(destination, action),
            Action::AdvanceBulk => {
                let step = AdvanceBulk {
                    is_paced: false,
                    after: None,
                    routing: &NoRouting,
                };
                let reader = world.store.reader();
                world.store.advance_bulk(&reader, &step).expect("committed");
            }
            Action::Prune => world.prune(),
            Action::Crash => world.crash(),
            Action::Restart => world.restart(),
        }
    }

    fn of_intent(&mut self, which: usize, by: By, action: BulkAction) {
        let Some(id) = self.0.accepted(which) else {
            return;
        };
        let by_command = |world: &World| {
            let done = match action {
                BulkAction::Replay => world.operator().replay(id),
                _ => world.operator().discard(id),
            };
            done.expect("committed");
        };
        match (by, action) {
            (By::Server, BulkAction::Replay) => {
                self.0.store.replay(id).expect("committed");
            }
            (By::Server, _) => {
                self.0.store.discard(id).expect("committed");
            }
            (By::Command, _) => by_command(&self.0),
            (By::CommandAlone, _) => self.0.restart_after(by_command),
        }
    }

    fn bulk(&self, destination: usize, action: BulkAction) {
        let mut operator = self.0.operator();
        let filter = BulkFilter {
            destination: Some(DESTINATIONS[destination].to_owned()),
            until: operator.now(),
            ..BulkFilter::dead_letters()
        };
        let new = NewBulk {
            filter,
            ..NewBulk::of(action)
        };
        let parts = operator.count_bulk(&new).expect("a read");
        operator.create_bulk(new, parts).expect("committed");
    }

    /// The counts of the server, and those of the database.
    fn counts(&self) -> ([i64; 4], [i64; 4]) {
        let said = self.0.counted(Sqlite::deliveries);
        let said = said.map(|(_, count)| count);
        let states = [
            DeliveryState::Queued,
            DeliveryState::Processing,
            DeliveryState::Retrying,
            DeliveryState::DeadLettered,
        ];
        let stored = self
            .0
            .store
            .read_blocking(|sql| {
                let count = |state: DeliveryState| {
                    sql.query_row(
                        "SELECT count(*) FROM deliveries WHERE state = ?1 AND discarded_at IS NULL",
                        params![state.number()],
                        |row| row.get(0),
                    )
                };
                let mut counts = [0; 4];
                for (count_of, state) in counts.iter_mut().zip(states) {
                    *count_of = count(state)?;
                }
                Ok(counts)
            })
            .expect("a read");
        (said, stored)
    }

    /// The waiting deliveries of a destination, by the server and by the database.
    fn waiting(&self, destination: DestinationId) -> (i64, i64) {
        let stored = self
            .0
            .store
            .read_blocking(|sql| {
                Ok(sql.query_row(
                    "SELECT count(*) FROM deliveries WHERE state IN (0, 2) AND destination_id = ?1",
                    [destination],
                    |row| row.get(0),
                )?)
            })
            .expect("a read");
        let counts = &self.0.store.shared().counts;
        let said = counts.waiting(destination).expect("they are counted");
        (said, stored)
    }
}

fn accept(bits: u8) -> Accept {
    let names = DESTINATIONS.iter().enumerate();
    let chosen = names.filter(|(at, _)| bits >> at & 1 == 1);
    let chosen: Vec<_> = chosen.map(|(_, name)| *name).collect();
    event_to(&chosen)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_counts_are_what_a_recount_finds(actions in prop::collection::vec(action(), 1..60)) {
        let mut counted = Counted(World::new(Arc::new(SystemClock::new())));
        for action in &actions {
            counted.act(action);
            let (said, stored) = counted.counts();
            prop_assert_eq!(said, stored, "{:?}", action);
            for name in DESTINATIONS {
                if let Some(destination) = counted.0.destination(name) {
                    let (said, stored) = counted.waiting(destination);
                    prop_assert_eq!(said, stored, "{:?}: {}", action, name);
                }
            }
        }
        counted.0.store.stop();
    }
}
