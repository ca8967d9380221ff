//! The options that select relays, events and their deliveries.

use clap::Args;
use clap::error::ErrorKind;

use crate::cli::bulk::context::Context;
use crate::cli::error::CommandError;
use crate::cli::operate::{Moment, explained, moment, period, state};
use crate::model::{DeliveryState, IntentId};
use crate::ops::operations::{Invalid, OperationKind, OperationRequest, Scope, Spelling};
use crate::store::NewBulk;

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
    /// The request for an operation of this kind. The members that only some kinds have are the
    /// caller's to add.
    pub fn request(&self, kind: OperationKind) -> OperationRequest {
        OperationRequest {
            kind: Some(kind),
            ids: self.ids.clone(),
            status: self.status,
            destination: self.destination.clone(),
            source: self.source.clone(),
            event_type: self.event_type.clone(),
            reason: self.reason.clone(),
            since: self.since,
            until: self.until,
            all: self.all,
            dry_run: self.dry_run,
            ..OperationRequest::default()
        }
    }
}

/// Refuses a request that is wrong by itself, before anything is opened.
pub(in crate::cli) fn check(request: &OperationRequest) -> Result<(), CommandError> {
    let checked = request.check(Spelling::Flags);
    checked.map(drop).map_err(refused)
}

/// The operation that a request asks for, checked against the configuration and the database.
pub(in crate::cli) fn build(
    context: &Context,
    request: &OperationRequest,
) -> Result<NewBulk, CommandError> {
    let Context { operator, config } = context;
    period(request.since, request.until, operator.now())?;
    let is_stored = match request.named() {
        Some(name) => operator.is_destination(name).map_err(explained)?,
        None => false,
    };
    let scope = Scope {
        config,
        now: operator.now(),
        is_stored,
        spelling: Spelling::Flags,
    };
    request.build(&scope).map_err(refused)
}

/// An error of usage ends the process.
fn refused(invalid: Invalid) -> CommandError {
    if invalid.is_usage {
        usage(&invalid.problem);
    }
    let flag = Spelling::Flags.of(invalid.member);
    if invalid.problem.contains(&*flag) {
        return invalid.problem.into();
    }
    format!("{flag}: {}", invalid.problem).into()
}
