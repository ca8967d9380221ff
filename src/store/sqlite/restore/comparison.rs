//! Compares a backup with the database that it replaces: which of its pending deliveries were made
//! since, and what was erased since.

use std::collections::BTreeMap;

use rusqlite::{Connection, TransactionBehavior, params};

use super::pending::{Fate, Old, PendingDelivery, Replaced, pending_after, pending_of};
use super::settle::settle;
use crate::clock::Timestamp;
use crate::store::error::StoreError;
use crate::store::limits::STEP_ROWS;
use crate::store::sqlite::ops::erase_again;
use crate::store::sqlite::tx::Tx;
use crate::store::types::{Comparison, DestinationId, IntentRow, PendingOf};

/// Erasures that are read and made at a time.
const ERASURES: i64 = 64;

/// Compares, makes the erasures again, and settles if it is told to.
pub fn compare(
    sql: &mut Connection,
    old: &Old,
    is_settling: bool,
    now: Timestamp,
) -> Result<Comparison, StoreError> {
    let mut comparison = Comparison::default();
    let old = match old {
        Old::Readable(old) => Some(&**old),
        Old::Absent => {
            comparison.problem = Some("there was no database".to_owned());
            None
        }
        Old::Unknown(why) => {
            comparison.problem = Some(why.clone());
            None
        }
    };
    if let Some(old) = old {
        comparison.problem.clone_from(&old.problem);
        match erase_since(sql, old, now)? {
            Ok(erased) => comparison.erased = erased,
            Err(why) => comparison.problem = Some(why),
        }
        let newest: i64 = sql.query_row("SELECT coalesce(max(id), 0) FROM intents", [], |row| {
            row.get(0)
        })?;
        comparison.newer = old.newer(newest).ok().flatten();
    }
    pending(sql, old, is_settling, now, &mut comparison)?;
    Ok(comparison)
}

/// Counts the pending deliveries by destination, and settles those that were delivered.
pub fn pending(
    sql: &mut Connection,
    old: Option<&Replaced>,
    is_settling: bool,
    now: Timestamp,
    comparison: &mut Comparison,
) -> Result<(), StoreError> {
    let mut by_name: BTreeMap<String, PendingOf> = BTreeMap::new();
    let mut old = old;
    let mut after = (IntentRow(0), DestinationId(0));
    loop {
        let page = pending_after(sql, after)?;
        let Some(last) = page.last() else { break };
        after = (last.intent, last.destination);
        let mut delivered = Vec::new();
        for one in page {
            let fate = match old.map(|old| old.fate(&one)).transpose() {
                Ok(fate) => fate,
                Err(error) => {
                    comparison.problem = Some(format!("it can't be read: {error}"));
                    old = None;
                    None
                }
            };
            let of = by_name.entry(one.name.clone()).or_default();
            of.pending += 1;
            match fate {
                Some(Fate::Delivered) => {
                    of.delivered += 1;
                    delivered.push(one);
                }
                Some(Fate::Absent) => of.absent += 1,
                Some(Fate::Other) | None => {}
            }
        }
        if is_settling {
            comparison.settled += settle_all(sql, &delivered, now)?;
        }
    }
    comparison.pending = by_name
        .into_iter()
        .map(|(destination, of)| PendingOf { destination, ..of })
        .collect();
    Ok(())
}

fn settle_all(
    sql: &mut Connection,
    delivered: &[PendingDelivery],
    now: Timestamp,
) -> Result<i64, StoreError> {
    let mut settled = 0;
    for some in delivered.chunks(STEP_ROWS) {
        settled += in_transaction(sql, now, |tx| settle(tx, some))?;
    }
    Ok(settled)
}

/// Makes a change of the copy, as a command would.
fn in_transaction<T>(
    sql: &mut Connection,
    now: Timestamp,
    change: impl FnOnce(&Tx<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let transaction = sql.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let tx = Tx::of_operator(&transaction, now);
    let out = change(&tx)?;
    tx.into_changes().leave(&transaction)?;
    transaction.commit()?;
    Ok(out)
}

/// Erases again what was erased since the backup. The inner error says why the old database doesn't
/// tell.
fn erase_since(
    sql: &mut Connection,
    old: &Replaced,
    now: Timestamp,
) -> Result<Result<i64, String>, StoreError> {
    // Nothing of it stays in the copy's free space.
    sql.pragma_update(None, "secure_delete", true)?;
    let (mut after, mut erased) = (IntentRow(0), 0);
    loop {
        let page = match erasures_after(&old.sql, after) {
            Ok(page) => page,
            Err(error) => return Ok(Err(format!("its erasures can't be read: {error}"))),
        };
        let Some((last, _)) = page.last() else {
            return Ok(Ok(erased));
        };
        after = *last;
        erased += in_transaction(sql, now, |tx| {
            page.iter().try_fold(0, |erased, (intent, at)| {
                // An erasure gives up what is pending: not what was delivered before it.
                let mut delivered = pending_of(tx.sql, *intent)?;
                delivered.retain(|one| matches!(old.fate(one), Ok(Fate::Delivered)));
                settle(tx, &delivered)?;
                Ok(erased + i64::from(erase_again(tx, *intent, *at)?))
            })
        })?;
    }
}

fn erasures_after(
    old: &Connection,
    after: IntentRow,
) -> rusqlite::Result<Vec<(IntentRow, Timestamp)>> {
    let mut statement = old.prepare_cached(
        "SELECT intent_id, at FROM erasures WHERE intent_id > ?1 ORDER BY intent_id LIMIT ?2",
    )?;
    let rows = statement.query_map(params![after, ERASURES], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    rows.collect()
}
