//! The relay at a glance. The page costs the same however long the backlog is: it reads counts that
//! are kept, and the rollups.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;

use super::chart::{Chart, FiguresRow, Series, quantile_text};
use super::last_hour::{self, LastHour, MINUTES};
use super::link;
use super::mark::DestinationMark;
use super::page::{Frame, Note, Tab, html};
use super::visit::{Visit, bytes, capped, grouped};
use super::when::When;
use crate::clock::Timestamp;
use crate::http::api_error::ApiError;
use crate::http::response::Response;
use crate::model::{DeliveryState, DestinationCounts, Level, SourceCounts};
use crate::ops::durations::{Units, span, when_full};
use crate::store::{
    Backlog, COUNTED_STATES, ConfigState, DestinationsQuery, RollupQuery, RollupSink, SpaceUse,
};

/// Destinations that are shown; the page of destinations has all.
const SHOWN: usize = 50;
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
/// With less time left somebody has to act.
const SOON: Duration = Duration::from_secs(86_400);
/// Steps of the charts of the last day; those of the last hour are minutes.
const HOURS: u32 = 24;

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    frame: Frame,
    figures: Vec<Figure>,
    spans: Vec<Span>,
    destinations: Vec<DestinationRow>,
    total: usize,
    facts: Vec<Fact>,
}

/// A number that matters.
struct Figure {
    name: &'static str,
    value: String,
    detail: String,
    /// The page that lists it.
    path: Option<&'static str>,
}

/// The charts of a time.
struct Span {
    id: &'static str,
    name: &'static str,
    charts: Vec<Chart>,
    rows: Vec<FiguresRow>,
}

struct DestinationRow {
    path: String,
    mark: DestinationMark,
    waiting: String,
    dead: String,
    oldest_due: Option<When>,
    delivered: String,
    failed: String,
    p50: String,
    p99: String,
    name: String,
}

struct Fact {
    name: &'static str,
    value: String,
    at: Option<When>,
}

/// The facts that the page shows.
struct Read {
    backlog: Backlog,
    deliveries: Option<[(DeliveryState, i64); COUNTED_STATES.len()]>,
    state: ConfigState,
    hour: Hour,
    day: Series,
}

/// The last hour: its steps, and its destinations.
#[derive(Clone)]
struct Hour {
    series: Series,
    destinations: LastHour,
}

impl RollupSink for Hour {
    fn source(&mut self, at: Timestamp, name: &str, counts: &SourceCounts) -> bool {
        self.series.source(at, name, counts)
    }

    fn destination(&mut self, at: Timestamp, name: &str, counts: &DestinationCounts) -> bool {
        self.series.destination(at, name, counts) && self.destinations.destination(at, name, counts)
    }
}

pub(super) async fn show(visit: &Visit<'_>) -> Result<Response, ApiError> {
    let said = visit.no_query()?;
    let read = read(visit).await?;
    let config = Arc::clone(&visit.app.config);
    let query = DestinationsQuery {
        configured: config.destinations.keys().cloned().collect(),
        name: None,
        offset: 0,
        limit: SHOWN,
    };
    let page = visit.app.store.destinations_page(query);
    let page = visit.context.wait(page).await?;
    let now = visit.now();
    let rows = page.found.iter().map(|one| {
        let hour = &read.hour.destinations;
        let counts = hour.counts(&one.name);
        let latency = counts.unwrap_or_default().latency;
        DestinationRow {
            path: link::destination(&one.name),
            mark: DestinationMark::new(one, &config, now, hour),
            waiting: one.waiting.map_or_else(|| "…".to_owned(), grouped),
            dead: capped(one.dead_lettered),
            oldest_due: one.oldest_due.map(|at| When::new(at, now)),
            delivered: last_hour::number(counts.as_ref(), |counts| counts.delivered),
            failed: last_hour::number(counts.as_ref(), |counts| counts.failed),
            p50: quantile_text(&latency, 0.5),
            p99: quantile_text(&latency, 0.99),
            name: one.name.clone(),
        }
    });
    let destinations = rows.collect();
    let mut frame = visit.frame("Overview", Tab::Overview, said).live(true);
    if read.hour.series.is_cut_short || read.day.is_cut_short {
        let text = "There are too many destinations for the charts: a part of them is missing.";
        frame.notes.push(Note::hint(text.to_owned()));
    }
    let space = visit.app.store.space_use();
    if let Some(left) = space.full_in.filter(|left| *left < SOON) {
        let text = format!("There is no room for new events {}.", full_text(left));
        frame.notes.push(Note::hint(text));
    }
    Ok(html(&Overview {
        frame,
        figures: figures(visit, &read, now),
        spans: vec![
            span_of(&read.hour.series, "hour", "Last hour", "a minute"),
            span_of(&read.day, "day", "Last day", "an hour"),
        ],
        destinations,
        total: page.total,
        facts: facts(visit, &read.state, now),
    }))
}

