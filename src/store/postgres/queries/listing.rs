//! Lists of deliveries, and their number: `relay list` and the admin API.
//!
//! `walks`: the index that each filter walks. A list is no snapshot: a delivery that changes its
//! state between the search and the read of its row is left out if it no longer matches.

mod walks;

use std::sync::Arc;

use tokio_postgres::Row;

pub use walks::Walk;
use walks::{LATEST_DUE, Place};

use crate::clock::Timestamp;
use crate::model::{DeliveryState, Surface};
use crate::store::error::StoreError;
use crate::store::newest::{Newest, newest_due_by};
use crate::store::postgres::columns::{BLOCKED, intent_id};
use crate::store::postgres::connection::Connection;
use crate::store::postgres::counts::{COUNTED, Counts, numbers};
use crate::store::postgres::failure::Failure;
use crate::store::postgres::handle::Postgres;
use crate::store::postgres::operator::Operator;
use crate::store::postgres::queries::claims::Claims;
use crate::store::postgres::queries::destinations::destination_id;
use crate::store::postgres::values::{limit, maybe_number, maybe_text, number, text};
use crate::store::types::{
    DeliveryCount, DestinationId, IntentRow, ListQuery, ListedDelivery, Listing,
};

/// Rows that are read at once: as many as a page shows, and no fewer and no more than these.
const LEAST_CHUNK: usize = 100;
const MOST_CHUNK: usize = 5_000;

/// Selects deliveries as they are shown, by their keys.
const SELECT_SHOWN: &str = "SELECT i.id, i.random, i.surface, i.label, t.name, i.created_at,
            n.intent_id, n.destination_id,
            w.state, w.attempts, w.updated_at, w.last_error, w.history, w.next_attempt_at,
            e.state, e.attempts, e.updated_at, e.last_error, e.discarded_at
     FROM unnest($1::bigint[], $2::int[]) WITH ORDINALITY AS n(intent_id, destination_id, place)
          CROSS JOIN LATERAL (
              SELECT * FROM relay.intents x WHERE x.id = n.intent_id OFFSET 0) AS i
          CROSS JOIN LATERAL (
              SELECT name FROM relay.destinations x WHERE x.id = n.destination_id OFFSET 0) AS t
          LEFT JOIN relay.waiting w
               ON w.intent_id = n.intent_id AND w.destination_id = n.destination_id
          LEFT JOIN relay.ended e
               ON e.intent_id = n.intent_id AND e.destination_id = n.destination_id
     ORDER BY n.place";

/// How a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SearchEnd {
    /// It has found all that may be among the newest, or as many as the bound allows.
    Done,
    /// Too many deliveries that are due for a retry stand before those that wait.
    Hidden,
}

/// A search for the newest deliveries.
struct Search<'a> {
    sql: &'a mut Connection,
    query: &'a ListQuery,
    claims: &'a Claims,
    destination: Option<DestinationId>,
    newest: Newest,
    now: Timestamp,
}

