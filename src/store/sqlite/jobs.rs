//! Bulk operations on dead letters, as jobs in the database: done in small steps, so that they survive
//! a restart, yield to live traffic and can be cancelled.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::replay::{REPLAY_ROWS, discard, discard_rows, replay};
use super::{LongWrite, MAX_HISTORY, RowBudget, StoreError, Tx, WriteOp};
use crate::clock::Timestamp;

/// Dead letters of a job looked at in one step.
const LOOK: i64 = 100;
/// Rows written in one step, for all jobs together: two to three milliseconds of the writer's time
/// (10 µs a row, measured). A quarter of a transaction, as for the rest of maintenance.
const STEP_ROWS: usize = 256;
/// Jobs looked at in one step. A command may make one for each ad hoc origin; asking whether a
/// replay has to wait takes 20 µs.
const LOOK_JOBS: i64 = 64;

/// A paced replay adds nothing while so many deliveries wait for the destination: what comes in
/// meanwhile has no more than these before it.
const MAX_WAITING: i64 = 200;

/// What is done to the dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub(crate) enum JobKind {
    Replay = 0,
    Discard = 1,
}

impl JobKind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Discard => "discard",
        }
    }
}

/// Which dead letters.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    /// None: all destinations.
    pub destination: Option<String>,
    pub source: Option<String>,
    /// A part of the last error.
    pub reason: Option<String>,
    /// When they were given up.
    pub since: Timestamp,
    pub until: Timestamp,
}

/// The condition on a dead letter `d` of the intent `i`; ?2 to ?5 are source, reason, since
/// and until.
const MATCHES: &str = "d.state = 4 AND d.updated_at >= ?4 AND d.updated_at <= ?5
     AND (?2 IS NULL OR (i.surface = 1 AND i.label = ?2))
     AND (?3 IS NULL OR instr(d.last_error, ?3) > 0)";

impl Filter {
    /// The same for what was given up before now: what is given up later, a letter that the very job
    /// replays among them, isn't the job's own.
    pub fn before(mut self, now: Timestamp) -> Self {
        self.until = self.until.min(now.minus(Duration::from_millis(1)));
        self
    }

