use std::path::Path;

use super::error::CommandError;
use super::operate::{explained, known_destination, writing};

pub(super) fn pause(
    file: Option<&Path>,
    destination: &str,
    reason: &str,
) -> Result<(), CommandError> {
    let (mut operator, config) = writing(file)?;
    let destination = &known_destination(&operator, &config, destination)?;
    let is_new = operator.pause(destination, reason).map_err(explained)?;
    say!(
        "{destination} is paused{}: events for it are accepted and held",
        if is_new { "" } else { " already" }
    );
    Ok(())
}

pub(super) fn resume(file: Option<&Path>, destination: &str) -> Result<(), CommandError> {
    let (mut operator, config) = writing(file)?;
    let destination = known_destination(&operator, &config, destination)?;
    if operator.resume(&destination).map_err(explained)? {
        say!("{destination} is resumed");
    } else {
        say!("{destination} was neither paused nor held");
    }
    Ok(())
}
