//! `relay tail`: follows events and attempts. Reads the database, so that it works beside a running
//! server and without one.

use std::io::{self, Write as _};
use std::time::Duration;

use clap::Args;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::cli::config_file::ConfigFile;
use crate::cli::error::CommandError;
use crate::cli::operate::{Moment, explained, known_destination, moment, plain, reading, state};
use crate::model::DeliveryState;
use crate::ops::views;
use crate::ops::visible::plain_json;
use crate::store::{StoredAttempt, TailCursor, TailEntry, TailEvent, TailPage, TailQuery};

/// The time between two looks at the database.
const LOOK_EVERY: Duration = Duration::from_millis(250);

#[derive(Args)]
pub(super) struct Tail {
    #[command(flatten)]
    file: ConfigFile,
    #[arg(
        long,
        value_name = "NAME",
        help = "Destination, or ad hoc origin such as https://example.com"
    )]
    destination: Option<String>,
    /// Source of the events
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Type of the events; invoice.* stands for all that begin so
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Only attempts that left their delivery in this state
    #[arg(long, value_name = "STATE", value_parser = state)]
    status: Option<DeliveryState>,
    /// Begin with what was accepted since a time (RFC 3339), or an age (2h, 7d)
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Moment>,
    /// Print JSON lines: one object for each event and attempt
    #[arg(long)]
    json: bool,
}

impl Tail {
    pub fn run(&self) -> Result<(), CommandError> {
        let (operator, config) = reading(self.file.path())?;
        let destination = self.destination.as_deref();
        let destination = destination
            .map(|text| known_destination(&operator, &config, text))
            .transpose()?;
        let query = TailQuery {
            destination,
            source: self.source.clone(),
            event_type: self.event_type.clone(),
            status: self.status,
            since: self.since.map(|since| since.when(operator.now())),
        };
        let mut cursor = TailCursor::default();
        loop {
            let page = operator.tail(&query, &mut cursor).map_err(explained)?;
            self.print(&page)?;
            if !page.has_more && is_closed_within(LOOK_EVERY)? {
                return Ok(());
            }
        }
    }

    fn print(&self, page: &TailPage) -> Result<(), CommandError> {
        for entry in &page.entries {
            if self.json {
                let (_, view) = views::tail_entry(entry);
                say!("{}", plain_json(&view.to_string()));
            } else {
                say!("{}", plain(&line(entry)));
            }
        }
        if page.has_gap {
            if self.json {
                say!("{}", views::tail_gap(1).1);
            } else {
                hint!("attempts may be missing here: more were made than can be followed");
            }
        }
        Ok(io::stdout().flush()?)
    }
}

/// Waits; whether the reader of standard output has closed it meanwhile.
fn is_closed_within(time: Duration) -> Result<bool, CommandError> {
    let stdout = io::stdout();
    // An error or a hang-up is reported without being asked for.
    let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
    let limit = Timespec::try_from(time)?;
    match poll(&mut watched, Some(&limit)) {
        Ok(changed) => Ok(changed > 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// An entry in one line.
fn line(entry: &TailEntry) -> String {
    let id = entry.surface.public_id(entry.id);
    let (what, rest) = match &entry.what {
        TailEvent::Accepted {
            bytes,
            destinations,
        } => {
            let to = if destinations.is_empty() {
                "nobody".to_owned()
            } else {
                destinations.join(", ")
            };
            ("accepted", format!("for {to}, {bytes} bytes"))
        }
        TailEvent::Attempt {
            destination, entry, ..
        } => (entry.outcome, attempt(destination, entry)),
    };
    let event_type = entry.event_type.as_deref();
    let event_type = event_type.map_or_else(String::new, |text| format!(" {text}"));
    format!(
        "{}  {what:<11}  {id}  {}{event_type}  {rest}",
        entry.at, entry.label
    )
}

fn attempt(destination: &str, entry: &StoredAttempt) -> String {
    use std::fmt::Write as _;

    let mut text = format!("at {destination}");
    if entry.attempt > 0 {
        let (number, millis) = (entry.attempt, entry.duration_ms);
        write!(text, ", attempt {number}, {millis} ms").expect("a String takes all");
    }
    for more in [&entry.error, &entry.next].into_iter().flatten() {
        text += "; ";
        text += more;
    }
    text
}
