//! The types that the store's operations take and return. They know no engine: an engine reads and
//! writes their fields, everybody else uses their methods.
//!
//! - `ids`: destinations, intents, claims and bulk operations by number.
//! - `accept`: an intent to record, and the outcome. `relays`, `intents`: stored ones to be shown.
//! - `destinations`: what the dispatcher and operators read of a destination. `messages`: what the
//!   dispatcher sends. `settle`: what it writes.
//! - `bulk`: bulk operations. `operations`: the same as operators see them. `blocking`: dead
//!   letters that block others. `retention`: what is deleted after its time.
//! - `payload`: checksums of payloads, and why one is gone.
//! - `learned_secrets`: secrets that handshakes bring.
//! - `rollups`: counts by minute and hour. `alerts`: states of alerts, and facts for them.
//! - `config_state`: the configuration that runs, and what a reload replaces.
//! - `nodes`: the processes that serve one database.
//! - `backups`: manifests, holds, and the report of a restore.
//! - `moving/`: a move of everything to another engine.
//! - `transfer`: events that are exported and imported; `byte_text`: their bytes.
//! - `space`: the room that is used, and events that make some.
//! - `listing`: lists and figures for operators. `tail`: the store as it is followed. `readiness`:
//!   why writes are refused. `quick_check`: the result of a check of the database.

mod accept;
mod alerts;
mod backups;
mod blocking;
mod bulk;
mod byte_text;
mod config_state;
mod destinations;
mod ids;
mod intents;
mod learned_secrets;
mod listing;
mod messages;
mod moving;
mod nodes;
mod operations;
mod payload;
mod quick_check;
mod readiness;
mod relays;
mod retention;
mod rollups;
mod settle;
mod space;
mod tail;
mod transfer;

pub(crate) use accept::{Accept, Accepted, Duplicate, IdempotencyKey, MAX_WAITING_ORIGINS, Owner};
pub(crate) use alerts::{
    AlertChange, AlertState, DeadLetterDigest, DeadLetterId, DeadLetterQuery, DestinationFacts,
    NewlyDead, RaiseAlerts,
};
pub(crate) use backups::{
    BackupProgress, Comparison, Hold, Manifest, NewestEvent, PendingOf, Restored, StopCheck,
    VerifiedBackup,
};
pub(crate) use blocking::{BlockingLetters, BlockingPart, DeadLetterCursor};
pub(crate) use bulk::{
    AdvanceBulk, BulkAction, BulkAdvance, BulkCount, BulkFilter, BulkOperation, BulkPart,
    BulkPreview, BulkTally, Counting, FilteredTime, NewBulk, NoRouting, OfIntent,
    PreviewedDelivery, Routing, StateSet,
};
pub(crate) use byte_text::ByteText;
pub(crate) use config_state::{
    Affected, ConfigAttempt, ConfigState, OnHangup, ReplacedDestinations,
};
pub(crate) use destinations::{
    DestinationBacklog, DestinationOverview, DestinationStatus, DestinationsPage,
    DestinationsQuery, DueScan, DueScanned, Origin, Pause, Resumed, ScanCursor, ScanPart,
};
pub(crate) use ids::{BulkId, ClaimId, DestinationId, IntentRow, LearnedSecretId, OwnerId};
pub(crate) use intents::{InLine, StoredAttempt, StoredDelivery, StoredIntent};
pub(crate) use learned_secrets::{
    ExpectOutcome, LearnedSecret, MAX_LEARNED_SECRETS, SecretExpectation,
};
pub(crate) use listing::{
    Backlog, COUNTED_STATES, DeliveryCount, DeliveryCursor, DestinationStats, KeepReason,
    ListQuery, ListedDelivery, Listing, Obstacles, UnroutedEvent, UnroutedPage, UnroutedQuery,
};
pub(crate) use messages::OutboundMessage;
#[allow(
    unused_imports,
    reason = "a build with one engine has nowhere to move to"
)]
pub(crate) use moving::{
    ColumnKind, MOVED, MoveProgress, MoveReport, MoveSource, MoveTarget, MovedAway, MovedColumn,
    MovedCount, MovedRow, MovedRows, MovedTable, MovedValue, OnRows, RowsDigest, UnfinishedMove,
};
#[allow(unused_imports, reason = "a build without PostgreSQL has one node")]
pub(crate) use nodes::{BUCKETS, NodeState, OwnLease};
pub(crate) use operations::{
    OperationCreation, OperationPart, OperationsPage, OperationsQuery, StoredOperation,
};
pub(crate) use payload::{Checksum, GonePayload, GoneReason, PayloadDigest, PayloadProblem};
pub(crate) use quick_check::QuickCheck;
pub(crate) use readiness::Unready;
pub(crate) use relays::{RelayCursor, RelaysPage, StoredRelay};
pub(crate) use retention::{
    Cutoffs, Expired, ExpiredIntent, OriginsPassStep, OriginsStage, Prune, PruneCursor, PrunePart,
    StoredKey, UnusedBatch, UnusedOrigins,
};
pub(in crate::store) use rollups::{Listed, ROWS_OF_A_NAME};
pub(crate) use rollups::{RecordRollups, Rollup, RollupGrain, RollupQuery, RollupSink, Rollups};
pub(in crate::store) use settle::BLOCKED;
pub(crate) use settle::{
    AttemptRecord, Claim, ClaimRequest, Claimed, DestinationChange, Release, SettleAndClaim,
    Settlement,
};
pub(crate) use space::{Growth, Shed, ShedCursor, ShedEvent, Sheddable, SpaceSample, SpaceUse};
pub(crate) use tail::{TailCursor, TailEntry, TailEvent, TailPage, TailQuery};
pub(crate) use transfer::{
    AttemptEntry, AttemptOutcome, DeliveryRecord, EXPORT_VERSION, EventRecord, ExportCursor,
    ExportHeader, GoneRecord, ImportTally, ImportedEvent, KeyRecord,
};
