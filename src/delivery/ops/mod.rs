//! The executor's own SQL.

mod due;
mod earlier;
pub mod measure;
mod shipment;
mod turn;

pub(super) use due::{Due, Kept};
pub(super) use earlier::has_failed_with;
pub(super) use shipment::Shipment;
pub(super) use turn::{Claimed, HANDED_BACK_FOR, HandBack, Settlement, Turn, Want};
