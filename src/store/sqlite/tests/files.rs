//! The files that a start opens and creates, and their owner.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use super::{
    Insert, committed, destinations, event, fine, hold, open, open_without_guard, settings,
    try_open,
};
use crate::clock::SystemClock;
use crate::config;
use crate::store::error::{OpenError, StoreError};
use crate::store::sqlite::paths::canonical;
use crate::store::sqlite::tx::Tx;
use crate::store::types::{Accepted, Duplicate};

#[test]
fn links_to_a_database_that_is_not_there_yet_lead_to_one_lock_file() {
    use std::os::unix::fs::symlink;

    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path().canonicalize().expect("it is there");
    std::fs::create_dir(root.join("data")).expect("a directory");
    let real = root.join("data/relay.db");
    // A relative link, a link to that link, and a link to a directory.
    symlink("data/relay.db", root.join("first")).expect("a link");
    symlink(root.join("first"), root.join("second")).expect("a link");
    symlink("data", root.join("elsewhere")).expect("a link");
    let ways = ["data/relay.db", "first", "second", "elsewhere/relay.db"];
    for way in ways {
        assert_eq!(canonical(&root.join(way)), real, "{way}");
    }
    let settings = |way: &str| config::Database {
        path: root.join(way),
        min_free_bytes: 0,
        max_bytes: None,
        ..config::Database::default()
    };
    let start = |way: &str| try_open(&settings(way), Arc::new(SystemClock::new()));
    let store = start("second").expect("it opens");
    for way in ways {
        let refused = start(way).err().expect("it is in use");
        assert!(
            matches!(refused, OpenError::InUse { .. }),
            "{way}: {refused}"
        );
    }
    store.stop();
    let mut names: Vec<_> = std::fs::read_dir(&root)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["data", "elsewhere", "first", "second"]);
    assert!(root.join("data/relay.db.lock").is_file());

    // Links in a circle are followed a bounded number of times, and the system refuses them.
    symlink("there", root.join("here")).expect("a link");
    symlink("here", root.join("there")).expect("a link");
    let refused = start("here").err().expect("there is no file");
    assert!(refused.to_string().contains("here"), "{refused}");
    // A name alone is in the working directory.
    let here = std::env::current_dir().expect("a directory");
    let here = here.canonicalize().expect("it is there");
    let name = Path::new("not-there.db");
    assert_eq!(canonical(name), here.join(name));
}

#[test]
fn a_server_whose_files_were_removed_or_replaced_acknowledges_nothing_more() {
    for name in ["relay.db.lock", "relay.db", "relay.db-wal", "relay.db-shm"] {
        for is_replaced in [false, true] {
            let directory = tempfile::tempdir().expect("a directory");
            let (store, end) = open(&directory);
            store.write_blocking(Insert("a", fine)).expect("committed");
            let path = directory.path().join(name);
            let aside = directory.path().join("aside");
            std::fs::rename(&path, &aside).expect("it is there");
            if is_replaced {
                std::fs::copy(&aside, &path).expect("a copy");
            }
            let refused = store.write_blocking(Insert("b", fine));
            assert!(matches!(refused, Err(StoreError::Stopped)), "{refused:?}");
            let why = end.recv().expect("a reason");
            let named = format!("{name} was removed or replaced");
            assert!(why.contains(&named), "{why}");
            store.stop();
            std::fs::rename(&aside, &path).expect("it is there");
            // Acknowledged changes are there, and no others.
            let (store, _end) = open(&directory);
            assert_eq!(destinations(&store), ["a"], "{name}");
            store.stop();
        }
    }
}

#[test]
fn a_removed_lock_file_is_noticed_without_anything_to_write() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, end) = open(&directory);
    std::fs::remove_file(directory.path().join("relay.db.lock")).expect("it is there");
    let why = end.recv_timeout(Duration::from_secs(60));
    let why = why.expect("a reason");
    assert!(why.contains("relay.db.lock was removed"), "{why}");
    store.stop();
}

