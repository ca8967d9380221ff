//! `relay pause`: stops deliveries to a destination.

use clap::Args;
use serde_json::json;

use crate::cli::config_file::ConfigFile;
use crate::cli::error::CommandError;
use crate::cli::operate::{explained, known_destination, writing};
use crate::store::Pause as Kept;

#[derive(Args)]
pub(super) struct Pause {
    #[command(flatten)]
    file: ConfigFile,
    #[arg(help = "A configured name, or an ad hoc origin such as https://example.com")]
    destination: String,
    /// The reason, shown with each delivery that waits
    #[arg(long, default_value = "by an operator", value_parser = reason)]
    reason: String,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

fn reason(text: &str) -> Result<String, String> {
    Kept::problem_of(text).map_or_else(|| Ok(text.to_owned()), Err)
}

impl Pause {
    pub fn run(&self) -> Result<(), CommandError> {
        let (mut operator, config) = writing(self.file.path())?;
        let destination = &known_destination(&operator, &config, &self.destination)?;
        let is_new = operator
            .pause(destination, &self.reason)
            .map_err(explained)?;
        if self.json {
            say!(
                "{}",
                json!({ "ok": true, "destination": destination, "is_changed": is_new })
            );
            return Ok(());
        }
        say!(
            "{destination} is paused{}: events for it are accepted and held",
            if is_new { "" } else { " already" }
        );
        Ok(())
    }
}
