//! Removes dead rows from the small tables whose every row is soon deleted again, and from the big
//! ones after retention has deleted many.
//!
//! The server's own vacuum looks once a minute, whatever a table's threshold: at 5 000 deliveries a
//! second that leaves 300 000 dead rows in the way. In a big table it waits for a fifth of the
//! rows, and each step of retention passes over the dead rows of earlier ones. The owner of bucket
//! 0 vacuums for all nodes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::store::postgres::connection::Connection;
use crate::store::postgres::failure::Failure;
use crate::store::postgres::shared::Shared;
use crate::store::postgres::upkeep::horizon::{HorizonWatch, PINNED_AFTER, oldest_transaction};
use crate::store::postgres::upkeep::space::stored_bytes;

/// The time between two looks at the tables.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Dead rows after which a hot table is vacuumed at once: some 60 ms for 150 000 of them.
const MOST_DEAD: i64 = 20_000;

/// How often a hot table with any dead rows is vacuumed.
const VACUUM_EVERY: Duration = Duration::from_secs(10);

/// Dead rows after which a big table is vacuumed, unless they are less than a twentieth of it: a
/// vacuum reads the pages that changed, and may read all of each index.
const MOST_DEAD_IN_BIG: i64 = 100_000;
const LEAST_PART_DEAD: i64 = 20;

/// The shortest time between two vacuums of a big table.
const REST_OF_BIG: Duration = Duration::from_secs(60);

/// How often the transactions of others are looked at.
const HORIZON_EVERY: Duration = Duration::from_secs(5);

/// How often the space is measured that the tables take.
const MEASURE_EVERY: Duration = Duration::from_secs(30);

/// How long a vacuum may take. One that takes longer goes on by itself.
pub const VACUUM_LIMIT: Duration = Duration::from_secs(600);

/// Tables that are vacuumed, and whose dead rows are shown.
const TABLES: [VacuumedTable; 6] = [
    VacuumedTable::new(
        "waiting",
        true,
        "VACUUM (SKIP_LOCKED, TRUNCATE FALSE) relay.waiting",
    ),
    VacuumedTable::new(
        "claims",
        true,
        "VACUUM (SKIP_LOCKED, TRUNCATE FALSE) relay.claims",
    ),
    VacuumedTable::new(
        "intents",
        false,
        "VACUUM (SKIP_LOCKED, TRUNCATE FALSE) relay.intents",
    ),
    VacuumedTable::new(
        "ended",
        false,
        "VACUUM (SKIP_LOCKED, TRUNCATE FALSE) relay.ended",
    ),
    VacuumedTable::new(
        "attempts",
        false,
        "VACUUM (SKIP_LOCKED, TRUNCATE FALSE) relay.attempts",
    ),
    VacuumedTable::new(
        "idempotency",
        false,
        "VACUUM (SKIP_LOCKED, TRUNCATE FALSE) relay.idempotency",
    ),
];

const SELECT_DEAD: &str = "
    SELECT relname::text, n_dead_tup, n_live_tup FROM pg_stat_user_tables
    WHERE schemaname = 'relay' AND relname::text = ANY($1)";

/// The rows of a table, by the server's statistics.
struct Counted {
    table: String,
    dead: i64,
    live: i64,
}

/// A table that is vacuumed.
struct VacuumedTable {
    name: &'static str,
    /// Whether each of its rows is soon deleted again.
    is_hot: bool,
    /// One that another session vacuums is left to it. Its file is not made shorter, which would
    /// lock everybody out for a moment: it is full again soon.
    vacuum: &'static str,
    /// When it was vacuumed last, by the monotonic clock.
    vacuumed_at: Option<Duration>,
    /// Dead rows that the last vacuum had to leave, since a transaction may still see them.
    left: i64,
}

impl VacuumedTable {
    const fn new(name: &'static str, is_hot: bool, vacuum: &'static str) -> Self {
        Self {
            name,
            is_hot,
            vacuum,
            vacuumed_at: None,
            left: 0,
        }
    }

    /// Whether the table wants a vacuum now, with so many rows.
    fn is_due(&self, Counted { dead, live, .. }: &Counted, now: Duration) -> bool {
        let has_rested = |rest| {
            let at = self.vacuumed_at;
            at.is_none_or(|at| now.saturating_sub(at) >= rest)
        };
        // Dead tuples that were left are no reason to try again at once.
        let new = dead - self.left;
        if self.is_hot {
            return new >= MOST_DEAD || (*dead > 0 && has_rested(VACUUM_EVERY));
        }
        let most = MOST_DEAD_IN_BIG.max(live / LEAST_PART_DEAD);
        new >= most && has_rested(REST_OF_BIG)
    }
}

