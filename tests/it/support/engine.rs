//! The engine that the tests run on: SQLite, or PostgreSQL if `RELAY_TEST_ENGINE` is `postgres`.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use relay::config::{Config, Secret};
use rusqlite::types::ValueRef;

use super::postgres::{self, Server};

/// Ends a test that is about the database's file, with the reason, unless the engine keeps one.
#[macro_export]
macro_rules! needs_a_file {
    ($why:literal) => {
        if $crate::support::engine::is_postgres() {
            eprintln!("skipped: {}", $why);
            return;
        }
    };
}

/// Whether the tests run on PostgreSQL.
///
/// # Panics
///
/// If the variable has an unknown value.
pub fn is_postgres() -> bool {
    match std::env::var("RELAY_TEST_ENGINE").as_deref() {
        Ok("postgres") => true,
        Err(_) | Ok("" | "sqlite") => false,
        Ok(other) => panic!("RELAY_TEST_ENGINE: {other:?}, expected sqlite or postgres"),
    }
}

fn server() -> &'static Server {
    postgres::server().unwrap_or_else(|| {
        // Each of these tests runs on SQLite as well: without a server there is nothing to do here.
        std::process::exit(0)
    })
}

/// The URL of the database that belongs to a test's directory, created when it is first asked for;
/// none if the tests run on SQLite, whose file is in the directory.
pub fn url(directory: &Path) -> Option<String> {
    static URLS: OnceLock<Mutex<HashMap<PathBuf, String>>> = OnceLock::new();
    if !is_postgres() {
        return None;
    }
    let directory = directory.canonicalize().expect("a directory");
    let mut urls = URLS.get_or_init(Mutex::default).lock().expect("no panic");
    let database = urls
        .entry(directory)
        .or_insert_with(|| server().create_database());
    Some(database.clone())
}

/// Lets a relay keep the database that belongs to a test's directory.
pub fn configure(config: &mut Config, directory: &Path) {
    match url(directory) {
        Some(url) => config.database.url = Some(Secret::new(url)),
        None => config.database.path = directory.join("relay.db"),
    }
}

/// A query: one text for both engines, or one for each where they differ.
pub struct Look<'a> {
    sqlite: &'a str,
    postgres: &'a str,
}

impl<'a> From<&'a str> for Look<'a> {
    fn from(sql: &'a str) -> Self {
        Self {
            sqlite: sql,
            postgres: sql,
        }
    }
}

impl<'a> From<&'a String> for Look<'a> {
    fn from(sql: &'a String) -> Self {
        Self::from(sql.as_str())
    }
}

/// The text for SQLite, then the one for PostgreSQL.
impl<'a> From<(&'a str, &'a str)> for Look<'a> {
    fn from((sqlite, postgres): (&'a str, &'a str)) -> Self {
        Self { sqlite, postgres }
    }
}

/// A value of a row: its bytes, or NULL. Numbers are in decimal.
pub type Cell = Option<Vec<u8>>;

/// A value that a cell is read as.
pub trait FromCell {
    fn from_cell(cell: Cell) -> Self;
}

impl FromCell for Vec<u8> {
    fn from_cell(cell: Cell) -> Self {
        cell.expect("a value")
    }
}

impl FromCell for String {
    fn from_cell(cell: Cell) -> Self {
        Self::from_utf8(cell.expect("a value")).expect("text")
    }
}

impl FromCell for i64 {
    fn from_cell(cell: Cell) -> Self {
        String::from_cell(cell).parse().expect("a number")
    }
}

impl FromCell for usize {
    fn from_cell(cell: Cell) -> Self {
        String::from_cell(cell).parse().expect("a number")
    }
}

impl<T: FromCell> FromCell for Option<T> {
    fn from_cell(cell: Cell) -> Self {
        cell.is_some().then(|| T::from_cell(cell))
    }
}

/// A value that a row is read as.
pub trait FromRow {
    fn from_row(row: Vec<Cell>) -> Self;
}

impl<T: FromCell> FromRow for T {
    fn from_row(row: Vec<Cell>) -> Self {
        let [cell] = row.try_into().expect("one column");
        T::from_cell(cell)
    }
}

/// A row of several columns.
pub struct Columns<T>(pub T);

