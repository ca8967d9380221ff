//! Files that were truncated, overwritten, lost or made by another program. Each time a server
//! either refuses them with one line that names the file, and leaves the file unchanged, or
//! recovers their content.

mod foreign;
mod main_file;
mod payloads;
mod wal;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::judge::{digest, number};
use crate::support::Answer;
use crate::world::{Ended, World};

/// The number of the first event that is sent after the damage.
const LATER: u64 = 500_000_000_000;
/// The longest that a refusal may take: no retry helps.
const REFUSED_WITHIN: Duration = Duration::from_secs(5);

const DATABASE: &str = "relay.db";
const WAL: &str = "relay.db-wal";
const SHM: &str = "relay.db-shm";
/// The lock file, which also records the last acknowledged event.
const LOCK: &str = "relay.db.lock";
const PAGE: usize = 4096;
/// Bytes of a frame of the WAL: a page and its header.
const FRAME: usize = 24 + PAGE;

/// The files of a data directory.
type Files = BTreeMap<String, Vec<u8>>;

/// The files that a server left, to be damaged in copies.
struct LeftFiles {
    world: World,
    files: Files,
    /// Rows and numbers of all intents, in the order of their commits.
    intents: Vec<(i64, u64)>,
    /// The number of intents in the main file without its WAL.
    stored: usize,
    /// The valid frames of the WAL.
    frames: usize,
    next: u64,
}

/// How a start on damaged files ended.
enum StartResult {
    Refused(Ended),
    Up,
}

/// The number of starts by their result.
#[derive(Debug, Default)]
struct Tally(BTreeMap<String, usize>);

impl Tally {
    fn count(&mut self, what: impl Into<String>) {
        *self.0.entry(what.into()).or_default() += 1;
    }

    fn of(&self, what: &str) -> usize {
        let fitting = self.0.iter().filter(|(known, _)| known.starts_with(what));
        fitting.map(|(_, count)| count).sum()
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = String::new();
        for (what, count) in &self.0 {
            let between = if text.is_empty() { "" } else { ", " };
            write!(text, "{between}{count} {what}")?;
        }
        f.write_str(&text)
    }
}

fn files_in(directory: &Path) -> Files {
    let entries = std::fs::read_dir(directory).expect("a directory");
    entries
        .map(|entry| entry.expect("an entry"))
        .map(|entry| {
            let name = entry.file_name().into_string().expect("text");
            (name, std::fs::read(entry.path()).expect("a file"))
        })
        .collect()
}

fn write_into(directory: &Path, files: &Files) {
    for (name, bytes) in files {
        std::fs::write(directory.join(name), bytes).expect("room for a copy");
    }
}

/// The content of a database.
struct Seen {
    /// The first line of `integrity_check`.
    check: String,
    /// Rows and numbers of the intents, in the order of their commits.
    intents: Vec<(i64, u64)>,
    /// Numbers of intents that weren't sent, or with another body.
    strange: Vec<u64>,
}

fn look(world: &World, database: &Path) -> rusqlite::Result<Seen> {
    let sql = Connection::open(database)?;
    let check: String = sql.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    let mut statement = sql.prepare("SELECT id, body FROM intents ORDER BY id")?;
    let rows = statement.query_map([], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))
    })?;
    let bodies = world.journal.bodies();
    let (mut intents, mut strange) = (Vec::new(), Vec::new());
    for row in rows {
        let (id, body) = row?;
        let n = number(&body).unwrap_or(u64::MAX);
        if bodies.get(&n) != Some(&digest(&body)) {
            strange.push(n);
        }
        intents.push((id, n));
    }
    Ok(Seen {
        check,
        intents,
        strange,
    })
}

/// The content of a database whose files are in memory.
fn look_at(world: &World, files: &Files) -> rusqlite::Result<Seen> {
    let directory = tempfile::tempdir().expect("a directory");
    write_into(directory.path(), files);
    look(world, &directory.path().join(DATABASE))
}

