//! The list of events that no route wanted: `relay list --unrouted`.

use crate::cli::error::CommandError;
use crate::cli::table::{self, Column};
use crate::model::Surface;
use crate::ops::views::unrouted_event;
use crate::store::UnroutedEvent;

pub(super) fn print(found: &[UnroutedEvent], as_json: bool) -> Result<(), CommandError> {
    if as_json {
        for event in found {
            say!("{}", unrouted_event(event));
        }
        return Ok(());
    }
    if found.is_empty() {
        hint!("nothing found");
        return Ok(());
    }
    let rows: Vec<_> = found
        .iter()
        .map(|event| {
            [
                Surface::Event.public_id(event.id),
                event.created_at.to_string(),
                event.source.clone(),
                event.event_type.clone().unwrap_or_default(),
            ]
        })
        .collect();
    table::print(
        &[
            Column::Left("ID"),
            Column::Left("ACCEPTED AT"),
            Column::Left("SOURCE"),
            Column::Left("TYPE"),
        ],
        &rows,
    )
}
