//! Bulk operations, as far as they are the same for every engine: which deliveries are meant, what
//! is to be done with them, and at which pace.
//!
//! - `selection`: the deliveries, or the events, that an operation selects. `counting`: the reads
//!   that a count of them may make.
//! - `act`: acts that are decided. `wording`: the entries that they leave in a history.
//! - `reads`: the reads that an engine offers to the files below.
//! - `decide`: decides on a selected delivery or event. `of_intent`: on those of one intent.
//!   `foresee`: the outcome of an act that is not made.
//! - `parts`: the operations that a request makes. `preview`: what an operation would do.
//! - `plan`: a step of the operations under way. `room`: their pace. `progress`: how an operation
//!   stands after a step.

mod act;
mod counting;
mod decide;
mod foresee;
mod of_intent;
mod parts;
mod plan;
mod preview;
mod progress;
mod reads;
mod room;
mod selection;
pub mod wording;

pub use act::{Act, Does, IN_FLIGHT, PAYLOAD_GONE, SKIPPED, done};
pub use counting::{CountBudget, SelectionCount};
pub use of_intent::{decide_on, foresee_on, with_acts};
pub use parts::{parts_of, recorded_parts_of};
pub use plan::{BulkPlan, PlannedPart, plan};
pub use preview::preview;
pub use progress::{LOOK_AGAIN, PassEnd};
pub use reads::{BulkReads, IntentOrigin, KeptBack, UnderWay};
pub use selection::{Access, Cursor, LOOKS, Page, Selected, Selection, selection_of};
