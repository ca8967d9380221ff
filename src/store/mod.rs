//! The store: what is kept, and the operations on it.
//!
//! - `sqlite`: the engine, on one file.

pub(crate) mod sqlite;

#[allow(unused_imports, reason = "a build without delivery uses fewer of them")]
pub(crate) use sqlite::{
    Accept, Accepted, AttemptRow, BulkJob, CancelJob, CreateJobs, Cutoffs, DeliveryRow, Expired,
    Filter, IdempotencyKey, IntentRow, JobKind, KeepReason, Kept, Listed, LongWrite, MAX_HISTORY,
    MAX_WAITING_ORIGINS, OWN_READERS, OfIntent, Operator, Owner, PassStep, Pause, Prune, Query,
    Reader, RelayRow, Resume, RowBudget, Stats, StepJobs, Store, TidyUp, Tx, Unlock, Unready,
    UnusedOrigins, WriteOp, is_destination,
};
pub use sqlite::{OpenError, StoreError};
