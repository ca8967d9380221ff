//! How relays are shown.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::clock::Timestamp;
use crate::http::api_error::ApiError;
use crate::model::{DeliveryState, IntentId};
use crate::store::{RelayRow, StoreError};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct List<'a> {
    pub items: Vec<Relay<'a>>,
    pub next_page_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Relay<'a> {
    #[serde(serialize_with = "as_text")]
    pub id: IntentId,
    pub event_type: &'a str,
    pub destination: Webhook<'a>,
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
pub(super) struct Webhook<'a> {
    r#type: &'static str,
    url: &'a str,
}

impl<'a> Webhook<'a> {
    pub fn to(url: &'a str) -> Self {
        Self {
            r#type: "webhook",
            url,
        }
    }
}

fn as_text<S: serde::Serializer>(id: &IntentId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

impl<'a> Relay<'a> {
    pub fn of(row: &'a RelayRow, request_id: &str) -> Result<Self, ApiError> {
        let damaged = |what: &str| {
            let error = StoreError::Unexpected(format!("{what} of relay {} isn't JSON", row.id));
            ApiError::from_store(&error, request_id)
        };
        Ok(Self {
            id: row.id,
            event_type: &row.event_type,
            destination: Webhook::to(&row.url),
            payload: serde_json::from_slice(&row.payload).map_err(|_| damaged("the payload"))?,
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
