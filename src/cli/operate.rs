//! The common part of the commands that work on the database.

use crate::cli::error::CommandError;
use crate::config::{Config, Resolved};
use crate::model::{DeliveryState, TargetUrl};
pub(super) use crate::ops::moment::Moment;
pub(super) use crate::ops::visible::plain;
use crate::store::{Operator, StoreError};
use std::path::Path;

/// Opens the database that the configuration names, to read it.
pub(super) fn reading(file: Option<&Path>) -> Result<(Operator, Resolved), CommandError> {
    let config = Config::load_for_commands(file)?.resolve();
    Ok((Operator::reading(&config.database)?, config))
}

/// Opens the database that the configuration names, to change it.
pub(super) fn writing(file: Option<&Path>) -> Result<(Operator, Resolved), CommandError> {
    let config = Config::load_for_commands(file)?.resolve();
    Ok((Operator::writing(&config.database)?, config))
}

pub(super) fn moment(text: &str) -> Result<Moment, String> {
    Moment::parse(text)
}

pub(super) fn state(text: &str) -> Result<DeliveryState, String> {
    let names = DeliveryState::ALL.map(DeliveryState::name).join(", ");
    DeliveryState::ALL
        .into_iter()
        .find(|state| state.name() == text)
        .ok_or_else(|| format!("expected one of {names}"))
}

/// The name under which a destination is stored: a configured one, or the origin of a URL.
fn destination(config: &Resolved, text: &str) -> Result<String, CommandError> {
    if text.contains("://") {
        let url: TargetUrl = text.parse().map_err(|error| format!("{text:?} {error}"))?;
        return Ok(url.origin().to_owned());
    }
    if config.destinations.contains_key(text) {
        return Ok(text.to_owned());
    }
    let known: Vec<_> = config.destinations.keys().map(String::as_str).collect();
    Err(format!(
        "{text:?}: there is no such destination; expected one of {}, or an ad hoc origin such as \
         https://example.com",
        known.join(", ")
    )
    .into())
}

/// The name of a destination that has a section in the configuration.
pub(super) fn configured_destination(
    config: &Resolved,
    name: &str,
) -> Result<String, CommandError> {
    if config.destinations.contains_key(name) {
        return Ok(name.to_owned());
    }
    let known: Vec<_> = config.destinations.keys().map(String::as_str).collect();
    Err(format!(
        "{name:?}: expected the name of a configured destination, one of {}; a URL is none",
        known.join(", ")
    )
    .into())
}

/// As [`destination`], and any name that the database holds, configured or not.
pub(super) fn known_destination(
    operator: &Operator,
    config: &Resolved,
    text: &str,
) -> Result<String, CommandError> {
    if operator.is_destination(text).map_err(explained)? {
        Ok(text.to_owned())
    } else {
        destination(config, text)
    }
}

/// The store's error, for a person.
pub(super) fn explained(error: StoreError) -> CommandError {
    match error {
        StoreError::Busy => "the database is busy: another command or the server kept it for \
                             five seconds; try again"
            .into(),
        other => other.into(),
    }
}
