//! The common part of the commands that work on the database.

use std::path::Path;
use std::time::Duration;

use crate::cli::error::CommandError;
use crate::clock::Timestamp;
use crate::config::{Config, Resolved};
use crate::model::{IntentId, Surface, TargetUrl};
use crate::store::{Operator, StoreError};

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

/// A moment on the command line: a time (RFC 3339), or an age (`2h`).
#[derive(Clone, Copy, Debug)]
pub(super) enum Moment {
    At(Timestamp),
    Ago(Duration),
}

impl Moment {
    /// The time that is meant, by the clock of the database.
    pub fn when(self, operator: &Operator) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(ago) => operator.now().minus(ago),
        }
    }
}

pub(super) fn moment(text: &str) -> Result<Moment, String> {
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Ok(Moment::At(Timestamp::from_millis(at.as_millisecond())));
    }
    crate::config::parse_duration(text)
        .map(Moment::Ago)
        .map_err(|_| {
            "expected a time such as 2026-01-31T12:00:00Z, or how long ago, such as 2h or 7d"
                .to_owned()
        })
}

/// The id as its API shows it.
pub(super) fn public_id(id: IntentId, surface: Surface) -> String {
    surface.public_id(id)
}

/// Replaces control characters: a text from outside must not control the terminal.
pub(super) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
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
