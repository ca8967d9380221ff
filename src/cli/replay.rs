//! `relay replay`: sends what has ended once more, or to another destination.

use clap::Args;

use crate::cli::bulk::{self, Context, Selection, usage};
use crate::cli::config_file::ConfigFile;
use crate::cli::error::CommandError;
use crate::ops::operations::{OperationKind, OperationRequest};

#[derive(Args)]
pub(super) struct Replay {
    #[command(flatten)]
    file: ConfigFile,
    /// All dead letters, or those that match the filters
    #[arg(long, conflicts_with_all = ["ids", "status"])]
    dead: bool,
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with = "route",
        help = "Send the events to this destination, unless they have a delivery there",
        long_help = "Send the events to this destination, unless they have a delivery there\n\n\
                     It has to be configured, and need not have been when the events came. Without\n\
                     filters all stored events are sent."
    )]
    to: Option<String>,
    /// Create the deliveries that today's routes want and that are missing
    #[arg(long)]
    route: bool,
    #[command(flatten)]
    selection: Selection,
}

impl Replay {
    pub fn run(&self) -> Result<(), CommandError> {
        let selection = &self.selection;
        let is_of_events = self.to.is_some() || self.route;
        let is_bulk = self.dead || selection.status.is_some() || is_of_events;
        if selection.ids.is_empty() && !is_bulk {
            usage(
                "expected the <ID> of a relay or an event, or one of --dead, \
                 --status <STATE>, --to <NAME>, --route",
            );
        }
        let request = OperationRequest {
            dead: self.dead,
            to: self.to.clone(),
            route: self.route,
            ..selection.request(OperationKind::Replay)
        };
        bulk::check(&request)?;
        let mut context = Context::new(self.file.path())?;
        let new = bulk::build(&context, &request)?;
        bulk::run(&mut context, selection, new)
    }
}
