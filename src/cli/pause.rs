use std::path::Path;

use super::Failure;
use super::operate::{explained, now, writing};
use crate::config::Config;
use crate::store::{Pause, Resume};

/// A name that nobody knows is a typing error.
fn check(config: &Config, destination: &str) -> Result<(), Failure> {
    if config.destination(destination).is_some() || destination.contains("://") {
        return Ok(());
    }
    let known: Vec<_> = config.destinations.keys().map(String::as_str).collect();
    Err(format!(
        "{destination:?}: there is no such destination; expected one of {}, or an ad hoc origin such as https://example.com",
        known.join(", ")
    )
    .into())
}

pub(super) fn pause(file: Option<&Path>, destination: &str, reason: &str) -> Result<(), Failure> {
    let (mut operator, config) = writing(file)?;
    check(&config, destination)?;
    let op = Pause {
        destination: destination.to_owned(),
        reason: reason.to_owned(),
    };
    let is_new = operator.write(&op, now()).map_err(explained)?;
    say!(
        "{destination} is paused{}: events for it are accepted and held",
        if is_new { "" } else { " already" }
    );
    Ok(())
}

pub(super) fn resume(file: Option<&Path>, destination: &str) -> Result<(), Failure> {
    let (mut operator, config) = writing(file)?;
    // One that was removed from the configuration may still be paused.
    let was_kept = operator
        .write(&Resume(destination.to_owned()), now())
        .map_err(explained)?;
    if was_kept {
        say!("{destination} is resumed");
        return Ok(());
    }
    check(&config, destination)?;
    say!("{destination} was neither paused nor held");
    Ok(())
}
