//! The output of the commands.

use crate::cli::bulk::selection::Selection;
use crate::cli::error::CommandError;
use crate::cli::operate::plain;
use crate::cli::table::{self, Column};
use crate::ops::operations::preview_view;
use crate::store::{BulkAction, BulkPreview, BulkTally, FilteredTime, NewBulk};

/// How a report is printed.
#[derive(Clone, Copy)]
pub(super) struct Form {
    is_json: bool,
    is_dry_run: bool,
}

impl Form {
    pub fn done(is_json: bool) -> Self {
        Self {
            is_json,
            is_dry_run: false,
        }
    }

    pub fn of(selection: &Selection) -> Self {
        Self {
            is_json: selection.json,
            is_dry_run: selection.dry_run,
        }
    }
}

/// The name of what was done, as text and as a member of the JSON.
pub(super) fn done_name(action: BulkAction) -> &'static str {
    match action {
        BulkAction::Replay | BulkAction::SendTo | BulkAction::Route => "replayed",
        BulkAction::Discard => "discarded",
        BulkAction::Retry => "retried",
        BulkAction::Reroute => "rerouted",
        BulkAction::Erase => "erased",
    }
}

/// Why deliveries were skipped.
fn skipped(action: BulkAction, count: i64) -> String {
    match action {
        BulkAction::Retry => format!("{count} due already, or behind others in their order"),
        BulkAction::Erase => format!("{count} erased already"),
        _ => format!("skipped {count} that the event has there already"),
    }
}

/// Prints what was done.
pub(super) fn report(
    action: BulkAction,
    tally: BulkTally,
    in_flight: i64,
    form: Form,
) -> Result<(), CommandError> {
    let BulkTally {
        done,
        skipped: skips,
        payload_gone,
        in_flight: _,
    } = tally;
    let done_name = done_name(action);
    if form.is_json {
        let mut document = serde_json::Map::new();
        document.insert(done_name.to_owned(), done.into());
        let others = [
            ("skipped", skips),
            ("payload_gone", payload_gone),
            ("in_flight", in_flight),
        ];
        for (name, count) in others.into_iter().filter(|(_, count)| *count > 0) {
            document.insert(name.to_owned(), count.into());
        }
        say!("{}", serde_json::Value::from(document));
        return Ok(());
    }
    let mut parts = vec![format!("{done_name} {done}")];
    if skips > 0 {
        parts.push(skipped(action, skips));
    }
    if payload_gone > 0 {
        parts.push(format!("left {payload_gone} whose payload is deleted"));
    }
    if in_flight > 0 {
        parts.push(format!("left {in_flight} in flight"));
    }
    let parts = parts.join(", ");
    if form.is_dry_run {
        say!("nothing was done; it would be: {parts}");
    } else {
        say!("{parts}");
    }
    Ok(())
}

/// Prints what would be done.
pub(super) fn print_preview(
    new: &NewBulk,
    found: &BulkPreview,
    is_json: bool,
) -> Result<(), CommandError> {
    let total = found.total();
    let time = new.filter.time(new.action);
    if is_json {
        say!("{}", preview_view(new, found));
        return Ok(());
    }
    let more = if found.is_exact { "" } else { "+" };
    for (name, count) in &found.counts {
        say!("{:>8}  {}", format!("{count}{more}"), plain(name));
    }
    say!("{:>8}  in all; nothing was done", format!("{total}{more}"));
    if found.skipped > 0 {
        say!("{}", skipped(new.action, found.skipped));
    }
    if found.in_flight > 0 {
        say!("{} in flight", found.in_flight);
    }
    say!(
        "--since and --until compare the time when {}",
        match time {
            FilteredTime::GivenUp => "a delivery was given up",
            FilteredTime::Accepted => "an event was accepted",
        }
    );
    print_first(found)
}

fn print_first(found: &BulkPreview) -> Result<(), CommandError> {
    if found.first.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = found
        .first
        .iter()
        .map(|one| {
            [
                one.surface.public_id(one.id),
                one.state
                    .map_or("none yet", |state| state.name())
                    .to_owned(),
                one.created_at.to_string(),
                one.destination.clone(),
            ]
        })
        .collect();
    table::print(
        &[
            Column::Left("THE FIRST"),
            Column::Left("STATUS"),
            Column::Left("ACCEPTED AT"),
            Column::Left("DESTINATION"),
        ],
        &rows,
    )
}
