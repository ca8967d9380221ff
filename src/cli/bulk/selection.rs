//! The options that select relays, events and their deliveries.

use clap::Args;
use clap::error::ErrorKind;

use crate::cli::bulk::context::Context;
use crate::cli::error::CommandError;
use crate::cli::operate::{Moment, known_destination, moment, state};
use crate::clock::Timestamp;
use crate::model::{DeliveryState, IntentId};
use crate::store::{BulkFilter, StateSet};

/// The relays and events that a command works on, and how it does.
#[derive(Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag on the command line"
)]
pub(in crate::cli) struct Selection {
    /// Ids of relays or events, as the API shows them
    #[arg(value_name = "ID")]
    pub ids: Vec<IntentId>,
    /// Filter: state of the delivery
    #[arg(long, value_name = "STATE", value_parser = state)]
    pub status: Option<DeliveryState>,
    #[arg(
        long,
        value_name = "NAME",
        help = "Filter: destination, or ad hoc origin such as https://example.com"
    )]
    pub destination: Option<String>,
    /// Filter: source of the events
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// Filter: type of the events; invoice.* stands for all that begin so
    #[arg(long = "type", value_name = "TYPE")]
    pub event_type: Option<String>,
    /// Filter: text that the last error contains
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    #[arg(
        long,
        value_name = "TIME",
        value_parser = moment,
        help = "Filter: since a time (RFC 3339), or an age (2h, 7d)",
        long_help = "Filter: since a time (RFC 3339), or an age (2h, 7d)\n\n\
                     Of dead letters the time when they were given up counts, of others the time\n\
                     when the event was accepted. --dry-run says which."
    )]
    pub since: Option<Moment>,
    /// Filter: until a time, or an age
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub until: Option<Moment>,
    /// No filter: all of them
    #[arg(long, conflicts_with = "ids")]
    pub all: bool,
    /// Print how many there are and the first ten, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Start the job and exit; the server does it
    #[arg(long, conflicts_with = "ids")]
    pub detach: bool,
    /// Print one JSON document; with --detach, JSON lines, one for each job
    #[arg(long)]
    pub json: bool,
}

/// Ends the process with an error of usage.
pub(in crate::cli) fn usage(text: &str) -> ! {
    clap::Error::raw(ErrorKind::MissingRequiredArgument, format!("{text}\n")).exit()
}

impl Selection {
    /// Whether it narrows the choice. The end of a time alone doesn't: it is the whole past.
    pub fn has_filter(&self) -> bool {
        self.destination.is_some()
            || self.source.is_some()
            || self.event_type.is_some()
            || self.since.is_some()
    }

    /// Refuses filters beside ids, which say already what is meant. Of several destinations one
    /// may be named.
    pub fn refuse_filters_beside_ids(&self) {
        let filters = [
            ("--source", self.source.is_some()),
            ("--type", self.event_type.is_some()),
            ("--reason", self.reason.is_some()),
            ("--since", self.since.is_some()),
            ("--until", self.until.is_some()),
        ];
        let given = filters.iter().find(|(_, is_given)| *is_given);
        if let (false, Some((name, _))) = (self.ids.is_empty(), given) {
            usage(&format!(
                "{name} selects among many, and an <ID> names one: expected either"
            ));
        }
    }

    /// Refuses a state that is not among these.
    pub fn states(&self, unset: StateSet, expected: StateSet, why: &str) -> StateSet {
        let Some(state) = self.status else {
            return unset;
        };
        if !expected.holds(state) {
            let names = DeliveryState::ALL.into_iter();
            let names = names.filter(|state| expected.holds(*state));
            let names: Vec<_> = names.map(DeliveryState::name).collect();
            usage(&format!(
                "--status {state}: expected one of {}: {why}",
                names.join(", ")
            ));
        }
        StateSet::of(state)
    }

    /// The filter that is meant, of deliveries in these states.
    pub fn filter(&self, context: &Context, states: StateSet) -> Result<BulkFilter, CommandError> {
        let Context { operator, config } = context;
        let destination = self
            .destination
            .as_deref()
            .map(|text| known_destination(operator, config, text))
            .transpose()?;
        let time = |moment: Option<Moment>, unset| {
            moment.map_or(Timestamp::from_millis(unset), |moment| {
                moment.when(operator.now())
            })
        };
        let filter = BulkFilter {
            destination,
            source: self.source.clone(),
            event_type: self.event_type.clone(),
            reason: self.reason.clone(),
            since: time(self.since, 0),
            until: time(self.until, i64::MAX),
            ..BulkFilter::of(states)
        };
        Ok(filter.before(operator.now()))
    }
}
