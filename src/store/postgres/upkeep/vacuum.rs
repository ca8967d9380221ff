//! Removes dead rows from the small tables whose every row is soon deleted again.
//!
//! The server's own vacuum looks once a minute, whatever a table's threshold: at 5 000 deliveries a
//! second that leaves 300 000 dead rows in the way. The owner of bucket 0 vacuums for all nodes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::store::postgres::connection::Connection;
use crate::store::postgres::failure::Failure;
use crate::store::postgres::shared::Shared;
use crate::store::postgres::upkeep::horizon::{HorizonWatch, oldest_transaction};
use crate::store::postgres::upkeep::space::stored_bytes;

/// The time between two looks at the tables.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Dead rows after which a hot table is vacuumed at once: some 60 ms for 150 000 of them.
const MOST_DEAD: i64 = 20_000;

/// How often a hot table with any dead rows is vacuumed.
const VACUUM_EVERY: Duration = Duration::from_secs(10);

/// How often the transactions of others are looked at.
const HORIZON_EVERY: Duration = Duration::from_secs(5);

/// How often the space is measured that the tables take.
const MEASURE_EVERY: Duration = Duration::from_secs(30);

/// How long a vacuum may take. One that takes longer goes on by itself.
pub const VACUUM_LIMIT: Duration = Duration::from_secs(600);

/// Tables whose dead rows are shown.
const SHOWN: [&str; 6] = [
    "waiting",
    "claims",
    "intents",
    "ended",
    "attempts",
    "idempotency",
];

const SELECT_DEAD: &str = "
    SELECT relname::text, n_dead_tup FROM pg_stat_user_tables
    WHERE schemaname = 'relay' AND relname::text = ANY($1)";

/// A table that is vacuumed.
struct HotTable {
    name: &'static str,
    /// One that another session vacuums is left to it. Its file is not made shorter, which would
    /// lock everybody out for a moment: it is full again soon.
    vacuum: &'static str,
    /// When it was vacuumed last, by the monotonic clock.
    vacuumed_at: Option<Duration>,
    /// Dead rows that the last vacuum had to leave, since a transaction may still see them.
    left: i64,
}

impl HotTable {
    const fn new(name: &'static str, vacuum: &'static str) -> Self {
        Self {
            name,
            vacuum,
            vacuumed_at: None,
            left: 0,
        }
    }

    /// Whether the table wants a vacuum now, with so many dead rows.
    fn is_due(&self, dead: i64, now: Duration) -> bool {
        let Some(at) = self.vacuumed_at else {
            return dead > 0;
        };
        let is_time = now.saturating_sub(at) >= VACUUM_EVERY;
        // Dead tuples that were left are no reason to try again at once.
        dead - self.left >= MOST_DEAD || (dead > 0 && is_time)
    }
}

/// Looks at the tables, and vacuums them.
pub struct Vacuum {
    shared: Arc<Shared>,
    /// None until it is needed, and once it is lost.
    connection: Option<Connection>,
    tables: [HotTable; 2],
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
            tables: [
                HotTable::new(
                    "waiting",
                    "VACUUM (SKIP_LOCKED, TRUNCATE FALSE) relay.waiting",
                ),
                HotTable::new(
                    "claims",
                    "VACUUM (SKIP_LOCKED, TRUNCATE FALSE) relay.claims",
                ),
            ],
            horizon: HorizonWatch::default(),
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
        let dead = self.call(dead_rows)?;
        for (table, dead) in &dead {
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
            let HotTable { name, vacuum, .. } = self.tables[at];
            let of_table = dead.iter().find(|(table, _)| table == name);
            let dead = of_table.map_or(0, |(_, dead)| *dead);
            if !self.tables[at].is_due(dead, now) {
                continue;
            }
            self.call(|connection| connection.batch(vacuum))?;
            let left = self.call(dead_rows)?;
            let left = left.iter().find(|(table, _)| table == name);
            self.tables[at].left = left.map_or(0, |(_, left)| *left);
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
            let url = self.shared.connector.url();
            let mut made = Connection::open(url, VACUUM_LIMIT)?;
            made.batch("SET statement_timeout = 0")?;
            made
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

fn dead_rows(connection: &mut Connection) -> Result<Vec<(String, i64)>, Failure> {
    let shown = SHOWN.as_slice();
    let rows = connection.rows(SELECT_DEAD, &[&shown])?;
    let of = |row: &tokio_postgres::Row| Ok((row.try_get(0)?, row.try_get(1)?));
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
