//! Operations in words.

use crate::clock::Timestamp;
use crate::model::DeliveryState;
use crate::store::{BulkAction, BulkFilter, FilteredTime, StateSet};

/// An action in words.
pub(super) fn what(action: BulkAction, target: Option<&str>) -> String {
    let to = target.unwrap_or_default();
    match action {
        BulkAction::SendTo => format!("Replay to {to}"),
        BulkAction::Route => "Replay by today's routes".to_owned(),
        BulkAction::Reroute => format!("Reroute to {to}"),
        BulkAction::Replay => "Replay".to_owned(),
        BulkAction::Discard => "Discard".to_owned(),
        BulkAction::Retry => "Retry now".to_owned(),
        BulkAction::Erase => "Erase".to_owned(),
    }
}

/// A filter in words.
pub(super) fn filter_text(filter: &BulkFilter, action: BulkAction) -> String {
    let mut parts = Vec::new();
    if !filter.ids.is_empty() {
        parts.push(match filter.ids.len() {
            1 => format!("one event, {}", filter.ids[0]),
            count => format!("{count} events"),
        });
    }
    if filter.states != StateSet::ANY {
        let states = DeliveryState::ALL.into_iter();
        let states = states.filter(|state| filter.states.holds(*state));
        let names = states.map(|state| state.name().replace('_', " "));
        parts.push(names.collect::<Vec<_>>().join(" or "));
    }
    let texts = [
        ("destination", &filter.destination),
        ("source", &filter.source),
        ("type", &filter.event_type),
        ("last error with", &filter.reason),
    ];
    for (name, text) in texts {
        parts.extend(text.as_ref().map(|text| format!("{name} {text}")));
    }
    if filter.since > Timestamp::from_millis(0) {
        let time = time_word(filter, action);
        parts.push(format!("{time} since {}", filter.since));
    }
    parts.join(", ")
}

/// The time that a filter compares.
pub(super) fn time_word(filter: &BulkFilter, action: BulkAction) -> &'static str {
    match filter.time(action) {
        FilteredTime::GivenUp => "given up",
        FilteredTime::Accepted => "accepted",
    }
}
