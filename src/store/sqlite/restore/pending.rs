//! The pending deliveries of a backup, and their fates in the database that it replaces.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension as _, Params, params};

use crate::model::DeliveryState;
use crate::store::error::StoreError;
use crate::store::sqlite::{hold, open, settings};
use crate::store::types::{DestinationId, IntentRow};

/// Pending deliveries that are read at a time.
const PAGE: i64 = 1_000;

/// Selects deliveries.
macro_rules! select {
    ($which:literal) => {
        concat!(
            "SELECT d.intent_id, d.destination_id, d.state, i.random, t.name
             FROM deliveries d JOIN intents i ON i.id = d.intent_id
                               JOIN destinations t ON t.id = d.destination_id
             WHERE ",
            $which
        )
    };
}

/// Databases that one held after the other: bounds what a file that names itself can cost.
const MOST_EARLIER: usize = 16;

/// The database that is replaced, as far as it can be read.
pub enum Old {
    /// There is none.
    Absent,
    Readable(Box<Replaced>),
    /// It tells nothing; why.
    Unknown(String),
}

/// A database that is replaced, and what it tells of deliveries.
pub struct Replaced {
    pub sql: Connection,
    /// While it is held it is a restored backup itself, and has sent nothing. The databases that it
    /// and those before it have replaced tell of deliveries; the latest first.
    earlier: Vec<Connection>,
    /// Why those tell nothing.
    pub problem: Option<String>,
}

impl Old {
    /// Opens the database, if it is the one of the backup, whose id this is.
    pub fn open(path: Option<&Path>, id: &str) -> Self {
        match path.map(|path| open_one(path, id)) {
            None => Self::Absent,
            Some(Ok(sql)) => Self::Readable(Box::new(Replaced::new(sql, id))),
            Some(Err(why)) => Self::Unknown(why),
        }
    }
}

fn open_one(path: &Path, id: &str) -> Result<Connection, String> {
    let opened = open::snapshot(path).and_then(|sql| {
        let found: Option<String> = settings::get(&sql, settings::DATABASE_ID)?;
        Ok((sql, found))
    });
    match opened {
        Ok((sql, Some(found))) if found == id => Ok(sql),
        Ok((_, Some(_))) => Err("it is another database".to_owned()),
        Ok((_, None)) => Err("it doesn't tell which database it is".to_owned()),
        Err(error) => Err(format!("it can't be read: {error}")),
    }
}

/// The database that a held one has replaced.
fn replaced_by(sql: &Connection) -> Option<PathBuf> {
    hold::get(sql).ok().flatten()?.aside
}

impl Replaced {
    fn new(sql: Connection, id: &str) -> Self {
        let mut next = replaced_by(&sql);
        let (mut earlier, mut problem) = (Vec::new(), None);
        while let Some(path) = next.filter(|_| earlier.len() < MOST_EARLIER) {
            match open_one(&path, id) {
                Ok(sql) => {
                    next = replaced_by(&sql);
                    earlier.push(sql);
                }
                Err(why) => {
                    problem = Some(format!("{}: {why}", path.display()));
                    next = None;
                }
            }
        }
        Self {
            sql,
            earlier,
            problem,
        }
    }

    /// How many events the databases have after this row; none if not all of them tell.
    pub fn newer(&self, newest: i64) -> rusqlite::Result<Option<i64>> {
        if self.problem.is_some() {
            return Ok(None);
        }
        let all: Vec<&Connection> = std::iter::once(&self.sql).chain(&self.earlier).collect();
        let after = "SELECT count(*) FROM intents WHERE id > ?1";
        let mut count: i64 = self.sql.query_row(after, [newest], |row| row.get(0))?;
        for (at, sql) in all.iter().enumerate().skip(1) {
            let known = all[..at].iter();
            let known = known.map(|sql| sql.prepare("SELECT 1 FROM intents WHERE id = ?1"));
            let mut known: Vec<_> = known.collect::<Result<_, _>>()?;
            let mut statement = sql.prepare("SELECT id FROM intents WHERE id > ?1")?;
            let mut rows = statement.query([newest])?;
            while let Some(row) = rows.next()? {
                let id: i64 = row.get(0)?;
                let mut is_known = false;
                for known in &mut known {
                    is_known |= known.exists([id])?;
                }
                count += i64::from(!is_known);
            }
        }
        Ok(Some(count))
    }

    /// The fate of a delivery: delivered if one of the databases has delivered it.
    pub fn fate(&self, one: &PendingDelivery) -> rusqlite::Result<Fate> {
        let mut found = Fate::Absent;
        for sql in std::iter::once(&self.sql).chain(&self.earlier) {
            match fate(sql, one)? {
                Fate::Delivered => return Ok(Fate::Delivered),
                Fate::Other => found = Fate::Other,
                Fate::Absent => {}
            }
        }
        Ok(found)
    }
}

/// A pending delivery of the backup.
#[derive(Clone, Debug)]
pub struct PendingDelivery {
    pub intent: IntentRow,
    pub destination: DestinationId,
    pub state: DeliveryState,
    random: i64,
    pub name: String,
}

/// A pending delivery as the old database has it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Delivered,
    Absent,
    Other,
}

/// The next pending deliveries in the order of their events.
pub fn pending_after(
    sql: &Connection,
    after: (IntentRow, DestinationId),
) -> Result<Vec<PendingDelivery>, StoreError> {
    const NEXT: &str = select!(
        "(d.intent_id, d.destination_id) > (?1, ?2) AND d.state < 3
         ORDER BY d.intent_id, d.destination_id LIMIT ?3"
    );
    pending(sql, NEXT, params![after.0, after.1, PAGE])
}

/// The pending deliveries of one event.
pub fn pending_of(sql: &Connection, intent: IntentRow) -> Result<Vec<PendingDelivery>, StoreError> {
    const OF_ONE: &str = select!("d.intent_id = ?1 AND d.state < 3");
    pending(sql, OF_ONE, params![intent])
}

fn pending(
    sql: &Connection,
    select: &str,
    params: impl Params,
) -> Result<Vec<PendingDelivery>, StoreError> {
    let mut statement = sql.prepare_cached(select)?;
    let rows = statement.query_map(params, |row| {
        Ok(PendingDelivery {
            intent: row.get(0)?,
            destination: row.get(1)?,
            state: row.get(2)?,
            random: row.get(3)?,
            name: row.get(4)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The same delivery in another database, by the event's id and the destination's name.
fn fate(old: &Connection, one: &PendingDelivery) -> rusqlite::Result<Fate> {
    let mut statement = old.prepare_cached(
        "SELECT d.state FROM deliveries d JOIN intents i ON i.id = d.intent_id
                                          JOIN destinations t ON t.id = d.destination_id
         WHERE d.intent_id = ?1 AND i.random = ?2 AND t.name = ?3",
    )?;
    let state: Option<DeliveryState> = statement
        .query_row(params![one.intent, one.random, one.name], |row| row.get(0))
        .optional()?;
    Ok(match state {
        Some(DeliveryState::Delivered) => Fate::Delivered,
        Some(_) => Fate::Other,
        None => Fate::Absent,
    })
}
