//! Idempotency keys that were used lately. Their digests are as good as random: written into the table
//! one by one, each would cost a page of its own, the dearest part of a commit (measured). So they are
//! kept here and moved in the order of the table, a stretch at a time, and a start reads them back from
//! the intents, which hold them anyway.

use std::collections::BTreeSet;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::accept::IdempotencyKey;

/// How many are kept before some are moved: so many, spread over the pages of half a million older
/// ones, meet seven to a page. They take half a megabyte.
const HELD: usize = if cfg!(test) { 32 } else { 16_384 };
/// Intents after which a pass is made whatever there is to move. The mark is where the pass before it ended, so
/// a start reads up to twice as many.
const READ: usize = 4 * HELD;
/// How many are moved at once, beside those that are more than should be kept.
const STRETCH: usize = if cfg!(test) { 8 } else { 256 };

/// Digest and intent, as in the table.
type Key = (i64, i64);

#[derive(Debug)]
pub(super) struct Keys {
    recent: BTreeSet<Key>,
    /// What the transaction under way adds.
    added: Vec<Key>,
    /// Intents accepted since the mark was set, with a key or without: what a start has to read.
    since_mark: usize,
    /// What the transaction under way moves.
    moved: Option<Stretch>,
    /// Where the next stretch begins.
    next: Key,
    /// The newest intent when this pass through the table began: at its end all keys up to there have
    /// been moved.
    pass_began_at: i64,
}

/// Keys next to each other in the table.
#[derive(Debug)]
struct Stretch {
    keys: Vec<Key>,
    /// Whether it ends a pass.
    is_last: bool,
}

/// The newest row there was: up to where keys have been moved, even if it was deleted since. New intents
/// come after it, or their keys would count as moved.
pub(super) fn newest(sql: &Connection) -> rusqlite::Result<i64> {
    sql.query_row(
        "SELECT max(swept_to, (SELECT coalesce(max(id), 0) FROM intents)) FROM key_sweep",
        [],
        |row| row.get(0),
    )
}

/// Before all others.
const FIRST: Key = (i64::MIN, i64::MIN);

impl Keys {
    /// Reads back what hasn't been moved. Changes nothing.
    pub fn load(sql: &Connection) -> rusqlite::Result<Self> {
        let mut statement = sql.prepare(
            "SELECT id, scope, label, idempotency_key FROM intents
             WHERE id > (SELECT swept_to FROM key_sweep)",
        )?;
        let newest = newest(sql)?;
        let mut loaded = Self {
            recent: BTreeSet::new(),
            added: Vec::new(),
            since_mark: 0,
            moved: None,
            next: FIRST,
            pass_began_at: newest,
        };
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            loaded.since_mark += 1;
            if let Some(key) = row.get::<_, Option<String>>(3)? {
                let (scope, label): (_, String) = (row.get(1)?, row.get(2)?);
                let digest = IdempotencyKey::digest_of(scope, &label, &key);
                loaded.recent.insert((digest, row.get(0)?));
            }
        }
        Ok(loaded)
    }

    /// At a start: moves all if there are many. A process that never lives long enough to end a pass
    /// must not leave ever more to the next.
    pub fn settle(&mut self, sql: &Connection) {
        if (self.recent.len() > HELD || self.since_mark > READ)
            && let Err(error) = self.move_all(sql)
        {
            log::warn!(error:% = error; "idempotency keys can't be moved to their table, and stay in memory");
        }
    }

    fn move_all(&mut self, sql: &Connection) -> rusqlite::Result<()> {
        let tx = Transaction::new_unchecked(sql, TransactionBehavior::Immediate)?;
        insert(&tx, self.recent.iter())?;
        end_pass(&tx, self.pass_began_at)?;
        tx.commit()?;
        self.recent.clear();
        self.since_mark = 0;
        Ok(())
    }

    /// The intents that a key of this digest may name, of those that haven't been moved.
    pub fn candidates(&self, digest: i64) -> Vec<i64> {
        self.recent
            .range((digest, i64::MIN)..=(digest, i64::MAX))
            .map(|&(_, intent)| intent)
            .collect()
    }

    pub fn add(&mut self, key: Key) {
        self.recent.insert(key);
        self.added.push(key);
    }

    /// An intent was accepted, with a key or without.
    pub fn accepted(&mut self) {
        self.since_mark += 1;
    }

    /// One past its window names nothing any more, whether or not this transaction succeeds.
    pub fn forget(&mut self, key: Key) {
        self.recent.remove(&key);
    }

    /// Moves a stretch, if enough are kept.
    pub fn sweep(&mut self, sql: &Connection) -> rusqlite::Result<()> {
        if self.recent.len() < HELD && self.since_mark < READ {
            return Ok(());
        }
        let count = self.recent.len().saturating_sub(HELD) + STRETCH;
        let keys: Vec<Key> = self
            .recent
            .range(self.next..)
            .take(count)
            .copied()
            .collect();
        let is_last = keys.len() < count;
        insert(sql, keys.iter())?;
        if is_last {
            end_pass(sql, self.pass_began_at)?;
        }
        self.moved = Some(Stretch { keys, is_last });
        Ok(())
    }

    /// The transaction is durable; `newest` is the newest intent now.
    pub fn committed(&mut self, newest: i64) {
        self.added.clear();
        let Some(Stretch { keys, is_last }) = self.moved.take() else {
            return;
        };
        match keys.last() {
            Some(&(digest, intent)) if !is_last => self.next = (digest, intent + 1),
            _ => {
                self.next = FIRST;
                self.pass_began_at = newest;
                self.since_mark = 0;
            }
        }
        for key in keys {
            self.recent.remove(&key);
        }
    }

    /// Nothing of the transaction has happened.
    pub fn rolled_back(&mut self) {
        self.moved = None;
        for key in self.added.drain(..) {
            self.recent.remove(&key);
        }
    }
}

