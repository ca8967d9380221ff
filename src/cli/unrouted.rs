//! The list of events that no route wanted: `relay list --unrouted`.

use serde_json::{Value, json};

use crate::cli::error::CommandError;
use crate::cli::table::{self, Column};
use crate::model::Surface;
use crate::store::UnroutedEvent;

pub(super) fn print(found: &[UnroutedEvent], as_json: bool) -> Result<(), CommandError> {
    if as_json {
        for event in found {
            say!("{}", line(event));
        }
        return Ok(());
    }
    if found.is_empty() {
        eprintln!("nothing found");
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

/// The members of a delivery's line that an event without a delivery has, and its type.
fn line(event: &UnroutedEvent) -> Value {
    json!({
        "id": Surface::Event.public_id(event.id),
        "surface": Surface::Event.name(),
        "label": event.source,
        "event_type": event.event_type,
        "destination": null,
        "status": "unrouted",
        "created_at": event.created_at,
    })
}
