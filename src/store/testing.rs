//! The store in tests: operations that a server's threads don't need, and looks at stored
//! deliveries.

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
        self.sqlite().replay(id)
    }

    /// Discards the dead letters of an intent; how many there were.
    pub fn discard(&mut self, id: IntentId) -> Result<usize, StoreError> {
        self.sqlite().discard(id)
    }
}

impl Store {
    /// Records an intent. Blocks.
    pub fn accept_blocking(&self, intent: Accept) -> Result<Accepted, StoreError> {
        match &self.engine {
            Engine::Sqlite(engine) => engine.accept_blocking(intent),
        }
    }

    /// Pauses a destination; whether it was not paused before.
    pub fn pause_blocking(&self, destination: &str, reason: &str) -> Result<bool, StoreError> {
        match &self.engine {
            Engine::Sqlite(engine) => engine.pause_blocking(destination, reason),
        }
    }

    /// The relay or event of this id, with its deliveries and their histories.
    pub fn intent(&self, id: IntentId) -> Result<Option<StoredIntent>, StoreError> {
        match &self.engine {
            Engine::Sqlite(engine) => engine.intent(id),
        }
    }

    /// All deliveries, in the order of acceptance; of a state only, if given.
    pub fn all_deliveries(&self, state: Option<DeliveryState>) -> Vec<ListedDelivery> {
        let query = ListQuery {
            state,
            limit: u32::MAX,
            ..ListQuery::default()
        };
        let listed = match &self.engine {
            Engine::Sqlite(engine) => engine.list(&query),
        };
        let mut listed = listed.expect("a list");
        listed.reverse();
        listed
    }

    /// Asks the store to end.
    pub fn begin_stop(&self) {
        match &self.engine {
            Engine::Sqlite(engine) => engine.begin_stop(),
        }
    }

    /// Stops, and waits for it.
    pub fn stop(&self) {
        match &self.engine {
            Engine::Sqlite(engine) => engine.stop(),
        }
    }
}
