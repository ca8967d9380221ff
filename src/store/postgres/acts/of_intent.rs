//! Operations on the deliveries of one intent.

use crate::model::IntentId;
use crate::store::error::StoreError;
use crate::store::postgres::handle::not_built;
use crate::store::postgres::operator::Operator;
use crate::store::types::{NewBulk, OfIntent, Routing};

impl Operator {
    /// Makes an operation on the deliveries of one relay or event at once. None if there is no
    /// such one.
    pub fn act_on(
        &mut self,
        id: IntentId,
        new: &NewBulk,
        routing: &dyn Routing,
    ) -> Result<Option<OfIntent>, StoreError> {
        Err(not_built())
    }

    /// Counts the acts of an operation on the deliveries of one relay or event.
    pub fn preview_on(
        &self,
        id: IntentId,
        new: &NewBulk,
        routing: &dyn Routing,
    ) -> Result<Option<OfIntent>, StoreError> {
        Err(not_built())
    }
}
