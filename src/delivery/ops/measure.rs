//! For the benchmark `claim`: what a pass of the dispatcher asks of the database, with no disk in it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::super::dispatcher::places_to_see;
use super::super::fair::{Candidate, Sharing};
use super::super::target::Target;
use super::{Round, Turn, Want};
use crate::Config;
use crate::clock::{Clock as _, SystemClock};
use crate::model::RetryPlan;
use crate::store::{OpenError, StoreError, Tx, WriteOp as _, open};

/// A database from which is claimed, and then everything is put back.
pub struct Claims {
    sql: Connection,
    clock: SystemClock,
    targets: HashMap<i64, Arc<Target>>,
    after: i64,
    places: usize,
}

/// One claim.
pub struct Claim {
    /// How many deliveries were claimed.
    pub rows: usize,
    /// What it took to see what is due, and to share workers out.
    pub look: Duration,
    /// What it took to claim.
    pub claim: Duration,
}

impl Claims {
    /// Opens the database as the writer does. No server may be using it.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Ok(Self {
            sql: open::writer(path, &|| 0)?,
            clock: SystemClock::new(),
            targets: HashMap::new(),
            after: 0,
            places: 0,
        })
    }

    /// So many claims, one after the other, for `free` workers each, in a transaction that is rolled
    /// back. Each sees what those before it have left.
    pub fn run(&mut self, claims: usize, free: usize) -> Result<Vec<Claim>, StoreError> {
        let sql = Transaction::new_unchecked(&self.sql, TransactionBehavior::Immediate)?;
        let mut done = Vec::with_capacity(claims);
        for _ in 0..claims {
            let start = self.clock.monotonic();
            let now = self.clock.now();
            // As the dispatcher does.
            let counted = (2 * free).div_ceil(self.places.max(1)).clamp(1, free);
            let mut sharing = Sharing::of(free);
            let mut round = Round::after(self.after);
            let mut places = Vec::new();
            let mut at_most = places_to_see(free);
            while !round.is_over() && sharing.free() > 0 {
                for due in round.next(&sql, now, at_most, counted)? {
                    let target = self.targets.entry(due.destination).or_insert_with(|| {
                        let config = Config::default();
                        let plan = RetryPlan::Never;
                        Arc::new(Target::new(due.destination, &due.name, &config, plan, true))
                    });
                    let candidate = Candidate {
                        target: Arc::clone(target),
                        in_flight: 0,
                        waiting: 0,
                        ready: due.ready,
                        share: 0,
                    };
                    sharing.offer(candidate, |_| true);
                    places.push(due.destination);
                }
                at_most *= 2;
            }
            sharing.go_round(|_| true);
            self.places = places.len();
            if let Some(before) = sharing.given().checked_sub(1) {
                self.after = places[before % places.len()];
            }
            let turn = Turn {
                settlements: Arc::default(),
                hand_backs: Arc::default(),
                unbroken: Vec::new(),
                wants: sharing
                    .into_shares()
                    .map(|candidate| Want {
                        destination: candidate.target.id,
                        begin: candidate.share,
                        wait: 0,
                    })
                    .collect(),
                claim: 1,
            };
            let looked = self.clock.monotonic();
            let rows = turn.apply(&Tx::of_operator(&sql, now))?.len();
            done.push(Claim {
                rows,
                look: looked.saturating_sub(start),
                claim: self.clock.monotonic().saturating_sub(looked),
            });
        }
        // Dropped, the transaction is rolled back.
        Ok(done)
    }
}
