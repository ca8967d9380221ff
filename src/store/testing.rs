//! The store in tests: operations that a server's threads don't need, and looks at stored
//! deliveries.

use super::operator::Engine as OperatorEngine;
use super::sqlite::Sqlite;
use super::{
    Accept, Accepted, Engine, ListQuery, ListedDelivery, Operator, Store, StoreError, StoredIntent,
};
use crate::model::{DeliveryState, IntentId};

/// The store of an engine's own tests.
impl From<Sqlite> for Store {
    fn from(engine: Sqlite) -> Self {
        let engine = Engine::Sqlite(engine);
        Self { engine }
    }
}

impl Operator {
    /// Replays the dead letters of an intent; how many there were.
    pub fn replay(&mut self, id: IntentId) -> Result<usize, StoreError> {
        on_engine!(OperatorEngine, &mut self.engine, |engine| engine.replay(id))
    }

    /// Discards the dead letters of an intent; how many there were.
    pub fn discard(&mut self, id: IntentId) -> Result<usize, StoreError> {
        on_engine!(OperatorEngine, &mut self.engine, |engine| engine
            .discard(id))
    }
}

impl Store {
    /// Records an intent. Blocks.
    pub fn accept_blocking(&self, intent: Accept) -> Result<Accepted, StoreError> {
        on_engine!(&self.engine, |engine| engine.accept_blocking(intent))
    }

    /// Pauses a destination; whether it was not paused before.
    pub fn pause_blocking(&self, destination: &str, reason: &str) -> Result<bool, StoreError> {
        on_engine!(&self.engine, |engine| engine
            .pause_blocking(destination, reason))
    }

    /// The relay or event of this id, with its deliveries and their histories.
    pub fn intent(&self, id: IntentId) -> Result<Option<StoredIntent>, StoreError> {
        on_engine!(&self.engine, |engine| engine.intent(id))
    }

    /// All deliveries, in the order of acceptance; of a state only, if given.
    pub fn all_deliveries(&self, state: Option<DeliveryState>) -> Vec<ListedDelivery> {
        let query = ListQuery {
            state,
            limit: u32::MAX,
            ..ListQuery::default()
        };
        let listed = on_engine!(&self.engine, |engine| engine.list(&query));
        let mut listed = listed.expect("a list");
        listed.reverse();
        listed
    }

    /// Asks the store to end.
    pub fn begin_stop(&self) {
        on_engine!(&self.engine, |engine| engine.begin_stop());
    }

    /// Stops, and waits for it.
    pub fn stop(&self) {
        on_engine!(&self.engine, |engine| engine.stop());
    }
}
