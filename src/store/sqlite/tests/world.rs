//! A server's store under random operations, crashes and restarts.

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::{Idle, settings, try_open};
use crate::clock::{Clock, Timestamp};
use crate::model::{IntentId, Transition};
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::operator::Operator;
use crate::store::types::{
    Accept, Accepted, AttemptRecord, ClaimId, ClaimRequest, Claimed, Cutoffs, DestinationChange,
    DestinationId, Prune, PruneCursor, Release, SettleAndClaim, Settlement,
};

/// A store, and what its server knows of it.
pub struct World {
    pub directory: TempDir,
    pub store: Sqlite,
    clock: Arc<dyn Clock>,
    pub accepted: Vec<IntentId>,
    pub claimed: Vec<Claimed>,
    claim: ClaimId,
}

impl World {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Self {
            store: open(&directory, &clock),
            directory,
            clock,
            accepted: Vec::new(),
            claimed: Vec::new(),
            claim: ClaimId(1),
        }
    }

    /// A command's connection, by the clock of the server.
    pub fn operator(&self) -> Operator {
        let path = self.directory.path().join("relay.db");
        Operator::writing_by(&path, Arc::clone(&self.clock)).expect("a database")
    }

    /// Accepts an intent that must be new.
    pub fn accept(&mut self, intent: Accept) {
        let accepted = self.store.write_blocking(intent).expect("committed");
        let Accepted::New(id, _) = accepted else {
            panic!("{accepted:?}");
        };
        self.accepted.push(id);
    }

    /// One of the accepted intents, if there are any.
    pub fn accepted(&self, which: usize) -> Option<IntentId> {
        let count = self.accepted.len();
        (count > 0).then(|| self.accepted[which % count])
    }

    pub fn destination(&self, name: &str) -> Option<DestinationId> {
        self.store
            .read_blocking(|sql| {
                let mut statement = sql.prepare("SELECT id FROM destinations WHERE name = ?1")?;
                let mut rows = statement.query([name])?;
                Ok(rows.next()?.map(|row| row.get(0)).transpose()?)
            })
            .expect("a read")
    }

    /// Claims of the destinations that are known by now.
    pub fn requests(&self, names: &[&str], begin: usize, prefetch: usize) -> Vec<ClaimRequest> {
        let known = names.iter().filter_map(|name| self.destination(name));
        let requests = known.map(|destination| ClaimRequest {
            destination,
            begin,
            prefetch,
        });
        requests.collect()
    }

    /// Settles, releases and claims in one change; returns the claimed deliveries.
    pub fn change(
        &mut self,
        settlements: Vec<Settlement>,
        releases: Vec<Release>,
        requests: Vec<ClaimRequest>,
    ) -> Vec<Claimed> {
        self.claim = self.claim.next();
        let mut change =
            SettleAndClaim::new(settlements, releases, Vec::new(), requests, self.claim);
        self.store.write_steps(&mut change).expect("committed");
        let claimed = change.take_claimed();
        self.claimed.extend(&claimed);
        claimed
    }

    /// One of the claimed deliveries, if there are any. It no longer counts as claimed.
    pub fn take_claimed(&mut self, which: usize) -> Option<Claimed> {
        let count = self.claimed.len();
        (count > 0).then(|| self.claimed.swap_remove(which % count))
    }

    pub fn release(&mut self, which: usize) {
        if let Some(claimed) = self.take_claimed(which) {
            self.change(Vec::new(), vec![Release::untouched(&claimed)], Vec::new());
        }
    }

    /// Deletes all that is finished.
    pub fn prune(&self) {
        let end = Timestamp::from_millis(i64::MAX);
        let cutoffs = Cutoffs {
            delivered: Some(end),
            dead_lettered: Some(end),
            keys: Timestamp::from_millis(0),
        };
        let reader = self.store.reader();
        let found = reader.expired(&cutoffs, PruneCursor::START);
        let mut prune = Prune::new(found.expect("a read"));
        while self.store.prune(&mut prune).expect("committed") {}
    }

    /// A value that the store counts beside the writer after a start, when all that commands have
    /// left is counted, too.
    pub fn counted<T>(&self, count: impl Fn(&Sqlite) -> Option<T>) -> T {
        // The next transaction takes what commands have left.
        self.store.write_blocking(Idle).expect("committed");
        loop {
            match count(&self.store) {
                Some(counted) => break counted,
                None => std::thread::yield_now(),
            }
        }
    }

    /// The process ends, and the next one opens the files as they were on the disk.
    pub fn crash(&mut self) {
        let copy = tempfile::tempdir().expect("a directory");
        for file in std::fs::read_dir(self.directory.path()).expect("a directory") {
            let name = file.expect("an entry").file_name();
            // The copy of the lock file is another file, and is not locked.
            std::fs::copy(self.directory.path().join(&name), copy.path().join(&name))
                .expect("a copy");
        }
        self.store.stop();
        self.directory = copy;
        self.open();
    }

    pub fn restart(&mut self) {
        self.restart_after(|_| {});
    }

    /// Stops, and starts again after something that is done without a server.
    pub fn restart_after(&mut self, done: impl FnOnce(&Self)) {
        self.store.stop();
        done(self);
        self.open();
    }

    fn open(&mut self) {
        self.store = open(&self.directory, &self.clock);
        self.claimed.clear();
    }
}

fn open(directory: &TempDir, clock: &Arc<dyn Clock>) -> Sqlite {
    try_open(&settings(directory), Arc::clone(clock)).expect("the store opens")
}

/// The settlement of an attempt. A delivery that is retried is due at once.
pub fn settlement(claimed: &Claimed, step: Transition) -> Settlement {
    let record = AttemptRecord {
        attempt: claimed.attempt,
        history: claimed.history,
        started_at: claimed.due,
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
        next: "next".to_owned(),
    };
    let change = DestinationChange::default();
    match step {
        Transition::Deliver => Settlement::delivered(claimed.claim(), record, change),
        Transition::Retry => Settlement::retry(claimed.claim(), record, claimed.due, change),
        _ => Settlement::dead_letter(claimed.claim(), record, change),
    }
}
