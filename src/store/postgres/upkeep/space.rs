//! The space that is used.

use crate::store::error::StoreError;
use crate::store::postgres::handle::{Postgres, not_built};
use crate::store::postgres::operator::Operator;
use crate::store::postgres::reader::Reader;
use crate::store::types::SpaceSample;

impl Postgres {
    /// The sizes of the database and of its write-ahead log, in bytes.
    pub fn file_sizes(&self) -> (u64, u64) {
        (0, 0)
    }

    /// Free bytes of the database's disk; none while they are unknown.
    pub fn free_bytes(&self) -> Option<u64> {
        None
    }

    /// Remembers how much space is used. Blocks.
    pub fn sample_space(&self, used: u64) -> Result<(), StoreError> {
        Err(not_built())
    }
}

impl Operator {
    /// Bytes of the store without its free pages.
    pub fn used_pages(&self) -> Result<u64, StoreError> {
        Err(not_built())
    }

    /// The samples of the space that was used, oldest first.
    pub fn space_samples(&self) -> Result<Vec<SpaceSample>, StoreError> {
        Err(not_built())
    }

    /// Free bytes of the store's disk, as far as the system tells.
    pub fn free_bytes(&self) -> Option<u64> {
        None
    }
}

impl Reader {
    /// Bytes of the database without its free pages.
    pub fn used_pages(&self) -> Result<u64, StoreError> {
        Err(not_built())
    }

    /// The samples of the space that was used, oldest first.
    pub fn space_samples(&self) -> Result<Vec<SpaceSample>, StoreError> {
        Err(not_built())
    }
}
