//! The destinations of an event by today's routes, and why the others are none.

use crate::config::{SourcePolicy, StoredEvent};
use crate::model::route::{FailedLine, Verdict};
use crate::store::StoredIntent;

/// A destination of the source, and the reason why the event goes there or not.
pub(super) struct Routed {
    pub destination: String,
    pub is_wanted: bool,
    pub reasons: Vec<String>,
}

/// Reads the event by today's routes of its source.
pub(super) fn explain(source: &SourcePolicy, row: &StoredIntent) -> Vec<Routed> {
    let event = StoredEvent {
        event_type: row.event_type.as_deref(),
        headers: &row.headers,
        body: &row.payload,
    };
    let (verdicts, _) = source.explain_stored(&event);
    verdicts.iter().map(routed).collect()
}

fn routed(verdict: &Verdict) -> Routed {
    let reasons = if verdict.is_for_every_event {
        vec!["destinations: every event".to_owned()]
    } else if let Some(number) = verdict.matching_route() {
        vec![format!("routes[{number}]: all of its lines match")]
    } else {
        let routes = verdict.routes.iter();
        let failed = routes.filter_map(|route| Some((route.number, route.failed.as_ref()?)));
        let reasons = failed.map(|(number, line)| format!("routes[{number}]: {}", unmet(line)));
        reasons.collect()
    };
    Routed {
        destination: verdict.destination.clone(),
        is_wanted: verdict.is_wanted(),
        reasons,
    }
}

fn unmet(line: &FailedLine) -> String {
    let found = line.found.as_deref().unwrap_or("nothing");
    format!("{}: found {found}, expected {}", line.line, line.expected)
}
