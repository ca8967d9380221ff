//! `relay resume`: continues deliveries to a destination.

use clap::Args;

use crate::cli::config_file::ConfigFile;
use crate::cli::error::CommandError;
use crate::cli::operate::{explained, known_destination, writing};

#[derive(Args)]
pub(super) struct Resume {
    #[command(flatten)]
    file: ConfigFile,
    #[arg(help = "A configured name, or an ad hoc origin such as https://example.com")]
    destination: String,
}

impl Resume {
    pub fn run(&self) -> Result<(), CommandError> {
        let (mut operator, config) = writing(self.file.path())?;
        let destination = known_destination(&operator, &config, &self.destination)?;
        if operator.resume(&destination).map_err(explained)? {
            say!("{destination} is resumed");
        } else {
            say!("{destination} was neither paused nor held");
        }
        Ok(())
    }
}
