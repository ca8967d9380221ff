//! `relay pause`: stops deliveries to a destination.

use clap::Args;

use crate::cli::config_file::ConfigFile;
use crate::cli::error::CommandError;
use crate::cli::operate::{explained, known_destination, writing};

#[derive(Args)]
pub(super) struct Pause {
    #[command(flatten)]
    file: ConfigFile,
    #[arg(help = "A configured name, or an ad hoc origin such as https://example.com")]
    destination: String,
    /// The reason, shown with each delivery that waits
    #[arg(long, default_value = "by an operator")]
    reason: String,
}

impl Pause {
    pub fn run(&self) -> Result<(), CommandError> {
        let (mut operator, config) = writing(self.file.path())?;
        let destination = &known_destination(&operator, &config, &self.destination)?;
        let is_new = operator
            .pause(destination, &self.reason)
            .map_err(explained)?;
        say!(
            "{destination} is paused{}: events for it are accepted and held",
            if is_new { "" } else { " already" }
        );
        Ok(())
    }
}
