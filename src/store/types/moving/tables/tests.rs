//! The table of tables names each table and column of the schemas.

use std::collections::{BTreeMap, BTreeSet};

use super::{LEFT, MOVED, MovedTable};

const SQLITE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/schema.sql"));
const POSTGRES: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/src/store/postgres/schema.sql"
));

/// Words that begin a line of a table that is no column.
const NO_COLUMNS: [&str; 5] = ["CHECK", "PRIMARY", "UNIQUE", "FOREIGN", "--"];

/// The columns of each table of a schema.
fn tables(schema: &str) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut found = BTreeMap::new();
    let mut columns = None;
    for line in schema.lines() {
        if let Some(rest) = line
            .strip_prefix("CREATE ")
            .and_then(|rest| rest.strip_prefix("TABLE "))
        {
            let name = rest.split([' ', '(']).next().expect("a name");
            let name = name.strip_prefix("relay.").unwrap_or(name);
            columns = Some(found.entry(name).or_insert_with(BTreeSet::new));
        } else if line.starts_with(')') {
            columns = None;
        } else if let (Some(columns), Some(word)) = (&mut columns, line.split_whitespace().next())
            && !NO_COLUMNS.iter().any(|other| word.starts_with(other))
        {
            columns.insert(word);
        }
    }
    found
}

fn moved_columns(table: &MovedTable) -> BTreeSet<&str> {
    let own = table.own_columns.iter().map(|(name, _)| *name);
    table
        .columns
        .iter()
        .map(|(name, _)| *name)
        .chain(own)
        .collect()
}

/// Compares the columns that a table has with those that are accounted for. `needs_all`: each
/// moved column has to be there.
fn compare(name: &str, table: &MovedTable, columns: &BTreeSet<&str>, needs_all: bool) {
    let known = moved_columns(table);
    let forgotten: Vec<_> = columns.difference(&known).collect();
    assert!(forgotten.is_empty(), "{name}: nobody moves {forgotten:?}");
    if needs_all {
        for (column, _) in table.columns {
            assert!(columns.contains(column), "{name} has no {column}");
        }
    }
}

#[test]
fn each_table_and_column_of_sqlite_is_moved_or_left() {
    let schema = tables(SQLITE);
    assert!(schema.len() > 10, "{schema:?}");
    for (name, columns) in &schema {
        match MOVED.iter().find(|table| table.name == *name) {
            Some(table) => compare(name, table, columns, true),
            None => assert!(
                LEFT.iter().any(|left| left.name == *name),
                "nobody moves the table {name}"
            ),
        }
    }
    for table in &MOVED {
        assert!(
            schema.contains_key(table.name),
            "{} is no table",
            table.name
        );
    }
}

#[test]
fn each_table_and_column_of_postgres_is_moved_or_left() {
    let schema = tables(POSTGRES);
    assert!(schema.len() > 10, "{schema:?}");
    for (name, columns) in &schema {
        let table = MOVED.iter().find(|table| table.on_postgres.contains(name));
        match table {
            Some(table) => compare(name, table, columns, table.on_postgres.len() == 1),
            None => assert!(
                LEFT.iter().any(|left| left.name == *name),
                "nobody moves the table {name}"
            ),
        }
    }
    for name in MOVED.iter().flat_map(|table| table.on_postgres) {
        assert!(schema.contains_key(name), "{name} is no table");
    }
}

#[test]
fn tables_that_are_left_say_why_and_are_there() {
    let (sqlite, postgres) = (tables(SQLITE), tables(POSTGRES));
    for left in &LEFT {
        assert!(!left.why.is_empty());
        assert!(
            sqlite.contains_key(left.name) || postgres.contains_key(left.name),
            "{} is no table",
            left.name
        );
    }
}
