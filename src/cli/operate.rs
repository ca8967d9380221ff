//! The common part of the commands that work on the database.

use crate::cli::error::CommandError;
use crate::clock::Timestamp;
use crate::config::{Config, Resolved};
use crate::model::DeliveryState;
pub(super) use crate::ops::moment::Moment;
use crate::ops::operations::known;
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

/// The bounds of a period. An error if it ends before it begins: nothing would be found, without a
/// word.
pub(super) fn period(
    since: Option<Moment>,
    until: Option<Moment>,
    now: Timestamp,
) -> Result<(Option<Timestamp>, Option<Timestamp>), CommandError> {
    let [since, until] = [since, until].map(|bound| bound.map(|moment| moment.when(now)));
    if let (Some(since), Some(until)) = (since, until)
        && until < since
    {
        let problem = format!("{until} is before --since, {since}: nothing is between them");
        return Err(format!("--until: {problem}").into());
    }
    Ok((since, until))
}

pub(super) fn state(text: &str) -> Result<DeliveryState, String> {
    DeliveryState::parse(text, &[])
}

/// The name under which a destination is stored: any that the database holds, a configured one, or
/// the origin of a URL.
pub(super) fn known_destination(
    operator: &Operator,
    config: &Resolved,
    text: &str,
) -> Result<String, CommandError> {
    let is_stored = operator.is_destination(text).map_err(explained)?;
    known(config, "destination", text, is_stored).map_err(|invalid| invalid.problem.into())
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
