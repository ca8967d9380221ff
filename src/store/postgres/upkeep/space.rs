//! The space that is used.

use std::sync::atomic::Ordering;

use tokio_postgres::Row;

use crate::store::error::StoreError;
use crate::store::limits::SAMPLES_KEPT;
use crate::store::postgres::connection::Connection;
use crate::store::postgres::failure::Failure;
use crate::store::postgres::handle::Postgres;
use crate::store::postgres::operator::Operator;
use crate::store::postgres::reader::Reader;
use crate::store::types::SpaceSample;

/// Bytes of all tables, their indexes and what stands beside them.
const SELECT_STORED: &str = "
    SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::int8
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'relay' AND c.relkind = 'r'";

/// The sizes of each table, its rows, and their mean width without values that stand in its TOAST
/// table; none if nobody has analysed it yet.
const SELECT_TABLES: &str = "
    SELECT pg_relation_size(c.oid), pg_indexes_size(c.oid),
        coalesce(pg_total_relation_size(nullif(c.reltoastrelid, 0)), 0),
        greatest(coalesce(s.n_live_tup, 0), 0), greatest(coalesce(t.n_live_tup, 0), 0),
        c.reltuples::float8,
        (SELECT sum(p.avg_width * (1 - p.null_frac))::float8 FROM pg_stats p
         WHERE p.schemaname = n.nspname AND p.tablename = c.relname)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
        LEFT JOIN pg_stat_all_tables t ON t.relid = c.reltoastrelid
    WHERE n.nspname = 'relay' AND c.relkind = 'r'";

const INSERT_SAMPLE: &str = "
    WITH old AS (DELETE FROM relay.space_samples WHERE at < $3)
    INSERT INTO relay.space_samples (at, used) VALUES ($1, $2)
    ON CONFLICT (at) DO UPDATE SET used = excluded.used";

const SELECT_SAMPLES: &str = "SELECT at, used FROM relay.space_samples ORDER BY at";

/// Bytes of a row beside its values: its header and its place in the page.
const ROW_HEADER: f64 = 28.0;

/// Bytes that a full row of a TOAST table takes: a quarter of a page.
const TOAST_ROW: f64 = 2048.0;

/// The share of a page that rows fill as a rule.
const FILLED: f64 = 0.9;

/// The sizes of a table in bytes, and its rows.
struct Table {
    heap: f64,
    indexes: f64,
    toast: f64,
    live: f64,
    live_toast: f64,
    /// None if it isn't known.
    width: Option<f64>,
}

impl Table {
    #[expect(clippy::cast_precision_loss, reason = "an estimate of bytes and rows")]
    fn of(row: &Row) -> Result<Self, Failure> {
        let number = |at: usize| row.try_get::<_, i64>(at).map(|number| number as f64);
        let (live, known): (f64, f64) = (number(3)?, row.try_get(5)?);
        Ok(Self {
            heap: number(0)?,
            indexes: number(1)?,
            toast: number(2)?,
            // The server forgets its counters when it crashes.
            live: if live > 0.0 { live } else { known.max(0.0) },
            live_toast: number(4)?,
            width: row.try_get(6)?,
        })
    }

    /// Bytes of its rows. Files don't shrink when rows are deleted, so that a share of them counts:
    /// that of the rows which would fill it. The whole, while that is not known.
    fn used(&self) -> f64 {
        let Some(width) = self.width.filter(|_| self.live > 0.0) else {
            return self.heap + self.indexes + self.toast;
        };
        let rows = self.live * (width + ROW_HEADER) / FILLED;
        let share = if self.heap > 0.0 {
            (rows / self.heap).min(1.0)
        } else {
            1.0
        };
        let toast = (self.live_toast * TOAST_ROW).min(self.toast);
        (self.heap + self.indexes) * share + toast
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a sum of sizes is positive, and far below 2^53"
)]
fn used_bytes(connection: &mut Connection) -> Result<u64, Failure> {
    let rows = connection.rows(SELECT_TABLES, &[])?;
    let mut used = 0.0;
    for row in &rows {
        used += Table::of(row)?.used();
    }
    Ok(used as u64)
}

/// Bytes of the files of all tables.
pub fn stored_bytes(connection: &mut Connection) -> Result<u64, Failure> {
    let bytes: i64 = connection.one(SELECT_STORED, &[])?.try_get(0)?;
    Ok(u64::try_from(bytes).unwrap_or(0))
}

fn samples(connection: &mut Connection) -> Result<Vec<SpaceSample>, Failure> {
    let rows = connection.rows(SELECT_SAMPLES, &[])?;
    let sample = |row: &Row| {
        let used: i64 = row.try_get(1)?;
        Ok(SpaceSample {
            at: row.try_get(0)?,
            used: used.cast_unsigned(),
        })
    };
    rows.iter().map(sample).collect()
}

impl Postgres {
    /// Bytes of the files of all tables, as they were measured last, and no write-ahead log: that
    /// is the server's.
    pub fn file_sizes(&self) -> (u64, u64) {
        (self.shared().stored_bytes.load(Ordering::Relaxed), 0)
    }

    /// Free bytes of the database's disk: the server doesn't tell.
    pub fn free_bytes(&self) -> Option<u64> {
        None
    }

    /// Remembers how much space is used. Blocks.
    pub fn sample_space(&self, used: u64) -> Result<(), StoreError> {
        let now = self.shared().clock.now();
        let used = i64::try_from(used).unwrap_or(i64::MAX);
        let old = now.minus(SAMPLES_KEPT);
        self.change(|connection| connection.execute(INSERT_SAMPLE, &[&now, &used, &old]))?;
        Ok(())
    }
}

impl Operator {
    /// Bytes of the tables without what deletions have left free, as the server estimates them.
    pub fn used_pages(&self) -> Result<u64, StoreError> {
        self.read(used_bytes)
    }

    /// The samples of the space that was used, oldest first.
    pub fn space_samples(&self) -> Result<Vec<SpaceSample>, StoreError> {
        self.read(samples)
    }

    /// Free bytes of the store's disk: the server doesn't tell.
    pub fn free_bytes(&self) -> Option<u64> {
        None
    }
}

impl Reader {
    /// Bytes of the tables without what deletions have left free, as the server estimates them.
    pub fn used_pages(&self) -> Result<u64, StoreError> {
        self.read(used_bytes)
    }

    /// The samples of the space that was used, oldest first.
    pub fn space_samples(&self) -> Result<Vec<SpaceSample>, StoreError> {
        self.read(samples)
    }
}
