//! The statements that find the deliveries, or the events, that a bulk operation selects.
//!
//! A statement has the columns of [`Found`], in this order, and `n`, the number of the row among
//! those that were looked at. Rows that don't match come back only if they end a page.

use tokio_postgres::Row;

use crate::model::OrderKey;
use crate::store::bulk::{
    Access, CountBudget, Cursor, LOOKS, Page, Selected, Selection, SelectionCount,
};
use crate::store::limits::MAX_HISTORY;
use crate::store::postgres::connection::{Connection, Param};
use crate::store::postgres::failure::Failure;
use crate::store::postgres::text::Text;
use crate::store::postgres::values::{limit, number, wanted_type};
use crate::store::types::{BulkAction, IntentRow};

/// The deliveries in flight: those of turns, unless they were released. One whose attempt was
/// settled has a longer history.
pub const CLAIMED: &str = "claimed AS MATERIALIZED (
    SELECT u.i, u.d, u.h
    FROM relay.claims c CROSS JOIN LATERAL
         unnest(c.intents, c.destinations, c.attempts, c.histories) AS u(i, d, a, h)
    WHERE u.a > 0)";

/// Gives all parameters their types, whether or not a statement uses them. $1: the only intents;
/// $2: destination; $3: target; $4: source; $5: type; $6: beginning of a type; $7: part of the last
/// error; $8, $9: the first and the last time; $10, $11: the first and the last intent; $12: when
/// the operation began; $13 to $15: the cursor; $16: rows to look at; $17: states.
const TYPED: &str = "typed AS (
    SELECT $1::int8[], $2::int4, $3::int4, $4::bytea, $5::bytea, $6::bytea, $7::bytea, $8::int8,
           $9::int8, $10::int8, $11::int8, $12::int8, $13::int8, $14::int8, $15::int8, $16::int8,
           $17::int8)";

/// The conditions on an intent `i`.
const OF_INTENT: &str = "($4::bytea IS NULL OR (i.surface = 1 AND i.label = $4::bytea))
    AND ($5::bytea IS NULL
         OR $5::bytea = CASE WHEN i.surface = 1 THEN i.event_type ELSE i.label END)
    AND ($6::bytea IS NULL
         OR $6::bytea = substr(CASE WHEN i.surface = 1 THEN i.event_type ELSE i.label END, 1,
                               octet_length($6::bytea)))";

/// The condition on a delivery's last error.
const OF_REASON: &str = "($7::bytea IS NULL OR position($7::bytea IN d.last_error) > 0)";

const OF_STATE: &str = "($17::int8 >> d.state::int4) & 1 = 1";

/// All deliveries: those in flight are processing.
const DELIVERIES: &str = "(
    SELECT w.intent_id, w.destination_id, w.updated_at, w.history, w.order_key, w.place,
           w.next_attempt_at, w.last_error, NULL::int8 AS discarded_at,
           CASE WHEN (w.intent_id, w.destination_id, w.history) IN (SELECT i, d, h FROM claimed)
                THEN 1::int2 ELSE w.state END AS state
    FROM relay.waiting w
    UNION ALL
    SELECT e.intent_id, e.destination_id, e.updated_at, e.history, e.order_key, e.place,
           NULL::int8, e.last_error, e.discarded_at, e.state
    FROM relay.ended e) d";

/// The columns of a delivery `d`, up to its cursor.
fn delivery_columns(bytes: &str) -> String {
    format!(
        "d.intent_id, d.destination_id, d.state, d.updated_at, least(d.history, {MAX_HISTORY}) AS
         history, {bytes} AS bytes, CASE WHEN d.place IS NULL THEN d.order_key END AS line"
    )
}

/// Rows after the cursor, in the order of the selection.
fn looked(selection: &Selection) -> String {
    let is_joined =
        selection.source.is_some() || selection.event_type.is_some() || selection.reads_bytes();
    let (join, bytes, of_intent) = if is_joined {
        (
            "JOIN relay.intents i ON i.id = d.intent_id",
            "octet_length(i.headers) + octet_length(i.body)",
            OF_INTENT,
        )
    } else {
        ("", "0", "true")
    };
    let delivery = delivery_columns(bytes);
    let (skipped, unchanged) = (skipped(selection.action), unchanged(selection.action));
    match selection.access() {
        Access::Dead => format!(
            "SELECT {delivery}, d.updated_at AS at, 0::int8 AS more, false AS skipped,
                    (d.updated_at >= $8::int8 AND {of_intent} AND {OF_REASON}) IS TRUE AS matches
             FROM relay.ended d {join}
             WHERE d.state = 4 AND d.discarded_at IS NULL AND d.destination_id = $2::int4
               AND (d.updated_at, d.intent_id) > ($13::int8, $14::int8)
               AND d.updated_at <= $9::int8
             ORDER BY d.updated_at, d.intent_id LIMIT $16::int8"
        ),
        Access::Waiting => format!(
            "SELECT {delivery}, d.next_attempt_at AS at, 0::int8 AS more,
                    ({skipped}) IS TRUE AS skipped,
                    (d.intent_id BETWEEN $10::int8 AND $11::int8 AND {OF_STATE}
                     AND (d.intent_id, d.destination_id, d.history)
                         NOT IN (SELECT i, d, h FROM claimed)
                     AND {of_intent} AND {OF_REASON} AND {unchanged}) IS TRUE AS matches
             FROM relay.waiting d {join}
             WHERE d.destination_id = $2::int4
               AND (d.next_attempt_at, d.intent_id) > ($13::int8, $14::int8)
             ORDER BY d.next_attempt_at, d.intent_id LIMIT $16::int8"
        ),
        Access::Deliveries => format!(
            "SELECT {delivery}, 0::int8 AS at, d.destination_id::int8 AS more,
                    ({skipped}) IS TRUE AS skipped,
                    (($2::int4 IS NULL OR d.destination_id = $2::int4)
                     AND d.discarded_at IS NULL AND {OF_STATE}
                     AND {of_intent} AND {OF_REASON} AND {unchanged}) IS TRUE AS matches
             FROM {DELIVERIES} {join}
             WHERE (d.intent_id, d.destination_id) > ($14::int8, $15::int8)
               AND d.intent_id <= $11::int8 AND {of_ids}
             ORDER BY d.intent_id, d.destination_id LIMIT $16::int8",
            of_ids = of_ids(selection, "d.intent_id"),
        ),
        Access::Intents => looked_intents(selection),
    }
}

