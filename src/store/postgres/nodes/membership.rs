//! The rules of a node's membership, as pure transitions: a beat is a sequence of statements, and
//! each answer leads to the next.
//!
//! Times are milliseconds of a clock that counts suspension and that nobody sets
//! (`CLOCK_BOOTTIME`). They bound only what this node itself may do. Whether a lease has lapsed is
//! the database's to judge, in the statements.

use crate::store::postgres::nodes::bucket_set::BucketSet;
use crate::store::postgres::nodes::rendezvous;

/// A time of the node's own clock, in milliseconds.
pub(in crate::store::postgres) type BootMillis = u64;

/// The settings of the protocol, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::store::postgres) struct Rules {
    /// How long a node is taken for alive after a heartbeat.
    pub lease: BootMillis,
    /// How much earlier the node itself stops beginning attempts.
    pub margin: BootMillis,
    /// From this long between two renewals on, the database may have been away.
    pub gap: BootMillis,
    /// How long the node must have been heard without a gap before it may take others over.
    pub heard_for: BootMillis,
}

impl Rules {
    /// The margin of a lease of five seconds is half a second: the time from the check to the first
    /// byte of an attempt.
    const MARGIN_PART: BootMillis = 10;

    /// The rules of a lease that takes at least four heartbeats: with three, a node that missed
    /// two of them beside an outage would be replaced by one that missed one.
    pub fn new(lease: BootMillis, heartbeat: BootMillis) -> Self {
        Self {
            lease,
            margin: lease / Self::MARGIN_PART,
            gap: 2 * heartbeat,
            heard_for: lease,
        }
    }
}

/// One life of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::store::postgres) struct Identity {
    /// The low bits of the ids that the node gives, 0 to 31.
    pub slot: u8,
    /// Never used again, by nobody.
    pub epoch: i64,
}

/// Another node, as the database has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::store::postgres) struct Peer {
    pub identity: Identity,
    /// By the database's clock.
    pub has_lapsed: bool,
    /// It gives its buckets up, and gets none.
    pub is_leaving: bool,
}

/// The nodes and the buckets, as the database has them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(in crate::store::postgres) struct View {
    pub others: Vec<Peer>,
    /// Buckets of this node's epoch.
    pub mine: BucketSet,
    /// Buckets of nobody.
    pub free: BucketSet,
}

/// A statement to make.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::store::postgres) enum Step {
    /// Add the node's row, or read the row of the same name that is in the way.
    Join,
    /// Renew the lease, and read the others in the same transaction.
    Renew,
    /// Read the others.
    Look,
    /// Replace a node whose lease has lapsed.
    TakeOver(Identity),
    /// Give up and grab buckets.
    Exchange { give: BucketSet, grab: BucketSet },
    /// Remove the node's row, and give up all that is left.
    Leave,
}

/// A statement's answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::store::postgres) enum Answer {
    Joined(Identity),
    /// A node of the same name has a row.
    Occupied(Peer),
    /// None: the row is gone.
    Renewed(Option<View>),
    Saw(View),
    TookOver,
    Exchanged {
        gave: BucketSet,
        grabbed: BucketSet,
    },
    Left,
}

/// A node's part of the protocol.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::store::postgres) struct Membership {
    rules: Rules,
    life: Option<Life>,
    heard: Option<Heard>,
    /// No bucket is claimed for any more.
    is_leaving: bool,
    /// The row goes as well, once all buckets are given.
    ends: bool,
    /// The statements that are left of this beat, the next one last.
    pending: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Life {
    identity: Identity,
    believed_until: BootMillis,
    /// Destinations of these may be claimed for.
    owned: BucketSet,
    /// Nothing is claimed for these any more.
    draining: BucketSet,
    /// Draining, nothing in flight, all settled: a statement that gives them may be under way.
    drained: BucketSet,
}

/// The answers of the database without a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Heard {
    since: BootMillis,
    last_sent: BootMillis,
}

