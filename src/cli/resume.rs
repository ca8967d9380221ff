//! `relay resume`: continues deliveries to a destination, or of a restored database.

use clap::Args;

use crate::cli::config_file::ConfigFile;
use crate::cli::error::CommandError;
use crate::cli::operate::{explained, known_destination, plain, writing};
use crate::store::Operator;

#[derive(Args)]
pub(super) struct Resume {
    #[command(flatten)]
    file: ConfigFile,
    #[arg(
        help = "A configured name, or an ad hoc origin such as https://example.com",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    destination: Option<String>,
    /// Send again after relay restore; destinations that are paused stay so
    #[arg(long)]
    all: bool,
}

impl Resume {
    pub fn run(&self) -> Result<(), CommandError> {
        let (mut operator, config) = writing(self.file.path())?;
        let Some(destination) = &self.destination else {
            return lift_hold(&mut operator);
        };
        if let Some(hold) = operator.hold().map_err(explained)? {
            return Err(format!(
                "{}; that lifts the hold of all, and {destination} can't be resumed before; \
                 nothing was done",
                hold.describe()
            )
            .into());
        }
        let destination = known_destination(&operator, &config, destination)?;
        if operator.resume(&destination).map_err(explained)? {
            say!("{destination} is resumed");
        } else {
            say!("{destination} was neither paused nor held");
        }
        Ok(())
    }
}

/// Lifts the hold alone, and lists the destinations to which nothing goes nevertheless.
fn lift_hold(operator: &mut Operator) -> Result<(), CommandError> {
    if operator.lift_hold().map_err(explained)? {
        say!("the hold is lifted: deliveries go on");
    } else {
        say!("nothing was held");
    }
    for row in operator.stats().map_err(explained)? {
        if let Some(reason) = &row.paused {
            say!(
                "{} stays paused: {} (relay resume {0})",
                plain(&row.destination),
                plain(reason)
            );
        }
    }
    Ok(())
}
