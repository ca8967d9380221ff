//! Payloads: their checksums, and why one is not there any more.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::ids::IntentRow;
use crate::clock::Timestamp;

/// The part of a payload's checksum that needs no row: computed away from the writer, since a large
/// body takes long.
#[derive(Clone)]
pub(crate) struct PayloadDigest(Sha256);

impl PayloadDigest {
    /// Over the headers, preceded by their length, and the body.
    pub fn of(headers: &[u8], body: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update((headers.len() as u64).to_be_bytes());
        hash.update(headers);
        hash.update(body);
        Self(hash)
    }

    /// The checksum of the payload in this row: the first 8 bytes of SHA-256. The row is part of
    /// it, so that pages which a disk has swapped show.
    pub fn in_row(self, IntentRow(row): IntentRow) -> Checksum {
        let whole = <[u8; 32]>::from(self.0.chain_update(row.to_be_bytes()).finalize());
        Checksum(i64::from_be_bytes(
            *whole.first_chunk().expect("32 bytes hold 8"),
        ))
    }
}

/// The checksum of a payload in its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checksum(pub(in crate::store) i64);

/// Why a payload was deleted while its event is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(i64)]
pub(crate) enum GoneReason {
    /// An operator erased it.
    Erased = 1,
    /// It was finished, and made room under `database.max_bytes`.
    Shed = 2,
}

impl GoneReason {
    pub const ALL: [Self; 2] = [Self::Erased, Self::Shed];

    /// The name in views and in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Erased => "erased",
            Self::Shed => "shed",
        }
    }
}

/// A payload that was deleted while its event is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GonePayload {
    pub reason: GoneReason,
    pub at: Timestamp,
}

/// Why a payload must not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PayloadProblem {
    /// Its bytes are not those that were accepted.
    Damaged,
    Gone(GoneReason),
}
