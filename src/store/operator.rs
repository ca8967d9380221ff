//! The store as commands see it: beside a running server, or without one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Pid;

use crate::clock::Timestamp;
use crate::config;
use crate::model::IntentId;
use crate::store::error::{OpenError, StoreError};
use crate::store::sqlite;
use crate::store::types::{
    AdvanceBulk, BulkAdvance, BulkId, BulkOperation, BulkPart, BulkPreview, ConfigAttempt,
    ConfigState, DestinationStats, EventRecord, ExpectOutcome, ExportCursor, ImportTally,
    ImportedEvent, IntentRow, LearnedSecret, LearnedSecretId, ListQuery, ListedDelivery, NewBulk,
    NodeState, OfIntent, QuickCheck, RollupQuery, Rollups, Routing, SecretExpectation, SpaceSample,
    StoredIntent, TailCursor, TailPage, TailQuery, UnroutedEvent, UnroutedQuery,
};

/// A command's own connection. All methods block.
pub(crate) struct Operator {
    pub(super) engine: Engine,
}

engines! {
    pub(super) enum Engine {
        sqlite::Operator,
        crate::store::postgres::Operator
    }
}

impl Operator {
    /// For commands that read.
    pub fn reading(settings: &config::Database) -> Result<Self, OpenError> {
        let engine = choose_engine!(
            settings,
            sqlite::Operator::reading(&settings.path)?,
            |url| crate::store::postgres::Operator::reading(url, settings)?
        );
        Ok(Self { engine })
    }

    /// For commands that change something.
    pub fn writing(settings: &config::Database) -> Result<Self, OpenError> {
        let engine = choose_engine!(
            settings,
            sqlite::Operator::writing(&settings.path)?,
            |url| crate::store::postgres::Operator::writing(url, settings)?
        );
        Ok(Self { engine })
    }

    /// For a command that brings events from elsewhere: creates an empty store if there is none.
    pub fn importing(settings: &config::Database) -> Result<Self, OpenError> {
        let engine = choose_engine!(
            settings,
            sqlite::Operator::importing(&settings.path)?,
            |url| crate::store::postgres::Operator::importing(url, settings)?
        );
        Ok(Self { engine })
    }

    /// The time by the clock that everything stored was written by.
    pub fn now(&self) -> Timestamp {
        on_engine!(&self.engine, |engine| engine.now())
    }

    /// Whether a server has the store open.
    pub fn has_server(&self) -> bool {
        on_engine!(&self.engine, |engine| engine.has_server())
    }

    /// Checks the structure of the store, for this time at most.
    pub fn quick_check(&self, within: Duration) -> Result<QuickCheck, StoreError> {
        on_engine!(&self.engine, |engine| engine.quick_check(within))
    }

    /// Empties the write-ahead log, so that what was deleted is in no file any more; false if
    /// somebody is in the way.
    pub fn empty_wal(&self) -> Result<bool, StoreError> {
        on_engine!(&self.engine, |engine| engine.empty_wal())
    }

    /// The processes that read the store at the moment, as far as the system tells.
    pub fn wal_readers(&self) -> Vec<String> {
        on_engine!(&self.engine, |engine| engine.wal_readers())
    }

    /// Bytes of the store without its free pages.
    pub fn used_pages(&self) -> Result<u64, StoreError> {
        on_engine!(&self.engine, |engine| engine.used_pages())
    }

    /// The samples of the space that was used, oldest first.
    pub fn space_samples(&self) -> Result<Vec<SpaceSample>, StoreError> {
        on_engine!(&self.engine, |engine| engine.space_samples())
    }

    /// Free bytes of the store's disk, as far as the system tells.
    pub fn free_bytes(&self) -> Option<u64> {
        on_engine!(&self.engine, |engine| engine.free_bytes())
    }

    /// Events that were accepted before payloads had checksums; more than 10 000 are not counted.
    pub fn count_unchecked(&self) -> Result<i64, StoreError> {
        on_engine!(&self.engine, |engine| engine.count_unchecked())
    }

    /// The next events that a filter selects of those accepted before an export began, oldest
    /// first, and where to go on; none if these are the last.
    pub fn find_to_export(
        &self,
        new: &NewBulk,
        after: Option<ExportCursor>,
        begun: Timestamp,
    ) -> Result<(Vec<IntentRow>, Option<ExportCursor>), StoreError> {
        on_engine!(&self.engine, |engine| engine
            .find_to_export(new, after, begun))
    }

    /// The row of an id; none if there is no such relay or event.
    pub fn row_of(&self, id: IntentId) -> Result<Option<IntentRow>, StoreError> {
        on_engine!(&self.engine, |engine| engine.row_of(id))
    }

