//! Finished events that make room.

use crate::clock::Timestamp;
use crate::store::error::StoreError;
use crate::store::postgres::handle::{Postgres, not_built};
use crate::store::postgres::reader::Reader;
use crate::store::types::{Shed, ShedCursor, Sheddable};

impl Postgres {
    /// Sheds the next part of the events that were found; false if none is left. Blocks.
    pub fn shed(&self, shed: &mut Shed) -> Result<bool, StoreError> {
        Err(not_built())
    }
}

impl Reader {
    /// The next finished events that may be shed. Keys accepted before `keys` are past their
    /// window.
    pub fn sheddable(&self, keys: Timestamp, cursor: ShedCursor) -> Result<Sheddable, StoreError> {
        Err(not_built())
    }
}