async fn read(visit: &Visit<'_>) -> Result<Read, ApiError> {
    let store = &visit.app.store;
    let config = Arc::clone(&visit.app.config);
    let backlog = store.backlog(move |name| config.is_deliverable(name));
    let backlog = visit.context.wait(backlog);
    let (deliveries, backlog) = tokio::join!(store.deliveries(), backlog);
    let backlog = backlog?;
    let state = visit.context.wait(store.config_state()).await?;
    let now = visit.now();
    let hour = LastHour::query(now);
    let from = now.minus(HOUR.saturating_mul(HOURS - 1));
    let day = RollupQuery::new(from, now.plus(MINUTE), HOUR, now).expect("the steps are few");
    let none = Hour {
        series: Series::new(&hour, MINUTES as usize),
        destinations: LastHour::new(now),
    };
    let none_of_day = Series::new(&day, HOURS as usize);
    Ok(Read {
        backlog,
        deliveries,
        state,
        hour: visit.context.wait(store.each_rollup(hour, none)).await?,
        day: visit
            .context
            .wait(store.each_rollup(day, none_of_day))
            .await?,
    })
}

fn span_of(series: &Series, id: &'static str, name: &'static str, unit: &str) -> Span {
    let charts = vec![
        series.counts("Accepted", "accepted", unit, |point| point.accepted),
        series.counts("Delivered", "delivered", unit, |point| point.delivered),
        series.counts("Failed attempts", "failed", unit, |point| point.failed),
        series.latencies(),
    ];
    Span {
        id,
        name,
        charts,
        rows: series.rows(),
    }
}

fn figures(visit: &Visit<'_>, read: &Read, now: Timestamp) -> Vec<Figure> {
    let (counts, backlog) = (read.deliveries, &read.backlog);
    let count = |wanted: &[DeliveryState]| {
        let counts = counts.into_iter().flatten();
        let wanted = counts.filter(|(state, _)| wanted.contains(state));
        wanted.map(|(_, count)| count).sum::<i64>()
    };
    let known = |wanted: &[DeliveryState]| match counts {
        Some(_) => grouped(count(wanted)),
        None => "counting …".to_owned(),
    };
    let kept: i64 = backlog.kept.iter().flatten().map(|(_, count)| count).sum();
    let retrying = count(&[DeliveryState::Retrying]);
    let is_delivering = visit.app.config.level() != Level::Off;
    let oldest = backlog.oldest_due.filter(|_| is_delivering);
    let overdue = oldest.map(|due| now.since(due));
    vec![
        Figure {
            name: "Waiting",
            value: known(&[DeliveryState::Queued, DeliveryState::Retrying]),
            detail: waiting_text(retrying, kept),
            path: Some(if retrying > 0 {
                "/deliveries?status=retrying"
            } else {
                "/deliveries?status=queued"
            }),
        },
        Figure {
            name: "In an attempt",
            value: known(&[DeliveryState::Processing]),
            detail: format!("of {} workers", visit.app.config.delivery.workers),
            path: Some("/deliveries?status=processing"),
        },
        Figure {
            name: "Dead letters",
            value: known(&[DeliveryState::DeadLettered]),
            detail: "given up, to be replayed or discarded".to_owned(),
            path: Some("/deliveries?status=dead_lettered"),
        },
        Figure {
            name: "Oldest due",
            value: overdue.map_or_else(|| "none".to_owned(), |late| span(late, Units::Short)),
            detail: match (is_delivering, overdue) {
                (false, _) => "nothing is delivered: delivery.level is off".to_owned(),
                (true, None) => "nothing waits that may go".to_owned(),
                (true, Some(_)) => "since the oldest that may go was due".to_owned(),
            },
            path: None,
        },
    ]
}

