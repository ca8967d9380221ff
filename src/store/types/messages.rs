//! The message of a delivery.

use crate::clock::Timestamp;
use crate::model::{IntentId, Surface};

/// The content that a delivery sends: loaded apart from the delivery's state, and never changed.
#[allow(
    dead_code,
    reason = "a build that doesn't deliver over HTTP sends none of an event's type and query"
)]
pub(crate) struct OutboundMessage {
    pub id: IntentId,
    pub surface: Surface,
    /// A relay's event type.
    pub label: String,
    /// An event's type, if it has one.
    pub event_type: Option<String>,
    /// A relay's URL.
    pub url: Option<String>,
    /// An event's query string, to be appended to the destination's URL.
    pub query: Option<String>,
    pub created_at: Timestamp,
    /// `name: value\r\n` each.
    pub headers: Vec<u8>,
    pub body: Vec<u8>,
}

impl OutboundMessage {
    /// The id as its own API shows it.
    pub fn public_id(&self) -> String {
        self.surface.public_id(self.id)
    }
}
