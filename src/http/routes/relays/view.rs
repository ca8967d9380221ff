//! A relay as the API shows it.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::clock::Timestamp;
use crate::model::{DeliveryState, IntentId};
use crate::store::StoredRelay;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RelayList<'a> {
    pub items: Vec<RelayView<'a>>,
    pub next_page_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RelayView<'a> {
    #[serde(serialize_with = "as_text")]
    pub id: IntentId,
    pub event_type: &'a str,
    pub destination: WebhookDestination<'a>,
    pub payload: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<&'a RawValue>,
    pub status: &'static str,
    pub created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivered_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<&'a str>,
}

#[derive(Serialize)]
pub(super) struct WebhookDestination<'a> {
    r#type: &'static str,
    url: &'a str,
}

impl<'a> WebhookDestination<'a> {
    pub fn to(url: &'a str) -> Self {
        Self {
            r#type: "webhook",
            url,
        }
    }
}

/// The payload. The contract wants an object: an empty one stands for a payload that was deleted,
/// or that is none any more since a disk has damaged its bytes. The rest of the relay is as true as
/// before, and so are the others of its page.
fn payload(stored: &[u8]) -> &RawValue {
    let object = |bytes| {
        let json = serde_json::from_slice::<&RawValue>(bytes).ok();
        json.filter(|json| json.get().starts_with('{'))
    };
    let payload = object(stored).or_else(|| object(b"{}"));
    payload.expect("an empty object is one")
}

fn as_text<S: serde::Serializer>(id: &IntentId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

impl<'a> RelayView<'a> {
    pub fn new(row: &'a StoredRelay) -> Self {
        let metadata = row.metadata.as_deref();
        Self {
            id: row.id,
            event_type: &row.event_type,
            destination: WebhookDestination::to(&row.url),
            payload: payload(&row.payload),
            metadata: metadata.and_then(|metadata| serde_json::from_str(metadata).ok()),
            status: row.state.relay_name(),
            created_at: row.created_at,
            delivered_at: (row.state == DeliveryState::Delivered).then_some(row.updated_at),
            failure_reason: row
                .last_error
                .as_deref()
                .filter(|_| row.state == DeliveryState::DeadLettered),
        }
    }
}
