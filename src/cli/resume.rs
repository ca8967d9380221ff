//! `relay resume`: continues deliveries to a destination, or of a restored database.

use clap::Args;
use serde_json::json;

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
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl Resume {
    pub fn run(&self) -> Result<(), CommandError> {
        let (mut operator, config) = writing(self.file.path())?;
        let Some(destination) = &self.destination else {
            return lift_hold(&mut operator, self.json);
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
        let is_changed = operator.resume(&destination).map_err(explained)?;
        if self.json {
            say!(
                "{}",
                json!({ "ok": true, "destination": destination, "is_changed": is_changed })
            );
        } else if is_changed {
            say!("{destination} is resumed");
        } else {
            say!("{destination} was neither paused nor held");
        }
        Ok(())
    }
}

/// Lifts the hold alone, and lists the destinations to which nothing goes nevertheless.
fn lift_hold(operator: &mut Operator, is_json: bool) -> Result<(), CommandError> {
    let stats = operator.stats().map_err(explained)?;
    let is_changed = operator.lift_hold().map_err(explained)?;
    let paused = stats
        .iter()
        .filter_map(|row| Some((&row.destination, row.paused.as_ref()?)));
    if is_json {
        let paused = paused.map(|(name, reason)| json!({ "destination": name, "reason": reason }));
        let paused: Vec<_> = paused.collect();
        say!(
            "{}",
            json!({ "ok": true, "is_changed": is_changed, "paused": paused })
        );
        return Ok(());
    }
    if is_changed {
        say!("the hold is lifted: deliveries go on");
    } else {
        say!("nothing was held");
    }
    for (name, reason) in paused {
        say!(
            "{} stays paused: {} (relay resume {0})",
            plain(name),
            plain(reason)
        );
    }
    Ok(())
}
