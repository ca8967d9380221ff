//! The nodes that share the database.

use askama::Template;

use super::mark::{Mark, Tone};
use super::page::{Frame, Note, Tab, html};
use super::visit::Visit;
use super::when::When;
use crate::clock::Timestamp;
use crate::http::api_error::ApiError;
use crate::http::response::Response;
use crate::store::{BUCKETS, NodeState};

#[derive(Template)]
#[template(path = "nodes.html")]
struct Nodes {
    frame: Frame,
    rows: Vec<Row>,
    /// Buckets of nobody.
    unowned: u16,
}

/// A node as it is shown.
struct Row {
    name: String,
    is_own: bool,
    mark: Mark,
    version: String,
    slot: u8,
    buckets: u16,
    seen: When,
    /// When its lease ends; none on a file.
    lease: Option<When>,
}

impl Row {
    fn new(one: &NodeState, now: Timestamp) -> Self {
        let tone = match one.word() {
            "alive" => Tone::Good,
            "leaving" => Tone::Busy,
            _ => Tone::Bad,
        };
        Self {
            name: one.name.clone(),
            is_own: one.is_own,
            mark: Mark::new(one.word(), tone),
            version: one.version.clone().unwrap_or_default(),
            slot: one.slot,
            buckets: one.buckets,
            // Just seen, should this machine's clock be behind the database's.
            seen: When::new(one.seen_at.min(now), now),
            lease: one.lease_left.map(|left| When::new(now.plus(left), now)),
        }
    }
}

pub(super) async fn list(visit: &Visit<'_>) -> Result<Response, ApiError> {
    let said = visit.no_query()?;
    let own = &visit.app.config.node;
    let found = visit.context.wait(visit.app.store.nodes(own)).await?;
    let now = visit.now();
    let owned = found.iter().map(|one| one.buckets).sum();
    let is_mixed = found.windows(2).any(|two| two[0].version != two[1].version);
    let mixed = "Nodes of different versions run side by side: an upgrade is not finished.";
    Ok(html(&Nodes {
        frame: visit
            .frame("Nodes", Tab::Nodes, said)
            .with(is_mixed.then(|| Note::hint(mixed.to_owned())))
            .live(true),
        rows: found.iter().map(|one| Row::new(one, now)).collect(),
        unowned: BUCKETS.saturating_sub(owned),
    }))
}