/// A number in the WAL's index: <https://www.sqlite.org/walformat.html#the_wal_index_file_format>.
fn index_number(files: &Files, at: usize) -> usize {
    let bytes = files[SHM][at..at + 4].try_into().expect("four bytes");
    usize::try_from(u32::from_ne_bytes(bytes)).expect("a 64-bit machine")
}

impl LeftFiles {
    /// Files of a killed server: most rows are in the main file, some only in the WAL.
    fn by_a_kill(seed: u64) -> Self {
        let mut world = World::new();
        world.start();
        let load = world.load(seed, 4, 1_000);
        world.acknowledged(300);
        load.stop();
        world.drain();
        let ended = world.stop();
        assert!(ended.status.success(), "{}", ended.log);
        for round in 0.. {
            assert!(round < 20, "no kill leaves much in the WAL");
            world.start();
            let load = world.load(seed ^ round, 2, 1_000);
            let before = world.journal.acknowledged();
            world.acknowledged(before + 40);
            world.kill();
            load.stop();
            let files = files_in(&world.data());
            let left = Self::of(world, files);
            // If its first frames are checkpointed already, the WAL must be whole to the last one.
            let moved = index_number(&left.files, 96);
            if moved == 0 && left.stored + 20 <= left.intents.len() {
                return left;
            }
            world = left.world;
        }
        unreachable!("the last round fails");
    }

    /// Files of a server that stopped in order with an unreachable destination: all deliveries
    /// wait, in one file.
    fn by_a_stop(seed: u64, events: usize) -> Self {
        Self::with_bodies(seed, events, 500)
    }

    /// As [`LeftFiles::by_a_stop`], with bodies of up to `bytes` bytes.
    fn with_bodies(seed: u64, events: usize, bytes: usize) -> Self {
        let mut world = World::new();
        world.answers(|_| Answer::status(503).after(Duration::from_secs(60)));
        world.start();
        let load = world.load(seed, 4, bytes);
        world.acknowledged(events);
        load.stop();
        let ended = world.stop();
        assert!(ended.status.success(), "{}", ended.log);
        world.answers(|_| Answer::status(200));
        let files = files_in(&world.data());
        let wal = files.get(WAL).map_or(0, Vec::len);
        assert_eq!(wal, 0, "a stop leaves nothing in the WAL");
        Self::of(world, files)
    }

    fn of(world: World, files: Files) -> Self {
        let seen = look_at(&world, &files).expect("it opens");
        assert_eq!(seen.check, "ok");
        let alone = Files::from([(DATABASE.to_owned(), files[DATABASE].clone())]);
        let stored = look_at(&world, &alone).map_or(0, |seen| seen.intents.len());
        let frames = if files.contains_key(SHM) {
            index_number(&files, 16)
        } else {
            0
        };
        Self {
            world,
            files,
            intents: seen.intents,
            stored,
            frames,
            next: LATER,
        }
    }

    /// Starts a server on these files.
    fn start_on(&mut self, files: &Files) -> StartResult {
        let data = self.world.data();
        std::fs::remove_dir_all(&data).expect("nobody uses it");
        write_into(&self.world.data(), files);
        let begun = Instant::now();
        match self.world.try_start() {
            Ok(_) => StartResult::Up,
            Err(ended) => {
                assert!(begun.elapsed() < REFUSED_WITHIN, "{:?}", begun.elapsed());
                StartResult::Refused(ended)
            }
        }
    }

    /// Asserts that a start was refused with a line that names `named`, and changed no file.
    fn assert_refused(&self, ended: &Ended, named: &str, before: &Files) {
        assert_names(ended, named);
        let after = files_in(&self.world.data());
        for name in [DATABASE, WAL] {
            // An empty WAL equals none.
            let bytes = |files: &Files| files.get(name).cloned().unwrap_or_default();
            assert!(
                bytes(&after) == bytes(before),
                "{name} is another after {}",
                ended.log
            );
        }
    }