    /// An event, whole; none if it was deleted meanwhile.
    pub fn export(&self, intent: IntentRow) -> Result<Option<EventRecord>, StoreError> {
        on_engine!(&self.engine, |engine| engine.export(intent))
    }

    /// Imports events, unless their ids are there. Without `keeps_pending` the deliveries that
    /// waited become dead letters, so that nothing is due.
    pub fn import(
        &mut self,
        events: Vec<ImportedEvent>,
        keeps_pending: bool,
    ) -> Result<ImportTally, StoreError> {
        on_engine!(&mut self.engine, |engine| engine
            .import(events, keeps_pending))
    }

    /// The copies that still hold something that was erased since a time: in the directory of
    /// backups, and those that a restore has put aside.
    pub fn copies_with_erased(
        &self,
        since: Timestamp,
        backups: Option<&Path>,
    ) -> Result<Vec<PathBuf>, StoreError> {
        on_engine!(&self.engine, |engine| engine
            .copies_with_erased(since, backups))
    }

    /// Moves the write-ahead log into the database, as far as no reader is in the way.
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        on_engine!(&self.engine, |engine| engine.checkpoint())
    }

    /// Whether anything was ever sent to a destination of this name.
    pub fn is_destination(&self, name: &str) -> Result<bool, StoreError> {
        on_engine!(&self.engine, |engine| engine.is_destination(name))
    }

    /// The relay or event of this id, with its deliveries and their histories.
    pub fn intent(&self, id: IntentId) -> Result<Option<StoredIntent>, StoreError> {
        on_engine!(&self.engine, |engine| engine.intent(id))
    }

    /// The latest unrouted events that match, latest first.
    pub fn unrouted(&self, query: &UnroutedQuery) -> Result<Vec<UnroutedEvent>, StoreError> {
        on_engine!(&self.engine, |engine| engine.unrouted(query))
    }

    /// How many events no route wanted, of those that are still kept.
    pub fn count_unrouted(&self) -> Result<i64, StoreError> {
        on_engine!(&self.engine, |engine| engine.count_unrouted())
    }

    /// The latest deliveries that match, latest first.
    pub fn list(&self, query: &ListQuery) -> Result<Vec<ListedDelivery>, StoreError> {
        on_engine!(&self.engine, |engine| engine.list(query))
    }

    /// The deliveries of each destination in numbers, by name.
    pub fn stats(&self) -> Result<Vec<DestinationStats>, StoreError> {
        on_engine!(&self.engine, |engine| engine.stats())
    }

    /// The rollups of a time.
    pub fn rollups(&self, query: &RollupQuery) -> Result<Rollups, StoreError> {
        on_engine!(&self.engine, |engine| engine.rollups(query))
    }

    /// The configuration that the server runs, and its last attempt to take one over.
    pub fn config_state(&self) -> Result<ConfigState, StoreError> {
        on_engine!(&self.engine, |engine| engine.config_state())
    }

    /// The nodes, by slot. A file has one if a server runs, by the name that these settings give.
    pub fn nodes(&self, own: &config::Node) -> Result<Vec<NodeState>, StoreError> {
        on_engine!(&self.engine, |engine| engine.nodes(own))
    }

    /// The configuration that a node runs, and its last attempt to take one over. On a file the
    /// server's, whatever the name.
    pub fn config_state_of(&self, node: &str) -> Result<ConfigState, StoreError> {
        on_engine!(&self.engine, |engine| engine.config_state_of(node))
    }

    /// Asks a node for a reload; the number of the request. None if no living node has this name,
    /// and on a file: a signal asks its server.
    pub fn ask_to_reload(&self, node: &str, is_dry_run: bool) -> Result<Option<i64>, StoreError> {
        on_engine!(&self.engine, |engine| engine
            .ask_to_reload(node, is_dry_run))
    }

    /// A node's answer to a request of this number; none until it has answered.
    pub fn reload_answer(
        &self,
        node: &str,
        number: i64,
        is_dry_run: bool,
    ) -> Result<Option<ConfigAttempt>, StoreError> {
        on_engine!(&self.engine, |engine| engine
            .reload_answer(node, number, is_dry_run))
    }

    /// The server's process, as far as this one may signal it.
    pub fn server_process(&self) -> Result<Pid, String> {
        on_engine!(&self.engine, |engine| engine.server_process())
    }

    /// Pauses a destination: nothing is sent to it until it is resumed. Whether it was not paused
    /// before.
    pub fn pause(&mut self, destination: &str, reason: &str) -> Result<bool, StoreError> {
        on_engine!(&mut self.engine, |engine| engine.pause(destination, reason))
    }

    /// Resumes a destination; whether anything kept its deliveries back.
    pub fn resume(&mut self, destination: &str) -> Result<bool, StoreError> {
        on_engine!(&mut self.engine, |engine| engine.resume(destination))
    }

    /// Makes a source expect that a handshake brings a secret, until this time. `is_addition` if
    /// the source keeps the secrets that it has learned; otherwise it must have none.
    pub fn expect_secret(
        &mut self,
        source: &str,
        until: Timestamp,
        is_addition: bool,
    ) -> Result<ExpectOutcome, StoreError> {
        on_engine!(&mut self.engine, |engine| engine.expect_secret(
            source,
            until,
            is_addition
        ))
    }

    /// The secrets that sources have learned, by source.
    pub fn learned_secrets(&self) -> Result<Vec<LearnedSecret>, StoreError> {
        on_engine!(&self.engine, |engine| engine.learned_secrets())
    }

    /// The sources that expect a secret, by name.
    pub fn secret_expectations(&self) -> Result<Vec<SecretExpectation>, StoreError> {
        on_engine!(&self.engine, |engine| engine.secret_expectations())
    }

    /// Forgets learned secrets of a source: these, or all and its expectation. Returns how many of
    /// them there were.
    pub fn forget_secrets(
        &mut self,
        source: &str,
        ids: Option<Vec<LearnedSecretId>>,
    ) -> Result<usize, StoreError> {
        on_engine!(&mut self.engine, |engine| engine
            .forget_secrets(source, ids))
    }

    /// Makes an operation on the deliveries of one relay or event at once. None if there is no
    /// such one.
    pub fn act_on(
        &mut self,
        id: IntentId,
        new: &NewBulk,
        routing: &dyn Routing,
    ) -> Result<Option<OfIntent>, StoreError> {
        on_engine!(&mut self.engine, |engine| engine.act_on(id, new, routing))
    }

    /// Counts the acts of an operation on the deliveries of one relay or event.
    pub fn preview_on(
        &self,
        id: IntentId,
        new: &NewBulk,
        routing: &dyn Routing,
    ) -> Result<Option<OfIntent>, StoreError> {
        on_engine!(&self.engine, |engine| engine.preview_on(id, new, routing))
    }

    /// Counts the acts of a bulk operation, and shows the first.
    pub fn preview_bulk(
        &self,
        new: &NewBulk,
        routing: &dyn Routing,
    ) -> Result<BulkPreview, StoreError> {
        on_engine!(&self.engine, |engine| engine.preview_bulk(new, routing))
    }

    /// The operations that a request makes: one for each destination that has matching deliveries,
    /// with their number, or one for all destinations. Counting takes a while, and nobody must wait
    /// for it.
    pub fn count_bulk(&self, new: &NewBulk) -> Result<Vec<BulkPart>, StoreError> {
        on_engine!(&self.engine, |engine| engine.count_bulk(new))
    }

    /// Creates the operations that were counted, but those whose destination is gone since.
    pub fn create_bulk(
        &mut self,
        new: NewBulk,
        parts: Vec<BulkPart>,
    ) -> Result<Vec<BulkId>, StoreError> {
        on_engine!(&mut self.engine, |engine| engine.create_bulk(new, parts))
    }

    /// Lets a destination's circuit breaker probe now, and ends a `Retry-After`; whether either
    /// kept deliveries back.
    pub fn probe_now(&mut self, destination: &str) -> Result<bool, StoreError> {
        on_engine!(&mut self.engine, |engine| engine.probe_now(destination))
    }

    /// Ends a bulk operation before it is done; whether it was under way.
    pub fn cancel_bulk(&mut self, id: BulkId) -> Result<bool, StoreError> {
        on_engine!(&mut self.engine, |engine| engine.cancel_bulk(id))
    }

    /// Advances the bulk operations under way by one step, without a server.
    pub fn advance_bulk(&mut self, step: &AdvanceBulk<'_>) -> Result<BulkAdvance, StoreError> {
        on_engine!(&mut self.engine, |engine| engine.advance_bulk(step))
    }

    /// The entries of a tail since the look before.
    pub fn tail(&self, query: &TailQuery, cursor: &mut TailCursor) -> Result<TailPage, StoreError> {
        on_engine!(&self.engine, |engine| engine.tail(query, cursor))
    }

    /// The bulk operations under way.
    pub fn bulk_under_way(&self) -> Result<Vec<BulkOperation>, StoreError> {
        on_engine!(&self.engine, |engine| engine.bulk_under_way())
    }

    /// These bulk operations, as far as they exist.
    pub fn bulk_operations(&self, ids: &[BulkId]) -> Result<Vec<BulkOperation>, StoreError> {
        on_engine!(&self.engine, |engine| engine.bulk_operations(ids))
    }
}
