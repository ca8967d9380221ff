//! `relay match`: says which destinations an event would have, and why.

use std::path::PathBuf;

use clap::Args;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use crate::cli::config_file::ConfigFile;
use crate::cli::error::CommandError;
use crate::cli::operate::{explained, plain};
use crate::cli::table::{self, Column};
use crate::cli::{header, payload_file};
use crate::config::{Config, Resolved, StoredEvent};
use crate::model::route::{FailedLine, RouteVerdict, Verdict};
use crate::model::{IntentId, Surface, is_name};
use crate::ops::status_text::{DISCARDED, payload_gone};
use crate::store::Operator;

#[derive(Args)]
pub(super) struct Match {
    #[command(flatten)]
    file: ConfigFile,
    /// The source, as in /webhooks/SOURCE
    source: String,
    /// The file that holds a body (- is standard input), or the id of a stored event, evt_…
    #[arg(value_name = "FILE|ID")]
    event: PathBuf,
    /// A header such as 'X-Event: push'; may be given several times
    #[arg(long = "header", value_name = "HEADER", value_parser = header::parse)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// An event to be routed.
struct Sample {
    /// None for an event that isn't stored.
    id: Option<String>,
    event_type: Option<String>,
    headers: Vec<u8>,
    body: Vec<u8>,
}

/// The result for a sample.
struct Outcome<'a> {
    source: &'a str,
    id: Option<String>,
    event_type: Option<String>,
    verdicts: Vec<Verdict>,
}

impl Match {
    pub fn run(&self) -> Result<(), CommandError> {
        let name = self.source.as_str();
        let config = Config::load_for_routes(self.file.path(), name)?.resolve();
        let source = config.source(name).filter(|_| is_name(name));
        let source =
            source.ok_or_else(|| format!("there is no source {name:?}, and no [sources.\"*\"]"))?;
        let sample = self.sample(&config)?;
        let event = StoredEvent {
            event_type: sample.event_type.as_deref(),
            headers: &sample.headers,
            body: &sample.body,
        };
        // A stored event was taken, and stays.
        if sample.id.is_none()
            && let Some(problem) = source.problem_of_body(&event)
        {
            return Err(format!("the relay would refuse it: {problem}").into());
        }
        let (verdicts, event_type) = source.explain_stored(&event);
        let outcome = Outcome {
            source: name,
            id: sample.id,
            event_type,
            verdicts,
        };
        if self.json {
            say!("{}", outcome.as_json());
            return Ok(());
        }
        outcome.print_text()
    }

    fn sample(&self, config: &Resolved) -> Result<Sample, CommandError> {
        if let Some(text) = self.event.to_str().filter(|text| text.starts_with("evt_")) {
            match text.parse::<IntentId>() {
                Ok(id) => return self.stored(config, id),
                Err(error) if !self.event.exists() => {
                    return Err(format!("{text}: {error}; and there is no such file").into());
                }
                Err(_) => {}
            }
        }
        let headers: HeaderMap = self.headers.iter().cloned().collect();
        Ok(Sample {
            id: None,
            event_type: None,
            headers: header::block(&headers),
            body: payload_file::read(&self.event)?,
        })
    }

    /// A stored event, with the headers that it came with.
    fn stored(&self, config: &Resolved, id: IntentId) -> Result<Sample, CommandError> {
        if !self.headers.is_empty() {
            return Err("--header: expected only with a FILE: a stored event has its own".into());
        }
        let operator = Operator::reading(&config.database)?;
        let event = operator.intent(id).map_err(explained)?;
        let event = event
            .filter(|event| event.surface == Surface::Event)
            .ok_or_else(|| format!("there is no event evt_{id}"))?;
        if event.is_payload_gone() {
            let why = event
                .gone
                .map_or_else(|| DISCARDED.to_owned(), payload_gone);
            return Err(format!("evt_{id}: {why} There is nothing to match").into());
        }
        if event.label != self.source {
            let of = plain(&event.label);
            hint!("evt_{id} came to the source {of}; matched as if it came to this one");
        }
        Ok(Sample {
            id: Some(event.surface.public_id(event.id)),
            event_type: event.event_type,
            headers: event.headers,
            body: event.payload,
        })
    }
}

impl Outcome<'_> {
    fn is_unrouted(&self) -> bool {
        !self.verdicts.iter().any(Verdict::is_wanted)
    }

    fn as_json(&self) -> Value {
        json!({
            "source": self.source,
            "event": self.id,
            "event_type": self.event_type,
            "unrouted": self.is_unrouted(),
            "destinations": self.verdicts.iter().map(|verdict| json!({
                "destination": verdict.destination,
                "matches": verdict.is_wanted(),
                "by": reason(verdict),
                "routes": verdict.routes.iter().map(route_as_json).collect::<Vec<_>>(),
            })).collect::<Vec<_>>(),
        })
    }

    fn print_text(&self) -> Result<(), CommandError> {
        let event_type = self.event_type.as_deref().unwrap_or("none");
        say!("source {}, event type {}", self.source, plain(event_type));
        let rows: Vec<_> = self.verdicts.iter().flat_map(rows).collect();
        table::print(
            &[
                Column::Left("DESTINATION"),
                Column::Left("MATCHES"),
                Column::Left("BECAUSE"),
            ],
            &rows,
        )?;
        if self.is_unrouted() {
            say!("no route wants it: it is accepted, and finished without a delivery");
        }
        Ok(())
    }
}

fn route_key(route: usize) -> String {
    format!("routes[{route}]")
}

/// The key of the configuration that leads an event to a destination.
fn reason(verdict: &Verdict) -> Option<String> {
    if verdict.is_for_every_event {
        return Some("destinations".to_owned());
    }
    verdict.matching_route().map(route_key)
}

fn route_as_json(route: &RouteVerdict) -> Value {
    json!({
        "route": route_key(route.number),
        "matches": route.failed.is_none(),
        "failed": route.failed.as_ref().map(|failed| json!({
            "rule": failed.line,
            "expected": failed.expected,
            "found": failed.found,
        })),
    })
}

/// A row for a destination of the event; otherwise one for each route that leads there.
fn rows(verdict: &Verdict) -> Vec<[String; 3]> {
    let name = &verdict.destination;
    if let Some(reason) = reason(verdict) {
        return vec![[name.clone(), "yes".to_owned(), reason]];
    }
    let routes = verdict.routes.iter().enumerate();
    let failed = routes.filter_map(|(at, route)| {
        let name = if at == 0 { name.as_str() } else { "" };
        let because = format!(
            "{}: {}",
            route_key(route.number),
            explain(route.failed.as_ref()?)
        );
        Some([name.to_owned(), "no".to_owned(), because])
    });
    failed.collect()
}

fn explain(failed: &FailedLine) -> String {
    format!(
        "{}: found {}, expected {}",
        failed.line,
        failed.found.as_deref().unwrap_or("nothing"),
        failed.expected
    )
}
