//! The destinations, and the actions of operators on them.

use std::time::Duration;

use askama::Template;
use percent_encoding::percent_decode_str;

use super::chart::{Chart, FiguresRow, Series};
use super::last_hour::{self, LastHour, MINUTES};
use super::link;
use super::mark::DestinationMark;
use super::page::{Frame, Tab, html, see_other};
use super::visit::{Visit, capped, form, grouped, millis};
use super::when::{When, written_at};
use crate::clock::Timestamp;
use crate::config::DestinationPolicy;
use crate::http::admin::api::query::Parameters;
use crate::http::admin::destination_actions::{Action, Operator};
use crate::http::api_error::ApiError;
use crate::http::body::Body;
use crate::http::response::Response;
use crate::model::{DestinationCounts, PingReport, SourceCounts};
use crate::store::{DestinationOverview, DestinationsPage, DestinationsQuery, RollupSink};

/// Destinations on a page.
const A_PAGE: usize = 50;
/// Destinations that a page may begin after.
const MAX_OFFSET: usize = 1_000_000;

#[derive(Template)]
#[template(path = "destinations.html")]
struct Destinations {
    frame: Frame,
    rows: Vec<Row>,
    total: usize,
    from: usize,
    next: Option<String>,
    first: Option<&'static str>,
    may_operate: bool,
}

