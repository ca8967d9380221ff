//! The counts that the server keeps in memory, beside what the database says.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use rusqlite::params;
use tempfile::TempDir;

use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::config;
use crate::delivery::ops::{Claimed, HandBack, Settlement, Turn, Want};
use crate::model::{DeliveryState, IntentId, Level, Surface, Transition};
use crate::ops::metrics::Metrics;
use crate::store::{
    Accept, Accepted, CreateJobs, Cutoffs, Expired, Filter, JobKind, OfIntent, Operator, Prune,
    StepJobs, Store, StoreError, Tx, WriteOp,
};

const DESTINATIONS: [&str; 3] = ["a", "b", "https://c.example"];

#[derive(Clone, Debug)]
enum Action {
    /// To those destinations whose bit is set.
    Accept(u8),
    /// Accepts, and then fails.
    Fail,
    Claim {
        destination: usize,
        begin: usize,
        wait: usize,
    },
    /// Whatever is due.
    ClaimAll,
    /// All that is claimed.
    SettleAll(Transition),
    /// Of one that is claimed.
    Settle(usize, Transition),
    /// Of one that is no longer claimed by that.
    SettleLate(usize),
    HandBack(usize),
    Replay(usize, By),
    Discard(usize, By),
    /// All dead letters of a destination, by a command that leaves a job.
    Bulk(usize, JobKind),
    StepJobs,
    Prune,
    /// The process ends, and the next one finds what was on the disk.
    Crash,
    Restart,
}

#[derive(Clone, Copy, Debug)]
enum By {
    Server,
    /// Beside the server.
    Command,
    /// While there is no server.
    CommandAlone,
}

fn action() -> impl Strategy<Value = Action> {
    use Action::{
        Accept, Bulk, Claim, ClaimAll, Crash, Discard, Fail, HandBack, Prune, Replay, Restart,
        Settle, SettleAll, SettleLate, StepJobs as Jobs,
    };
    let by = prop_oneof![
        4 => Just(By::Server),
        4 => Just(By::Command),
        1 => Just(By::CommandAlone),
    ];
    let kind = prop_oneof![Just(JobKind::Replay), Just(JobKind::Discard)];
    let step = prop_oneof![
        Just(Transition::Deliver),
        Just(Transition::Retry),
        Just(Transition::DeadLetter)
    ];
    prop_oneof![
        6 => (1..8u8).prop_map(Accept),
        1 => Just(Fail),
        6 => (0..3usize, 0..4usize, 0..3usize)
            .prop_map(|(destination, begin, wait)| Claim { destination, begin, wait }),
        4 => Just(ClaimAll),
        4 => step.clone().prop_map(SettleAll),
        4 => (any::<usize>(), step).prop_map(|(which, step)| Settle(which, step)),
        1 => any::<usize>().prop_map(SettleLate),
        2 => any::<usize>().prop_map(HandBack),
        2 => (any::<usize>(), by.clone()).prop_map(|(which, by)| Replay(which, by)),
        2 => (any::<usize>(), by).prop_map(|(which, by)| Discard(which, by)),
        1 => (0..3usize, kind).prop_map(|(destination, kind)| Bulk(destination, kind)),
        2 => Just(Jobs),
        2 => Just(Prune),
        1 => Just(Crash),
        1 => Just(Restart),
    ]
}

