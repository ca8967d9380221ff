//! Whole events, for an export.

use crate::clock::Timestamp;
use crate::store::error::StoreError;
use crate::store::postgres::handle::not_built;
use crate::store::postgres::operator::Operator;
use crate::store::types::{EventRecord, ExportCursor, IntentRow, NewBulk};

impl Operator {
    /// Events that were accepted before payloads had checksums; more than 10 000 are not counted.
    pub fn count_unchecked(&self) -> Result<i64, StoreError> {
        Err(not_built())
    }

    /// The next events that a filter selects of those accepted before an export began, oldest
    /// first, and where to go on; none if these are the last.
    pub fn find_to_export(
        &self,
        new: &NewBulk,
        after: Option<ExportCursor>,
        begun: Timestamp,
    ) -> Result<(Vec<IntentRow>, Option<ExportCursor>), StoreError> {
        Err(not_built())
    }

    /// An event, whole; none if it was deleted meanwhile.
    pub fn export(&self, intent: IntentRow) -> Result<Option<EventRecord>, StoreError> {
        Err(not_built())
    }
}