/// Looks at the tables, and vacuums them.
pub struct Vacuum {
    shared: Arc<Shared>,
    /// None until it is needed, and once it is lost.
    connection: Option<Connection>,
    tables: [VacuumedTable; 6],
    horizon: HorizonWatch,
    next_horizon: Duration,
    next_measure: Duration,
    is_failing: bool,
}

impl Vacuum {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            connection: None,
            tables: TABLES,
            horizon: HorizonWatch::new(PINNED_AFTER),
            next_horizon: Duration::ZERO,
            next_measure: Duration::ZERO,
            is_failing: false,
        }
    }

    /// Makes a look; how many tables were vacuumed.
    pub fn run_once(&mut self) -> Result<usize, Failure> {
        let now = self.shared.clock.monotonic();
        if now >= self.next_measure {
            self.next_measure = now + MEASURE_EVERY;
            let bytes = self.call(stored_bytes)?;
            self.shared.stored_bytes.store(bytes, Ordering::Relaxed);
        }
        if !self.shared.leads() {
            return Ok(0);
        }
        let counted = self.call(count)?;
        for Counted { table, dead, .. } in &counted {
            self.shared.metrics.dead_tuples(table, *dead);
        }
        if now >= self.next_horizon {
            self.next_horizon = now + HORIZON_EVERY;
            let oldest = self.call(oldest_transaction)?;
            let seconds = oldest.as_ref().map_or(0.0, |oldest| oldest.seconds);
            self.shared.metrics.oldest_xmin(seconds);
            self.horizon.look(oldest.as_ref());
        }
        let mut vacuumed = 0;
        for at in 0..self.tables.len() {
            let VacuumedTable { name, vacuum, .. } = self.tables[at];
            let of_table = counted.iter().find(|counted| counted.table == name);
            if !of_table.is_some_and(|counted| self.tables[at].is_due(counted, now)) {
                continue;
            }
            self.call(|connection| connection.batch(vacuum))?;
            let left = self.call(count)?;
            let left = left.iter().find(|counted| counted.table == name);
            self.tables[at].left = left.map_or(0, |left| left.dead);
            self.tables[at].vacuumed_at = Some(now);
            vacuumed += 1;
        }
        Ok(vacuumed)
    }

    /// Makes a call on a connection of its own, whose calls may take [`VACUUM_LIMIT`].
    fn call<T>(
        &mut self,
        call: impl FnOnce(&mut Connection) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let kept = self.connection.take().filter(|kept| !kept.is_lost());
        let mut connection = if let Some(kept) = kept {
            kept
        } else {
            let url = self.shared.connector.url().without_statement_timeout();
            Connection::open(&url, VACUUM_LIMIT)?
        };
        let called = call(&mut connection);
        self.connection = Some(connection);
        called
    }

    fn run(&mut self) {
        let stop = self.shared.stop.clone();
        while !stop.wait(LOOK_EVERY) {
            let was_failing = self.is_failing;
            match self.run_once() {
                Ok(_) => self.is_failing = false,
                Err(error) => {
                    self.is_failing = true;
                    // An outage of the server has its own line.
                    if !was_failing && !error.ends_connection() {
                        log::warn!(error:% = error; "the database's tables can't be vacuumed");
                    }
                }
            }
        }
    }
}

fn count(connection: &mut Connection) -> Result<Vec<Counted>, Failure> {
    let names = TABLES.map(|table| table.name);
    let rows = connection.rows(SELECT_DEAD, &[&names.as_slice()])?;
    let of = |row: &tokio_postgres::Row| {
        Ok(Counted {
            table: row.try_get(0)?,
            dead: row.try_get(1)?,
            live: row.try_get(2)?,
        })
    };
    rows.iter().map(of).collect()
}

/// Starts the vacuum on a thread of its own. It ends with the engine, after the call under way,
/// which nobody waits for.
pub fn start(mut vacuum: Vacuum) -> std::io::Result<()> {
    let thread = std::thread::Builder::new().name("relay-vacuum".to_owned());
    thread.spawn(move || {
        let run = std::panic::AssertUnwindSafe(|| vacuum.run());
        if std::panic::catch_unwind(run).is_err() {
            log::error!("the vacuum panicked: dead rows are left to the server");
        }
    })?;
    Ok(())
}
