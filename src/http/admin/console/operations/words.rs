//! Operations in words.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::http::admin::console::when::written_at;
use crate::model::DeliveryState;
use crate::store::{BulkAction, BulkFilter, FilteredTime, StateSet};

const MINUTE: Duration = Duration::from_secs(60);

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

/// A filter in words. `asked_at` is the time of the request: an end about then is none.
pub(super) fn filter_text(filter: &BulkFilter, action: BulkAction, asked_at: Timestamp) -> String {
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
        parts.push(format!("{time} since {}", written_at(filter.since)));
    }
    if filter.ids.is_empty() && asked_at.since(filter.until) >= MINUTE {
        let time = time_word(filter, action);
        parts.push(format!("{time} until {}", written_at(filter.until)));
    }
    if parts.is_empty() {
        return "everything".to_owned();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_tells_its_times_and_that_it_has_none() {
        let now = Timestamp::from_millis(1_000_000_000);
        let text = |filter: &BulkFilter| filter_text(filter, BulkAction::Erase, now);
        let until = |until| BulkFilter {
            until,
            ..BulkFilter::of(StateSet::ANY)
        };
        assert_eq!(text(&until(now)), "everything");
        let an_hour_ago = now.minus(MINUTE * 60);
        let told = format!("accepted until {}", written_at(an_hour_ago));
        assert_eq!(text(&until(an_hour_ago)), told);
    }
}