#[derive(Template)]
#[template(path = "destination.html")]
struct DestinationPage {
    frame: Frame,
    row: Row,
    charts: Vec<Chart>,
    figures: Vec<FiguresRow>,
    settings: Vec<(&'static str, String)>,
    links: Vec<(&'static str, String)>,
    operations: Vec<(&'static str, String)>,
    may_operate: bool,
}

/// A destination as it is shown.
struct Row {
    name: String,
    path: String,
    mark: DestinationMark,
    url: String,
    waiting: String,
    processing: String,
    dead: String,
    /// Of the last hour, as are failed attempts.
    delivered: String,
    failed: String,
    oldest_due: Option<When>,
    /// The time of its pause, which a resume names so that it ends no other pause.
    paused_at: Option<String>,
    /// Whether something keeps it back that ends by itself, or by a probe.
    is_held: bool,
    is_configured: bool,
}

impl Row {
    fn new(visit: &Visit<'_>, one: &DestinationOverview, now: Timestamp, hour: &LastHour) -> Self {
        let config = &visit.app.config;
        let policy = config.destinations.get(&one.name);
        let url = policy.and_then(|policy| policy.url.as_ref());
        let number = |count: Option<i64>| count.map_or_else(|| "…".to_owned(), grouped);
        let counts = hour.counts(&one.name);
        Self {
            path: link::destination(&one.name),
            mark: DestinationMark::new(one, config, now, hour),
            // The path may be a secret.
            url: url.map_or_else(String::new, |url| format!("{}/…", url.origin())),
            waiting: number(one.waiting),
            processing: number(one.processing),
            dead: capped(one.dead_lettered),
            delivered: last_hour::number(counts.as_ref(), |counts| counts.delivered),
            failed: last_hour::number(counts.as_ref(), |counts| counts.failed),
            oldest_due: one.oldest_due.map(|at| When::new(at, now)),
            paused_at: one.paused.as_ref().map(|pause| pause.at.to_string()),
            is_held: one.probe_at.is_some() || one.held_until.is_some_and(|until| until > now),
            is_configured: policy.is_some(),
            name: one.name.clone(),
        }
    }
}

pub(super) async fn list(visit: &Visit<'_>) -> Result<Response, ApiError> {
    let (mut parameters, said) = visit.query()?;
    let offset = parameters.number("after", 0, (0, MAX_OFFSET))?;
    parameters.end()?;
    let page = page(visit, None, offset, A_PAGE).await?;
    let now = visit.now();
    let hour = visit
        .app
        .store
        .each_rollup(LastHour::query(now), LastHour::new(now));
    let hour = visit.context.wait(hour).await?;
    let end = offset + page.found.len();
    let rows = page.found.iter();
    let rows = rows.map(|one| Row::new(visit, one, now, &hour));
    let rows = rows.collect();
    Ok(html(&Destinations {
        frame: visit
            .frame("Destinations", Tab::Destinations, said)
            .live(true),
        rows,
        total: page.total,
        from: offset + 1,
        next: (end < page.total).then(|| format!("/destinations?after={end}")),
        first: (offset > 0).then_some("/destinations"),
        may_operate: visit.may_operate(),
    }))
}

/// The attempts to one destination.
#[derive(Clone)]
struct Attempts {
    hour: LastHour,
    series: Series,
}

impl RollupSink for Attempts {
    fn source(&mut self, _: Timestamp, _: &str, _: &SourceCounts) -> bool {
        false
    }

    fn destination(&mut self, at: Timestamp, name: &str, counts: &DestinationCounts) -> bool {
        self.hour.destination(at, name, counts) && self.series.destination(at, name, counts)
    }
}

pub(super) async fn show(visit: &Visit<'_>, name: &str) -> Result<Response, ApiError> {
    let said = visit.no_query()?;
    let one = find(visit, name).await?;
    let now = visit.now();
    let query = LastHour::query(now).of_destination(name);
    let attempts = Attempts {
        hour: LastHour::new(now),
        series: Series::new(&query, MINUTES as usize),
    };
    let attempts = visit.app.store.each_rollup(query, attempts);
    let Attempts { hour, series } = visit.context.wait(attempts).await?;
    let policy = visit.app.config.destinations.get(name);
    let page = DestinationPage {
        frame: visit.frame(name, Tab::Destinations, said).live(true),
        row: Row::new(visit, &one, now, &hour),
        charts: vec![
            series.counts("Delivered", "delivered", "a minute", |point| {
                point.delivered
            }),
            series.counts("Failed attempts", "failed", "a minute", |point| {
                point.failed
            }),
            series.latencies(),
        ],
        figures: series.rows(),
        settings: policy.map_or_else(Vec::new, |policy| settings(policy)),
        links: links(name),
        operations: operations(name, &one),
        may_operate: visit.may_operate(),
    };
    Ok(html(&page))
}

fn settings(policy: &DestinationPolicy) -> Vec<(&'static str, String)> {
    let seconds = |duration: Duration| format!("{} s", duration.as_secs_f64());
    let rate = policy.rate_limit.map_or_else(
        || "none".to_owned(),
        |limit| format!("{} a second, bursts of {}", limit.per_second, limit.burst),
    );
    let secrets = match policy.secrets.len() {
        0 => "unsigned".to_owned(),
        1 => "signed with one secret".to_owned(),
        count => format!("signed with {count} secrets"),
    };
    vec![
        ("Timeout", seconds(policy.timeout)),
        ("Rate limit", rate),
        ("Concurrency", policy.concurrency.to_string()),
        ("Attempts at most", policy.retry.max_attempts().to_string()),
        ("Signature", secrets),
    ]
}

fn links(name: &str) -> Vec<(&'static str, String)> {
    let list = |status| {
        let pairs = [("status", Some(status)), ("destination", Some(name))];
        link::with("/deliveries", &pairs)
    };
    let all = [("destination", Some(name))];
    vec![
        ("All deliveries", link::with("/deliveries", &all)),
        ("Dead letters", list("dead_lettered")),
        ("Retrying", list("retrying")),
        ("Queued", list("queued")),
    ]
}

/// The operations on its deliveries.
fn operations(name: &str, one: &DestinationOverview) -> Vec<(&'static str, String)> {
    let path = |kind: &str, status: Option<&str>, member: &'static str| {
        let pairs = [
            ("kind", Some(kind)),
            ("status", status),
            (member, Some(name)),
        ];
        link::with("/operations/new", &pairs)
    };
    let mut links = Vec::new();
    if one.dead_lettered > 0 {
        let dead = Some("dead_lettered");
        let replay = path("replay", dead, "destination");
        links.push(("Replay the dead letters …", replay));
        let discard = path("discard", dead, "destination");
        links.push(("Discard the dead letters …", discard));
    }
    if one.waiting != Some(0) {
        let retry = path("retry", None, "destination");
        links.push(("Retry all now …", retry));
        let reroute = path("reroute", None, "from");
        links.push(("Reroute waiting deliveries …", reroute));
    }
    links
}

async fn page(
    visit: &Visit<'_>,
    name: Option<&str>,
    offset: usize,
    limit: usize,
) -> Result<DestinationsPage, ApiError> {
    let all = visit.app.config.destinations.keys();
    let configured = all.filter(|known| name.is_none_or(|name| name == known.as_str()));
    let query = DestinationsQuery {
        configured: configured.cloned().collect(),
        name: name.map(str::to_owned),
        offset,
        limit,
    };
    let page = visit.app.store.destinations_page(query);
    visit.context.wait(page).await
}

async fn find(visit: &Visit<'_>, name: &str) -> Result<DestinationOverview, ApiError> {
    let page = page(visit, Some(name), 0, 1).await?;
    let unknown = || ApiError::not_found(format!("There is no destination {name:?}."));
    page.found.into_iter().next().ok_or_else(unknown)
}

/// The name in a path.
pub(super) fn decoded(segment: &str) -> Option<String> {
    let name = percent_decode_str(segment).decode_utf8().ok()?;
    (!name.is_empty()).then(|| name.into_owned())
}

/// The fields of a form on a destination. Read as a whole before anything is done.
#[derive(Default)]
struct ActionForm {
    /// Whether the list has it, and not the page of the destination.
    is_of_list: bool,
    /// Of a pause.
    reason: Option<String>,
    /// The pause that a resume ends.
    paused_at: Option<Timestamp>,
}

impl ActionForm {
    fn read(mut fields: Parameters, action: Action) -> Result<Self, ApiError> {
        let mut form = Self {
            is_of_list: fields.take("from")?.as_deref() == Some("list"),
            ..Self::default()
        };
        match action {
            Action::Pause => form.reason = fields.take("reason")?,
            Action::Resume => {
                form.paused_at = fields.take_with("paused_at", |text| {
                    let parsed: Result<jiff::Timestamp, _> = text.parse();
                    let at = parsed.map_err(|_| "expected a time".to_owned())?;
                    Ok(Timestamp::from_millis(at.as_millisecond()))
                })?;
            }
            Action::Probe | Action::Ping => {}
        }
        fields.end()?;
        Ok(form)
    }
}

/// Carries an action out, and leads back to the page that had the form.
pub(super) async fn act(
    visit: &Visit<'_>,
    name: &str,
    action: Action,
    body: &mut Body,
) -> Result<Response, ApiError> {
    let fields = form(visit.context, visit.head, body).await?;
    let given = ActionForm::read(fields, action)?;
    find(visit, name).await?;
    let operator = Operator {
        app: visit.app,
        context: visit.context,
        who: &visit.caller.name,
    };
    let said = match action {
        Action::Pause => pause(&operator, name, given.reason).await?,
        Action::Resume => {
            if operator.resume(name, given.paused_at).await? {
                format!("{name} is resumed.")
            } else {
                format!("Nothing kept {name} back.")
            }
        }
        Action::Probe => {
            if operator.probe(name).await? {
                format!("The next delivery goes to {name} now.")
            } else {
                format!("Neither a breaker nor a Retry-After keeps {name} back.")
            }
        }
        Action::Ping => told(name, operator.ping(name).await?),
    };
    let path = if given.is_of_list {
        "/destinations".to_owned()
    } else {
        link::destination(name)
    };
    Ok(see_other(&visit.path_with(&path, said)))
}

async fn pause(
    operator: &Operator<'_>,
    name: &str,
    reason: Option<String>,
) -> Result<String, ApiError> {
    let who = operator.who;
    let reason = match reason.map(|text| text.trim().to_owned()) {
        Some(text) if !text.is_empty() => format!("{text} (by {who})"),
        _ => format!("by {who}"),
    };
    Ok(match operator.pause(name, &reason).await? {
        Some(before) => format!(
            "{name} was paused already, at {}: {}",
            written_at(before.at),
            before.reason
        ),
        None => format!("{name} is paused: nothing is sent to it until it is resumed."),
    })
}

/// Tells how a test went.
fn told(name: &str, report: PingReport) -> String {
    let took = millis(report.took);
    let status = report.status_code.map(|code| format!(" with {code}"));
    let status = status.unwrap_or_default();
    match report.error {
        None if report.is_delivered => {
            format!("The test reached {name}: answered{status} in {took}.")
        }
        None => format!("The test failed at {name}: answered{status} in {took}."),
        Some(error) => format!("The test failed at {name} after {took}: {error}."),
    }
}
