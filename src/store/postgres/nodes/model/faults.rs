//! Rules that can be taken away, and how much may go wrong.

/// A rule that a mutant lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// Outcomes are written without looking at the node's row.
    SettleUnfenced,
    /// Claims are written without looking at the node's row.
    ClaimUnfenced,
    /// A settlement doesn't compare the number of the attempt.
    SettleTwice,
    /// The lease isn't judged anew by the statement that takes over.
    TakeOverUnchecked,
    /// A node's claims stay when it is replaced.
    ClaimsStay,
    /// A node's buckets stay its own when it is replaced.
    BucketsStay,
    /// A node that was itself away may take others over.
    TakeOverUnheard,
    /// A gap between heartbeats isn't noticed.
    GapIgnored,
    /// A lease counts from the answer instead of from the sending.
    BelieveFromAnswer,
    /// Attempts begin without a look at the lease.
    BeginWithoutLease,
    /// A bucket is given away while an attempt is in flight.
    GiveUndrained,
    /// A bucket counts as drained before its outcome is settled.
    GiveUnsettled,
    /// Destinations of draining and drained buckets are claimed for.
    ClaimDrained,
    /// A bucket that is another's can be grabbed.
    GrabOwned,
    /// A fenced node keeps its buckets.
    KeepOverFence,
    /// A lease takes three heartbeats.
    ShortLease,
    /// A node that leaves keeps its claims in the table.
    LeaveBehind,
}

/// How often each may happen on a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// A node is stopped and goes on later, or never.
    pub pauses: u8,
    /// A process ends, and its row stays.
    pub kills: u8,
    /// A process begins.
    pub starts: u8,
    /// A node leaves in order.
    pub leaves: u8,
    /// The database goes away, and comes back later.
    pub outages: u8,
    /// A statement or its answer is lost.
    pub losses: u8,
    /// An operator begins a delivery's attempts anew.
    pub replays: u8,
}
