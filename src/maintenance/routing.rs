//! The configuration, as bulk operations ask it: where an event goes today, and in which line.

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;

use crate::config::{Resolved, StoredEvent};
use crate::model::request::document;
use crate::model::route::header_values;
use crate::model::{KeySource, OrderKey, Surface};
use crate::store::{OutboundMessage, Routing};

/// Today's routes and orders. It borrows the configuration, or shares it.
pub(crate) struct ConfiguredRouting<C>(pub C);

impl<C: Deref<Target = Resolved> + Sync> Routing for ConfiguredRouting<C> {
    fn route(&self, event: &OutboundMessage) -> Arc<[String]> {
        let source = match event.surface {
            Surface::Event => self.0.source(&event.label),
            // A relay names its destination itself.
            Surface::Relay => None,
        };
        source.map_or_else(
            || Arc::from([]),
            |source| source.route_stored(&stored(event)),
        )
    }

    fn is_deliverable(&self, destination: &str) -> bool {
        self.0.is_deliverable(destination)
    }

    fn has_order(&self, destination: &str) -> bool {
        self.0.destination(destination).order.is_some()
    }

    fn order_key(&self, destination: &str, event: &OutboundMessage) -> Option<OrderKey> {
        let order = self.0.destination(destination).order.as_ref()?;
        let header = |name: &str| {
            let mut values = header_values(&event.headers, name);
            let value = values.next().filter(|_| values.next().is_none())?;
            Some(Cow::Owned(value.to_vec()))
        };
        let source = match event.surface {
            Surface::Event => self.0.source(&event.label),
            Surface::Relay => None,
        };
        let body = match source {
            Some(source) => source.decoded(&stored(event)),
            None => Some(Cow::Borrowed(event.body.as_slice())),
        };
        order.by.key(&KeySource {
            source: (event.surface == Surface::Event).then_some(event.label.as_str()),
            document: body.as_deref().and_then(|body| document(body).ok()),
            header: &header,
        })
    }
}

fn stored(event: &OutboundMessage) -> StoredEvent<'_> {
    StoredEvent {
        event_type: event.event_type.as_deref(),
        headers: &event.headers,
        body: &event.body,
    }
}
