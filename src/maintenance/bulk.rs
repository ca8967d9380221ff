//! Bulk operations.

use std::time::Duration;

use super::pauses::{REST, REST_WHILE_WAITING};
use super::routing::ConfiguredRouting;
use crate::config::Live;
use crate::model::Level;
use crate::store::{AdvanceBulk, BulkId, Reader, Store, StoreError};

/// Advances the bulk operations under way.
pub(super) struct BulkAgent {
    store: Store,
    reader: Reader,
    config: Live,
    /// The next step considers operations after this one.
    after: Option<BulkId>,
}

impl BulkAgent {
    pub fn new(store: Store, reader: Reader, config: Live) -> Self {
        Self {
            store,
            reader,
            config,
            after: None,
        }
    }

    /// Makes a step; how long to rest after it, if an operation is under way.
    pub fn run_once(&mut self) -> Result<Option<Duration>, StoreError> {
        if !self.reader.has_bulk_under_way()? {
            return Ok(None);
        }
        let config = self.config.current();
        // While a restored database is held no backlog gets smaller: none is waited for.
        let is_delivering = config.level() != Level::Off && !self.store.is_held();
        let step = AdvanceBulk {
            is_paced: is_delivering,
            after: self.after,
            routing: &ConfiguredRouting(&*config),
        };
        let advance = self.store.advance_bulk(&self.reader, &step)?;
        self.after = advance.after;
        let has_more = advance.has_advanced || advance.after.is_some();
        Ok(Some(if has_more { REST } else { REST_WHILE_WAITING }))
    }
}