    /// Sends one more event; returns whether it was acknowledged.
    fn send_one(&mut self) -> bool {
        let n = self.next;
        self.next += 1;
        let body = format!("{{\"n\":{n},\"later\":true}}");
        let sent = self.world.target().try_once(n, true, &body);
        let is_acknowledged = sent.id.is_some();
        self.world.journal.sent(sent);
        is_acknowledged
    }

    /// Asserts that the server goes on with a prefix of the intents; returns its length.
    fn assert_recovered(&mut self) -> usize {
        assert!(self.send_one(), "it accepts nothing");
        self.world.drain();
        let ended = self.world.stop();
        assert!(ended.status.success(), "{}", ended.log);
        let seen = look(&self.world, &self.world.database()).expect("it opens");
        assert_eq!(seen.check, "ok");
        assert_eq!(seen.strange, Vec::<u64>::new());
        let old: Vec<_> = seen
            .intents
            .into_iter()
            .filter(|(_, n)| *n < LATER)
            .collect();
        assert!(
            self.intents.starts_with(&old),
            "{} of {} are there, and they aren't the first",
            old.len(),
            self.intents.len()
        );
        old.len()
    }

    /// Asserts that everything that was acknowledged before the damage is there.
    fn assert_holds_what_was_acknowledged(&self, what: &str) {
        let seen = look(&self.world, &self.world.database()).expect("it opens");
        let held: BTreeSet<u64> = seen.intents.into_iter().map(|(_, n)| n).collect();
        let acknowledged = self.world.journal.acknowledged_by(u64::MAX);
        let lost = acknowledged
            .iter()
            .find(|sent| sent.n < LATER && !held.contains(&sent.n));
        assert!(lost.is_none(), "{what}: {lost:?} is lost");
    }

    /// Asserts that every event that arrived was sent, with the same body.
    fn assert_nothing_strange_arrived(&self) {
        let verdict = {
            let directory = tempfile::tempdir().expect("a directory");
            write_into(directory.path(), &self.files);
            self.world.journal.judge(&directory.path().join(DATABASE))
        };
        // Each copy delivers the same events again, and doesn't have the later ones.
        let strange: Vec<_> = verdict
            .wrong
            .iter()
            .filter(|wrong| !wrong.ends_with("no fault explains it"))
            .filter(|wrong| !(wrong.starts_with("lost: ") && wrong.contains("(5000000")))
            .collect();
        assert!(strange.is_empty(), "{strange:#?}");
    }
}

/// Asserts that the process failed with a single line after its log lines, and returns that line.
fn failure_line(ended: &Ended) -> &str {
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
    let mut lines = ended.log.lines().filter(|line| !line.starts_with('{'));
    let line = lines.next().expect("a line");
    assert!(line.starts_with("relay: "), "{}", ended.log);
    assert_eq!(lines.next(), None, "{}", ended.log);
    line
}

/// Asserts that a server ended because it met the damage while serving: the last line of its log
/// says so.
fn assert_met_the_damage(ended: &Ended) {
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
    let last = ended.log.lines().last().unwrap_or_default();
    assert!(last.contains("malformed"), "{}", ended.log);
}

/// Asserts that the line names a file.
fn assert_names(ended: &Ended, named: &str) {
    let line = failure_line(ended);
    assert!(line.contains(&format!("{named}: ")), "{named}: {line}");
}

/// Runs a server that must refuse at once.
fn refusal(mut command: Command) -> (Ended, Duration) {
    let begun = Instant::now();
    let mut child = command.arg("serve").spawn().expect("the binary starts");
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break status;
        }
        if begun.elapsed() > REFUSED_WITHIN {
            // Kills it if it doesn't end, so that it doesn't outlive the test.
            let _ = child.kill();
            panic!("it doesn't refuse");
        }
        crate::pause(Duration::from_millis(2));
    };
    let took = begun.elapsed();
    let mut log = String::new();
    let mut lines = child.stderr.take().expect("a pipe");
    lines.read_to_string(&mut log).expect("its log is text");
    (Ended { status, log }, took)
}