fn looked_intents(selection: &Selection) -> String {
    // Only events have a source, and so routes.
    let surface = if selection.action == BulkAction::Route {
        "i.surface = 1"
    } else {
        "true"
    };
    let skipped = if selection.action == BulkAction::Erase {
        // Erased already.
        "i.gone = 1".to_owned()
    } else {
        exists_at("i.id", "$3::int4")
    };
    format!(
        "SELECT i.id AS intent_id, 0::int4 AS destination_id, 0::int2 AS state,
                i.created_at AS updated_at, 0 AS history,
                octet_length(i.headers) + octet_length(i.body) AS bytes, NULL::int8 AS line,
                0::int8 AS at, 0::int8 AS more, ({skipped}) IS TRUE AS skipped,
                ({OF_INTENT} AND {of_delivery} AND {surface}) IS TRUE AS matches
         FROM relay.intents i
         WHERE i.id > $14::int8 AND i.id <= $11::int8 AND {of_ids}
         ORDER BY i.id LIMIT $16::int8",
        of_ids = of_ids(selection, "i.id"),
        of_delivery = of_delivery(selection),
    )
}

fn of_ids(selection: &Selection, intent: &str) -> String {
    match selection.ids {
        Some(_) => format!("{intent} = ANY($1::int8[])"),
        None => "true".to_owned(),
    }
}

/// Whether an intent has a delivery at a destination.
fn exists_at(intent: &str, destination: &str) -> String {
    format!(
        "EXISTS (SELECT 1 FROM relay.waiting o
                 WHERE o.intent_id = {intent} AND o.destination_id = {destination})
         OR EXISTS (SELECT 1 FROM relay.ended o
                    WHERE o.intent_id = {intent} AND o.destination_id = {destination})"
    )
}

/// Whether there is nothing to do for a delivery.
fn skipped(action: BulkAction) -> String {
    match action {
        BulkAction::Retry => "d.next_attempt_at <= $12::int8".to_owned(),
        BulkAction::Reroute => exists_at("d.intent_id", "$3::int4"),
        _ => "false".to_owned(),
    }
}

/// Whether a delivery is as it was when the operation began. Waiting ones are discarded and moved
/// also if an attempt has failed since: then they are as unwanted as before.
fn unchanged(action: BulkAction) -> &'static str {
    match action {
        BulkAction::Retry => {
            "d.updated_at <= $12::int8 AND d.next_attempt_at < 9223372036854775807"
        }
        BulkAction::Discard | BulkAction::Reroute => "true",
        _ => "d.updated_at < $12::int8",
    }
}

/// Whether an event has a delivery that the filter asks for.
fn of_delivery(selection: &Selection) -> String {
    if !selection.is_of_deliveries() {
        return "true".to_owned();
    }
    format!(
        "EXISTS (SELECT 1 FROM {DELIVERIES}
                 WHERE d.intent_id = i.id
                   AND ($2::int4 IS NULL OR d.destination_id = $2::int4)
                   AND d.discarded_at IS NULL AND {OF_STATE} AND {OF_REASON})"
    )
}

/// The parameters of a selection.
struct Params<'a> {
    ids: Option<&'a [IntentRow]>,
    texts: [Option<Text<'a>>; 4],
    numbers: [i64; 9],
    selection: &'a Selection,
}

impl<'a> Params<'a> {
    fn of(selection: &'a Selection, after: Cursor, looks: i64) -> Self {
        let (whole, beginning) = wanted_type(selection.event_type.as_deref());
        Self {
            ids: selection.ids.as_deref(),
            texts: [
                selection.source.as_ref().map(Text::from),
                whole,
                beginning,
                selection.reason.as_ref().map(Text::from),
            ],
            numbers: [
                selection.since.as_millis(),
                selection.last_time().as_millis(),
                selection.first_intent().0,
                selection.last_intent(),
                selection.begun_at.as_millis(),
                after.at,
                after.intent,
                after.more,
                looks,
            ],
            selection,
        }
    }