    /// How many dead letters of which destinations it matches.
    pub fn count(&self, sql: &Connection) -> Result<Vec<(i64, String, i64)>, StoreError> {
        let mut statement = sql.prepare(&format!(
            "SELECT t.id, t.name,
                    (SELECT count(*) FROM deliveries d JOIN intents i ON i.id = d.intent_id
                     WHERE d.destination_id = t.id AND {MATCHES}) AS found
             FROM destinations t WHERE (?1 IS NULL OR t.name = ?1) AND found > 0 ORDER BY t.name"
        ))?;
        let rows = statement.query_map(
            params![
                self.destination,
                self.source,
                self.reason,
                self.since.as_millis(),
                self.until.as_millis()
            ],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// Makes one job for each of these destinations. They have been counted before: that may take long,
/// and nobody must wait for it.
pub(crate) struct CreateJobs {
    kind: JobKind,
    filter: Filter,
    found: Vec<(i64, String, i64)>,
    /// The jobs that were made.
    pub jobs: Vec<i64>,
}

impl CreateJobs {
    /// `found` is what [`Filter::count`] counted.
    pub fn new(kind: JobKind, filter: Filter, found: Vec<(i64, String, i64)>) -> Self {
        Self {
            kind,
            filter,
            found,
            jobs: Vec::new(),
        }
    }
}

impl LongWrite for CreateJobs {
    type Step = CreateSomeJobs;

    fn next_step(&mut self, rows: usize) -> Option<CreateSomeJobs> {
        let rest = &self.found[self.jobs.len()..];
        let count = RowBudget::of(rows).spend_on(rest, |_| 1);
        (count > 0).then(|| CreateSomeJobs {
            kind: self.kind,
            filter: self.filter.clone(),
            totals: rest[..count]
                .iter()
                .map(|(destination, _, total)| (*destination, *total))
                .collect(),
        })
    }

    fn committed(&mut self, jobs: Vec<i64>) {
        self.jobs.extend(jobs);
    }
}

/// One transaction's share of a [`CreateJobs`].
pub(crate) struct CreateSomeJobs {
    kind: JobKind,
    filter: Filter,
    /// How many dead letters of which destination.
    totals: Vec<(i64, i64)>,
}

impl WriteOp for CreateSomeJobs {
    type Out = Vec<i64>;

    fn apply(&self, tx: &Tx<'_>) -> Result<Vec<i64>, StoreError> {
        let filter = &self.filter;
        let mut jobs = Vec::new();
        for (destination, total) in &self.totals {
            tx.execute(
                "INSERT INTO jobs (kind, destination_id, source, reason, since, until, total,
                                       cursor_at, cursor_intent, created_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?5, 0, ?8)",
                params![
                    self.kind as i64,
                    destination,
                    filter.source,
                    filter.reason,
                    filter.since.as_millis(),
                    filter.until.as_millis(),
                    total,
                    tx.now.as_millis(),
                ],
            )?;
            jobs.push(tx.sql.last_insert_rowid());
        }
        Ok(jobs)
    }

    fn rows(&self) -> usize {
        self.totals.len()
    }
}

/// Ends a job before it is done; what it has done stays done. Returns whether it was under way.
pub(crate) struct CancelJob(pub i64);

impl WriteOp for CancelJob {
    type Out = bool;

    fn apply(&self, tx: &Tx<'_>) -> Result<bool, StoreError> {
        let cancelled = tx.execute(
            "UPDATE jobs SET ended_at = ?2, is_cancelled = 1 WHERE id = ?1 AND ended_at IS NULL",
            params![self.0, tx.now.as_millis()],
        )?;
        Ok(cancelled > 0)
    }
}

/// A job as it is shown.
#[derive(Clone, Debug)]
pub(crate) struct BulkJob {
    pub id: i64,
    pub kind: JobKind,
    pub destination: String,
    pub total: i64,
    pub done: i64,
    pub created_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub is_cancelled: bool,
}

impl BulkJob {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let kind: i64 = row.get(1)?;
        Ok(Self {
            id: row.get(0)?,
            kind: if kind == JobKind::Replay as i64 {
                JobKind::Replay
            } else {
                JobKind::Discard
            },
            destination: row.get(2)?,
            total: row.get(3)?,
            done: row.get(4)?,
            created_at: Timestamp::from_millis(row.get(5)?),
            ended_at: row.get::<_, Option<i64>>(6)?.map(Timestamp::from_millis),
            is_cancelled: row.get(7)?,
        })
    }

    /// Whether any job is under way.
    pub fn is_any_under_way(sql: &Connection) -> Result<bool, StoreError> {
        Ok(sql
            .prepare_cached("SELECT 1 FROM jobs WHERE ended_at IS NULL LIMIT 1")?
            .exists([])?)
    }

    /// These jobs; those under way if none are named.
    pub fn read(sql: &Connection, ids: &[i64]) -> Result<Vec<Self>, StoreError> {
        const COLUMNS: &str =
            "SELECT j.id, j.kind, t.name, j.total, j.done, j.created_at, j.ended_at, j.is_cancelled
             FROM jobs j JOIN destinations t ON t.id = j.destination_id";
        if ids.is_empty() {
            let mut statement =
                sql.prepare(&format!("{COLUMNS} WHERE j.ended_at IS NULL ORDER BY j.id"))?;
            let rows = statement.query_map([], Self::from_row)?;
            return Ok(rows.collect::<Result<_, _>>()?);
        }
        let mut statement = sql.prepare(&format!("{COLUMNS} WHERE j.id = ?1"))?;
        let mut jobs = Vec::new();
        for id in ids {
            jobs.extend(statement.query_row([id], Self::from_row).optional()?);
        }
        Ok(jobs)
    }
}

/// Goes on with the jobs that are under way by one step: with the first that may, and then the next.
pub(crate) struct StepJobs {
    /// Whether replays wait while much is waiting already: as long as somebody delivers.
    pub is_paced: bool,
    /// Only jobs after this one are looked at; 0 at first.
    pub after: i64,
}

/// What a step led to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stepped {
    /// Dead letters replayed or discarded.
    pub done: usize,
    /// The job to look on after, if all that were looked at have to wait and there are more.
    pub after: Option<i64>,
}

struct Cursor {
    job: i64,
    kind: i64,
    destination: i64,
    at: i64,
    intent: i64,
}

impl WriteOp for StepJobs {
    type Out = Stepped;

