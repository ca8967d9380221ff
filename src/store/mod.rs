//! The store: the operations on everything that is kept, whatever engine keeps it.
//!
//! - [`Store`]: the server's handle. `admin`: its operations for the operator's API. `context`: the
//!   parts of a relay that a store works with.
//! - `reader`: a part's own connection for reading. `operator`: the store for commands.
//! - `backups`: backups and the hold. `backup_files`: backups as files, and restores.
//!   `backup_error`: why they fail.
//! - `types`: the types that the operations take and return. `error`: why they fail.
//! - `bulk`: bulk operations, as far as they are the same for every engine.
//! - `accepting`: what accepting is on every engine.
//! - `budget`: the space that may be used. `health`: the writer's heartbeat, for readiness.
//!   `newly_dead`: destinations of new dead letters. `waiting_origins`: an API key's origins.
//!   `limits`, `row_budget`: sizes, and how large changes are divided. `turn_part`: the
//!   dispatcher's change, divided. `share`: the work that is this process's.
//! - `moving/`: everything moves from one engine to the other. `move_error`: why it doesn't.
//! - `newest`: the page of a list. `follow`: the looks of a tail.
//! - `sqlite`: the engine on one file. `postgres`: the engine on a server of PostgreSQL, in builds
//!   with the feature of that name. SQL stands nowhere else.
//! - `conformance`: the tests that every engine passes.
//!
//! The engines are a closed enum, and each operation one `match`, which [`on_engine`] writes: no
//! trait objects, no generics through the crate. Methods that block say so.

#![cfg_attr(
    not(feature = "delivery-simulated"),
    allow(
        dead_code,
        unused_imports,
        reason = "a build without delivery uses fewer operations"
    )
)]