    fn bound(&self) -> Vec<Param<'_>> {
        let selection = self.selection;
        let mut bound: Vec<Param<'_>> = vec![&self.ids, &selection.destination, &selection.target];
        bound.extend(self.texts.iter().map(|text| -> Param<'_> { text }));
        bound.extend(self.numbers.iter().map(|number| -> Param<'_> { number }));
        bound.push(&selection.states.0);
        bound
    }
}

fn read(row: &Row, is_of_events: bool) -> Result<Selected, Failure> {
    let intent: IntentRow = row.try_get(0)?;
    let destination = row.try_get(1)?;
    let line: Option<OrderKey> = row.try_get(6)?;
    Ok(Selected {
        intent,
        destination: (!is_of_events).then_some(destination),
        state: row.try_get(2)?,
        updated_at: row.try_get(3)?,
        history: number(row, 4)?,
        bytes: number(row, 5)?,
        line,
        is_skipped: row.try_get(9)?,
        cursor: Cursor {
            at: row.try_get(7)?,
            intent: intent.0,
            more: row.try_get(8)?,
        },
    })
}

/// The next page of a selection. The rows come in the order in which they are numbered: a sort
/// would read all of them before the first comes.
pub fn page(
    sql: &mut Connection,
    selection: &Selection,
    after: Cursor,
    wanted: usize,
) -> Result<Page, Failure> {
    let text = format!(
        "WITH {TYPED}, {CLAIMED}
         SELECT * FROM (SELECT p.*, row_number() OVER () AS n FROM ({}) p) q
         WHERE q.matches OR q.n = $16::int8 LIMIT $18::int8",
        looked(selection)
    );
    let looks = limit(LOOKS);
    let params = Params::of(selection, after, looks);
    let mut bound = params.bound();
    // One row more tells whether there are any.
    let most = limit(wanted.saturating_add(1));
    bound.push(&most);
    let mut page = Page {
        selected: Vec::new(),
        looked: 0,
        end: after,
        is_last: false,
    };
    for row in sql.rows(&text, &bound)? {
        if page.selected.len() == wanted {
            return Ok(page);
        }
        let selected = read(&row, selection.action.is_of_events())?;
        page.looked = number(&row, 11)?;
        page.end = selected.cursor;
        if row.try_get(10)? {
            page.selected.push(selected);
        }
    }
    page.is_last = page.looked < LOOKS;
    Ok(page)
}

/// How many there are to act on, and how many to skip, as far as the budget goes.
pub fn count(
    sql: &mut Connection,
    selection: &Selection,
    budget: &mut CountBudget,
) -> Result<SelectionCount, Failure> {
    if budget.is_spent() {
        return Ok(SelectionCount::default());
    }
    let text = format!(
        "WITH {TYPED}, {CLAIMED}
         SELECT count(*) FILTER (WHERE c.is_counted AND c.matches AND NOT c.skipped),
                count(*) FILTER (WHERE c.is_counted AND c.matches AND c.skipped),
                count(*) FILTER (WHERE c.is_counted), bool_and(c.is_counted) IS NOT FALSE
         FROM (SELECT p.matches, p.skipped,
                      row_number() OVER () < $16::int8
                      AND count(*) FILTER (WHERE p.matches) OVER
                          (ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
                          - p.matches::int4 < $18::int8 AS is_counted
               FROM ({}) p) c",
        looked(selection)
    );
    // One row more tells whether there are any.
    let params = Params::of(selection, selection.start(), budget.looks.saturating_add(1));
    let mut bound = params.bound();
    bound.push(&budget.matches);
    let row = sql.one(&text, &bound)?;
    let (found, skipped, looked): (i64, i64, i64) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let is_exact = row.try_get(3)?;
    budget.looks -= looked;
    budget.matches -= found + skipped;
    Ok(SelectionCount {
        found,
        skipped,
        is_exact,
    })
}

/// Selected deliveries that are in flight.
pub fn in_flight(sql: &mut Connection, selection: &Selection) -> Result<i64, Failure> {
    let text = format!(
        "WITH {TYPED}, {CLAIMED}
         SELECT count(*) FROM claimed c
             JOIN relay.waiting d ON d.intent_id = ANY(ARRAY[c.i])
                                  AND d.destination_id = ANY(ARRAY[c.d]) AND d.history = c.h
             JOIN relay.intents i ON i.id = ANY(ARRAY[c.i])
         WHERE ($2::int4 IS NULL OR c.d = $2::int4)
           AND ($1::int8[] IS NULL OR c.i = ANY($1::int8[]))
           AND c.i BETWEEN $10::int8 AND $11::int8 AND {OF_INTENT} AND {OF_REASON}"
    );
    let params = Params::of(selection, Cursor::default(), 0);
    Ok(sql.one(&text, &params.bound())?.try_get(0)?)
}
