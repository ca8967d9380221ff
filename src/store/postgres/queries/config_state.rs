//! The configuration that runs, and the deliveries that a reload touches.

use tokio_postgres::Row;

use crate::clock::Timestamp;
use crate::store::error::StoreError;
use crate::store::postgres::connection::{Call, Connection};
use crate::store::postgres::failure::Failure;
use crate::store::postgres::handle::Postgres;
use crate::store::postgres::nodes::TELL;
use crate::store::postgres::operator::Operator;
use crate::store::postgres::reader::Reader;
use crate::store::postgres::values::{maybe_text, number};
use crate::store::types::{Affected, ConfigAttempt, ConfigState, OnHangup};

/// The state of a node, or the latest of all: each node has a row.
const SELECT_STATE: &str = "SELECT attempts, began_at, is_dry_run, generation, fingerprint, report,
            error, process, on_hangup
     FROM relay.config_state WHERE $1::text IS NULL OR node = $1
     ORDER BY began_at DESC LIMIT 1";

/// The answer of a node to a request, or to a later one.
const SELECT_ANSWER: &str = "SELECT attempts, began_at, is_dry_run, generation, fingerprint,
            report, error, process, on_hangup
     FROM relay.config_state WHERE node = $1 AND answers >= $2 AND is_dry_run = $3";

/// Asks a living node for a reload; the number of the request.
const ASK: &str = "UPDATE relay.nodes
     SET reloads = reloads + CASE WHEN $2::bool THEN 0 ELSE 1 END,
         dry_runs = dry_runs + CASE WHEN $2 THEN 1 ELSE 0 END
     WHERE name = $1 AND seen_at > clock_timestamp() - lease
     RETURNING CASE WHEN $2 THEN dry_runs ELSE reloads END";

/// Counts a bounded number of rows. Claimed deliveries stand among those that wait.
const SELECT_AFFECTED: &str = "SELECT t.name, t.paused_at IS NOT NULL,
            (SELECT count(*) FROM (SELECT 1 FROM relay.waiting w
             WHERE w.destination_id = t.id LIMIT $2) x)
     FROM unnest($1::text[]) WITH ORDINALITY AS n(name, place)
          CROSS JOIN LATERAL (
              SELECT * FROM relay.destinations x WHERE x.name = n.name OFFSET 0) AS t
     ORDER BY n.place";

fn config_state(sql: &mut Connection, node: Option<&str>) -> Result<ConfigState, Failure> {
    let found = sql.first(SELECT_STATE, &[&node])?;
    found.as_ref().map_or_else(|| Ok(none_yet()), state)
}

fn state(row: &Row) -> Result<ConfigState, Failure> {
    let report = maybe_text(row, 5)?;
    let error = maybe_text(row, 6)?;
    Ok(ConfigState {
        attempts: number(row, 0)?,
        last: ConfigAttempt {
            began_at: row.try_get(1)?,
            is_dry_run: row.try_get(2)?,
            generation: number(row, 3)?,
            fingerprint: row.try_get(4)?,
            report: error.map_or(Ok(report.unwrap_or_default()), Err),
            process: number(row, 7)?,
            on_hangup: row.try_get(8)?,
        },
    })
}

/// The state of a database on which no server has run.
fn none_yet() -> ConfigState {
    ConfigState {
        attempts: 0,
        last: ConfigAttempt {
            began_at: Timestamp::from_millis(0),
            is_dry_run: false,
            generation: 0,
            fingerprint: String::new(),
            report: Ok(String::new()),
            process: 0,
            on_hangup: OnHangup::Reloads,
        },
    }
}

fn affected(sql: &mut Connection, names: &[String]) -> Result<Vec<Affected>, Failure> {
    let rows = sql.rows(SELECT_AFFECTED, &[&names, &Affected::MAX_COUNTED])?;
    let of = |row: &Row| {
        Ok(Affected {
            name: row.try_get(0)?,
            pending: number(row, 2)?,
            is_paused: row.try_get(1)?,
        })
    };
    rows.iter().map(of).collect()
}

impl Postgres {
    /// The configuration that this node runs, and its last attempt to take one over.
    pub async fn config_state(&self) -> Result<ConfigState, StoreError> {
        let node = self.shared().node_name();
        self.read_async(move |sql| config_state(sql, Some(&node)))
            .await
    }
}

impl Operator {
    /// The configuration that a server runs, and its last attempt to take one over: of several
    /// nodes, the one that did so last.
    pub fn config_state(&self) -> Result<ConfigState, StoreError> {
        self.read(|sql| config_state(sql, None))
    }

    /// The same of one node.
    pub fn config_state_of(&self, node: &str) -> Result<ConfigState, StoreError> {
        self.read(|sql| config_state(sql, Some(node)))
    }

    /// Asks a node for a reload; the number of the request. None if no living node has this name.
    pub fn ask_to_reload(&self, node: &str, is_dry_run: bool) -> Result<Option<i64>, StoreError> {
        let asked = self.change(|sql| {
            let asked: [Call<'_>; 2] = [(ASK, &[&node, &is_dry_run]), (TELL, &[])];
            let rows = sql.transaction(&asked)?;
            let row = rows.first().and_then(|rows| rows.first());
            Ok(row.map(|row| row.try_get(0)).transpose()?)
        })?;
        Ok(asked)
    }

    /// A node's answer to a request of this number; none until it has answered.
    pub fn reload_answer(
        &self,
        node: &str,
        number: i64,
        is_dry_run: bool,
    ) -> Result<Option<ConfigAttempt>, StoreError> {
        self.read(|sql| {
            let found = sql.first(SELECT_ANSWER, &[&node, &number, &is_dry_run])?;
            Ok(found
                .as_ref()
                .map(state)
                .transpose()?
                .map(|state| state.last))
        })
    }
}

impl Reader {
    /// The deliveries of these destinations that a reload touches, as far as the store knows them.
    pub fn affected(&self, names: &[String]) -> Result<Vec<Affected>, StoreError> {
        self.read(|sql| affected(sql, names))
    }
}