#[test]
fn writes_that_fail_do_not_hide_a_removed_lock_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, end) = open(&directory);
    std::fs::remove_file(directory.path().join("relay.db.lock")).expect("it is there");
    let fails = Insert("a", |_: &Tx<'_>| Err(StoreError::Full));
    let refused = store.write_blocking(fails);
    assert!(matches!(refused, Err(StoreError::Stopped)), "{refused:?}");
    let why = end.recv().expect("a reason");
    assert!(why.contains("relay.db.lock was removed"), "{why}");
    store.stop();
}

#[cfg(target_os = "linux")]
#[test]
fn a_second_server_is_refused_while_the_first_one_runs_though_its_lock_file_is_gone() {
    let directory = tempfile::tempdir().expect("a directory");
    let (first, end) = open(&directory);
    let (release, held) = hold(&first);
    std::fs::remove_file(directory.path().join("relay.db.lock")).expect("it is there");
    let start = || try_open(&settings(&directory), Arc::new(SystemClock::new()));
    let refused = start().err().expect("it is in use");
    let process = format!(
        "process {}, whose lock file was removed",
        std::process::id()
    );
    assert!(refused.to_string().contains(&process), "{refused}");
    release.send(()).expect("the writer waits");
    let _ = held.blocking_recv();
    let why = end.recv().expect("a reason");
    assert!(why.contains("relay.db.lock was removed"), "{why}");
    first.stop();
    start().expect("it is free").stop();
}

/// The first server has checked its lock file, and is about to commit, when the file is removed and
/// a second server starts, on a system without the second guard.
#[test]
fn a_second_server_knows_all_that_the_first_one_acknowledges() {
    let directory = tempfile::tempdir().expect("a directory");
    let (first, end) = open_without_guard(&directory);
    let (begun, at_commit) = channel();
    let (tell, go_on) = channel();
    let go_on = std::sync::Mutex::new(Some(go_on));
    let stuck = Insert("a", move |tx: &Tx<'_>| {
        let go_on = go_on.lock().expect("no panics").take();
        let (go_on, begun) = (go_on.expect("it runs once"), begun.clone());
        tx.sql.commit_hook(Some(move || {
            begun.send(()).expect("the test waits");
            go_on.recv().expect("the test tells")
        }))?;
        Ok(())
    });
    // Both share a transaction: they are sent while a third change holds the writer.
    let (release, held) = hold(&first);
    let was_stuck = first.send(stuck).expect("room");
    let accepted = first.send(event("1")).expect("room");
    release.send(()).expect("the writer waits");
    committed(held);
    at_commit.recv().expect("it commits");

    std::fs::remove_file(directory.path().join("relay.db.lock")).expect("it is there");
    let second = std::thread::scope(|scope| {
        let second = scope.spawn(|| open_without_guard(&directory).0);
        // The second server creates a lock file, and then waits for the transaction. Without that
        // wait it would have read everything it relies on after this pause. SQLite doesn't tell who
        // waits for its lock.
        wait_for_lock_file(&directory);
        std::thread::sleep(Duration::from_millis(300));
        tell.send(false).expect("the writer waits");
        second.join().expect("it starts")
    });
    committed(was_stuck);
    let accepted = accepted.blocking_recv().expect("an answer");
    let Ok(Accepted::New(id, _)) = accepted else {
        panic!("{accepted:?}");
    };
    let again = second.write_blocking(event("1")).expect("an answer");
    assert_eq!(again, Accepted::Duplicate(Duplicate::of_same_body(id)));
    let why = end.recv().expect("a reason");
    assert!(why.contains("relay.db.lock was removed"), "{why}");
    first.stop();
    second.stop();
}

/// Waits until there is a lock file again.
fn wait_for_lock_file(directory: &tempfile::TempDir) {
    while !directory.path().join("relay.db.lock").exists() {
        std::thread::yield_now();
    }
}
