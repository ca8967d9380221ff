//! The writer's memory from one transaction to the next.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};

use super::recent_keys::RecentKeys;
use crate::store::types::DestinationId;
use crate::store::waiting_origins::WaitingOrigins;

pub struct WriterState {
    pub last_row: Cell<i64>,
    /// Destinations for which this transaction makes something due.
    pub due: RefCell<Vec<DestinationId>>,
    /// Destinations to which this transaction gives something up.
    pub dead: RefCell<Vec<DestinationId>>,
    /// The newest row that this transaction adds, or 0.
    pub added: Cell<i64>,
    /// The newest row that this transaction deletes, or 0.
    pub deleted: Cell<i64>,
    pub keys: RefCell<RecentKeys>,
    /// Destinations by name.
    destinations: RefCell<HashMap<String, DestinationId>>,
    pub origins: RefCell<WaitingOrigins>,
    /// Ad hoc origins that may be unused, and were not used since the pass began.
    pub unused: RefCell<HashSet<DestinationId>>,
}

/// Destinations that are remembered: there is no bound on ad hoc origins.
const MAX_DESTINATIONS: usize = 4096;

impl WriterState {
    pub fn new(last_row: i64, keys: RecentKeys) -> Self {
        Self {
            last_row: Cell::new(last_row),
            due: RefCell::default(),
            dead: RefCell::default(),
            added: Cell::new(0),
            deleted: Cell::new(0),
            keys: RefCell::new(keys),
            destinations: RefCell::default(),
            origins: RefCell::default(),
            unused: RefCell::default(),
        }
    }

    /// A transaction begins.
    pub fn begin(&self) {
        self.due.borrow_mut().clear();
        self.dead.borrow_mut().clear();
        self.added.set(0);
        self.deleted.set(0);
    }

    /// The transaction is durable.
    pub fn committed(&self) {
        self.keys.borrow_mut().committed(self.last_row.get());
    }

    /// The transaction was undone.
    pub fn rolled_back(&self) {
        self.keys.borrow_mut().rolled_back();
        self.due.borrow_mut().clear();
        // One of them may have been new.
        self.destinations.borrow_mut().clear();
    }

    pub fn destination(&self, name: &str) -> Option<DestinationId> {
        self.destinations.borrow().get(name).copied()
    }

    pub fn remember_destination(&self, name: &str, id: DestinationId) {
        let mut known = self.destinations.borrow_mut();
        if known.len() >= MAX_DESTINATIONS {
            known.clear();
        }
        known.insert(name.to_owned(), id);
    }

    /// These destinations no longer exist.
    pub fn forget_destinations(&self, ids: &HashSet<DestinationId>) {
        self.destinations
            .borrow_mut()
            .retain(|_, id| !ids.contains(id));
    }
}