fn facts(visit: &Visit<'_>, state: &ConfigState, now: Timestamp) -> Vec<Fact> {
    let (database, wal) = visit.app.store.file_sizes();
    let fact = |name, value| Fact {
        name,
        value,
        at: None,
    };
    let last = visit.app.reload_file.last(&state.last);
    let (read, how) = match &last.error {
        None if state.last.generation == 0 => ("Configuration read", "at the start"),
        None => ("Configuration read", "by a reload"),
        Some(_) => ("Last reload", "refused"),
    };
    let free = visit.app.store.free_bytes();
    let space = visit.app.store.space_use();
    let full = space.full_in.map(|left| {
        let place = match space.max {
            Some(_) => "Database full",
            None => "Disk full",
        };
        fact(place, full_text(left))
    });
    let facts = [
        Some(fact("Version", env!("CARGO_PKG_VERSION").to_owned())),
        Some(fact(
            "Delivery",
            format!("level {}", visit.app.config.level()),
        )),
        Some(fact("Database", database_text(database, space))),
        Some(fact("Write-ahead log", bytes(wal))),
        Some(fact(
            "Free on its disk",
            free.map_or_else(|| "unknown".to_owned(), bytes),
        )),
        full,
        Some(fact(
            "Configuration",
            short(&state.last.fingerprint).to_owned(),
        )),
        Some(Fact {
            name: read,
            value: how.to_owned(),
            at: Some(When::new(last.at, now)),
        }),
    ];
    facts.into_iter().flatten().collect()
}

/// The size of the database's file and, with `database.max_bytes`, how much of that is used.
fn database_text(file: u64, space: SpaceUse) -> String {
    match space.max {
        Some(max) => format!(
            "{}, {} of {} used",
            bytes(file),
            bytes(space.used),
            bytes(max)
        ),
        None => bytes(file),
    }
}

/// The parts of the waiting deliveries that are told; one may be in both.
fn waiting_text(retrying: i64, kept: i64) -> String {
    match (retrying, kept) {
        (0, 0) => "none retrying, none kept back".to_owned(),
        (retrying, kept) => format!(
            "of these {} retrying, {} kept back",
            grouped(retrying),
            grouped(kept)
        ),
    }
}

/// When there is no room any more, as it goes.
fn full_text(left: Duration) -> String {
    let when = when_full(left, Units::Short);
    if left.is_zero() {
        return when;
    }
    format!("{when}, as it grows now")
}

/// The beginning of a fingerprint, which tells configurations apart.
pub(super) fn short(fingerprint: &str) -> &str {
    fingerprint.get(..12).unwrap_or(fingerprint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forecast_says_that_it_is_one_unless_there_is_no_room() {
        let day = 86_400;
        for (seconds, shown) in [
            (0, "now"),
            (5 * 3600, "in 5 h, as it grows now"),
            (9 * day + 5_000, "in 9 d, as it grows now"),
            (400 * day, "in over a year, as it grows now"),
        ] {
            assert_eq!(full_text(Duration::from_secs(seconds)), shown);
        }
    }

    #[test]
    fn the_size_is_told_with_its_bound_if_there_is_one() {
        let space = |max| SpaceUse {
            used: 3 << 20,
            max,
            full_in: None,
        };
        assert_eq!(database_text(5 << 20, space(None)), "5.0 MiB");
        let bounded = database_text(5 << 20, space(Some(10 << 30)));
        assert_eq!(bounded, "5.0 MiB, 3.0 MiB of 10.0 GiB used");
    }
}
