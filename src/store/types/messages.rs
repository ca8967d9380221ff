//! The message of a delivery.

use super::ids::IntentRow;
use super::payload::{Checksum, GoneReason, PayloadDigest, PayloadProblem};
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
    /// Whether a disk has damaged a text: it is no UTF-8 any more. The checksum is not of texts.
    pub has_damaged_text: bool,
    /// None if it was written by a version that made none.
    pub checksum: Option<Checksum>,
    /// Why the body is gone, if it is.
    pub gone: Option<GoneReason>,
}

impl OutboundMessage {
    /// The id as its own API shows it.
    pub fn public_id(&self) -> String {
        self.surface.public_id(self.id)
    }

    /// Why it must not be sent, if so. Hashes the headers and the body.
    pub fn problem(&self) -> Option<PayloadProblem> {
        if let Some(reason) = self.gone {
            return Some(PayloadProblem::Gone(reason));
        }
        let is_damaged = self.checksum.is_some_and(|checksum| {
            let digest = PayloadDigest::of(&self.headers, &self.body);
            digest.in_row(IntentRow(self.id.row())) != checksum
        });
        (is_damaged || self.has_damaged_text).then_some(PayloadProblem::Damaged)
    }
}
