//! Bulk operations: created, cancelled and advanced.
//!
//! - `create`: stores an operation, or one for each of many destinations. `operation`: those that
//!   were created together, as one.
//! - `step`: makes a planned step. `preview`: tells what an operation would do.

mod create;
mod operation;
mod preview;
mod step;