    fn apply(&self, tx: &Tx<'_>) -> Result<Stepped, StoreError> {
        let jobs: Vec<Cursor> = tx.rows(
            "SELECT id, kind, destination_id, cursor_at, cursor_intent FROM jobs
             WHERE ended_at IS NULL AND id > ?1 ORDER BY id LIMIT ?2",
            [self.after, LOOK_JOBS],
            |row| {
                Ok(Cursor {
                    job: row.get(0)?,
                    kind: row.get(1)?,
                    destination: row.get(2)?,
                    at: row.get(3)?,
                    intent: row.get(4)?,
                })
            },
        )?;
        let is_full = i64::try_from(jobs.len()).unwrap_or(i64::MAX) == LOOK_JOBS;
        let last = jobs.last().map(|cursor| cursor.job);
        let mut stepped = Stepped::default();
        let mut has_stepped = false;
        let mut budget = RowBudget::of(STEP_ROWS);
        for mut cursor in jobs {
            if self.is_paced && cursor.is_crowded(tx)? {
                continue;
            }
            // The job itself.
            if !budget.spend(1) {
                break;
            }
            has_stepped = true;
            let (done, is_at_end) = cursor.step(&mut budget, tx)?;
            stepped.done += done;
            tx.execute(
                "UPDATE jobs SET done = done + ?2, cursor_at = ?3, cursor_intent = ?4, ended_at = ?5
                 WHERE id = ?1",
                params![
                    cursor.job,
                    i64::try_from(done).unwrap_or(i64::MAX),
                    cursor.at,
                    cursor.intent,
                    is_at_end.then_some(tx.now.as_millis()),
                ],
            )?;
        }
        stepped.after = last.filter(|_| is_full && !has_stepped);
        Ok(stepped)
    }

    fn rows(&self) -> usize {
        STEP_ROWS
    }
}

impl Cursor {
    fn is_crowded(&self, tx: &Tx<'_>) -> Result<bool, StoreError> {
        if self.kind != JobKind::Replay as i64 {
            return Ok(false);
        }
        let waiting: i64 = tx
            .sql
            .prepare_cached(
                "SELECT count(*) FROM (SELECT 1 FROM deliveries
                 WHERE destination_id = ?1 AND next_attempt_at <= ?2 LIMIT ?3)",
            )?
            .query_row(
                params![self.destination, tx.now.as_millis(), MAX_WAITING],
                |row| row.get(0),
            )?;
        Ok(waiting >= MAX_WAITING)
    }

    /// Does the next few; how many, and whether there are no more.
    fn step(&mut self, budget: &mut RowBudget, tx: &Tx<'_>) -> Result<(usize, bool), StoreError> {
        // The command that made a job has a clock of its own. A delivery that fails anew must never
        // belong to the job again, or the job would never end.
        let before = tx.now.minus(Duration::from_millis(1)).as_millis();
        tx.execute(
            "UPDATE jobs SET until = ?2 WHERE id = ?1 AND until > ?2",
            [self.job, before],
        )?;
        // In the order of the index `dead`. A delivery that is replayed leaves it; one that doesn't
        // match stays, so the cursor moves past it.
        let mut statement = tx.sql.prepare_cached(&format!(
            "SELECT d.updated_at, d.intent_id, ({MATCHES}), min(d.history, ?9),
                    length(i.headers) + length(i.body)
             FROM deliveries d INDEXED BY dead JOIN intents i ON i.id = d.intent_id
             WHERE d.state = 4 AND d.destination_id = ?1
               AND (d.updated_at, d.intent_id) > (?6, ?7) AND d.updated_at <= ?5
             ORDER BY d.updated_at, d.intent_id LIMIT ?8"
        ))?;
        let (source, reason, since, until): (Option<String>, Option<String>, i64, i64) = tx
            .sql
            .prepare_cached("SELECT source, reason, since, until FROM jobs WHERE id = ?1")?
            .query_row([self.job], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })?;
        let mut rows = statement.query(params![
            self.destination,
            source,
            reason,
            since,
            until,
            self.at,
            self.intent,
            LOOK,
            MAX_HISTORY,
        ])?;
        let mut found = Vec::new();
        let mut looked_at = 0;
        while let Some(row) = rows.next()? {
            let (at, intent, matches): (i64, i64, bool) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let cost = match self.kind {
                _ if !matches => 1,
                kind if kind == JobKind::Replay as i64 => REPLAY_ROWS,
                _ => discard_rows(row.get(3)?, row.get(4)?),
            };
            if !budget.spend(cost) {
                break;
            }
            looked_at += 1;
            (self.at, self.intent) = (at, intent);
            found.extend(matches.then_some(intent));
        }
        let is_at_end = looked_at < LOOK && rows.next()?.is_none();
        // The index that was being read is changed from here on.
        drop(rows);
        let mut done = 0;
        for intent in found {
            let act = if self.kind == JobKind::Replay as i64 {
                replay
            } else {
                discard
            };
            done += usize::from(act(tx, intent, self.destination)?);
        }
        Ok((done, is_at_end))
    }
}