impl Search<'_> {
    fn run(&mut self, walks: &[Walk]) -> Result<(), Failure> {
        for walk in walks {
            if self.walk(*walk)? == SearchEnd::Hidden {
                // From the newest one on they are found whatever else is due.
                self.newest = Newest::new(self.query, 1);
                self.walk(Walk::Waiting)?;
                return Ok(());
            }
        }
        Ok(())
    }

    /// Adds the deliveries that a walk finds, chunk by chunk, until all that follow are too old: so
    /// the cost is that of the list's length.
    fn walk(&mut self, walk: Walk) -> Result<SearchEnd, Failure> {
        let most = self.newest.max_rows;
        let mut chunk = usize::try_from(self.query.limit).unwrap_or(MOST_CHUNK);
        chunk = (chunk + self.claims.len()).clamp(LEAST_CHUNK, MOST_CHUNK);
        let mut place = self.begin(walk);
        let (mut read, mut passed) = (0, 0);
        loop {
            let rows = walk.rows(
                self.sql,
                self.query,
                (self.destination, self.newest.range.first),
                place,
                chunk,
            )?;
            for row in &rows {
                let found = walks::read(row)?;
                place = walk.after(&found);
                let newest_left = match walk {
                    Walk::Due => newest_due_by(found.due.as_millis()),
                    _ => found.intent,
                };
                if self.newest.is_too_old(newest_left) {
                    return Ok(SearchEnd::Done);
                }
                if found.is_wanted && self.is_of_state(walk, &found) {
                    self.newest.add(found.intent, found.destination);
                } else if walk == Walk::Due {
                    passed += 1;
                    if self.query.max_rows.is_some_and(|most| passed >= most) {
                        return Ok(SearchEnd::Hidden);
                    }
                }
                read += 1;
                if read == most && walk != Walk::Due {
                    self.newest.cut(newest_left);
                    return Ok(SearchEnd::Done);
                }
            }
            if rows.len() < chunk {
                return Ok(SearchEnd::Done);
            }
            chunk = (chunk * 2).min(MOST_CHUNK);
        }
    }

    fn begin(&self, walk: Walk) -> Place {
        let last = self.newest.range.last;
        match walk {
            Walk::Due => {
                let latest = self.now.as_millis().saturating_add(LATEST_DUE);
                Place::due_before(Timestamp::from_millis(latest))
            }
            _ => Place::before(IntentRow(last.0.saturating_add(1))),
        }
    }

    /// Whether a delivery is in the wanted state: a claimed one stands where it waited.
    fn is_of_state(&self, walk: Walk, found: &walks::Found) -> bool {
        let claims = self.claims;
        let is_claimed = walk.is_of_waiting()
            && claims
                .of(found.intent, found.destination, found.history)
                .is_some();
        let is_of_line = !self.query.is_blocked || found.due == BLOCKED;
        is_of_line
            && found.intent <= self.newest.range.last
            && match self.query.state {
                Some(DeliveryState::Processing) => is_claimed,
                Some(state) => !is_claimed && found.state == state,
                None => !(self.query.is_blocked && is_claimed),
            }
    }
}

/// The newest deliveries that match; none if there is no such destination.
fn search(
    sql: &mut Connection,
    query: &ListQuery,
    claims: &Claims,
    now: Timestamp,
) -> Result<Option<Newest>, Failure> {
    let destination = match &query.destination {
        None => None,
        Some(name) => match destination_id(sql, name)? {
            Some(id) => Some(id),
            None => return Ok(None),
        },
    };
    let walks = Walk::of(query);
    let mut search = Search {
        sql,
        query,
        claims,
        destination,
        newest: Newest::new(query, walks.len()),
        now,
    };
    search.run(walks)?;
    Ok(Some(search.newest))
}

/// A page of the deliveries that match, latest first.
fn read(sql: &mut Connection, query: &ListQuery, now: Timestamp) -> Result<Listing, Failure> {
    // One more than the page holds tells whether there is a next one.
    let query = ListQuery {
        limit: query.limit.saturating_add(1),
        ..query.clone()
    };
    let claims = Claims::read(sql)?;
    let Some(mut newest) = search(sql, &query, &claims, now)? else {
        return Ok(Listing {
            found: Vec::new(),
            next: None,
            searched_to: None,
        });
    };
    let (next, searched_to) = newest.end();
    let (intents, destinations): (Vec<_>, Vec<_>) = newest.keys().unzip();
    let rows = sql.rows(SELECT_SHOWN, &[&intents, &destinations])?;
    let mut found = Vec::with_capacity(rows.len());
    for row in &rows {
        let shown = shown(row, &claims)?;
        let is_of_state = |one: &ListedDelivery| query.state.is_none_or(|it| it == one.state);
        found.extend(shown.filter(is_of_state));
    }
    Ok(Listing {
        found,
        next,
        searched_to,
    })
}