macro_rules! columns {
    ($($column:ident)+) => {
        impl<$($column: FromCell),+> FromRow for Columns<($($column,)+)> {
            fn from_row(row: Vec<Cell>) -> Self {
                let mut cells = row.into_iter();
                let read = Self(($($column::from_cell(cells.next().expect("a column")),)+));
                assert!(cells.next().is_none(), "more columns");
                read
            }
        }
    };
}

columns!(A B);
columns!(A B C D E);

/// The rows that a query finds in the database of a test's directory.
pub fn rows<'a, T: FromRow>(directory: &Path, look: impl Into<Look<'a>>) -> Vec<T> {
    let look = look.into();
    let rows = match url(directory) {
        Some(url) => rows_of_postgres(server(), &url, look.postgres),
        None => rows_of_sqlite(&directory.join("relay.db"), look.sqlite),
    };
    rows.into_iter().map(T::from_row).collect()
}

fn rows_of_sqlite(file: &Path, sql: &str) -> Vec<Vec<Cell>> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let database = rusqlite::Connection::open_with_flags(file, flags).expect("the database opens");
    let mut statement = database.prepare(sql).expect("SQL");
    let columns = statement.column_count();
    let cell = |value: ValueRef<'_>| match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string().into_bytes()),
        ValueRef::Real(number) => Some(number.to_string().into_bytes()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(bytes.to_vec()),
    };
    let rows = statement.query_map([], |row| {
        let cells = (0..columns).map(|at| Ok(cell(row.get_ref(at)?)));
        cells.collect::<Result<_, rusqlite::Error>>()
    });
    let rows: Result<_, _> = rows.expect("rows").collect();
    rows.expect("rows")
}

/// SQLite's table of deliveries, from what waits, what is claimed and what has ended.
const DELIVERIES: &str = "CREATE TEMP VIEW deliveries AS
    WITH claimed AS (SELECT c.epoch AS claim, u.intent_id, u.destination_id, u.place <= c.begun AS begun
        FROM relay.claims c, unnest(c.intents, c.destinations)
            WITH ORDINALITY AS u(intent_id, destination_id, place))
    SELECT w.intent_id, w.destination_id, CASE WHEN c.begun THEN 1 ELSE w.state END AS state,
        w.attempts + CASE WHEN c.begun THEN 1 ELSE 0 END AS attempts, w.history,
        w.next_attempt_at, w.updated_at, w.last_error, w.order_key, w.place, c.claim
        FROM relay.waiting w LEFT JOIN claimed c USING (intent_id, destination_id)
    UNION ALL SELECT e.intent_id, e.destination_id, e.state, e.attempts, e.history,
        NULL, e.updated_at, e.last_error, e.order_key, e.place, NULL FROM relay.ended e;";

/// The rows that a query finds in a database of this server.
pub fn rows_of_postgres(server: &Server, url: &str, sql: &str) -> Vec<Vec<Cell>> {
    let view = if sql.contains("deliveries") {
        DELIVERIES
    } else {
        ""
    };
    let looked = format!("SET search_path = pg_temp, relay; {view} {sql}");
    // psql doesn't escape: none of these stands in a value, since bytes are printed in hexadecimal.
    let options = ["-F", "\u{1f}", "-R", "\u{1e}", "-P", "null=\u{1d}"].map(OsStr::new);
    let printed = server.query(url, &looked, &options);
    // The last row ends with a line break, so that no row prints nothing.
    let Some(printed) = printed.strip_suffix(b"\n") else {
        return Vec::new();
    };
    let rows = printed.split(|&byte| byte == 0x1e);
    rows.map(|row| row.split(|&byte| byte == 0x1f).map(cell).collect())
        .collect()
}

/// A value that psql printed. Text is kept as bytes there, which are in hexadecimal.
fn cell(printed: &[u8]) -> Cell {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let byte = |pair: &[u8]| {
        let byte = digit(pair.first()?)? * 16 + digit(pair.get(1)?)?;
        u8::try_from(byte).ok()
    };
    match printed {
        b"\x1d" => None,
        [b'\\', b'x', hex @ ..] => Some(hex.chunks(2).map_while(byte).collect()),
        text => Some(text.to_vec()),
    }
}