/// An operation that says that it moves something, and fails.
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
    store: Store,
    accepted: Vec<IntentId>,
    claimed: Vec<Claimed>,
    turns: i64,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Self {
            store: open(directory.path()),
            directory,
            accepted: Vec::new(),
            claimed: Vec::new(),
            turns: 0,
        }
    }

    fn operator(&self) -> Operator {
        Operator::writing(&self.directory.path().join("relay.db")).expect("a database")
    }

    fn destination(&self, at: usize) -> Option<i64> {
        self.store
            .read_blocking(|sql| {
                let mut statement = sql.prepare("SELECT id FROM destinations WHERE name = ?1")?;
                let mut rows = statement.query([DESTINATIONS[at]])?;
                Ok(rows.next()?.map(|row| row.get(0)).transpose()?)
            })
            .expect("a read")
    }

    fn turn(&mut self, settlements: Vec<Settlement>, hand_backs: Vec<HandBack>, wants: Vec<Want>) {
        self.turns += 1;
        let mut turn = Turn::new(settlements, hand_backs, Vec::new(), wants, self.turns);
        self.store.write_steps(&mut turn).expect("committed");
        self.claimed.extend(turn.into_claimed());
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
                wait,
            } => {
                if let Some(destination) = self.destination(destination) {
                    let want = Want {
                        destination,
                        begin,
                        wait,
                    };
                    self.turn(Vec::new(), Vec::new(), vec![want]);
                }
            }
            Action::ClaimAll => {
                let known = (0..DESTINATIONS.len()).filter_map(|at| self.destination(at));
                let wants = known.map(|destination| Want {
                    destination,
                    begin: 50,
                    wait: 0,
                });
                self.turn(Vec::new(), Vec::new(), wants.collect());
            }
            Action::SettleAll(step) => {
                let claimed = std::mem::take(&mut self.claimed);
                let settlements = claimed.iter().map(|claimed| settlement(claimed, step));
                self.turn(settlements.collect(), Vec::new(), Vec::new());
            }
            Action::Settle(which, step) => {
                if let Some(claimed) = self.take_claimed(which) {
                    self.turn(vec![settlement(&claimed, step)], Vec::new(), Vec::new());
                }
            }
            Action::SettleLate(which) => {
                if let Some(claimed) = self.take_claimed(which) {
                    let late = Claimed {
                        claim: claimed.claim + 1_000,
                        ..claimed
                    };
                    let hand_back = hand_back(&late);
                    self.turn(
                        vec![settlement(&late, Transition::Retry)],
                        vec![hand_back],
                        Vec::new(),
                    );
                    self.claimed.push(claimed);
                }
            }
            Action::HandBack(which) => {
                if let Some(claimed) = self.take_claimed(which) {
                    self.turn(Vec::new(), vec![hand_back(&claimed)], Vec::new());
                }
            }
            Action::Replay(which, by) => self.of_intent(which, by, OfIntent::replay),
            Action::Discard(which, by) => self.of_intent(which, by, OfIntent::discard),
            Action::Bulk(destination, kind) => self.bulk(destination, kind),
            Action::StepJobs => {
                let step = StepJobs {
                    is_paced: false,
                    after: 0,
                };
                self.store.write_blocking(step).expect("committed");
            }
            Action::Prune => {
                let end = Timestamp::from_millis(i64::MAX);
                let cutoffs = Cutoffs {
                    delivered: Some(end),
                    dead_lettered: Some(end),
                    keys: Timestamp::from_millis(0),
                };
                let found = self
                    .store
                    .read_blocking(|sql| Expired::find(sql, &cutoffs, Some(0), Some((i64::MIN, 0))))
                    .expect("a read");
                let mut prune = Prune::new(found);
                self.store.write_steps(&mut prune).expect("committed");
            }
            Action::Crash => {
                let copy = tempfile::tempdir().expect("a directory");
                for file in std::fs::read_dir(self.directory.path()).expect("a directory") {
                    let name = file.expect("an entry").file_name();
                    // Where its owner's lock is doesn't matter: it is another file's.
                    std::fs::copy(self.directory.path().join(&name), copy.path().join(&name))
                        .expect("a copy");
                }
                self.store.stop();
                self.store = open(copy.path());
                self.directory = copy;
                self.claimed.clear();
            }
            Action::Restart => {
                self.store.stop();
                self.store = open(self.directory.path());
                self.claimed.clear();
            }
        }
    }

    fn of_intent(&mut self, which: usize, by: By, change: fn(IntentId) -> OfIntent) {
        if self.accepted.is_empty() {
            return;
        }
        let mut change = change(self.accepted[which % self.accepted.len()]);
        match by {
            By::Server => self.store.write_steps(&mut change).expect("committed"),
            By::Command => self.operator().write_steps(&mut change).expect("committed"),
            By::CommandAlone => {
                self.store.stop();
                self.operator().write_steps(&mut change).expect("committed");
                self.store = open(self.directory.path());
                self.claimed.clear();
            }
        }
    }

    fn bulk(&mut self, destination: usize, kind: JobKind) {
        let mut operator = self.operator();
        let filter = Filter {
            destination: Some(DESTINATIONS[destination].to_owned()),
            source: None,
            reason: None,
            since: Timestamp::from_millis(0),
            until: operator.now(),
        };
        let found = operator.read(|sql| filter.count(sql)).expect("a read");
        let mut create = CreateJobs::new(kind, filter, found);
        operator.write_steps(&mut create).expect("committed");
    }

    /// What the server says, and what the database does.
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
                        "SELECT count(*) FROM deliveries WHERE state = ?1",
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

    /// The same for what waits for a destination.
    fn waiting(&self, destination: i64) -> (i64, i64) {
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
        let said = self.store.waiting(destination).expect("they are counted");
        (said, stored)
    }
}

fn open(directory: &Path) -> Store {
    let settings = config::Database {
        path: directory.join("relay.db"),
        min_free_bytes: 0,
        ..config::Database::default()
    };
    Store::open(
        &settings,
        Duration::from_secs(24 * 3600),
        Arc::new(SystemClock::new()),
        Arc::new(Metrics::new(Level::Off)),
        Arc::new(|_| {}),
        Arc::new(|| {}),
        Arc::new(|why| panic!("{why}")),
    )
    .expect("the store opens")
}

fn accept(bits: u8) -> Accept {
    let names = DESTINATIONS.iter().enumerate();
    let chosen = names.filter(|(at, _)| bits >> at & 1 == 1);
    Accept {
        surface: Surface::Event,
        label: "source".to_owned(),
        url: None,
        destinations: chosen.map(|(_, name)| (*name).to_owned()).collect(),
        owner: None,
        headers: Vec::new(),
        metadata: None,
        body: bytes::Bytes::from_static(b"{}"),
        key: None,
        window: Duration::from_secs(3600),
    }
}

fn settlement(claimed: &Claimed, step: Transition) -> Settlement {
    let now = SystemClock::new().now();
    Settlement {
        intent: claimed.intent,
        destination: claimed.destination,
        claim: claimed.claim,
        attempt: claimed.attempt,
        history: claimed.history,
        started_at: now,
        duration_ms: 1,
        step,
        // Due at once, so that it is claimed again.
        next_attempt_at: (step == Transition::Retry).then_some(claimed.due),
        hold_until: None,
        pause: None,
        breaker: None,
        is_proven: None,
        outcome: 1,
        status_code: None,
        failure: None,
        error: (step != Transition::Deliver).then(|| "error".to_owned()),
        response: None,
        address: None,
        resolve_ms: None,
        connect_ms: None,
        first_byte_ms: None,
        next: "whatever".to_owned(),
    }
}

fn hand_back(claimed: &Claimed) -> HandBack {
    HandBack {
        intent: claimed.intent,
        destination: claimed.destination,
        claim: claimed.claim,
        due: Some(claimed.due),
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
