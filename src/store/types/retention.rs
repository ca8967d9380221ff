//! Intents, keys and origins that are deleted after their time.

use std::collections::HashSet;

use super::ids::{DestinationId, IntentRow};
use crate::clock::Timestamp;
use crate::store::limits::STEP_ROWS;
use crate::store::row_budget::RowBudget;

/// The times before which intents and keys may be deleted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cutoffs {
    /// Intents delivered before this, and unrouted events accepted before it; none: never.
    pub delivered: Option<Timestamp>,
    /// Intents given up before this; none: never.
    pub dead_lettered: Option<Timestamp>,
    /// Idempotency keys accepted before this.
    pub keys: Timestamp,
}

/// How far a sweep for expired intents and idempotency keys has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PruneCursor {
    /// Intents with deliveries up to this one are done; none: all are.
    pub(in crate::store) intent: Option<IntentRow>,
    /// Unrouted events up to this one are done; none: all are.
    pub(in crate::store) unrouted: Option<IntentRow>,
    /// Events that were shed up to this one are done; none: all are.
    pub(in crate::store) shed: Option<IntentRow>,
    /// Idempotency keys up to this one are done; none: all are.
    pub(in crate::store) key: Option<StoredKey>,
}

impl PruneCursor {
    /// The beginning of a sweep.
    pub const START: Self = Self {
        intent: Some(IntentRow(0)),
        unrouted: Some(IntentRow(0)),
        shed: Some(IntentRow(0)),
        key: Some(StoredKey {
            digest: i64::MIN,
            intent: IntentRow(0),
        }),
    };

    /// Whether the sweep is over.
    pub fn is_at_end(&self) -> bool {
        self.intent.is_none()
            && self.unrouted.is_none()
            && self.shed.is_none()
            && self.key.is_none()
    }
}

/// An idempotency key as it is indexed: its digest, and the intent that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StoredKey {
    pub(in crate::store) digest: i64,
    pub(in crate::store) intent: IntentRow,
}

/// Expired intents and idempotency keys that a part of the sweep found.
#[derive(Debug)]
pub(crate) struct Expired {
    pub(in crate::store) intents: Vec<ExpiredIntent>,
    pub(in crate::store) keys: Vec<StoredKey>,
    /// Where the sweep continues.
    pub next: PruneCursor,
}

impl Expired {
    /// Expired intents, and expired keys.
    pub fn count(&self) -> (usize, usize) {
        (self.intents.len(), self.keys.len())
    }
}

/// An intent that may be deleted.
#[derive(Debug)]
pub(crate) struct ExpiredIntent {
    pub(in crate::store) intent: IntentRow,
    /// When the last of its deliveries ended.
    pub(in crate::store) ended: Timestamp,
    /// Rows that deleting it at once costs.
    pub(in crate::store) rows: usize,
    /// History entries by destination, for an intent that takes more than one step.
    pub(in crate::store) histories: Vec<(DestinationId, usize)>,
}

/// Deletes what was found, in steps. An intent with more rows than a step loses its attempts first,
/// destination by destination, and is then deleted with all its deliveries at once: until then it
/// is listed as finished. A delivery replayed since it was found keeps its intent.
pub(crate) struct Prune {
    pub(in crate::store) parts: Vec<PrunePart>,
    /// Parts that are deleted, and those deleted once the step under way is durable.
    pub(in crate::store) done: usize,
    pub(in crate::store) next: usize,
    /// Intents that were deleted.
    pub(in crate::store) deleted: usize,
}

/// A part of a [`Prune`] that is deleted at once.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PrunePart {
    /// The attempts of one delivery.
    History {
        intent: IntentRow,
        ended: Timestamp,
        destination: DestinationId,
        rows: usize,
    },
    /// An intent, with its deliveries and the attempts that are left.
    Intent {
        intent: IntentRow,
        ended: Timestamp,
        rows: usize,
    },
    Key(StoredKey),
}

impl PrunePart {
    /// Rows that deleting it costs.
    pub(in crate::store) fn rows(&self) -> usize {
        match self {
            Self::History { rows, .. } | Self::Intent { rows, .. } => *rows,
            Self::Key(..) => 1,
        }
    }
}

impl Prune {
    pub fn new(expired: Expired) -> Self {
        let mut parts = Vec::new();
        for found in expired.intents {
            let (intent, ended) = (found.intent, found.ended);
            let mut rows = found.rows;
            for (destination, entries) in found.histories {
                rows = rows.saturating_sub(entries);
                parts.push(PrunePart::History {
                    intent,
                    ended,
                    destination,
                    rows: entries,
                });
            }
            parts.push(PrunePart::Intent {
                intent,
                ended,
                rows,
            });
        }
        parts.extend(expired.keys.into_iter().map(PrunePart::Key));
        Self {
            parts,
            done: 0,
            next: 0,
            deleted: 0,
        }
    }

    /// The parts of the next step; none once all are deleted. The same again until they are
    /// [`Self::committed`].
    pub(in crate::store) fn next_parts(&mut self) -> Option<Vec<PrunePart>> {
        let rest = &self.parts[self.done..];
        let count = RowBudget::of(STEP_ROWS).spend_on(rest, PrunePart::rows);
        self.next = self.done + count;
        (count > 0).then(|| rest[..count].to_vec())
    }

    /// The step is durable: it deleted this many intents.
    pub(in crate::store) fn committed(&mut self, deleted: usize) {
        self.done = self.next;
        self.deleted += deleted;
    }
}

/// Passes that forget ad hoc origins which no delivery names any more, one pass after the other.
pub(crate) struct UnusedOrigins {
    pub(in crate::store) stage: OriginsStage,
    pub(in crate::store) candidates: HashSet<DestinationId>,
    /// The next pass's candidates come after this destination; none: from the first on.
    pub(in crate::store) after: Option<DestinationId>,
}

/// The stage of a pass.
pub(crate) enum OriginsStage {
    /// Collects candidates.
    Collect,
    /// Removes the origins of deliveries before this one from the candidates; none: of all.
    RemoveUsed(Option<(IntentRow, DestinationId)>),
    /// Deletes the remaining candidates.
    Delete(UnusedBatch),
    /// Tells the writer to drop its copy of the candidates.
    End,
}

/// The origins to delete, and how many are deleted.
pub(crate) struct UnusedBatch {
    pub(in crate::store) ids: Vec<DestinationId>,
    pub(in crate::store) done: usize,
    pub(in crate::store) next: usize,
}

/// The result of a step of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OriginsPassStep {
    Looked,
    Deleted,
    /// The pass is over.
    Over,
}

impl UnusedOrigins {
    pub fn new() -> Self {
        Self {
            stage: OriginsStage::Collect,
            candidates: HashSet::new(),
            after: None,
        }
    }
}
