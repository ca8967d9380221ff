//! The common part of `relay replay`, `retry`, `discard`, `reroute` and `erase`. Single relays and
//! events are changed at once, many by a job in the database, which the server does.
//!
//! - `context`: the database and the configuration. `selection`: the options that select. `ids`,
//!   `many`: the two ways. `report`: the output. `emptying`: the end of an erasure.

mod context;
mod emptying;
mod ids;
mod many;
mod report;
mod selection;

pub(super) use context::Context;
pub(super) use selection::{Selection, build, check, usage};

use crate::cli::error::CommandError;
use crate::store::NewBulk;

/// Makes an operation on the selected relays and events.
pub(super) fn run(
    context: &mut Context,
    selection: &Selection,
    new: NewBulk,
) -> Result<(), CommandError> {
    if selection.ids.is_empty() {
        many::run(context, selection, new)
    } else {
        ids::run(context, selection, &new)
    }
}
