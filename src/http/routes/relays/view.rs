//! A relay as the API shows it.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::clock::Timestamp;
use crate::http::api_error::ApiError;
use crate::model::{DeliveryState, IntentId};
use crate::store::{StoreError, StoredRelay};

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

/// The payload. A discarded relay has none any more, and the contract wants an object.
fn payload(stored: &[u8]) -> &[u8] {
    if stored.is_empty() { b"{}" } else { stored }
}

fn as_text<S: serde::Serializer>(id: &IntentId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

impl<'a> RelayView<'a> {
    pub fn new(row: &'a StoredRelay, request_id: &str) -> Result<Self, ApiError> {
        let damaged = |what: &str| {
            let error = StoreError::Unexpected(format!("{what} of relay {} isn't JSON", row.id));
            ApiError::from_store(&error, request_id)
        };
        Ok(Self {
            id: row.id,
            event_type: &row.event_type,
            destination: WebhookDestination::to(&row.url),
            payload: serde_json::from_slice(payload(&row.payload))
                .map_err(|_| damaged("the payload"))?,
            metadata: row
                .metadata
                .as_deref()
                .map(serde_json::from_str)
                .transpose()
                .map_err(|_| damaged("the metadata"))?,
            status: row.state.relay_name(),
            created_at: row.created_at,
            delivered_at: (row.state == DeliveryState::Delivered).then_some(row.updated_at),
            failure_reason: row
                .last_error
                .as_deref()
                .filter(|_| row.state == DeliveryState::DeadLettered),
        })
    }
}
