use std::path::Path;

use super::error::CommandError;
use super::operate::{explained, known_destination, writing};
use crate::store::{Pause, Resume};

pub(super) fn pause(
    file: Option<&Path>,
    destination: &str,
    reason: &str,
) -> Result<(), CommandError> {
    let (mut operator, config) = writing(file)?;
    let destination = &known_destination(&operator, &config, destination)?;
    let op = Pause {
        destination: destination.clone(),
        reason: reason.to_owned(),
    };
    let is_new = operator.write(&op).map_err(explained)?;
    say!(
        "{destination} is paused{}: events for it are accepted and held",
        if is_new { "" } else { " already" }
    );
    Ok(())
}

pub(super) fn resume(file: Option<&Path>, destination: &str) -> Result<(), CommandError> {
    let (mut operator, config) = writing(file)?;
    let destination = known_destination(&operator, &config, destination)?;
    let op = Resume(destination.clone());
    if operator.write(&op).map_err(explained)? {
        say!("{destination} is resumed");
    } else {
        say!("{destination} was neither paused nor held");
    }
    Ok(())
}
