//! `relay replay`: sends what has ended once more, or to another destination.

use clap::Args;

use crate::cli::bulk::{self, Context, Selection, usage};
use crate::cli::config_file::ConfigFile;
use crate::cli::error::CommandError;
use crate::cli::operate::configured_destination;
use crate::model::DeliveryState;
use crate::store::{NewBulk, StateSet};

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
        let is_of_events = self.to.is_some() || self.route;
        self.check(is_of_events);
        let states = self.states(is_of_events);
        let selection = &self.selection;
        let is_bulk = selection.ids.is_empty();
        if is_bulk
            && states.holds(DeliveryState::Delivered)
            && selection.status.is_some()
            && !selection.has_filter()
            && !selection.all
        {
            return Err(
                "replay --status delivered sends all stored events once more: expected a filter \
                 (--source, --destination, --type, --since), or --all"
                    .into(),
            );
        }
        let mut context = Context::new(self.file.path())?;
        let filter = selection.filter(&context, states)?;
        let new = if let Some(to) = &self.to {
            let to = configured_destination(&context.config, to)?;
            NewBulk::send_to(to, filter)
        } else if self.route {
            NewBulk::route(filter)
        } else {
            NewBulk::replay(filter)
        };
        bulk::run(&mut context, selection, new)
    }

    fn check(&self, is_of_events: bool) {
        let selection = &self.selection;
        selection.refuse_filters_beside_ids();
        let is_bulk = self.dead || selection.status.is_some() || is_of_events;
        if selection.ids.is_empty() && !is_bulk {
            usage(
                "expected the <ID> of a relay or an event, or one of --dead, \
                 --status <STATE>, --to <NAME>, --route",
            );
        }
    }

    fn states(&self, is_of_events: bool) -> StateSet {
        if self.dead {
            return StateSet::DEAD_LETTERED;
        }
        if is_of_events {
            return self.selection.states(StateSet::ANY, StateSet::ANY, "");
        }
        self.selection.states(
            StateSet::DEAD_LETTERED,
            StateSet::FINISHED,
            "what waits is made due by relay retry",
        )
    }
}
