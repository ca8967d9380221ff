//! This process's life among the nodes, as the other parts see it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::store::postgres::nodes::{BucketSet, Membership, boot_millis};
use crate::store::types::BUCKETS;

/// One life of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// The low bits of the ids that it gives to what it accepts.
    pub slot: i16,
    /// Never used twice: a claim names the life that made it.
    pub epoch: i64,
    /// The buckets whose destinations it delivers to.
    pub buckets: Arc<[i16]>,
}

/// A claim that is under way, until it is dropped. The dispatcher makes one at a time.
pub struct Claiming<'a> {
    pub life: Life,
    node: &'a OwnNode,
}

impl Drop for Claiming<'_> {
    fn drop(&mut self) {
        self.node.lock().claim = ClaimUnderWay::None;
    }
}

/// The life that goes on now.
pub struct OwnNode {
    state: Mutex<State>,
    changed: Condvar,
}

/// The claim that the dispatcher is making.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ClaimUnderWay {
    None,
    /// Of buckets that this node still has.
    Current,
    /// It began before a bucket was to be drained, and may be of that bucket.
    Stale,
}

struct State {
    membership: Membership,
    /// Without buckets between two lives. Its slot still tells its ids from others'.
    life: Life,
    owned: BucketSet,
    /// How often this node has lost each bucket.
    losses: [u32; BUCKETS as usize],
    claim: ClaimUnderWay,
    /// Whether a heartbeat is asked for before its time.
    is_beat_asked: bool,
    is_ended: bool,
}

impl OwnNode {
    /// A node that has joined.
    pub fn new(membership: Membership) -> Self {
        let state = State {
            life: Life {
                slot: 0,
                epoch: 0,
                buckets: Arc::new([]),
            },
            owned: BucketSet::EMPTY,
            losses: [0; BUCKETS as usize],
            membership,
            claim: ClaimUnderWay::None,
            is_beat_asked: false,
            is_ended: false,
        };
        let node = Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
        };
        node.update(|_| ());
        node
    }

    pub fn life(&self) -> Life {
        self.lock().life.clone()
    }

    /// Begins a claim, of deliveries in the buckets of the life that it has.
    pub fn begin_claim(&self) -> Claiming<'_> {
        let mut state = self.lock();
        state.claim = ClaimUnderWay::Current;
        Claiming {
            life: state.life.clone(),
            node: self,
        }
    }

    /// Whether a claim is under way that may be of buckets which are being drained.
    pub fn is_claim_stale(&self) -> bool {
        self.lock().claim == ClaimUnderWay::Stale
    }

    pub fn slot(&self) -> i16 {
        self.lock().life.slot
    }

    pub fn epoch(&self) -> i64 {
        self.lock().life.epoch
    }

    pub fn buckets(&self) -> Arc<[i16]> {
        Arc::clone(&self.lock().life.buckets)
    }

    /// How often this node has lost a bucket.
    pub fn losses_of(&self, bucket: i16) -> u32 {
        let index = usize::try_from(bucket).unwrap_or(usize::MAX);
        self.lock().losses.get(index).copied().unwrap_or(0)
    }

    /// Whether an attempt that was claimed in a life may begin: once its lease may be over, others
    /// may begin it.
    pub fn may_begin(&self, epoch: i64) -> bool {
        let state = self.lock();
        let identity = state.membership.identity();
        let is_own = identity.is_some_and(|own| own.epoch == epoch);
        let until = state.membership.believed_until().filter(|_| is_own);
        until.is_some_and(|until| boot_millis() < until)
    }

    /// The time that is left of the lease.
    pub fn lease_left(&self) -> Duration {
        let until = self.lock().membership.believed_until();
        Duration::from_millis(until.unwrap_or(0).saturating_sub(boot_millis()))
    }

    /// The row of a life was found to be gone: joins anew at once.
    pub fn fenced(&self, epoch: i64) {
        self.update(|membership| {
            if membership.identity().is_some_and(|own| own.epoch == epoch) {
                membership.fenced();
            }
        });
        self.ask_beat();
    }

    /// Claims nothing more, and gives each bucket up once it is drained; the next heartbeat begins
    /// at once.
    pub fn hand_over(&self) {
        self.update(Membership::hand_over);
        self.ask_beat();
    }

    /// Asks for a heartbeat now.
    pub fn ask_beat(&self) {
        self.lock().is_beat_asked = true;
        self.changed.notify_all();
    }

    /// Ends the heartbeats.
    pub fn end(&self) {
        self.lock().is_ended = true;
        self.changed.notify_all();
    }

    pub fn is_ended(&self) -> bool {
        self.lock().is_ended
    }

    /// Waits until a heartbeat is asked for, for this long at most. False once they are ended.
    pub fn wait(&self, most: Duration) -> bool {
        let state = self.lock();
        let idle = |state: &mut State| !state.is_beat_asked && !state.is_ended;
        let waited = self.changed.wait_timeout_while(state, most, idle);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.is_beat_asked = false;
        !state.is_ended
    }

    /// Changes the membership; whether buckets were gained, and the result.
    pub fn update<T>(&self, change: impl FnOnce(&mut Membership) -> T) -> (bool, T) {
        let mut state = self.lock();
        let result = change(&mut state.membership);
        if let Some(identity) = state.membership.identity() {
            state.life.slot = i16::from(identity.slot);
            state.life.epoch = identity.epoch;
        }
        let owned = state.membership.owned();
        let has_gained = !owned.without(state.owned).is_empty();
        if owned != state.owned {
            let lost = state.owned.without(owned);
            for bucket in lost.iter() {
                state.losses[usize::from(bucket)] += 1;
            }
            if !lost.is_empty() && state.claim == ClaimUnderWay::Current {
                state.claim = ClaimUnderWay::Stale;
            }
            state.owned = owned;
            state.life.buckets = owned.to_array().into();
        }
        (has_gained, result)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
