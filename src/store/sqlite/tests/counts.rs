//! The counts that the server keeps in memory, beside those of the database.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use rusqlite::params;
use tempfile::TempDir;

use super::{settings, try_open, writing};
use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::model::{DeliveryState, IntentId, Surface, Transition};
use crate::store::error::StoreError;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::tx::Tx;
use crate::store::sqlite::write_op::WriteOp;
use crate::store::types::{
    Accept, Accepted, AdvanceBulk, AttemptRecord, BulkAction, BulkFilter, ClaimId, ClaimRequest,
    Claimed, Cutoffs, DestinationChange, DestinationId, NewBulk, NoRouting, Prune, PruneCursor,
    Release, SettleAndClaim, Settlement,
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

/// Changes nothing.
struct Idle;

impl WriteOp for Idle {
    type Out = ();

    fn apply(&self, _tx: &Tx<'_>) -> Result<(), StoreError> {
        Ok(())
    }
}

struct World {
    directory: TempDir,
    store: Sqlite,
    accepted: Vec<IntentId>,
    claimed: Vec<Claimed>,
    claim: ClaimId,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Self {
            store: open(&directory),
            directory,
            accepted: Vec::new(),
            claimed: Vec::new(),
            claim: ClaimId(1),
        }
    }

    fn destination(&self, at: usize) -> Option<DestinationId> {
        self.store
            .read_blocking(|sql| {
                let mut statement = sql.prepare("SELECT id FROM destinations WHERE name = ?1")?;
                let mut rows = statement.query([DESTINATIONS[at]])?;
                Ok(rows.next()?.map(|row| row.get(0)).transpose()?)
            })
            .expect("a read")
    }

    fn change(
        &mut self,
        settlements: Vec<Settlement>,
        releases: Vec<Release>,
        requests: Vec<ClaimRequest>,
    ) {
        self.claim = self.claim.next();
        let mut change =
            SettleAndClaim::new(settlements, releases, Vec::new(), requests, self.claim);
        self.store.write_steps(&mut change).expect("committed");
        self.claimed.extend(change.take_claimed());
    }

    fn take_claimed(&mut self, which: usize) -> Option<Claimed> {
        let count = self.claimed.len();
        (count > 0).then(|| self.claimed.swap_remove(which % count))
    }

    fn act(&mut self, action: &Action) {
        match *action {
            Action::Accept(bits) => {
                let accepted = self.store.write_blocking(accept(bits)).expect("committed");
                let Accepted::New(id, _) = accepted else {
                    panic!("{accepted:?}");
                };
                self.accepted.push(id);
            }
            Action::Fail => {
                self.store
                    .write_blocking(Failing(accept(7)))
                    .expect_err("it fails");
            }
            Action::Claim {
                destination,
                begin,
                prefetch,
            } => {
                if let Some(destination) = self.destination(destination) {
                    let request = ClaimRequest {
                        destination,
                        begin,
                        prefetch,
                    };
                    self.change(Vec::new(), Vec::new(), vec![request]);
                }
            }
            Action::ClaimAll => {
                let known = (0..DESTINATIONS.len()).filter_map(|at| self.destination(at));
                let requests = known.map(|destination| ClaimRequest {
                    destination,
                    begin: 50,
                    prefetch: 0,
                });
                self.change(Vec::new(), Vec::new(), requests.collect());
            }
            Action::SettleAll(step) => {
                let claimed = std::mem::take(&mut self.claimed);
                let settlements = claimed.iter().map(|claimed| settlement(claimed, step));
                self.change(settlements.collect(), Vec::new(), Vec::new());
            }
            Action::Settle(which, step) => {
                if let Some(claimed) = self.take_claimed(which) {
                    self.change(vec![settlement(&claimed, step)], Vec::new(), Vec::new());
                }
            }
            Action::SettleLate(which) => {
                if let Some(claimed) = self.take_claimed(which) {
                    let late = Claimed {
                        claim: ClaimId(claimed.claim.0 + 1_000),
                        ..claimed
                    };
                    let release = Release::untouched(&late);
                    self.change(
                        vec![settlement(&late, Transition::Retry)],
                        vec![release],
                        Vec::new(),
                    );
                    self.claimed.push(claimed);
                }
            }
            Action::Release(which) => {
                if let Some(claimed) = self.take_claimed(which) {
                    self.change(Vec::new(), vec![Release::untouched(&claimed)], Vec::new());
                }
            }
            Action::Replay(which, by) => self.of_intent(which, by, BulkAction::Replay),
            Action::Discard(which, by) => self.of_intent(which, by, BulkAction::Discard),
            Action::Bulk(destination, action) => self.bulk(destination, action),
            Action::AdvanceBulk => {
                let step = AdvanceBulk {
                    is_paced: false,
                    after: None,
                    routing: &NoRouting,
                };
                let reader = self.store.reader();
                self.store.advance_bulk(&reader, &step).expect("committed");
            }
            Action::Prune => {
                let end = Timestamp::from_millis(i64::MAX);
                let cutoffs = Cutoffs {
                    delivered: Some(end),
                    dead_lettered: Some(end),
                    keys: Timestamp::from_millis(0),
                };
                let reader = self.store.reader();
                let found = reader
                    .expired(&cutoffs, PruneCursor::START)
                    .expect("a read");
                let mut prune = Prune::new(found);
                while self.store.prune(&mut prune).expect("committed") {}
            }
            Action::Crash => {
                let copy = tempfile::tempdir().expect("a directory");
                for file in std::fs::read_dir(self.directory.path()).expect("a directory") {
                    let name = file.expect("an entry").file_name();
                    // The copy of the lock file is another file, and is not locked.
                    std::fs::copy(self.directory.path().join(&name), copy.path().join(&name))
                        .expect("a copy");
                }
                self.store.stop();
                self.store = open(&copy);
                self.directory = copy;
                self.claimed.clear();
            }
            Action::Restart => {
                self.store.stop();
                self.store = open(&self.directory);
                self.claimed.clear();
            }
        }
    }

    fn of_intent(&mut self, which: usize, by: By, action: BulkAction) {
        if self.accepted.is_empty() {
            return;
        }
        let id = self.accepted[which % self.accepted.len()];
        let by_server = || match action {
            BulkAction::Replay => self.store.replay(id).expect("committed"),
            _ => self.store.discard(id).expect("committed"),
        };
        let by_command = || match action {
            BulkAction::Replay => writing(&self.directory).replay(id).expect("committed"),
            _ => writing(&self.directory).discard(id).expect("committed"),
        };
        match by {
            By::Server => drop(by_server()),
            By::Command => drop(by_command()),
            By::CommandAlone => {
                self.store.stop();
                by_command();
                self.store = open(&self.directory);
                self.claimed.clear();
            }
        }
    }

    fn bulk(&mut self, destination: usize, action: BulkAction) {
        let mut operator = writing(&self.directory);
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
        // The next transaction takes what commands have left.
        self.store.write_blocking(Idle).expect("committed");
        let said = loop {
            // They are counted beside the writer after a start.
            match self.store.deliveries() {
                Some(said) => break said.map(|(_, count)| count),
                None => std::thread::yield_now(),
            }
        };
        let states = [
            DeliveryState::Queued,
            DeliveryState::Processing,
            DeliveryState::Retrying,
            DeliveryState::DeadLettered,
        ];
        let stored = self
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
            .store
            .read_blocking(|sql| {
                Ok(sql.query_row(
                    "SELECT count(*) FROM deliveries WHERE state IN (0, 2) AND destination_id = ?1",
                    [destination],
                    |row| row.get(0),
                )?)
            })
            .expect("a read");
        let counts = &self.store.shared().counts;
        let said = counts.waiting(destination).expect("they are counted");
        (said, stored)
    }
}

