//! Computes the ordering keys of an event: once, before it is recorded.

use std::borrow::Cow;

use crate::config::SourcePolicy;
use crate::http::routes::webhooks::event_view::EventView;
use crate::model::{KeySource, OrderKey};

/// The ordering keys of an event of this source, each with the index of its destination. A
/// destination without an order has none, and neither has one for which the event has no value.
pub(super) fn order_keys(
    source: &SourcePolicy,
    name: &str,
    destinations: &[String],
    event: &EventView<'_>,
) -> Vec<(usize, OrderKey)> {
    let headers = event.request.headers;
    let header = |name: &str| {
        let mut values = headers.get_all(name).iter();
        let value = values.next().filter(|_| values.next().is_none())?;
        Some(Cow::Borrowed(value.as_bytes()))
    };
    let values = KeySource {
        source: Some(name),
        document: event.document,
        header: &header,
    };
    let keys = destinations.iter().enumerate().filter_map(|(at, to)| {
        let key = source.orders.get(to)?.key(&values)?;
        Some((at, key))
    });
    keys.collect()
}
