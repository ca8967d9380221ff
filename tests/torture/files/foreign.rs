//! Intact files that a server must not use: of another version, program, owner, or server.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rusqlite::Connection;

use crate::files::main_file::assert_each_refused;
use crate::files::{
    DATABASE, Files, LeftFiles, PAGE, assert_names, failure_line, files_in, refusal, write_into,
};
use crate::world::World;

/// The files after a change by SQL, which is in the WAL only if `stays_in_wal`.
fn changed(files: &Files, sql: &str, stays_in_wal: bool) -> Files {
    let directory = tempfile::tempdir().expect("a directory");
    write_into(directory.path(), files);
    let connection = Connection::open(directory.path().join(DATABASE)).expect("it opens");
    connection
        .execute_batch(&format!("PRAGMA wal_autocheckpoint = 0; {sql}"))
        .expect("good SQL");
    if stays_in_wal {
        return files_in(directory.path());
    }
    connection.close().expect("it closes");
    files_in(directory.path())
}

const NEWER: &str = "PRAGMA user_version = 99";

/// Intact databases that are not of this version of relay.
const FOREIGN: [&str; 4] = [
    "CREATE TABLE theirs (a)",
    "CREATE TABLE theirs (a); PRAGMA user_version = 2",
    "PRAGMA application_id = 7",
    "PRAGMA journal_mode = WAL; CREATE TABLE theirs (a); PRAGMA user_version = 1",
];

#[test]
fn newer_schemas_and_databases_of_other_programs_are_refused() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let mut left = LeftFiles::by_a_stop(seed, 100);
    let mut damaged = vec![("newer".to_owned(), changed(&left.files, NEWER, false))];
    for sql in FOREIGN {
        damaged.push((sql.to_owned(), changed(&Files::new(), sql, false)));
    }
    let mut random = StdRng::seed_from_u64(seed);
    let mut noise = vec![0; 5 * PAGE];
    noise.fill_with(|| random.random());
    for (what, bytes) in [
        ("noise", noise),
        ("text", b"not a database\n".repeat(1_000)),
        ("two bytes", b"xx".to_vec()),
        ("zeros", vec![0; 2 * PAGE]),
    ] {
        let files = Files::from([(DATABASE.to_owned(), bytes)]);
        damaged.push((what.to_owned(), files));
    }
    assert_each_refused("files of others", &mut left, &damaged, DATABASE);
}

#[test]
fn newer_schemas_and_other_programs_in_the_wal_are_refused_without_a_change() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let mut left = LeftFiles::by_a_stop(seed, 100);
    let damaged = [
        ("newer".to_owned(), changed(&left.files, NEWER, true)),
        (
            "others".to_owned(),
            changed(&Files::new(), FOREIGN[3], true),
        ),
    ];
    assert_each_refused("others' WAL", &mut left, &damaged, DATABASE);
}

#[test]
fn refused_damage_is_left_unchanged() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let mut left = LeftFiles::by_a_stop(seed, 100);
    let page = {
        let directory = tempfile::tempdir().expect("a directory");
        write_into(directory.path(), &left.files);
        let sql = Connection::open(directory.path().join(DATABASE)).expect("it opens");
        let root = "SELECT rootpage FROM sqlite_schema WHERE name = 'claimed'";
        let root: u32 = sql.query_row(root, [], |row| row.get(0)).expect("an index");
        (usize::try_from(root).expect("a 64-bit machine") - 1) * PAGE
    };
    let mut files = left.files.clone();
    let main = files.get_mut(DATABASE).expect("a database");
    main[page..page + PAGE].fill(0);
    let damaged = [("zeros where the claims are".to_owned(), files)];
    assert_each_refused("refused page", &mut left, &damaged, DATABASE);
}

#[test]
fn directories_without_permissions_are_refused() {
    let _alone = crate::alone();
    let world = World::new();
    let mut places = vec![
        PathBuf::from("/proc/relay.db"),
        world.directory.path().join("relay.toml/relay.db"),
    ];
    let user = Command::new("id").arg("-u").output().expect("id is there");
    // Permissions don't restrict root.
    if user.stdout != b"0\n" {
        use std::os::unix::fs::PermissionsExt as _;
        let sealed = world.directory.path().join("sealed");
        std::fs::create_dir(&sealed).expect("a directory");
        let rights = std::fs::Permissions::from_mode(0o500);
        std::fs::set_permissions(&sealed, rights).expect("it is ours");
        places.push(sealed.join(DATABASE));
    }
    let mut slowest = Duration::ZERO;
    for place in &places {
        let mut command = world.command();
        command.env("RELAY_DB", place);
        let (ended, took) = refusal(command);
        let line = failure_line(&ended);
        assert!(line.contains(place.to_str().expect("text")), "{line}");
        assert!(!place.exists());
        slowest = slowest.max(took);
        println!("{line}");
    }
    println!(
        "without rights: {} places, each refused within {slowest:?}",
        places.len()
    );
}

#[test]
fn a_second_server_is_refused_and_the_first_goes_on() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let rounds = crate::choose(5, 50);
    let mut world = World::new();
    world.start();
    let load = world.load(seed, 4, 400);
    let mut slowest = Duration::ZERO;
    for round in 1..=rounds {
        world.acknowledged(50 * round);
        let (ended, took) = refusal(world.command());
        assert_names(&ended, DATABASE);
        let first = format!("(process {})", world.process());
        assert!(failure_line(&ended).contains(&first), "{}", ended.log);
        slowest = slowest.max(took);
        let before = world.journal.acknowledged();
        world.acknowledged(before + 20);
    }
    load.stop();
    world.drain();
    let ended = world.stop();
    assert!(ended.status.success(), "{}", ended.log);
    let verdict = world
        .journal
        .assert_no_violations("second server", &world.database());
    println!("second server: {rounds} times, refused within {slowest:?}");
    assert_eq!((verdict.pending, verdict.dead), (0, 0));
}