impl Membership {
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            life: None,
            heard: None,
            is_leaving: false,
            ends: false,
            pending: Vec::new(),
        }
    }

    pub fn identity(&self) -> Option<Identity> {
        self.life.as_ref().map(|life| life.identity)
    }

    /// When the node stops believing in its lease; none without one.
    pub fn believed_until(&self) -> Option<BootMillis> {
        self.life.as_ref().map(|life| life.believed_until)
    }

    /// Buckets that may be claimed for. Attempts that were claimed begin only before
    /// [`Membership::believed_until`].
    pub fn owned(&self) -> BucketSet {
        self.life
            .as_ref()
            .map_or(BucketSet::EMPTY, |life| life.owned)
    }

    /// Buckets that are to be drained.
    pub fn draining(&self) -> BucketSet {
        let draining = |life: &Life| life.draining;
        self.life.as_ref().map_or(BucketSet::EMPTY, draining)
    }

    pub fn is_leaving(&self) -> bool {
        self.is_leaving
    }

    /// Whether the database has answered, without a gap, for as long as a lease.
    pub fn was_heard_for_a_lease(&self, now: BootMillis) -> bool {
        let heard_for = |heard: Heard| now.saturating_sub(heard.since) >= self.rules.heard_for;
        self.heard.is_some_and(heard_for) && !self.is_gap(now)
    }

    /// Gives up all buckets as soon as they are drained, then the row.
    pub fn leave(&mut self) {
        self.ends = true;
        self.hand_over();
    }

    /// Gives up all buckets as soon as they are drained. The row stays: what is accepted meanwhile
    /// has ids of its slot.
    pub fn hand_over(&mut self) {
        self.is_leaving = true;
        if let Some(life) = &mut self.life {
            life.draining = life.draining.union(life.owned);
            life.owned = BucketSet::EMPTY;
        }
    }

    /// Nothing of the bucket is in flight, and all is settled. Called between two ticks of the
    /// dispatcher, so that no claim is under way.
    pub fn drained(&mut self, bucket: u8) {
        if let Some(life) = &mut self.life
            && life.draining.contains(bucket)
        {
            let bucket = BucketSet::from_iter([bucket]);
            life.draining = life.draining.without(bucket);
            life.drained = life.drained.union(bucket);
        }
    }

    /// The row is gone: all that is in memory of this life is void.
    pub fn fenced(&mut self) {
        self.life = None;
        self.pending.clear();
    }

    /// Begins a beat.
    pub fn beat(&mut self) {
        self.pending = match &self.life {
            None if self.is_leaving => Vec::new(),
            None => vec![Step::Join],
            Some(life) if self.ends && life.is_drained() => vec![Step::Leave],
            Some(_) => vec![Step::Renew],
        };
    }

    /// The statement to make next; none: the beat is over. A beat that was interrupted isn't
    /// continued: the others may have been away as well, and lapsed with it.
    pub fn step(&self, now: BootMillis) -> Option<&Step> {
        let begins = |step: &&Step| matches!(step, Step::Join | Step::Renew | Step::Leave);
        let next = self.pending.last();
        next.filter(|step| begins(step) || !self.is_gap(now))
    }

    /// The statement failed, or its answer was lost, and it may have been made. The next beat reads
    /// which.
    pub fn failed(&mut self) {
        self.pending.clear();
    }

    /// The answer to the statement that was sent and answered at these times.
    pub fn answered(&mut self, answer: Answer, sent: BootMillis, at: BootMillis) {
        self.pending.pop();
        match answer {
            Answer::Joined(identity) => {
                self.hear(sent, at);
                self.life = Some(Life::begin(identity, self.believe(sent)));
                self.pending.push(Step::Look);
            }
            Answer::Occupied(namesake) => {
                self.hear(sent, at);
                if namesake.has_lapsed && self.was_heard_for_a_lease(at) {
                    self.pending = vec![Step::Join, Step::TakeOver(namesake.identity)];
                }
            }
            Answer::Renewed(Some(view)) => {
                self.hear(sent, at);
                let believed_until = self.believe(sent);
                if let Some(life) = &mut self.life {
                    life.believed_until = believed_until;
                }
                self.saw(&view, at);
            }
            Answer::Saw(view) => self.saw(&view, at),
            Answer::TookOver => {}
            Answer::Exchanged { gave, grabbed } => {
                if let Some(life) = &mut self.life {
                    life.drained = life.drained.without(gave);
                    life.owned = life.owned.union(grabbed);
                }
            }
            Answer::Renewed(None) | Answer::Left => self.fenced(),
        }
    }

    fn believe(&self, sent: BootMillis) -> BootMillis {
        sent + self.rules.lease - self.rules.margin
    }

    /// Whether the database may have been away since the last renewal.
    fn is_gap(&self, now: BootMillis) -> bool {
        let is_gap = |heard: Heard| now.saturating_sub(heard.last_sent) >= self.rules.gap;
        self.heard.is_none_or(is_gap)
    }

    fn hear(&mut self, sent: BootMillis, at: BootMillis) {
        let since = match self.heard {
            Some(heard) if !self.is_gap(at) => heard.since,
            _ => at,
        };
        self.heard = Some(Heard {
            since,
            last_sent: sent,
        });
    }

    /// Plans the rest of the beat. Nobody is replaced by a node that may itself have been away.
    fn saw(&mut self, view: &View, now: BootMillis) {
        let may_take_over = self.was_heard_for_a_lease(now);
        let Some(life) = &mut self.life else { return };
        life.align(view, self.is_leaving);
        let lapsed = view.others.iter().filter(|_| may_take_over);
        let lapsed = lapsed.filter(|peer| peer.has_lapsed);
        let take_over = lapsed.map(|peer| Step::TakeOver(peer.identity));
        let take_over: Vec<_> = take_over.collect();
        if !take_over.is_empty() {
            // Each of them frees buckets, which are grabbed at once.
            self.pending = vec![Step::Look];
            self.pending.extend(take_over);
            return;
        }
        let mine = life.should_own(view, view.free, self.is_leaving);
        let (give, grab) = (life.drained, mine.without(life.drained));
        self.pending.clear();
        if !give.union(grab).is_empty() {
            self.pending.push(Step::Exchange { give, grab });
        }
    }

    /// Moves all times back.
    #[cfg(test)]
    pub fn age(&mut self, by: BootMillis, floor: BootMillis) {
        let age = |time: &mut BootMillis| *time = time.saturating_sub(by).max(floor);
        if let Some(life) = &mut self.life {
            age(&mut life.believed_until);
        }
        if let Some(heard) = &mut self.heard {
            age(&mut heard.since);
            age(&mut heard.last_sent);
        }
    }

    /// The buckets that a mutant keeps over a fence.
    #[cfg(test)]
    pub fn keep(&mut self, owned: BucketSet) {
        if let Some(life) = &mut self.life {
            life.owned = life.owned.union(owned);
        }
    }
}

