//! The states that were told last, as the database has them.

use std::collections::HashMap;

use super::alert::{AlertKind, Change};
use crate::clock::Timestamp;
use crate::store::AlertState;

/// The states by alert and subject. Bounded by the kinds, and the configured destinations,
/// certificates and nodes.
#[derive(Clone, Debug, Default)]
pub(super) struct States(HashMap<(String, String), (String, Timestamp)>);

impl States {
    pub fn of(stored: Vec<AlertState>) -> Self {
        let states = stored.into_iter();
        let states = states.map(|one| ((one.kind, one.subject), (one.state, one.since)));
        Self(states.collect())
    }

    /// The state of a subject, and since when; none if nothing was ever told of it.
    pub fn get(&self, kind: AlertKind, subject: &str) -> Option<(&str, Timestamp)> {
        let key = (kind.name().to_owned(), subject.to_owned());
        let (state, since) = self.0.get(&key)?;
        Some((state.as_str(), *since))
    }

    /// Whether a subject is in a state.
    pub fn is(&self, kind: AlertKind, subject: &str, state: &str) -> bool {
        self.get(kind, subject).is_some_and(|(now, _)| now == state)
    }

    /// Since when the subject of a change was in the state before.
    pub fn since(&self, change: &Change) -> Option<Timestamp> {
        self.get(change.kind, &change.subject)
            .map(|(_, since)| since)
    }

    /// The change is durable.
    pub fn set(&mut self, change: &Change) {
        let key = (change.kind.name().to_owned(), change.subject.clone());
        self.0.insert(key, (change.state.to_owned(), change.since));
    }

    /// Forgets the states of destinations that are no longer there. Returns their kinds and
    /// subjects.
    pub fn forget(&mut self, is_there: impl Fn(&str) -> bool) -> Vec<(String, String)> {
        let is_gone = |(kind, subject): &(String, String)| {
            kind.starts_with("destination.") && !is_there(subject)
        };
        let gone: Vec<_> = self.0.keys().filter(|key| is_gone(key)).cloned().collect();
        for key in &gone {
            self.0.remove(key);
        }
        gone
    }
}
