//! The latest deliveries, filtered and by pages: `relay list` and the admin API.
//!
//! `access`: the index that each filter walks.

mod access;

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use access::{Access, LATEST_DUE_MILLIS};

use crate::clock::Timestamp;
use crate::model::Surface;
use crate::store::error::StoreError;
use crate::store::newest::{Newest, newest_due_by};
use crate::store::sqlite::columns::{BLOCKED, intent_id, maybe_text, text, waits_until};
use crate::store::sqlite::counts::Counts;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::operator::Operator;
use crate::store::sqlite::queries::bulk_reads::destination_id;
use crate::store::types::{DeliveryCount, DestinationId, ListQuery, ListedDelivery, Listing};

/// Selects a delivery as it is shown, by its key.
const SELECT_ONE: &str =
    "SELECT i.id, i.random, i.surface, i.label, t.name, d.state, d.attempts, i.created_at,
            d.updated_at, d.next_attempt_at, d.last_error, d.discarded_at
     FROM deliveries d CROSS JOIN intents i ON i.id = d.intent_id
          CROSS JOIN destinations t ON t.id = d.destination_id
     WHERE d.intent_id = ?1 AND d.destination_id = ?2";

/// The number of all deliveries, up to ?1.
const COUNT_ALL: &str = "SELECT count(*) FROM (SELECT 1 FROM deliveries LIMIT ?1)";

/// How a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SearchEnd {
    /// It has found all that may be among the newest, or as many as the bound allows.
    Done,
    /// Too many deliveries that are due for a retry stand before those that wait.
    Hidden,
}

/// Adds the deliveries of one destination, or of all, that one way of access finds. Stops at the
/// first delivery after which all are too old: so the cost is that of the list's length. `passed`
/// counts rows among those that wait which are not wanted: they are due for a retry.
fn find(
    sql: &Connection,
    query: &ListQuery,
    newest: &mut Newest,
    (access, destination): (Access, Option<DestinationId>),
    passed: &mut usize,
    now: Timestamp,
) -> Result<SearchEnd, StoreError> {
    let bound = query.max_rows;
    let mut statement = sql.prepare_cached(&access.select(bound.is_some()))?;
    let latest = match access {
        Access::Blocked => BLOCKED.as_millis(),
        _ => now.as_millis().saturating_add(LATEST_DUE_MILLIS),
    };
    let mut rows = statement.query(params![
        destination,
        newest.range.first,
        latest,
        query.source,
        newest.range.last,
        query.event_type,
    ])?;
    let mut read = 0;
    while let Some(row) = rows.next()? {
        let (intent, destination) = (row.get(0)?, row.get(1)?);
        let due: Option<i64> = row.get(2)?;
        let newest_left = due.map_or(intent, newest_due_by);
        if newest.is_too_old(newest_left) {
            break;
        }
        if row.get(3)? {
            newest.add(intent, destination);
        } else if access == Access::Waiting {
            *passed += 1;
            if bound.is_some_and(|most| *passed >= most) {
                return Ok(SearchEnd::Hidden);
            }
        }
        read += 1;
        // Each delivery that waits is wanted, so that the list's length bounds the search.
        if read == newest.max_rows && access != Access::Waiting {
            newest.cut(newest_left);
            break;
        }
        if matches!(access, Access::Walk(_) | Access::Claimed) && newest.is_full() {
            break;
        }
    }
    Ok(SearchEnd::Done)
}

/// A page of the deliveries that match, latest first.
///
/// The cost is bounded by the limit and by the number of destinations with deliveries in the
/// state, however many are stored. Four filters have no index, and read from the newest delivery
/// on until enough are found, or [`ListQuery::max_rows`] were read: delivered ones, a destination
/// without a state, a source, and a type.
fn read(sql: &Connection, query: &ListQuery, now: Timestamp) -> Result<Listing, StoreError> {
    // One snapshot, so that each delivery found exists when it is read.
    let sql = &*sql.unchecked_transaction()?;
    // One more than the page holds tells whether there is a next one.
    let query = ListQuery {
        limit: query.limit.saturating_add(1),
        ..query.clone()
    };
    let Some(mut newest) = search(sql, &query, now)? else {
        return Ok(Listing {
            found: Vec::new(),
            next: None,
            searched_to: None,
        });
    };
    let (next, searched_to) = newest.end();
    let mut statement = sql.prepare_cached(SELECT_ONE)?;
    // A damaged database may lack an event or a destination: the other deliveries are still shown.
    let found = newest.keys().filter_map(|(intent, destination)| {
        let found = statement.query_row(params![intent, destination], listed);
        found.optional().transpose()
    });
    Ok(Listing {
        found: found.collect::<Result<_, _>>()?,
        next,
        searched_to,
    })
}

/// The newest deliveries that match; none if there is no such destination.
fn search(
    sql: &Connection,
    query: &ListQuery,
    now: Timestamp,
) -> Result<Option<Newest>, StoreError> {
    let destination: Option<DestinationId> = match &query.destination {
        None => None,
        Some(name) => {
            let found = destination_id(sql, name)?;
            if found.is_none() {
                return Ok(None);
            }
            found
        }
    };
    let searches = searches(sql, query, destination)?;
    let mut newest = Newest::new(query, searches.len());
    let mut passed = 0;
    for search in searches {
        if find(sql, query, &mut newest, search, &mut passed, now)? == SearchEnd::Hidden {
            // From the newest one on they are found whatever else is due.
            let mut newest = Newest::new(query, 1);
            let walk = (Access::Walk(query.state), destination);
            find(sql, query, &mut newest, walk, &mut 0, now)?;
            return Ok(Some(newest));
        }
    }
    Ok(Some(newest))
}

