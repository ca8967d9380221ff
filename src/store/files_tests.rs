//! Which files a start opens and makes, and who may have them.

use std::sync::Arc;

use super::tests::LONGEST_WAIT;
use super::*;
use crate::clock::SystemClock;
use crate::model::Level;

#[test]
fn links_to_a_database_that_is_not_there_yet_lead_to_one_lock_file() {
    use std::os::unix::fs::symlink;

    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path().canonicalize().expect("it is there");
    std::fs::create_dir(root.join("data")).expect("a directory");
    let real = root.join("data/relay.db");
    // One that is relative, one that leads to it, one of a directory.
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
        ..config::Database::default()
    };
    let start = |way: &str| {
        Store::open(
            &settings(way),
            LONGEST_WAIT,
            Arc::new(SystemClock::new()),
            Arc::new(Metrics::new(Level::Off)),
            Arc::new(|_| {}),
            Arc::new(|| {}),
            Arc::new(|_| {}),
        )
    };
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

    // Links in a circle end somewhere, and are refused by the system.
    symlink("there", root.join("here")).expect("a link");
    symlink("here", root.join("there")).expect("a link");
    let refused = start("here").err().expect("there is no file");
    assert!(refused.to_string().contains("here"), "{refused}");
    // A name alone is one in the working directory.
    let here = std::env::current_dir().expect("a directory");
    let here = here.canonicalize().expect("it is there");
    let name = Path::new("not-there.db");
    assert_eq!(canonical(name), here.join(name));
}