fn open(directory: &TempDir) -> Sqlite {
    let clock = Arc::new(SystemClock::new());
    try_open(&settings(directory), clock).expect("the store opens")
}

fn accept(bits: u8) -> Accept {
    let names = DESTINATIONS.iter().enumerate();
    let chosen = names.filter(|(at, _)| bits >> at & 1 == 1);
    Accept {
        surface: Surface::Event,
        label: "source".to_owned(),
        url: None,
        event_type: None,
        query: None,
        destinations: chosen.map(|(_, name)| (*name).to_owned()).collect(),
        order_keys: Vec::new(),
        owner: None,
        headers: Vec::new(),
        metadata: None,
        body: bytes::Bytes::from_static(b"{}"),
        key: None,
        window: Duration::from_secs(3600),
    }
}

fn settlement(claimed: &Claimed, step: Transition) -> Settlement {
    let record = AttemptRecord {
        attempt: claimed.attempt,
        history: claimed.history,
        started_at: SystemClock::new().now(),
        took: Duration::from_millis(1),
        status_code: None,
        failure: None,
        is_transient: true,
        error: (step != Transition::Deliver).then(|| "error".to_owned()),
        response: None,
        address: None,
        resolve: None,
        connect: None,
        tls: None,
        first_byte: None,
        next: "whatever".to_owned(),
    };
    let change = DestinationChange::default();
    match step {
        Transition::Deliver => Settlement::delivered(claimed.claim(), record, change),
        // Due at once, so that it is claimed again.
        Transition::Retry => Settlement::retry(claimed.claim(), record, claimed.due, change),
        _ => Settlement::dead_letter(claimed.claim(), record, change),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_counts_are_what_a_recount_finds(actions in prop::collection::vec(action(), 1..60)) {
        let mut world = World::new();
        for action in &actions {
            world.act(action);
            let (said, stored) = world.counts();
            prop_assert_eq!(said, stored, "{:?}", action);
            for (at, name) in DESTINATIONS.iter().enumerate() {
                if let Some(destination) = world.destination(at) {
                    let (said, stored) = world.waiting(destination);
                    prop_assert_eq!(said, stored, "{:?}: {}", action, name);
                }
            }
        }
        world.store.stop();
    }
}
