use crate::http::admin::console::link;
use crate::http::admin::console::mark::{Mark, Tone};
use crate::http::admin::console::visit::Visit;
use crate::http::admin::console::when::When;
use crate::model::Surface;
use crate::store::{ListedDelivery, UnroutedEvent};

/// A delivery.
pub(super) struct Row {
    pub mark: Mark,
    pub id: String,
    pub path: String,
    pub label: String,
    pub is_relay: bool,
    pub destination: String,
    pub destination_path: String,
    pub attempts: u32,
    pub created: When,
    /// When it changed last, or when its next attempt is due.
    pub moved: When,
    pub moved_word: &'static str,
    pub last_error: String,
}

/// An event that no route wanted, and that has no delivery.
pub(super) struct UnroutedRow {
    pub mark: Mark,
    pub id: String,
    pub path: String,
    pub source: String,
    pub event_type: String,
    pub created: When,
}

impl Row {
    pub fn new(one: &ListedDelivery, visit: &Visit<'_>) -> Self {
        let now = visit.now();
        let id = one.surface.public_id(one.id);
        let (moved_word, moved) = match one.next_attempt_at {
            Some(at) if at > now => ("due", at),
            _ => ("changed", one.updated_at),
        };
        Self {
            mark: Mark::of_delivery(one.state, one.discarded_at.is_some()),
            path: link::event(&id),
            id,
            label: one.label.clone(),
            is_relay: one.surface == Surface::Relay,
            destination_path: link::destination(&one.destination),
            destination: one.destination.clone(),
            attempts: one.attempts,
            created: When::new(one.created_at, now),
            moved: When::new(moved, now),
            moved_word,
            last_error: one.last_error.clone().unwrap_or_default(),
        }
    }
}

impl UnroutedRow {
    pub fn new(one: &UnroutedEvent, visit: &Visit<'_>) -> Self {
        let id = Surface::Event.public_id(one.id);
        Self {
            mark: Mark::new("unrouted", Tone::Idle),
            path: link::event(&id),
            id,
            source: one.source.clone(),
            event_type: one.event_type.clone().unwrap_or_default(),
            created: When::new(one.created_at, visit.now()),
        }
    }
}