impl Life {
    fn begin(identity: Identity, believed_until: BootMillis) -> Self {
        Self {
            identity,
            believed_until,
            owned: BucketSet::EMPTY,
            draining: BucketSet::EMPTY,
            drained: BucketSet::EMPTY,
        }
    }

    fn held(&self) -> BucketSet {
        self.owned.union(self.draining).union(self.drained)
    }

    fn is_drained(&self) -> bool {
        self.owned.union(self.draining).is_empty()
    }

    /// Takes in which buckets are this node's: the answer to an exchange may have been lost. A
    /// bucket that should be another's is drained; a drained one is given up in any case, since the
    /// statement may be under way.
    fn align(&mut self, view: &View, is_leaving: bool) {
        let gained = view.mine.without(self.held());
        self.drained = self.drained.both(view.mine);
        let kept = self
            .owned
            .union(self.draining)
            .both(view.mine)
            .union(gained);
        self.owned = self.should_own(view, kept, is_leaving);
        self.draining = kept.without(self.owned);
    }

    /// Those of the buckets that should be this node's.
    fn should_own(&self, view: &View, of: BucketSet, is_leaving: bool) -> BucketSet {
        if is_leaving {
            return BucketSet::EMPTY;
        }
        let others = view.others.iter().filter(|peer| !peer.is_leaving);
        let slots: Vec<_> = others.map(|peer| peer.identity.slot).collect();
        let mine = self.identity.slot;
        let is_mine = |bucket: &u8| {
            let slots = slots.iter().copied().chain([mine]);
            rendezvous::owner(*bucket, slots) == Some(mine)
        };
        of.iter().filter(is_mine).collect()
    }
}