/// A delivery as it is shown; none if it was deleted meanwhile.
fn shown(row: &Row, claims: &Claims) -> Result<Option<ListedDelivery>, Failure> {
    let (waits, ended): (Option<DeliveryState>, Option<DeliveryState>) =
        (row.try_get(8)?, row.try_get(14)?);
    // From its columns of `waiting`, or of `ended`.
    let (state, at) = match (waits, ended) {
        (_, Some(state)) => (state, 15),
        (Some(state), None) => (state, 9),
        (None, None) => return Ok(None),
    };
    let mut delivery = ListedDelivery {
        id: intent_id(row, 0)?,
        surface: Surface::from_number(number(row, 2)?),
        label: text(row, 3)?,
        destination: row.try_get(4)?,
        state,
        attempts: number(row, at)?,
        created_at: row.try_get(5)?,
        updated_at: row.try_get(at + 1)?,
        next_attempt_at: None,
        last_error: maybe_text(row, at + 2)?,
        discarded_at: row.try_get(18)?,
    };
    if ended.is_none() {
        let history = maybe_number(row, 12)?.unwrap_or(0);
        if let Some(claim) = claims.of(row.try_get(6)?, row.try_get(7)?, history) {
            delivery.state = DeliveryState::Processing;
            delivery.attempts = claim.attempt;
            delivery.updated_at = claim.claimed_at;
        } else {
            let due: Option<Timestamp> = row.try_get(13)?;
            delivery.next_attempt_at = due.filter(|due| *due != BLOCKED);
        }
    }
    Ok(Some(delivery))
}

/// The number of deliveries of a state to a destination, if few enough are counted at once.
fn counted(
    sql: &mut Connection,
    counts: &Counts,
    query: &ListQuery,
) -> Result<Option<i64>, Failure> {
    let is_narrowed = query.is_blocked
        || query.source.is_some()
        || query.event_type.is_some()
        || query.since.is_some()
        || query.until.is_some();
    let (Some(state), Some(name)) = (query.state.filter(|_| !is_narrowed), &query.destination)
    else {
        return Ok(None);
    };
    let Some(id) = destination_id(sql, name)? else {
        return Ok(Some(0));
    };
    let numbers = numbers(sql, counts, &[id])?;
    let of_id = numbers.get(&id).copied().unwrap_or_default();
    Ok(match state {
        DeliveryState::Processing => Some(of_id.processing),
        DeliveryState::DeadLettered => Some(of_id.dead),
        _ => None,
    })
}

/// Counts the deliveries that match, up to `most`.
fn count(
    sql: &mut Connection,
    counts: &Counts,
    query: &ListQuery,
    most: usize,
    now: Timestamp,
) -> Result<DeliveryCount, Failure> {
    let kept = counted(sql, counts, query)?;
    if let Some(kept) = kept.filter(|kept| *kept <= COUNTED || limit(most) <= COUNTED) {
        let number = usize::try_from(kept).unwrap_or(0);
        return Ok(DeliveryCount {
            number: number.min(most),
            is_exact: number <= most,
        });
    }
    let query = ListQuery {
        limit: u32::try_from(most).unwrap_or(u32::MAX).saturating_add(1),
        ..query.clone()
    };
    let claims = Claims::read(sql)?;
    let found = search(sql, &query, &claims, now)?;
    let number = found.as_ref().map_or(0, Newest::len);
    let is_cut = found.is_some_and(|newest| newest.is_cut());
    Ok(DeliveryCount {
        number: number.min(most),
        is_exact: number <= most && !is_cut,
    })
}

impl Postgres {
    /// A page of the deliveries that match, latest first.
    pub async fn deliveries_page(&self, query: ListQuery) -> Result<Listing, StoreError> {
        let now = self.shared().clock.now();
        self.read_async(move |sql| read(sql, &query, now)).await
    }

    /// Counts the deliveries that match, up to `most`.
    #[allow(dead_code, reason = "a build without the console counts none")]
    pub async fn count_deliveries(
        &self,
        query: ListQuery,
        most: usize,
    ) -> Result<DeliveryCount, StoreError> {
        let shared = Arc::clone(self.shared());
        self.read_async(move |sql| count(sql, &shared.counts, &query, most, shared.clock.now()))
            .await
    }
}

impl Operator {
    /// The latest deliveries that match, latest first.
    pub fn list(&self, query: &ListQuery) -> Result<Vec<ListedDelivery>, StoreError> {
        let now = self.now();
        Ok(self.read(|sql| read(sql, query, now))?.found)
    }
}

#[cfg(test)]
impl Postgres {
    /// All deliveries that match, latest first.
    pub fn list(&self, query: &ListQuery) -> Result<Vec<ListedDelivery>, StoreError> {
        let now = self.shared().clock.now();
        Ok(self.read(|sql| read(sql, query, now))?.found)
    }
}