/// The number of deliveries of a state, to one destination or to all, if it is kept.
fn kept_count(
    sql: &Connection,
    counts: &Counts,
    query: &ListQuery,
) -> Result<Option<i64>, StoreError> {
    let is_narrowed = query.is_blocked
        || query.source.is_some()
        || query.event_type.is_some()
        || query.since.is_some()
        || query.until.is_some();
    let Some(state) = query.state.filter(|_| !is_narrowed) else {
        return Ok(None);
    };
    Ok(match &query.destination {
        None => counts.in_state(state, None),
        Some(name) => match destination_id(sql, name)? {
            Some(id) => counts.in_state(state, Some(id)),
            None => Some(0),
        },
    })
}

/// Counts the deliveries that match, up to `most`: by the kept counts, or by their keys.
fn count(
    sql: &Connection,
    counts: &Counts,
    query: ListQuery,
    most: usize,
    now: Timestamp,
) -> Result<DeliveryCount, StoreError> {
    if let Some(kept) = kept_count(sql, counts, &query)? {
        let number = usize::try_from(kept).unwrap_or(0);
        return Ok(DeliveryCount {
            number: number.min(most),
            is_exact: number <= most,
        });
    }
    let limit = u32::try_from(most).unwrap_or(u32::MAX).saturating_add(1);
    if query.is_of_all() {
        let mut statement = sql.prepare_cached(COUNT_ALL)?;
        let counted: i64 = statement.query_row([limit], |row| row.get(0))?;
        let number = usize::try_from(counted).unwrap_or(0);
        return Ok(DeliveryCount {
            number: number.min(most),
            is_exact: number <= most,
        });
    }
    let query = ListQuery { limit, ..query };
    let sql = &*sql.unchecked_transaction()?;
    let found = search(sql, &query, now)?;
    let number = found.as_ref().map_or(0, Newest::len);
    let is_cut = found.is_some_and(|newest| newest.is_cut());
    Ok(DeliveryCount {
        number: number.min(most),
        is_exact: number <= most && !is_cut,
    })
}

/// The searches that find all deliveries of a list: each a way of access, and a destination unless
/// it finds those of all.
fn searches(
    sql: &Connection,
    query: &ListQuery,
    destination: Option<DestinationId>,
) -> Result<Vec<(Access, Option<DestinationId>)>, StoreError> {
    let has_filter_without_index = query.source.is_some() || query.event_type.is_some();
    let is_bounded = query.max_rows.is_some() && has_filter_without_index;
    let mut searches = Vec::new();
    let accesses = if query.is_blocked {
        &[Access::Blocked]
    } else {
        Access::of(query.state, is_bounded)
    };
    for access in accesses {
        match (destination, access.destinations()) {
            (None, Some(select)) => {
                let mut statement = sql.prepare_cached(&select)?;
                let mut ids = statement.query([])?;
                while let Some(row) = ids.next()? {
                    searches.push((*access, Some(row.get(0)?)));
                }
            }
            _ => searches.push((*access, destination)),
        }
    }
    Ok(searches)
}

fn listed(row: &Row<'_>) -> rusqlite::Result<ListedDelivery> {
    Ok(ListedDelivery {
        id: intent_id(row, 0)?,
        surface: Surface::from_number(row.get(2)?),
        label: text(row, 3)?,
        destination: text(row, 4)?,
        state: row.get(5)?,
        attempts: row.get(6)?,
        created_at: row.get(7)?,
        updated_at: row.get(8)?,
        next_attempt_at: waits_until(row, 9)?,
        last_error: maybe_text(row, 10)?,
        discarded_at: row.get(11)?,
    })
}

/// Whether anything was ever sent to a destination of this name.
fn is_destination(sql: &Connection, name: &str) -> Result<bool, StoreError> {
    Ok(sql
        .prepare("SELECT 1 FROM destinations WHERE name = ?1")?
        .exists([name])?)
}

impl Operator {
    /// The latest deliveries that match, latest first.
    pub fn list(&self, query: &ListQuery) -> Result<Vec<ListedDelivery>, StoreError> {
        let now = self.now();
        Ok(self.read(|sql| read(sql, query, now))?.found)
    }

    /// Whether anything was ever sent to a destination of this name.
    pub fn is_destination(&self, name: &str) -> Result<bool, StoreError> {
        self.read(|sql| is_destination(sql, name))
    }
}

impl Sqlite {
    /// Whether anything was ever sent to a destination of this name.
    pub async fn is_destination(&self, name: String) -> Result<bool, StoreError> {
        self.read(move |sql| is_destination(sql, &name)).await
    }

    /// A page of the deliveries that match, latest first.
    pub async fn deliveries_page(&self, query: ListQuery) -> Result<Listing, StoreError> {
        let now = self.shared().clock.now();
        self.read(move |sql| read(sql, &query, now)).await
    }

    /// Counts the deliveries that match, up to `most`.
    pub async fn count_deliveries(
        &self,
        query: ListQuery,
        most: usize,
    ) -> Result<DeliveryCount, StoreError> {
        let shared = Arc::clone(self.shared());
        let now = shared.clock.now();
        self.read(move |sql| count(sql, &shared.counts, query, most, now))
            .await
    }
}

#[cfg(test)]
impl Sqlite {
    /// The latest deliveries that match, latest first.
    pub fn list(&self, query: &ListQuery) -> Result<Vec<ListedDelivery>, StoreError> {
        let now = self.shared().clock.now();
        Ok(self.read_blocking(|sql| read(sql, query, now))?.found)
    }
}

#[cfg(test)]
mod tests;
