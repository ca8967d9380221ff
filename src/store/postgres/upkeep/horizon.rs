//! The oldest transaction whose snapshot the server keeps dead rows for.

use crate::store::postgres::connection::Connection;
use crate::store::postgres::failure::Failure;

/// A transaction that is older than this is named in the log. Those of relay end within
/// `database.statement_timeout`; at 5 000 deliveries a second a minute leaves 300 000 dead rows.
pub const PINNED_AFTER: f64 = 60.0;

/// Sessions of other roles show their snapshots only to members of `pg_read_all_stats`. A vacuum of
/// the server's keeps no rows for itself.
const SELECT_OLDEST: &str = "
    SELECT pid, application, state, seconds FROM (
        SELECT pid, coalesce(application_name, '') AS application, coalesce(state, '') AS state,
               greatest(age(backend_xmin), age(backend_xid)) AS age,
               extract(epoch FROM clock_timestamp() - xact_start)::float8 AS seconds
        FROM pg_stat_activity
        WHERE pid <> pg_backend_pid() AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
            AND (datname = current_database() OR datname IS NULL)
            AND backend_type <> 'autovacuum worker'
        UNION ALL
        SELECT 0, gid, 'prepared transaction', age(transaction),
               extract(epoch FROM clock_timestamp() - prepared)::float8
        FROM pg_prepared_xacts WHERE database = current_database()
    ) t WHERE seconds IS NOT NULL ORDER BY age DESC, seconds DESC LIMIT 1";

/// The transaction that pins the horizon.
#[derive(Clone, Debug, PartialEq)]
pub struct OldestTransaction {
    /// Zero if no session has it: it was prepared.
    pub pid: i32,
    pub application: String,
    /// The state of its session.
    pub state: String,
    pub seconds: f64,
}

/// The oldest transaction; none if nobody is in one.
pub fn oldest_transaction(
    connection: &mut Connection,
) -> Result<Option<OldestTransaction>, Failure> {
    let found = connection.first(SELECT_OLDEST, &[])?;
    let of = |row: tokio_postgres::Row| {
        Ok(OldestTransaction {
            pid: row.try_get(0)?,
            application: row.try_get(1)?,
            state: row.try_get(2)?,
            seconds: row.try_get(3)?,
        })
    };
    found.map(of).transpose()
}

/// Says once that a transaction pins the horizon, and once that none does any more.
#[derive(Debug)]
pub struct HorizonWatch {
    /// The age in seconds from which a transaction is named.
    pinned_after: f64,
    is_pinned: bool,
}

impl HorizonWatch {
    pub fn new(pinned_after: f64) -> Self {
        Self {
            pinned_after,
            is_pinned: false,
        }
    }

    /// Looks at the oldest transaction; whether that changed the state.
    pub fn look(&mut self, oldest: Option<&OldestTransaction>) -> bool {
        let pinning = oldest.filter(|oldest| oldest.seconds > self.pinned_after);
        let was_pinned = std::mem::replace(&mut self.is_pinned, pinning.is_some());
        match pinning {
            Some(OldestTransaction {
                pid,
                application,
                state,
                seconds,
            }) if !was_pinned => {
                log::warn!(
                    pid, application:%, state:%, seconds = seconds.round();
                    "a transaction that stays open keeps the database from removing dead rows"
                );
            }
            None if was_pinned => {
                log::info!("no old transaction keeps dead rows in the database any more");
            }
            _ => {}
        }
        was_pinned != self.is_pinned
    }
}
