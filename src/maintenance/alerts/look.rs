//! A look: the facts, and the states that were told before.

use std::time::Duration;

use serde_json::{Map, Value};

use super::alert::{Alert, AlertKind, Change};
use super::states::States;
use crate::clock::Timestamp;
use crate::ops::notices::Noticed;
use crate::ops::rollup_counters::AttemptHealth;
use crate::store::DestinationFacts;

/// The facts of a look.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Whether another process tells the changes of the relay as a whole.
    pub is_part: bool,
    /// The name of this process, if others share the store: the subject of what is its own.
    pub node: Option<String>,
    /// The configured destinations but the alerts' own.
    pub destinations: Vec<(String, DestinationFacts, AttemptHealth)>,
    /// How long the oldest delivery has been due that nothing keeps back; none if that was not
    /// asked this time.
    pub oldest_due: Option<Duration>,
    /// Free bytes of the disk, if they are known, and those below which nothing is accepted.
    pub free: Option<u64>,
    pub min_free: u64,
    /// Milliseconds by which relay's clock is ahead of the system's.
    pub ahead: i64,
    pub noticed: Noticed,
}

/// A look: its times, and the states that were told before.
pub(super) struct Look<'a> {
    pub states: &'a States,
    pub now: Timestamp,
    pub wall: Timestamp,
    pub monotonic: Duration,
}

impl Facts {
    /// The subject of a state of this process alone. Processes that share the store have one each.
    pub fn own_subject(&self, of: &str) -> String {
        match &self.node {
            None => of.to_owned(),
            Some(node) if of.is_empty() => node.clone(),
            Some(node) => format!("{of} of {node}"),
        }
    }

    /// A change of such a state, with its alert's text and data.
    pub fn own_alert(
        &self,
        (kind, subject, state): (AlertKind, &str, &'static str),
        (mut summary, mut data): (String, Value),
        look: &Look<'_>,
    ) -> Change {
        if let Some(node) = &self.node {
            summary = format!("node {node}: {summary}");
            data["node"] = node.as_str().into();
        }
        let alert = look.alert(kind, subject, summary, data);
        look.change(kind, subject, state, Some(alert))
    }
}

impl Look<'_> {
    pub fn change(
        &self,
        kind: AlertKind,
        subject: &str,
        state: &'static str,
        alert: Option<Alert>,
    ) -> Change {
        Change {
            kind,
            subject: subject.to_owned(),
            state,
            since: self.now,
            alert,
        }
    }

    pub fn alert(&self, kind: AlertKind, subject: &str, summary: String, data: Value) -> Alert {
        let data = match data {
            Value::Object(data) => data,
            _ => Map::new(),
        };
        Alert {
            kind,
            subject: subject.to_owned(),
            summary,
            data,
            at: self.now,
        }
    }
}