/// An intent may have been discarded meanwhile, and a key that was read back be there already.
fn insert<'a>(sql: &Connection, keys: impl Iterator<Item = &'a Key>) -> rusqlite::Result<()> {
    let mut insert = sql.prepare_cached(
        "INSERT OR IGNORE INTO idempotency (digest, intent_id)
         SELECT ?1, id FROM intents WHERE id = ?2",
    )?;
    for (digest, intent) in keys {
        insert.execute([digest, intent])?;
    }
    Ok(())
}

fn end_pass(sql: &Connection, began_at: i64) -> rusqlite::Result<()> {
    sql.prepare_cached("UPDATE key_sweep SET swept_to = ?1")?
        .execute([began_at])
        .map(|_| ())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::fs;
    use std::time::Duration;

    use rand::rngs::StdRng;
    use rand::{RngExt as _, SeedableRng as _};
    use tempfile::TempDir;

    use super::*;
    use crate::model::{IntentId, Surface};
    use crate::store::sqlite::tests::{Insert, open};
    use crate::store::{Accept, Accepted, Store, StoreError, Tx};

    fn accept(store: &Store, key: u32) -> Accepted {
        accept_within(store, key, Duration::from_secs(3600))
    }

    fn accept_within(store: &Store, key: u32, window: Duration) -> Accepted {
        // A relay's now and then: its digest is another.
        let is_event = !key.is_multiple_of(7);
        let text = format!("key-{key}");
        store
            .write_blocking(Accept {
                surface: if is_event {
                    Surface::Event
                } else {
                    Surface::Relay
                },
                label: "s".to_owned(),
                url: (!is_event).then(|| "https://example.com/".to_owned()),
                destinations: ["d".to_owned()].into(),
                owner: None,
                headers: Vec::new(),
                metadata: None,
                body: vec![b'1'].into(),
                key: Some(if is_event {
                    IdempotencyKey::of_event("s", text)
                } else {
                    IdempotencyKey::of_relay("api key", text, b"1")
                }),
                window,
            })
            .expect("accepted")
    }

    fn count(store: &Store, sql: &'static str) -> u32 {
        store
            .read_blocking(|connection| Ok(connection.query_row(sql, [], |row| row.get(0))?))
            .expect(sql)
    }

    /// The database as a crash would leave it.
    fn crashed(directory: &TempDir) -> TempDir {
        let copy = tempfile::tempdir().expect("a directory");
        for entry in fs::read_dir(directory).expect("a directory") {
            let name = entry.expect("an entry").file_name();
            fs::copy(directory.path().join(&name), copy.path().join(&name)).expect("a copy");
        }
        copy
    }

    #[test]
    fn no_key_is_forgotten_however_a_process_ends() {
        let seed = rand::random();
        println!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let mut directory = tempfile::tempdir().expect("a directory");
        let mut store = open(&directory).0;
        let mut known: HashMap<u32, IntentId> = HashMap::new();
        let (mut most_held, mut passes) = (0, 0);
        for step in 0..1_000 {
            let key = random.random_range(0..500);
            match (accept(&store, key), known.get(&key)) {
                (Accepted::New(id, _), None) => {
                    known.insert(key, id);
                }
                (Accepted::Duplicate(id), Some(earlier)) => assert_eq!(id, *earlier),
                (was, earlier) => {
                    panic!("step {step}: key {key} was {was:?}, and {earlier:?} before")
                }
            }
            match random.random_range(0..100) {
                0 => {
                    let copy = crashed(&directory);
                    store.stop();
                    directory = copy;
                    store = open(&directory).0;
                }
                1 => {
                    store.stop();
                    store = open(&directory).0;
                }
                2 => {
                    let full = Insert("e", |_: &Tx<'_>| Err(StoreError::DiskFull));
                    store.write_blocking(full).expect_err("it failed");
                }
                3 if !known.is_empty() => {
                    let key = *known.keys().next().expect("there is one");
                    let row = known.remove(&key).expect("it is known").row();
                    let discard = Insert("f", move |tx: &Tx<'_>| {
                        tx.sql.execute("DELETE FROM intents WHERE id = ?1", [row])?;
                        tx.sql
                            .execute("DELETE FROM destinations WHERE name = 'f'", [])?;
                        tx.deleted(row);
                        Ok(())
                    });
                    store.write_blocking(discard).expect("discarded");
                }
                _ => {}
            }
            let held = count(
                &store,
                "SELECT count(*) FROM intents WHERE id NOT IN (SELECT intent_id FROM idempotency)",
            );
            most_held = most_held.max(held);
            passes = passes.max(count(
                &store,
                "SELECT count(*) FROM intents WHERE id <= (SELECT swept_to FROM key_sweep)",
            ));
        }
        assert!(
            most_held as usize <= HELD + STRETCH,
            "{most_held} keys were kept in memory"
        );
        assert!(
            passes as usize > known.len() / 2,
            "up to {passes} the table is complete"
        );
        store.stop();
    }

    #[test]
    fn a_start_that_finds_many_moves_them_all() {
        let directory = tempfile::tempdir().expect("a directory");
        let sql = crate::store::sqlite::open::writer(&directory.path().join("relay.db"), &|| 0)
            .expect("a database");
        let many = i64::try_from(HELD + 1).expect("few");
        for row in 1..=many {
            sql.execute(
                "INSERT INTO intents VALUES (?1, 0, 1, 0, 's', NULL, NULL, ?1, NULL, NULL, x'', x'')",
                [row],
            )
            .expect("an intent");
            let mut keys = Keys::load(&sql).expect("keys");
            keys.settle(&sql);
            let left = keys.recent.len();
            let expected = if row == many { 0 } else { row };
            assert_eq!(i64::try_from(left).expect("few"), expected);
        }
        let (moved, swept_to): (i64, i64) = sql
            .query_row(
                "SELECT (SELECT count(*) FROM idempotency), swept_to FROM key_sweep",
                [],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .expect("a row");
        assert_eq!((moved, swept_to), (many, many));
    }

    #[test]
    fn intents_without_keys_move_the_mark_too() {
        let directory = tempfile::tempdir().expect("a directory");
        let sql = crate::store::sqlite::open::writer(&directory.path().join("relay.db"), &|| 0)
            .expect("a database");
        let mark = || -> i64 {
            sql.query_row("SELECT swept_to FROM key_sweep", [], |row| row.get(0))
                .expect("a mark")
        };
        let mut keys = Keys::load(&sql).expect("none");
        for row in (1..).take(2 * READ) {
            keys.accepted();
            keys.sweep(&sql).expect("a stretch");
            keys.committed(row);
        }
        let read = i64::try_from(READ).expect("few");
        assert!(mark() >= read - 1, "{}", mark());
        // Nor does a start leave them to the next.
        for row in (2 * read..).take(READ + 1) {
            sql.execute(
                "INSERT INTO intents VALUES (?1, 0, 1, 0, 's', NULL, NULL, NULL, NULL, NULL, x'', x'')",
                [row],
            )
            .expect("an intent");
        }
        Keys::load(&sql).expect("none").settle(&sql);
        assert_eq!(mark(), 3 * read);
    }

    #[test]
    fn no_load_is_too_high_to_be_moved() {
        let directory = tempfile::tempdir().expect("a directory");
        let sql = crate::store::sqlite::open::writer(&directory.path().join("relay.db"), &|| 0)
            .expect("a database");
        let mut keys = Keys::load(&sql).expect("no keys");
        for commit in 0..100 {
            for at in (commit * 1_000..).take(3 * STRETCH) {
                keys.add((rand::random(), at));
            }
            keys.sweep(&sql).expect("a stretch");
            keys.committed(commit);
            assert!(keys.recent.len() < HELD + 3 * STRETCH, "after {commit}");
        }
    }

    #[test]
    fn a_key_that_was_used_again_names_the_newer_one_after_a_start_too() {
        let directory = tempfile::tempdir().expect("a directory");
        let (mut store, mut ids) = (open(&directory).0, Vec::new());
        for _ in 0..2 {
            let Accepted::New(id, _) = accept_within(&store, 1, Duration::ZERO) else {
                panic!("its window is over");
            };
            ids.push(id);
        }
        for _ in 0..2 {
            assert_eq!(accept(&store, 1), Accepted::Duplicate(ids[1]));
            store.stop();
            store = open(&directory).0;
        }
        store.stop();
    }

    #[test]
    fn new_intents_come_after_all_whose_keys_were_moved() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = open(&directory).0;
        let ahead = IntentId::first_row_at(2_500_000_000_000);
        let moved = Insert("e", move |tx: &Tx<'_>| {
            tx.sql
                .execute("UPDATE key_sweep SET swept_to = ?1", [ahead])?;
            Ok(())
        });
        store.write_blocking(moved).expect("moved");
        store.stop();
        let store = open(&directory).0;
        let Accepted::New(id, _) = accept(&store, 1) else {
            panic!("it is new");
        };
        store.stop();
        let store = open(&directory).0;
        assert_eq!(accept(&store, 1), Accepted::Duplicate(id));
        store.stop();
    }

    /// The stretch that a transaction was to move is still to be moved when it fails.
    #[test]
    fn what_a_failed_transaction_moved_is_moved_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let sql = crate::store::sqlite::open::writer(&directory.path().join("relay.db"), &|| 0)
            .expect("a database");
        let mut keys = Keys::load(&sql).expect("no keys");
        let all = i64::try_from(HELD).expect("few");
        for row in 1..=all {
            sql.execute(
                "INSERT INTO intents VALUES (?1, 0, 1, 0, 's', NULL, NULL, 'k', NULL, NULL, x'', x'')",
                [row],
            )
            .expect("an intent");
            keys.add((row, row));
        }
        keys.committed(all);
        sql.execute_batch("BEGIN").expect("a transaction");
        keys.sweep(&sql).expect("a stretch");
        sql.execute_batch("ROLLBACK").expect("a failure");
        keys.rolled_back();
        keys.committed(all);
        for row in 1..=all {
            assert_eq!(keys.candidates(row), [row]);
        }
        keys.sweep(&sql).expect("a stretch");
        keys.committed(all);
        assert_eq!(keys.candidates(1), [0; 0]);
        let moved: i64 = sql
            .query_row("SELECT max(digest) FROM idempotency", [], |row| row.get(0))
            .expect("some");
        assert_eq!(moved, i64::try_from(STRETCH).expect("few"));
        assert_eq!(keys.candidates(moved + 1), [moved + 1]);
    }
}
