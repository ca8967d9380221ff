//! The store's seam: each engine stands below a folder of its own, and no SQL outside of it.

use crate::source::{Kind, Source};
use crate::{Found, check, files};

/// The folders of the engines.
const ENGINES: [&str; 2] = ["src/store/sqlite/", "src/store/postgres/"];

/// Crates that a file outside of an engine doesn't name.
const CRATES: [&str; 4] = ["rusqlite", "r2d2", "r2d2_sqlite", "tokio_postgres"];

/// Beginnings of statements.
const SQL: [&str; 9] = [
    "SELECT ",
    "INSERT INTO",
    "INSERT OR",
    "UPDATE ",
    "DELETE FROM",
    "PRAGMA",
    "CREATE TABLE",
    "DROP TABLE",
    "BEGIN IMMEDIATE",
];

/// The engine's crates and the SQL in a file, tests included.
pub fn engine_in(text: &str) -> Vec<String> {
    let tokens = Source::of(text).tokens;
    let found = tokens.iter().filter_map(|token| {
        let line = token.lines.0;
        let is_crate = CRATES.iter().any(|name| token.is(name));
        let is_sql = token.kind == Kind::Str && SQL.iter().any(|sql| token.text.contains(sql));
        let begin = token.text.trim().lines().next().unwrap_or_default();
        (is_crate || is_sql).then(|| format!("line {line}: {begin}"))
    });
    found.collect()
}

/// The files outside of the engines that know one.
pub fn engine_outside() -> Found {
    let all = files("src", ".rs").into_iter();
    let outside = all.filter(|(name, _)| !ENGINES.iter().any(|engine| name.starts_with(engine)));
    let found = outside.map(|(name, text)| (name, engine_in(&text)));
    found.filter(|(_, lines)| !lines.is_empty()).collect()
}

#[test]
fn the_engine_and_sql_stand_in_one_folder() {
    let rule = "a file outside of the engines knows one";
    check(rule, &engine_outside());
}

#[test]
fn the_engine_and_sql_are_found() {
    for text in [
        "use rusqlite::Connection;",
        "fn a(b: &r2d2::Pool<C>) {}",
        "sql.execute(\"DELETE FROM a\", [])",
        "#[cfg(test)]\nmod tests { const A: &str = r#\" SELECT 1\"#; }",
    ] {
        assert_eq!(engine_in(text).len(), 1, "{text}");
    }
    let words = "// rusqlite's SELECT \nconst A: &str = \"selected from a list\";";
    assert!(engine_in(words).is_empty());
}
