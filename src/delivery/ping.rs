//! Tests of destinations: one direct attempt, without a row in the store, and without an effect on
//! breakers, pauses and metrics.

use std::sync::Arc;

use crate::clock::{Clock, Timestamp};
use crate::config::Live;
use crate::delivery::attempt::Sent;
use crate::delivery::outcome::Class;
use crate::delivery::target::Target;
use crate::delivery::transport::Transport;
use crate::model::{IntentId, PingError, PingReport, SendPing, Surface};
use crate::store::{DestinationId, OutboundMessage};

/// The type of the event that a receiver sees.
const TYPE: &str = "relay.ping";

/// Tests destinations of the configuration that runs, by this transport.
pub(super) fn pinger(
    transport: Option<Arc<dyn Transport>>,
    config: Live,
    clock: Arc<dyn Clock>,
) -> SendPing {
    Arc::new(move |name| {
        let config = config.current();
        if !config.destinations.contains_key(name) {
            return Err(PingError::NotConfigured);
        }
        let nobody = PingError::ContactsNobody(config.level());
        let transport = transport.as_ref().ok_or(nobody)?;
        // A test belongs to no stored destination: which connections it shares is of no account.
        let target = Target::new(DestinationId::default(), name, &config, true);
        let message = message(name, clock.now());
        let sent = Sent {
            id: format!("ping_{}", message.id),
            number: 1,
            target: &target,
        };
        let start = clock.monotonic();
        let outcome = transport.ping(&message, &sent, clock.wall());
        let outcome = outcome.ok_or(nobody)?;
        Ok(PingReport {
            id: sent.id,
            is_delivered: outcome.class == Class::Delivered && outcome.is_made,
            status_code: outcome.status_code,
            failure: outcome.failure,
            error: outcome.error,
            response: outcome.response,
            address: outcome.trace.address,
            resolve: outcome.trace.resolve,
            connect: outcome.trace.connect,
            first_byte: outcome.trace.first_byte,
            took: clock.monotonic().saturating_sub(start),
        })
    })
}

/// The message of a test, in the form of Standard Webhooks.
fn message(destination: &str, now: Timestamp) -> OutboundMessage {
    let body = serde_json::json!({
        "type": TYPE,
        "timestamp": now,
        "data": { "destination": destination },
    });
    let row = IntentId::first_row_at(now.as_millis());
    OutboundMessage {
        id: IntentId::new(row, rand::random()),
        surface: Surface::Event,
        label: "relay".to_owned(),
        event_type: Some(TYPE.to_owned()),
        url: None,
        query: None,
        created_at: now,
        headers: b"content-type: application/json\r\n".to_vec(),
        body: body.to_string().into_bytes(),
        has_damaged_text: false,
        checksum: None,
        gone: None,
    }
}
