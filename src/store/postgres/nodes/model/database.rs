//! The database of the model: what the statements do, with their guards.

use crate::store::postgres::nodes::bucket_set::BucketSet;
use crate::store::postgres::nodes::membership::{Answer, Identity, Peer, View};
use crate::store::postgres::nodes::model::faults::Mutant;

/// Two buckets whose owners differ: the first goes to slot 2 before 0 before 1, the other to slot 1
/// before 0 before 2.
pub const BUCKETS: [u8; 2] = [FIRST, SECOND];
const FIRST: u8 = 4;
const SECOND: u8 = 12;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    pub node: u8,
    pub epoch: i64,
    /// Ticks since its last heartbeat, bounded.
    pub age: u64,
    pub is_leaving: bool,
}

/// A claim of the attempt of this number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    pub epoch: i64,
    pub bucket: usize,
    pub attempt: u8,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Database {
    pub is_away: bool,
    pub epochs: i64,
    /// By slot.
    pub rows: [Option<Row>; 3],
    pub owners: [Option<i64>; 2],
    pub claims: Vec<Claim>,
    /// The attempts that each delivery had.
    pub attempts: [u8; 2],
    /// The outcomes in its history; as many as attempts.
    pub outcomes: [u8; 2],
}

impl Database {
    pub fn has(&self, identity: Identity) -> bool {
        let row = self.rows[usize::from(identity.slot)].as_ref();
        row.is_some_and(|row| row.epoch == identity.epoch)
    }

    pub fn is_alive(&self, epoch: i64) -> bool {
        self.rows.iter().flatten().any(|row| row.epoch == epoch)
    }

    pub fn join(&mut self, node: u8, lease: u64) -> Answer {
        for (slot, row) in (0..).zip(&self.rows) {
            if let Some(row) = row.as_ref().filter(|row| row.node == node) {
                return Answer::Occupied(peer(slot, row, lease));
            }
        }
        let free = self.rows.iter().position(Option::is_none);
        let slot = free.expect("three nodes have three slots");
        self.epochs += 1;
        self.rows[slot] = Some(Row {
            node,
            epoch: self.epochs,
            age: 0,
            is_leaving: false,
        });
        Answer::Joined(Identity {
            slot: u8::try_from(slot).expect("a slot of three"),
            epoch: self.epochs,
        })
    }

    pub fn renew(&mut self, own: Identity, is_leaving: bool, lease: u64) -> Answer {
        if !self.has(own) {
            return Answer::Renewed(None);
        }
        if let Some(row) = &mut self.rows[usize::from(own.slot)] {
            row.age = 0;
            row.is_leaving = is_leaving;
        }
        Answer::Renewed(Some(self.view(own, lease)))
    }

    pub fn view(&self, own: Identity, lease: u64) -> View {
        let others = (0..).zip(&self.rows);
        let others = others.filter_map(|(slot, row)| Some((slot, row.as_ref()?)));
        let others = others.filter(|(_, row)| row.epoch != own.epoch);
        let of = |owner: Option<i64>| {
            let owned = BUCKETS.iter().zip(self.owners);
            let owned = owned.filter(|(_, epoch)| *epoch == owner);
            owned.map(|(bucket, _)| *bucket).collect()
        };
        View {
            others: others.map(|(slot, row)| peer(slot, row, lease)).collect(),
            mine: of(Some(own.epoch)),
            free: of(None),
        }
    }

    /// Whether the row was deleted by this statement.
    pub fn take_over(&mut self, other: Identity, lease: u64, mutant: Option<Mutant>) -> bool {
        let row = &mut self.rows[usize::from(other.slot)];
        let is_unchecked = mutant == Some(Mutant::TakeOverUnchecked);
        let has_lapsed = |row: &Row| row.age > lease || is_unchecked;
        let is_lost = |row: &Row| row.epoch == other.epoch && has_lapsed(row);
        let is_deleted = row.as_ref().is_some_and(is_lost);
        if is_deleted {
            *row = None;
        }
        if !self.has(other) {
            self.recover(other.epoch, mutant);
        }
        is_deleted
    }

    /// Records the claims of an epoch without a row as interrupted, and frees its buckets.
    pub fn recover(&mut self, epoch: i64, mutant: Option<Mutant>) {
        if mutant != Some(Mutant::ClaimsStay) {
            let claims = std::mem::take(&mut self.claims);
            let (lost, kept): (Vec<_>, _) =
                claims.into_iter().partition(|claim| claim.epoch == epoch);
            self.claims = kept;
            for claim in lost {
                self.record(claim.bucket, claim.attempt, mutant);
            }
        }
        if mutant != Some(Mutant::BucketsStay) {
            let mut owners = self.owners.iter_mut();
            let owned = owners.by_ref().filter(|owner| **owner == Some(epoch));
            owned.for_each(|owner| *owner = None);
        }
    }

    /// An outcome of an attempt; nothing if that attempt has one.
    pub fn record(&mut self, bucket: usize, attempt: u8, mutant: Option<Mutant>) -> bool {
        let is_next = self.attempts[bucket] + 1 == attempt;
        if is_next || mutant == Some(Mutant::SettleTwice) {
            self.attempts[bucket] = attempt;
            self.outcomes[bucket] += 1;
        }
        is_next
    }

    /// Whether the delivery has had attempts, and none is under way.
    pub fn may_replay(&self, bucket: usize) -> bool {
        let is_claimed = self.claims.iter().any(|claim| claim.bucket == bucket);
        self.attempts[bucket] > 0 && !is_claimed && !self.is_away
    }

    pub fn replay(&mut self, bucket: usize) {
        (self.attempts[bucket], self.outcomes[bucket]) = (0, 0);
    }

    pub fn exchange(
        &mut self,
        own: Identity,
        (to_give, to_grab): (BucketSet, BucketSet),
        mutant: Option<Mutant>,
    ) -> Answer {
        let is_fenced = !self.has(own);
        let (mut gave, mut grabbed) = (BucketSet::EMPTY, BucketSet::EMPTY);
        for (bucket, owner) in BUCKETS.iter().zip(&mut self.owners) {
            let is_free = owner.is_none() || mutant == Some(Mutant::GrabOwned);
            if to_give.contains(*bucket) && *owner == Some(own.epoch) {
                *owner = None;
                gave.insert(*bucket);
            } else if to_grab.contains(*bucket) && is_free && !is_fenced {
                *owner = Some(own.epoch);
                grabbed.insert(*bucket);
            }
        }
        Answer::Exchanged { gave, grabbed }
    }

    pub fn leave(&mut self, own: Identity, mutant: Option<Mutant>) -> Answer {
        if self.has(own) {
            self.rows[usize::from(own.slot)] = None;
            if mutant != Some(Mutant::LeaveBehind) {
                self.recover(own.epoch, mutant);
            }
        }
        Answer::Left
    }
}

fn peer(slot: u8, row: &Row, lease: u64) -> Peer {
    Peer {
        identity: Identity {
            slot,
            epoch: row.epoch,
        },
        has_lapsed: row.age > lease,
        is_leaving: row.is_leaving,
    }
}
