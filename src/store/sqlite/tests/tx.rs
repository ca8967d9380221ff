//! A change's use of its transaction.

use super::{Insert, open};
use crate::store::sqlite::tx::Tx;

#[test]
fn a_row_may_be_read_with_the_help_of_another_query() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _end) = open(&directory);
    let op = Insert("a", |tx: &Tx<'_>| {
        const NAMED: &str = "SELECT name FROM destinations WHERE name = ?1";
        // Within the statement: the same statement, and another one.
        let names = tx.rows(NAMED, ["a"], |row| {
            let name: String = row.get(0)?;
            let inner = tx.first(NAMED, [&name], |row| row.get::<_, String>(0));
            let changed = tx.execute("UPDATE destinations SET held_until = 7", []);
            Ok((inner.ok().flatten(), changed.ok()))
        })?;
        assert_eq!(names, [(Some("a".to_owned()), Some(1))]);
        // The first statement again.
        assert_eq!(tx.rows(NAMED, ["b"], |_| Ok(()))?, []);
        Ok(())
    });
    store.write_blocking(op).expect("committed");
    store.stop();
}
