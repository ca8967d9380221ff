//! The space that may be used.

use std::time::Duration;

use crate::store::postgres::handle::Postgres;
use crate::store::types::SpaceUse;

impl Postgres {
    /// The space that is used, as it was published last.
    pub fn space_use(&self) -> SpaceUse {
        self.shared().budget.space_use()
    }

    /// Bounds the space from now on; none: the disk alone does.
    pub fn set_max_bytes(&self, max: Option<u64>) {
        self.shared().budget.set_max(max);
    }

    /// Publishes how much space is used.
    pub fn publish_used(&self, used: u64) {
        self.shared().budget.set_used(used);
    }

    /// Publishes the time until the store is full; none if it doesn't grow.
    pub fn publish_forecast(&self, full_in: Option<Duration>) {
        self.shared().budget.set_forecast(full_in);
    }
}
