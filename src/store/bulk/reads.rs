//! The reads that bulk operations make, each in an engine's own way.

use crate::clock::Timestamp;
use crate::model::{IntentId, OrderKey, Surface};
use crate::store::bulk::counting::{CountBudget, SelectionCount};
use crate::store::bulk::selection::{Access, Cursor, Page, Selected, Selection};
use crate::store::types::{BulkId, DestinationId, GoneReason, IntentRow, OutboundMessage};

/// The facts that keep a destination's deliveries back.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeptBack {
    pub is_paused: bool,
    /// Whether it asked for patience, or its circuit breaker is open.
    pub is_held: bool,
}

/// An intent, as a preview shows it.
#[derive(Clone, Copy, Debug)]
pub struct IntentOrigin {
    pub id: IntentId,
    pub surface: Surface,
    pub created_at: Timestamp,
}

/// An operation under way.
#[derive(Debug)]
pub struct UnderWay {
    pub id: BulkId,
    pub selection: Selection,
    pub target: Option<String>,
    pub cursor: Cursor,
    pub look_again_at: Option<Timestamp>,
    /// Whether this is its first pass: only that one counts what it skips.
    pub is_first_pass: bool,
    /// Whether it has erased everything.
    pub is_erased: bool,
}

/// The reads that an engine makes for bulk operations.
pub trait BulkReads {
    type Error;

    /// The id of a destination, if anything was ever sent there.
    fn destination_id(&mut self, name: &str) -> Result<Option<DestinationId>, Self::Error>;

    fn destination_name(&mut self, id: DestinationId) -> Result<Option<String>, Self::Error>;

    /// The destinations, or the one of this name, with dead letters ([`Access::Dead`]), or with
    /// deliveries that wait or are in flight ([`Access::Waiting`]), by name.
    fn destinations_with(
        &mut self,
        access: Access,
        name: Option<&str>,
    ) -> Result<Vec<(DestinationId, String)>, Self::Error>;

    /// None if there is no such destination.
    fn kept_back(
        &mut self,
        id: DestinationId,
        now: Timestamp,
    ) -> Result<Option<KeptBack>, Self::Error>;

    /// Deliveries that are due, counted up to `most`.
    fn count_due(
        &mut self,
        id: DestinationId,
        now: Timestamp,
        most: i64,
    ) -> Result<i64, Self::Error>;

    /// Whether this many deliveries stand in a line, and will have their turns: the line of a dead
    /// letter that blocks stands still, and waiting for it could last for ever.
    fn is_crowded(
        &mut self,
        id: DestinationId,
        key: OrderKey,
        many: i64,
    ) -> Result<bool, Self::Error>;

    /// The next page. Once `wanted` are selected, or [`super::LOOKS`] rows looked at, it is full.
    fn page(
        &mut self,
        selection: &Selection,
        after: Cursor,
        wanted: usize,
    ) -> Result<Page, Self::Error>;

    /// How many there are to act on, and how many to skip, as far as the budget goes.
    fn count(
        &mut self,
        selection: &Selection,
        budget: &mut CountBudget,
    ) -> Result<SelectionCount, Self::Error>;

    /// Selected deliveries that are in flight, prefetched ones included.
    fn in_flight(&mut self, selection: &Selection) -> Result<i64, Self::Error>;

    /// The operations under way after one, `most` of them. One without a time of its own has begun
    /// now.
    fn under_way(
        &mut self,
        after: Option<BulkId>,
        most: i64,
        now: Timestamp,
    ) -> Result<Vec<UnderWay>, Self::Error>;

    /// Bytes of the headers and the body of an intent; none if there is no such intent.
    fn size_of(&mut self, id: IntentId) -> Result<Option<u32>, Self::Error>;

    /// The deliveries of an intent that were not discarded, by destination. One that is due, or
    /// stands behind another in its line, is skipped.
    fn deliveries_of(
        &mut self,
        event: &Selected,
        destination: Option<DestinationId>,
        now: Timestamp,
    ) -> Result<Vec<Selected>, Self::Error>;

    /// Rows that erasing the deliveries of an event writes at most.
    fn delivery_rows(&mut self, intent: IntentRow) -> Result<usize, Self::Error>;

    /// The message of an intent; none if it was deleted meanwhile.
    fn message(&mut self, intent: IntentRow) -> Result<Option<OutboundMessage>, Self::Error>;

    fn has_delivery(
        &mut self,
        intent: IntentRow,
        destination: DestinationId,
    ) -> Result<bool, Self::Error>;

    /// Whether an intent has no deliveries, or one that wasn't discarded.
    fn is_kept(&mut self, intent: IntentRow) -> Result<bool, Self::Error>;

    /// Why the payload of an intent is gone, if it was erased or shed.
    fn gone(&mut self, intent: IntentRow) -> Result<Option<GoneReason>, Self::Error>;

    fn is_in_flight(&mut self, intent: IntentRow) -> Result<bool, Self::Error>;

    /// None if it was deleted meanwhile.
    fn origin_of(&mut self, intent: IntentRow) -> Result<Option<IntentOrigin>, Self::Error>;
}
