//! A state of everything in the model, and what must never be.

use crate::store::postgres::nodes::bucket_set::BucketSet;
use crate::store::postgres::nodes::membership::{Answer, BootMillis, Identity, Membership, Rules};
use crate::store::postgres::nodes::model::database::{BUCKETS, Database};
use crate::store::postgres::nodes::model::faults::Budget;

/// The time of every state: what was before is told by smaller numbers.
pub const NOW: BootMillis = 100;

/// The absences of the protocol: none of them may ever happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Absence {
    /// An outcome is written by an epoch without a row.
    WrittenByTheDead,
    /// An attempt has two outcomes.
    TwoOutcomes,
    /// Two nodes attempt one destination, each within its lease.
    TwoOwners,
    /// An attempt is made twice, and nobody was replaced.
    AttemptedTwice,
    /// A bucket is nobody's for more than two heartbeats.
    Ownerless,
    /// A bucket, or a claim, is that of an epoch without a row.
    LeftBehind,
    /// A destination isn't attempted for longer than a lease and two heartbeats.
    Orphaned,
    /// A node is replaced that was never away by itself.
    TakenOverAlive,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Process {
    Running,
    Paused,
    Ended,
}

/// A node's part in the delivery of a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Work {
    #[default]
    Idle,
    Claimed(u8),
    InFlight(u8),
    /// The outcome is known and not settled.
    Done(u8),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    pub process: Process,
    pub membership: Membership,
    pub work: [Work; 2],
    pub is_beat_due: bool,
    /// An answer that arrived while the node was paused, and when its statement was sent.
    pub inbox: Option<(Answer, BootMillis)>,
    /// Whether it was stopped since its last renewal.
    pub was_away: bool,
    /// The buckets that a mutant keeps over a fence.
    pub kept: BucketSet,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub nodes: [Node; 3],
    pub database: Database,
    pub budget: Budget,
    /// The attempt that each bucket's delivery had last, and by which epoch.
    pub begun: [Option<(u8, i64)>; 2],
    pub free_for: [u8; 2],
    pub orphaned_for: [u8; 2],
    pub violated: Option<Absence>,
    pub has_taken_over: bool,
    pub has_exchanged: bool,
}

impl Node {
    pub fn new(rules: Rules, process: Process) -> Self {
        Self {
            process,
            membership: Membership::new(rules),
            work: [Work::Idle; 2],
            is_beat_due: process == Process::Running,
            inbox: None,
            was_away: false,
            kept: BucketSet::EMPTY,
        }
    }

    pub fn is_running(&self) -> bool {
        self.process == Process::Running
    }

    pub fn life(&self) -> Option<Identity> {
        self.membership.identity()
    }

    pub fn believes(&self) -> bool {
        let until = self.membership.believed_until();
        until.is_some_and(|until| NOW < until)
    }

    /// Drops what is in memory of a life that is over.
    pub fn fenced(&mut self) {
        self.kept = self.membership.owned();
        self.membership.fenced();
        self.work = [Work::Idle; 2];
    }
}

impl World {
    pub fn new(rules: Rules, budget: Budget) -> Self {
        let processes = [Process::Running, Process::Running, Process::Ended];
        Self {
            nodes: processes.map(|process| Node::new(rules, process)),
            database: Database::default(),
            budget,
            begun: [None; 2],
            free_for: [0; 2],
            orphaned_for: [0; 2],
            violated: None,
            has_taken_over: false,
            has_exchanged: false,
        }
    }

    pub fn violate(&mut self, absence: Absence) {
        self.violated.get_or_insert(absence);
    }

    /// Whether the node of a life goes on.
    fn lives(&self, epoch: i64) -> bool {
        let mut running = self.nodes.iter().filter(|node| node.is_running());
        running.any(|node| node.life().is_some_and(|life| life.epoch == epoch))
    }

    /// Whether time may go on: each running node has made its beat.
    pub fn may_tick(&self) -> bool {
        let mut running = self.nodes.iter().filter(|node| node.is_running());
        running.all(|node| !node.is_beat_due && node.membership.step(NOW).is_none())
    }

    pub fn tick(&mut self, lease: u64) {
        self.count();
        let floor = NOW - lease - 2;
        for node in &mut self.nodes {
            node.membership.age(1, floor);
            if let Some((_, sent)) = &mut node.inbox {
                *sent = sent.saturating_sub(1).max(floor);
            }
            node.is_beat_due = node.is_running();
        }
        for row in self.database.rows.iter_mut().flatten() {
            row.age = (row.age + 1).min(lease + 2);
        }
    }

    /// Counts for how long buckets are nobody's, or those of a node that doesn't go on.
    fn count(&mut self) {
        let mut running = self.nodes.iter().filter(|node| node.is_running());
        let is_served = running.any(|node| node.life().is_some()) && !self.database.is_away;
        let mut rows = self.database.rows.iter().flatten();
        let is_calm = is_served && rows.all(|row| self.lives(row.epoch) && !row.is_leaving);
        for bucket in 0..BUCKETS.len() {
            let owner = self.database.owners[bucket];
            let is_orphaned = owner.is_some_and(|epoch| !self.lives(epoch));
            let count = |count: u8, is_counted| if is_counted { (count + 1).min(9) } else { 0 };
            let free_for = count(self.free_for[bucket], owner.is_none() && is_calm);
            let orphaned_for = count(self.orphaned_for[bucket], is_orphaned && is_served);
            self.free_for[bucket] = free_for;
            self.orphaned_for[bucket] = orphaned_for;
        }
    }

    /// Looks for what must never be, after each action.
    pub fn judge(&mut self, rules: Rules) {
        let database = &self.database;
        if database.outcomes != database.attempts {
            self.violate(Absence::TwoOutcomes);
            return;
        }
        let owners = database.owners.iter().flatten().copied();
        let mut epochs = owners.chain(database.claims.iter().map(|claim| claim.epoch));
        if epochs.any(|epoch| !database.is_alive(epoch)) {
            self.violate(Absence::LeftBehind);
            return;
        }
        for bucket in BUCKETS {
            let owns = |node: &&Node| node.believes() && node.membership.owned().contains(bucket);
            if self.nodes.iter().filter(owns).count() > 1 {
                self.violate(Absence::TwoOwners);
                return;
            }
        }
        if self.free_for.iter().any(|ticks| *ticks > 2) {
            self.violate(Absence::Ownerless);
        }
        let bound = rules.lease + 2;
        if self
            .orphaned_for
            .iter()
            .any(|ticks| u64::from(*ticks) > bound)
        {
            self.violate(Absence::Orphaned);
        }
    }
}
