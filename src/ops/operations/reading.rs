//! Reads the members of a request.

use serde::de::{Deserialize, Deserializer, Error as _};

use crate::model::{DeliveryState, IntentId};
use crate::ops::moment::Moment;
use crate::ops::operations::kind::OperationKind;

/// Ids of a request: those that an operator has picked from some pages of a list.
const MAX_IDS: usize = 1_000;

/// Reads a text that may be null.
fn text_of<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, D::Error> {
    let text: Option<String> = Option::deserialize(deserializer)?;
    let parsed = text.as_deref().map(parse).transpose();
    parsed.map_err(D::Error::custom)
}

pub(super) fn kind<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<OperationKind>, D::Error> {
    text_of(deserializer, OperationKind::parse)
}

pub(super) fn ids<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IntentId>, D::Error> {
    let texts: Vec<String> = Vec::deserialize(deserializer)?;
    if texts.is_empty() || texts.len() > MAX_IDS {
        return Err(D::Error::custom(format!("expected 1 to {MAX_IDS} ids")));
    }
    let parsed = texts.iter().map(|text| {
        let id: Result<IntentId, _> = text.parse();
        id.map_err(|error| D::Error::custom(format!("{text:?}: {error}")))
    });
    let mut ids = parsed.collect::<Result<Vec<_>, _>>()?;
    ids.sort_unstable_by_key(|id| (id.row(), id.random()));
    ids.dedup();
    Ok(ids)
}

pub(super) fn state<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<DeliveryState>, D::Error> {
    text_of(deserializer, |text| DeliveryState::parse(text, &[]))
}

pub(super) fn moment<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Moment>, D::Error> {
    text_of(deserializer, Moment::parse)
}
