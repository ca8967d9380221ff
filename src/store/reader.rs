//! A connection for the reads of one part: clients can't take its place.

use self::ReaderEngine as Engine;
use crate::clock::Timestamp;
use crate::model::FailureKind;
use crate::store::error::StoreError;
use crate::store::sqlite;
use crate::store::types::{
    Affected, AlertState, BlockingPart, Claim, Cutoffs, DeadLetterCursor, DeadLetterDigest,
    DeadLetterQuery, DestinationBacklog, DestinationId, DueScan, DueScanned, Expired, IntentRow,
    LearnedSecret, OutboundMessage, PruneCursor, ShedCursor, Sheddable, SpaceSample,
};

/// A connection for the reads of one part; clones share it. All methods block.
#[derive(Clone)]
pub(crate) struct Reader {
    engine: ReaderEngine,
}

engines! {
    /// The engine's own reader.
    #[derive(Clone)]
    pub(super) enum ReaderEngine {
        sqlite::Reader,
        crate::store::postgres::Reader
    }
}

impl From<sqlite::Reader> for Reader {
    fn from(reader: sqlite::Reader) -> Self {
        let engine = ReaderEngine::Sqlite(reader);
        Self { engine }
    }
}

with_postgres! {
    impl From<crate::store::postgres::Reader> for Reader {
        fn from(reader: crate::store::postgres::Reader) -> Self {
            let engine = ReaderEngine::Postgres(reader);
            Self { engine }
        }
    }
}

impl Reader {
    /// The engine's own reader.
    pub(super) fn engine(&self) -> &ReaderEngine {
        &self.engine
    }

    /// Whether a claimed delivery may be attempted now: not once other processes may do so.
    pub fn may_begin_attempt(&self, claim: Claim) -> bool {
        on_engine!(&self.engine, |engine| engine.may_begin_attempt(claim))
    }

    /// Looks for destinations with waiting deliveries.
    pub fn scan(&self, scan: &DueScan<'_>) -> Result<DueScanned, StoreError> {
        on_engine!(&self.engine, |engine| engine.scan(scan))
    }

    /// The waiting deliveries of these destinations, those due at `now` counted up to `counted`
    /// each; none of a destination that no longer exists.
    pub fn due(
        &self,
        destinations: impl Iterator<Item = DestinationId>,
        now: Timestamp,
        counted: usize,
    ) -> Result<Vec<Option<DestinationBacklog>>, StoreError> {
        on_engine!(&self.engine, |engine| engine.due(
            destinations,
            now,
            counted
        ))
    }

    /// The messages of these intents, each loaded or not by itself; none of a message with more
    /// than `max` bytes of headers and body.
    pub fn messages(
        &self,
        intents: impl Iterator<Item = IntentRow>,
        max: i64,
    ) -> Result<Vec<Result<Option<OutboundMessage>, StoreError>>, StoreError> {
        on_engine!(&self.engine, |engine| engine.messages(intents, max))
    }

    /// The message of an intent, whatever its size.
    pub fn message(&self, intent: IntentRow) -> Result<OutboundMessage, StoreError> {
        on_engine!(&self.engine, |engine| engine.message(intent))
    }

    /// Whether an attempt of the delivery has failed so since its last replay.
    pub fn has_failed_with(
        &self,
        intent: IntentRow,
        destination: DestinationId,
        failure: FailureKind,
    ) -> Result<bool, StoreError> {
        on_engine!(&self.engine, |engine| engine.has_failed_with(
            intent,
            destination,
            failure
        ))
    }

    /// The next dead letters of a destination that block the deliveries behind them.
    pub fn blocking_letters(
        &self,
        destination: DestinationId,
        after: DeadLetterCursor,
    ) -> Result<BlockingPart, StoreError> {
        on_engine!(&self.engine, |engine| engine
            .blocking_letters(destination, after))
    }

    /// The name of a destination.
    pub fn destination_name(&self, id: DestinationId) -> Result<Option<String>, StoreError> {
        on_engine!(&self.engine, |engine| engine.destination_name(id))
    }

    /// The deliveries of these destinations that a reload touches, as far as the store knows them.
    pub fn affected(&self, names: &[String]) -> Result<Vec<Affected>, StoreError> {
        on_engine!(&self.engine, |engine| engine.affected(names))
    }

    /// Whether a bulk operation is under way.
    pub fn has_bulk_under_way(&self) -> Result<bool, StoreError> {
        on_engine!(&self.engine, |engine| engine.has_bulk_under_way())
    }

    /// The secrets that sources have learned, by source.
    pub fn learned_secrets(&self) -> Result<Vec<LearnedSecret>, StoreError> {
        on_engine!(&self.engine, |engine| engine.learned_secrets())
    }

    /// The next expired intents and idempotency keys after the cursor.
    pub fn expired(&self, cutoffs: &Cutoffs, cursor: PruneCursor) -> Result<Expired, StoreError> {
        on_engine!(&self.engine, |engine| engine.expired(cutoffs, cursor))
    }

    /// The next finished events that may be shed. Keys accepted before `keys` are past their
    /// window.
    pub fn sheddable(&self, keys: Timestamp, cursor: ShedCursor) -> Result<Sheddable, StoreError> {
        on_engine!(&self.engine, |engine| engine.sheddable(keys, cursor))
    }

    /// Bytes of the database without its free pages.
    pub fn used_pages(&self) -> Result<u64, StoreError> {
        on_engine!(&self.engine, |engine| engine.used_pages())
    }

    /// The samples of the space that was used, oldest first.
    pub fn space_samples(&self) -> Result<Vec<SpaceSample>, StoreError> {
        on_engine!(&self.engine, |engine| engine.space_samples())
    }

    /// The states of alerts.
    pub fn alert_states(&self) -> Result<Vec<AlertState>, StoreError> {
        on_engine!(&self.engine, |engine| engine.alert_states())
    }

    /// Dead letters in a time, in numbers.
    pub fn dead_letter_digest(
        &self,
        query: &DeadLetterQuery<'_>,
    ) -> Result<DeadLetterDigest, StoreError> {
        on_engine!(&self.engine, |engine| engine.dead_letter_digest(query))
    }

    /// The destinations with a dead letter since a time.
    pub fn with_dead_letters(&self, since: Timestamp) -> Result<Vec<DestinationId>, StoreError> {
        on_engine!(&self.engine, |engine| engine.with_dead_letters(since))
    }
}