/// An enum of the engines that are compiled in, each with its own type.
macro_rules! engines {
    ($(#[$attribute:meta])* $visibility:vis enum $name:ident { $sqlite:path, $postgres:path }) => {
        $(#[$attribute])*
        $visibility enum $name {
            Sqlite($sqlite),
            #[cfg(feature = "postgres")]
            Postgres($postgres),
        }
    };
}

/// Calls the same method of whichever engine there is: of `Engine`, or of another enum that is
/// named first. With a [`Reader`] the method also gets the engine's own reader.
macro_rules! on_engine {
    ($engine:expr, |$name:ident| $call:expr) => {
        match $engine {
            Engine::Sqlite($name) => $call,
            #[cfg(feature = "postgres")]
            Engine::Postgres($name) => $call,
        }
    };
    ($engines:ident, $engine:expr, |$name:ident| $call:expr) => {
        match $engine {
            $engines::Sqlite($name) => $call,
            #[cfg(feature = "postgres")]
            $engines::Postgres($name) => $call,
        }
    };
    ($engine:expr, $reader:expr, |$name:ident, $own:ident| $call:expr) => {
        match ($engine, $reader.engine()) {
            (Engine::Sqlite($name), ReaderEngine::Sqlite($own)) => $call,
            #[cfg(feature = "postgres")]
            (Engine::Postgres($name), ReaderEngine::Postgres($own)) => $call,
            #[cfg(feature = "postgres")]
            _ => unreachable!("a store makes readers of its own engine"),
        }
    };
}

/// Makes the engine that the settings of the database choose: by its URL, or by its path. Without
/// the feature a URL is an error.
macro_rules! choose_engine {
    ($settings:expr, $sqlite:expr, |$url:ident| $postgres:expr) => {
        match &$settings.url {
            None => Engine::Sqlite($sqlite),
            #[cfg(feature = "postgres")]
            Some($url) => Engine::Postgres($postgres),
            #[cfg(not(feature = "postgres"))]
            Some(_) => return Err($crate::store::error::OpenError::no_postgres(true)),
        }
    };
}

/// Items of builds with PostgreSQL alone.
macro_rules! with_postgres {
    ($($item:item)*) => {
        $(
            #[cfg(feature = "postgres")]
            $item
        )*
    };
}

mod accepting;
mod admin;
mod backup_error;
mod backup_files;
mod backups;
mod budget;
mod bulk;
mod context;
mod error;
mod follow;
mod health;
mod limits;
#[allow(dead_code, reason = "a build with one engine has nowhere to move to")]
mod move_error;
#[cfg(feature = "postgres")]
mod moving;
mod newest;
mod newly_dead;
mod operator;
#[cfg(feature = "postgres")]
mod postgres;
mod reader;
mod row_budget;
mod share;
mod sqlite;
mod turn_part;
mod types;
mod waiting_origins;

use std::time::Duration;

pub(crate) use backup_error::BackupError;
pub(crate) use backup_files::{
    abandon_restore, manifest_of, remove_stale_backups, restore, verify_backup,
};
pub(crate) use context::StoreContext;
pub use error::{OpenError, StoreError};
#[cfg(feature = "postgres")]
pub(crate) use moving::{abandon_move, move_store};
pub(crate) use operator::Operator;
pub(crate) use reader::Reader;
pub(crate) use sqlite::{LockFileContents, OWN_READERS, Unlock, Unsaved, UnsavedTransaction};
pub(crate) use types::{
    Accept, Accepted, AdvanceBulk, Affected, AlertChange, AlertState, AttemptRecord, Backlog,
    BlockingLetters, BulkAction, BulkAdvance, BulkFilter, BulkId, BulkOperation, BulkPreview,
    BulkTally, COUNTED_STATES, Claim, ClaimId, ClaimRequest, Claimed, ConfigAttempt, ConfigState,
    Cutoffs, DeadLetterCursor, DeadLetterDigest, DeadLetterId, DeadLetterQuery, DeliveryCursor,
    DestinationBacklog, DestinationChange, DestinationFacts, DestinationId, DestinationOverview,
    DestinationStats, DestinationStatus, DestinationsPage, DestinationsQuery, DueScan, Duplicate,
    EXPORT_VERSION, ExpectOutcome, ExportHeader, FilteredTime, GonePayload, GoneReason, Growth,
    IdempotencyKey, ImportTally, ImportedEvent, InLine, IntentRow, KeepReason, LearnedSecret,
    LearnedSecretId, ListQuery, ListedDelivery, MAX_LEARNED_SECRETS, MAX_WAITING_ORIGINS,
    MoveProgress, MoveReport, NewBulk, NewlyDead, NodeState, Obstacles, OfIntent, OnHangup,
    OperationCreation, OperationPart, OperationsQuery, Origin, OriginsPassStep, OutboundMessage,
    OwnLease, Owner, OwnerId, Pause, PayloadProblem, Prune, PruneCursor, QuickCheck, RaiseAlerts,
    RecordRollups, RelayCursor, RelaysPage, Release, ReplacedDestinations, Resumed, Rollup,
    RollupGrain, RollupQuery, RollupSink, Rollups, Routing, ScanCursor, SecretExpectation,
    SettleAndClaim, Settlement, Shed, ShedCursor, SpaceSample, SpaceUse, StateSet, StoredAttempt,
    StoredDelivery, StoredIntent, StoredOperation, StoredRelay, TailCursor, TailEntry, TailEvent,
    TailPage, TailQuery, Unready, UnroutedEvent, UnroutedQuery, UnusedOrigins,
};
#[allow(unused_imports, reason = "only the console names them")]
pub(crate) use types::{BUCKETS, DeliveryCount};
pub(crate) use types::{BackupProgress, Comparison, Hold, Restored, StopCheck, VerifiedBackup};

use crate::clock::Timestamp;
use crate::config::{self, Secret};
use crate::model::{DeliveryState, IntentId};
use crate::stop::Ending;
use reader::ReaderEngine;

/// A build with one engine has nowhere to move a store to.
#[cfg(not(feature = "postgres"))]
pub(crate) fn move_store(
    from: &config::Database,
    _: &config::Database,
    _: &config::Node,
    _: &dyn Fn(MoveProgress),
) -> Result<MoveReport, move_error::MoveError> {
    Err(OpenError::no_postgres(from.url.is_some()).into())
}

/// Gives up the move that the store has a mark of; in words, what was done. Blocks.
#[cfg(not(feature = "postgres"))]
pub(crate) fn abandon_move(settings: &config::Database) -> Result<String, move_error::MoveError> {
    sqlite::abandon_move(&settings.path)
}

/// A handle to the store; clones share it.
#[derive(Clone)]
pub(crate) struct Store {
    engine: Engine,
}

engines! {
    #[derive(Clone)]
    enum Engine {
        sqlite::Sqlite,
        postgres::Postgres
    }
}

impl Store {
    /// Opens or creates the store, releases the claims of a process that died, and starts to take
    /// writes. No delivery waits for more than `longest_wait` from now. Blocks.
    pub fn open(
        settings: &config::Database,
        longest_wait: Duration,
        context: StoreContext,
    ) -> Result<Self, OpenError> {
        let engine = choose_engine!(
            settings,
            sqlite::Sqlite::open(settings, longest_wait, context)?,
            |url| postgres::Postgres::open(url, settings, longest_wait, context)?
        );
        Ok(Self { engine })
    }

    /// Refuses settings of a server that can't be used: what a start finds before it connects. An
    /// error is a key and its problem.
    #[allow(clippy::unnecessary_wraps, reason = "only a server's URL can be wrong")]
    pub fn check(settings: &config::Database) -> Result<(), (String, String)> {
        match &settings.url {
            #[cfg(feature = "postgres")]
            Some(url) => postgres::check(url, settings),
            _ => Ok(()),
        }
    }

    /// When the store is closed.
    pub fn ended(&self) -> &Ending {
        on_engine!(&self.engine, |engine| engine.ended())
    }

    /// A part's own connection for reading.
    pub fn reader(&self) -> Reader {
        on_engine!(&self.engine, |engine| Reader::from(engine.reader()))
    }

    /// Whether writes can be taken.
    pub fn readiness(&self) -> Result<(), Unready> {
        on_engine!(&self.engine, |engine| engine.readiness())
    }

    /// How long the writer has been at its batch: no time while it waits for work, for ever if its
    /// thread is over.
    pub fn writer_busy_for(&self) -> Duration {
        on_engine!(&self.engine, |engine| engine.writer_busy_for())
    }

    /// The share of this process among the nodes, and its lease; none on a file.
    pub fn own_lease(&self) -> Option<OwnLease> {
        on_engine!(&self.engine, |engine| engine.own_lease())
    }

    /// The sizes of the database and of its write-ahead log, in bytes.
    pub fn file_sizes(&self) -> (u64, u64) {
        on_engine!(&self.engine, |engine| engine.file_sizes())
    }

    /// Deliveries by state; none until they are counted, soon after a start. Waits a little for a
    /// count that is due.
    pub async fn deliveries(&self) -> Option<[(DeliveryState, i64); COUNTED_STATES.len()]> {
        on_engine!(&self.engine, |engine| engine.recount_if_due().await);
        on_engine!(&self.engine, |engine| engine.deliveries())
    }

    /// The waiting deliveries. `is_deliverable` tells whether a destination of this name can be
    /// delivered to.
    pub async fn backlog(
        &self,
        is_deliverable: impl Fn(&str) -> bool + Send + 'static,
    ) -> Result<Backlog, StoreError> {
        on_engine!(&self.engine, |engine| engine.backlog(is_deliverable).await)
    }

    /// The destinations that have, or had since the start, dead letters that block the deliveries
    /// behind them, each with their number; none until they are counted, soon after a start.
    pub fn blocking(&self) -> Option<Vec<(DestinationId, i64)>> {
        on_engine!(&self.engine, |engine| engine.blocking())
    }

    /// The same by name.
    pub async fn blocking_by_name(&self) -> Result<Option<Vec<(String, i64)>>, StoreError> {
        on_engine!(&self.engine, |engine| engine.blocking_by_name().await)
    }

    /// Lets dead letters no longer block the deliveries behind them. Blocks.
    pub fn skip_dead(&self, letters: BlockingLetters) -> Result<(), StoreError> {
        on_engine!(&self.engine, |engine| engine.skip_dead(letters))
    }

    /// Records an intent; resolves once it is durable.
    pub async fn accept(&self, intent: Accept) -> Result<Accepted, StoreError> {
        on_engine!(&self.engine, |engine| engine.accept(intent).await)
    }

    /// Whether a source expects a handshake to bring a secret.
    pub async fn expects_secret(&self, source: &str, now: Timestamp) -> Result<bool, StoreError> {
        on_engine!(&self.engine, |engine| engine
            .expects_secret(source, now)
            .await)
    }

    /// Learns a secret that a handshake brought, if the source expects one now; resolves once that
    /// is durable. Whether it was learned: the source expects none afterwards.
    pub async fn learn_secret(&self, source: &str, secret: Secret) -> Result<bool, StoreError> {
        on_engine!(&self.engine, |engine| engine
            .learn_secret(source, secret)
            .await)
    }

    /// The relay of this id.
    pub async fn relay(&self, id: IntentId) -> Result<Option<StoredRelay>, StoreError> {
        on_engine!(&self.engine, |engine| engine.relay(id).await)
    }

    /// Up to `limit` relays after the cursor, oldest first. Large ones end a page early.
    pub async fn relays_page(
        &self,
        after: Option<RelayCursor>,
        limit: u32,
    ) -> Result<RelaysPage, StoreError> {
        on_engine!(&self.engine, |engine| engine
            .relays_page(after, limit)
            .await)
    }

    /// The webhook event of this id, with its deliveries and their histories.
    pub async fn event(&self, id: IntentId) -> Result<Option<StoredIntent>, StoreError> {
        on_engine!(&self.engine, |engine| engine.event(id).await)
    }

    /// Settles finished attempts, releases claims and claims due deliveries, one step; false if
    /// none is left. After an error `change` knows which of it is durable. Blocks.
    pub fn settle_and_claim(&self, change: &mut SettleAndClaim) -> Result<bool, StoreError> {
        on_engine!(&self.engine, |engine| engine.settle_and_claim(change))
    }

    /// Records an attempt to take a configuration over. Blocks.
    pub fn record_config(&self, attempt: ConfigAttempt) -> Result<(), StoreError> {
        on_engine!(&self.engine, |engine| engine.record_config(attempt))
    }

    /// The next reload that a command has asked for in the store; whether it is a dry run. On a
    /// file there is none: commands signal its server.
    pub fn take_reload(&self) -> Option<bool> {
        on_engine!(&self.engine, |engine| engine.take_reload())
    }

    /// Forgets what is remembered of destinations that a reload has replaced, in one step of a
    /// bounded number of rows. Returns whether it was the last. Blocks.
    pub fn replace_destinations(&self, all: &ReplacedDestinations) -> Result<bool, StoreError> {
        on_engine!(&self.engine, |engine| engine.replace_destinations(all))
    }

    /// Replays the dead letters of an intent; how many there were. Blocks.
    pub fn replay(&self, id: IntentId) -> Result<usize, StoreError> {
        on_engine!(&self.engine, |engine| engine.replay(id))
    }

    /// Advances the bulk operations under way by one step: `reader` finds what to do. Blocks.
    pub fn advance_bulk(
        &self,
        reader: &Reader,
        step: &AdvanceBulk<'_>,
    ) -> Result<BulkAdvance, StoreError> {
        on_engine!(&self.engine, reader, |engine, own| engine
            .advance_bulk(own, step))
    }

    /// Deletes the next part of the expired intents and keys; false if there is none left. Blocks.
    pub fn prune(&self, prune: &mut Prune) -> Result<bool, StoreError> {
        on_engine!(&self.engine, |engine| engine.prune(prune))
    }

    /// Makes the next step of forgetting ad hoc origins that no delivery names any more. After an
    /// error it can be called again. Blocks.
    pub fn forget_unused_origins(
        &self,
        pass: &mut UnusedOrigins,
        reader: &Reader,
        now: Timestamp,
    ) -> Result<OriginsPassStep, StoreError> {
        on_engine!(&self.engine, reader, |engine, own| engine
            .forget_unused_origins(pass, own, now))
    }

    /// Makes the next step of adding counts to the rollups; whether there was one. Blocks.
    pub fn record_rollups(&self, counts: &mut RecordRollups) -> Result<bool, StoreError> {
        on_engine!(&self.engine, |engine| engine.record_rollups(counts))
    }

    /// Deletes some of the rollups past their time; how many. Blocks.
    pub fn prune_rollups(&self) -> Result<usize, StoreError> {
        on_engine!(&self.engine, |engine| engine.prune_rollups())
    }

    /// The rollups of a time.
    pub async fn rollups(&self, query: RollupQuery) -> Result<Rollups, StoreError> {
        let listed = types::Listed::new(&query);
        Ok(self.each_rollup(query, listed).await?.rollups())
    }

    /// Hands the stored counts of a time to the sink, and returns it: for those who want sums, and
    /// no list of all.
    pub async fn each_rollup<S: RollupSink>(
        &self,
        query: RollupQuery,
        sink: S,
    ) -> Result<S, StoreError> {
        on_engine!(&self.engine, |engine| engine.each_rollup(query, sink).await)
    }

    /// Writes states of alerts, with the events that tell of them. Blocks.
    pub fn raise_alerts(&self, alerts: RaiseAlerts) -> Result<(), StoreError> {
        on_engine!(&self.engine, |engine| engine.raise_alerts(alerts))
    }

    /// Forgets states of alerts, by kind and subject. Blocks.
    pub fn forget_alerts(&self, states: Vec<(String, String)>) -> Result<(), StoreError> {
        on_engine!(&self.engine, |engine| engine.forget_alerts(states))
    }

    /// A time that no later change is older than. Blocks.
    pub fn settled_until(&self) -> Result<Timestamp, StoreError> {
        on_engine!(&self.engine, |engine| engine.settled_until())
    }

    /// The destinations to which something was given up since the last call.
    pub fn take_newly_dead(&self) -> NewlyDead {
        on_engine!(&self.engine, |engine| engine.take_newly_dead())
    }

    /// The facts about these destinations, in the same order. Blocks.
    pub fn destination_facts(
        &self,
        reader: &Reader,
        names: &[String],
    ) -> Result<Vec<DestinationFacts>, StoreError> {
        on_engine!(&self.engine, reader, |engine, own| engine
            .destination_facts(own, names))
    }

    /// The waiting deliveries, read on a reader of the caller's. Blocks.
    pub fn backlog_on(
        &self,
        reader: &Reader,
        is_deliverable: impl Fn(&str) -> bool,
    ) -> Result<Backlog, StoreError> {
        on_engine!(&self.engine, reader, |engine, own| engine
            .backlog_on(own, is_deliverable))
    }

    /// Free bytes of the database's disk; none while they are unknown.
    pub fn free_bytes(&self) -> Option<u64> {
        on_engine!(&self.engine, |engine| engine.free_bytes())
    }

    /// Commits a change that leaves everything as it was, which shows that the disk takes writes.
    /// Blocks.
    pub fn commit_probe(&self) -> Result<(), StoreError> {
        on_engine!(&self.engine, |engine| engine.commit_probe())
    }

    /// Sheds the next part of the events that were found; false if none is left. Blocks.
    pub fn shed(&self, shed: &mut Shed) -> Result<bool, StoreError> {
        on_engine!(&self.engine, |engine| engine.shed(shed))
    }

    /// Empties the write-ahead log; false if a reader keeps it from being emptied now. Blocks.
    pub fn empty_wal(&self) -> Result<bool, StoreError> {
        on_engine!(&self.engine, |engine| engine.empty_wal())
    }

    /// The space that is used, as it was published last.
    pub fn space_use(&self) -> SpaceUse {
        on_engine!(&self.engine, |engine| engine.space_use())
    }

    /// Bounds the space from now on; none: the disk alone does.
    pub fn set_max_bytes(&self, max: Option<u64>) {
        on_engine!(&self.engine, |engine| engine.set_max_bytes(max));
    }

    /// Publishes how much space is used.
    pub fn publish_used(&self, used: u64) {
        on_engine!(&self.engine, |engine| engine.publish_used(used));
    }

    /// Publishes the time until the store is full; none if it doesn't grow.
    pub fn publish_forecast(&self, full_in: Option<Duration>) {
        on_engine!(&self.engine, |engine| engine.publish_forecast(full_in));
    }

    /// Remembers how much space is used. Blocks.
    pub fn sample_space(&self, used: u64) -> Result<(), StoreError> {
        on_engine!(&self.engine, |engine| engine.sample_space(used))
    }

    /// Tidies up after a sweep of retention, one step; whether steps are left. Blocks.
    pub fn tidy_up(&self) -> Result<bool, StoreError> {
        on_engine!(&self.engine, |engine| engine.tidy_up())
    }
}

#[cfg(test)]
mod conformance;
#[cfg(test)]
pub(crate) mod testing;
