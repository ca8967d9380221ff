//! Files that were cut, overwritten, lost or somebody else's. Each time a server either refuses with
//! one line that names the file, and leaves it as it is, or recovers what was there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rusqlite::{Connection, OpenFlags};

use crate::judge::{digest, number};
use crate::support::Answer;
use crate::world::{Ended, World};

/// What is sent to a server after the damage is numbered from here on.
const LATER: u64 = 500_000_000_000;
/// A refusal takes no longer: nothing is worth trying twice.
const REFUSED_WITHIN: Duration = Duration::from_secs(5);

const DATABASE: &str = "relay.db";
const WAL: &str = "relay.db-wal";
const SHM: &str = "relay.db-shm";
/// It also says what was acknowledged last.
const LOCK: &str = "relay.db.lock";
const PAGE: usize = 4096;
/// A frame of the WAL is a page with a header.
const FRAME: usize = 24 + PAGE;

/// The files of a data directory.
type Files = BTreeMap<String, Vec<u8>>;

/// What a server left, to be damaged in copies.
struct Left {
    world: World,
    files: Files,
    /// Rows and numbers of all intents, in the order of their commits.
    intents: Vec<(i64, u64)>,
    /// How many of them the main file holds without its WAL.
    stored: usize,
    /// The WAL's frames that count.
    frames: usize,
    next: u64,
}

/// How a start on damaged files ended.
enum Came {
    Refused(Ended),
    Up,
}

/// How many ended which way.
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

/// What stands in a database.
struct Seen {
    /// What `integrity_check` says first.
    check: String,
    /// Rows and numbers of the intents, in the order of their commits.
    intents: Vec<(i64, u64)>,
    /// Numbers of those that nobody sent, or not like this.
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

/// The same of files that lie nowhere.
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

impl Left {
    /// By a server that was killed: most is in the main file, and some in the WAL alone.
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
            // With frames that are in the main file already, it has to be whole to the last one.
            let moved = index_number(&left.files, 96);
            if moved == 0 && left.stored + 20 <= left.intents.len() {
                return left;
            }
            world = left.world;
        }
        unreachable!("the last round fails");
    }

    /// By a server that stopped in order while nobody took anything: all of it waits, in one file.
    fn by_a_stop(seed: u64, events: usize) -> Self {
        let mut world = World::new();
        world.answers(|_| Answer::status(503).after(Duration::from_secs(60)));
        world.start();
        let load = world.load(seed, 4, 500);
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
    fn start_on(&mut self, files: &Files) -> Came {
        let data = self.world.data();
        std::fs::remove_dir_all(&data).expect("nobody uses it");
        write_into(&self.world.data(), files);
        let begun = Instant::now();
        match self.world.try_start() {
            Ok(_) => Came::Up,
            Err(ended) => {
                assert!(begun.elapsed() < REFUSED_WITHIN, "{:?}", begun.elapsed());
                Came::Refused(ended)
            }
        }
    }

    /// Requires that a start failed as it should.
    fn assert_refused(&self, ended: &Ended, named: &str, before: &Files) {
        assert_names(ended, named);
        let after = files_in(&self.world.data());
        for name in [DATABASE, WAL] {
            // An empty WAL is as good as none.
            let bytes = |files: &Files| files.get(name).cloned().unwrap_or_default();
            assert!(
                bytes(&after) == bytes(before),
                "{name} is another after {}",
                ended.log
            );
        }
    }

    /// Sends one more; whether it was acknowledged.
    fn send_one(&mut self) -> bool {
        let n = self.next;
        self.next += 1;
        let body = format!("{{\"n\":{n},\"later\":true}}");
        let sent = self.world.target().try_once(n, true, &body);
        let is_acknowledged = sent.id.is_some();
        self.world.journal.sent(sent);
        is_acknowledged
    }

    /// Requires that the server goes on with the first of what there was; how many those are.
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

    /// Requires that nothing is missing that was acknowledged before the damage.
    fn assert_holds_what_was_acknowledged(&self, what: &str) {
        let seen = look(&self.world, &self.world.database()).expect("it opens");
        let held: BTreeSet<u64> = seen.intents.into_iter().map(|(_, n)| n).collect();
        let acknowledged = self.world.journal.acknowledged_by(u64::MAX);
        let lost = acknowledged
            .iter()
            .find(|sent| sent.n < LATER && !held.contains(&sent.n));
        assert!(lost.is_none(), "{what}: {lost:?} is lost");
    }

    /// Requires that nobody invented or altered anything that arrived.
    fn assert_nothing_strange_arrived(&self) {
        let verdict = {
            let directory = tempfile::tempdir().expect("a directory");
            write_into(directory.path(), &self.files);
            self.world.journal.judge(&directory.path().join(DATABASE))
        };
        // Each copy has the same events delivered again, and what came later is in none of these.
        let strange: Vec<_> = verdict
            .wrong
            .iter()
            .filter(|wrong| !wrong.ends_with("no fault explains it"))
            .filter(|wrong| !(wrong.starts_with("lost: ") && wrong.contains("(5000000")))
            .collect();
        assert!(strange.is_empty(), "{strange:#?}");
    }
}

/// Requires that it failed with one line for people, after what the log has to say.
fn line(ended: &Ended) -> &str {
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
    let mut lines = ended.log.lines().filter(|line| !line.starts_with('{'));
    let line = lines.next().expect("a line");
    assert!(line.starts_with("relay: "), "{}", ended.log);
    assert_eq!(lines.next(), None, "{}", ended.log);
    line
}

/// Requires that a server which had served ended because it met the damage: its log's last line says
/// so.
fn assert_met_the_damage(ended: &Ended) {
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
    let last = ended.log.lines().last().unwrap_or_default();
    assert!(last.contains("malformed"), "{}", ended.log);
}

/// Requires that the line names a file.
fn assert_names(ended: &Ended, named: &str) {
    let line = line(ended);
    assert!(line.contains(&format!("{named}: ")), "{named}: {line}");
}

/// Runs a server that has to refuse at once.
fn refusal(mut command: Command) -> (Ended, Duration) {
    let begun = Instant::now();
    let mut child = command.arg("serve").spawn().expect("the binary starts");
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break status;
        }
        if begun.elapsed() > REFUSED_WITHIN {
            // So that it doesn't outlive the test.
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

/// Damages the WAL in many ways, one after the other. With the lock file in place, whatever was
/// acknowledged has to be there; without it, who put the files together is content with less.
fn damage_the_wal(name: &str, mut damage: impl FnMut(&Left, &mut Vec<u8>, &mut StdRng) -> String) {
    let _alone = crate::alone();
    let seed = crate::seed();
    let mut random = StdRng::seed_from_u64(seed);
    let images = crate::choose(20, 300);
    let mut left = Left::by_a_kill(seed);
    let all = left.intents.len();
    let mut tally = Tally::default();
    let (mut least, mut most) = (usize::MAX, 0);
    for image in 0..images {
        let is_guarded = image % 2 == 0;
        let mut files = left.files.clone();
        if !is_guarded {
            files.remove(LOCK);
        }
        let wal = files.get_mut(WAL).expect("a WAL");
        let what = damage(&left, wal, &mut random);
        match left.start_on(&files) {
            Came::Refused(ended) => {
                assert!(is_guarded, "{what}: {}", ended.log);
                left.assert_refused(&ended, DATABASE, &files);
                assert!(ended.log.contains("-wal"), "{what}: {}", ended.log);
                tally.count("refused");
            }
            Came::Up => {
                let kept = left.assert_recovered();
                assert!(kept >= left.stored, "{what}: {kept} of {}", left.stored);
                if is_guarded {
                    left.assert_holds_what_was_acknowledged(&what);
                    tally.count("recovered what was acknowledged");
                } else {
                    (least, most) = (least.min(kept), most.max(kept));
                    tally.count(if kept == all {
                        "recovered all"
                    } else {
                        "recovered a part"
                    });
                }
            }
        }
    }
    left.assert_nothing_strange_arrived();
    println!(
        "{name}: {images} images, {tally}; without the lock file {least} to {most} of {all} intents, {} of them in the main file",
        left.stored
    );
    assert!(tally.of("recovered a part") > 0, "no damage did anything");
    assert!(tally.of("refused") > 0, "no damage was noticed");
}

#[test]
fn a_wal_that_was_cut_anywhere_is_recovered_to_a_commit_or_refused() {
    damage_the_wal("cut WAL", |_, wal, random| {
        let length = random.random_range(0..wal.len());
        wal.truncate(length);
        format!("cut to {length}")
    });
}

#[test]
fn a_wal_with_a_flipped_bit_is_recovered_to_a_commit_or_refused() {
    damage_the_wal("flipped WAL", |left, wal, random| {
        // The WAL has a header, too. What lies behind the last frame is of an earlier round.
        let end = 32 + left.frames * FRAME;
        let byte = if random.random_bool(0.5) {
            random.random_range(end - end / 10..end)
        } else {
            random.random_range(0..wal.len())
        };
        let bit = random.random_range(0..8);
        wal[byte] ^= 1 << bit;
        format!("bit {bit} of {byte}")
    });
}

#[test]
fn an_index_of_the_wal_that_is_nonsense_is_made_anew() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let mut random = StdRng::seed_from_u64(seed);
    let images = crate::choose(5, 50);
    let mut left = Left::by_a_kill(seed);
    for image in 0..images {
        let mut files = left.files.clone();
        let index = files.get_mut(SHM).expect("an index");
        if image == 0 {
            index.clear();
        }
        index.fill_with(|| random.random());
        assert!(
            matches!(left.start_on(&files), Came::Up),
            "it doesn't start"
        );
        assert_eq!(left.assert_recovered(), left.intents.len());
    }
    left.assert_nothing_strange_arrived();
    println!(
        "nonsense in -shm: {images} images, each with all of {} intents",
        left.intents.len()
    );
}

/// What became of a server on a damaged main file. It may notice only when it reads what is damaged.
fn fate(left: &mut Left, files: &Files) -> &'static str {
    if let Came::Refused(ended) = left.start_on(files) {
        if ended.log.contains("listening at") {
            assert_met_the_damage(&ended);
            return "ended when it read it";
        }
        assert_names(&ended, DATABASE);
        return "refused";
    }
    left.send_one();
    let end = Instant::now() + Duration::from_secs(2);
    let is_pending = |left: &Left| {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        let counted = Connection::open_with_flags(left.world.database(), flags).and_then(|sql| {
            let count = "SELECT count(*) FROM deliveries WHERE state < 3";
            sql.query_row(count, [], |row| row.get::<_, i64>(0))
        });
        counted.map_or(true, |count| count > 0)
    };
    while !left.world.has_ended() && is_pending(left) && Instant::now() < end {
        crate::pause(Duration::from_millis(10));
    }
    let has_ended = left.world.has_ended();
    let ended = if has_ended {
        left.world.ended()
    } else {
        left.world.stop()
    };
    if !ended.status.success() {
        assert_met_the_damage(&ended);
        return "ended when it read it";
    }
    match look(&left.world, &left.world.database()) {
        Ok(seen) => {
            assert_eq!(seen.strange, Vec::<u64>::new(), "{}", seen.check);
            assert!(seen.intents.len() > 1, "it is empty: {}", seen.check);
            if seen.check != "ok" {
                "served beside the damage"
            } else if seen.intents.len() > left.intents.len() {
                "served all"
            } else {
                "served a part"
            }
        }
        Err(_) => "served what can be read",
    }
}

/// `SQLite` has no checksums: that a body, or where a row lies in its page, was changed is nothing that
/// anybody could notice. So these are whole pages, what says of which kind a page is, and the file's
/// header.
#[test]
fn a_damaged_page_is_refused_or_ends_it_and_never_arrives_as_an_event() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let mut random = StdRng::seed_from_u64(seed);
    let images = crate::choose(40, 400);
    let mut left = Left::by_a_stop(seed, 150);
    let pages = left.files[DATABASE].len() / PAGE;
    let mut tally = Tally::default();
    for image in 0..images {
        let mut files = left.files.clone();
        let main = files.get_mut(DATABASE).expect("a database");
        let page = random.random_range(0..pages) * PAGE;
        let bit = 1 << random.random_range(0..8);
        let what = match image % 4 {
            0 => {
                main[random.random_range(0..100)] ^= bit;
                "header"
            }
            1 => {
                main[if page == 0 { 100 } else { page }] ^= bit;
                "kind of a page"
            }
            2 => {
                main[page..page + PAGE].fill(0);
                "zeros"
            }
            _ => {
                main[page..page + PAGE].fill_with(|| random.random());
                "noise"
            }
        };
        let fate = fate(&mut left, &files);
        tally.count(format!("{what}: {fate}"));
    }
    left.assert_nothing_strange_arrived();
    println!("damaged pages: {images} images of {pages} pages: {tally}");
    assert!(tally.of("noise: served all") == 0, "noise is no damage");
}

/// Starts on each of these files, which has to be refused.
fn assert_each_refused(name: &str, left: &mut Left, damaged: &[(String, Files)], named: &str) {
    let mut tally = Tally::default();
    for (what, files) in damaged {
        match left.start_on(files) {
            Came::Refused(ended) => {
                println!("{what}: {}", line(&ended));
                left.assert_refused(&ended, named, files);
                tally.count("refused");
            }
            Came::Up => {
                left.world.kill();
                let seen = look(&left.world, &left.world.database());
                let seen = seen.map(|seen| (seen.intents.len(), seen.strange, seen.check));
                panic!(
                    "{what}: it serves, and holds {seen:?} of {}",
                    left.intents.len()
                );
            }
        }
    }
    println!("{name}: {} images, {tally}", damaged.len());
}

/// The main file cut in many ways.
fn cuts(left: &Left) -> Vec<(String, Files)> {
    let whole = left.files[DATABASE].len();
    let half = whole / 2 / PAGE * PAGE;
    [100, PAGE, half, half + 77, whole - PAGE, whole - 100]
        .into_iter()
        .map(|size| {
            let mut files = left.files.clone();
            let main = files.get_mut(DATABASE).expect("a database");
            main.truncate(size);
            (format!("cut to {size} of {whole}"), files)
        })
        .collect()
}

#[test]
fn a_main_file_that_was_cut_to_whole_pages_is_refused() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let mut left = Left::by_a_stop(seed, 100);
    let mut cuts = cuts(&left);
    // The last: it has a test of its own.
    cuts.pop();
    assert_each_refused("cut main file", &mut left, &cuts, DATABASE);
}

#[test]
fn a_main_file_that_was_cut_within_its_last_page_is_refused() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let mut left = Left::by_a_stop(seed, 100);
    let cuts = cuts(&left);
    let last = &cuts[cuts.len() - 1..];
    assert_each_refused("cut last page", &mut left, last, DATABASE);
}

/// Beside a WAL a main file may end early, since its end can be in there: a cut of its last page alone
/// can't be told from that by what SQLite says, and isn't promised to be found.
#[test]
fn a_main_file_that_was_cut_beside_its_wal_is_refused() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let mut left = Left::by_a_kill(seed);
    let mut cuts = cuts(&left);
    cuts.truncate(4);
    assert_each_refused("cut main file beside a WAL", &mut left, &cuts, DATABASE);
}

#[test]
fn a_main_file_that_is_empty_or_lost_beside_its_wal_is_refused() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let mut left = Left::by_a_kill(seed);
    let mut lost = left.files.clone();
    lost.remove(DATABASE);
    let mut empty = left.files.clone();
    empty.insert(DATABASE.to_owned(), Vec::new());
    let damaged = [("lost".to_owned(), lost), ("empty".to_owned(), empty)];
    assert_each_refused("lost main file", &mut left, &damaged, DATABASE);
}

/// After a server that had no time to stop in order: what it acknowledged may be in there alone.
#[test]
fn a_wal_that_is_lost_is_refused() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let mut left = Left::by_a_kill(seed);
    let mut files = left.files.clone();
    files.remove(WAL);
    let mut alone = files.clone();
    alone.remove(SHM);
    let damaged = [("WAL".to_owned(), files), ("both".to_owned(), alone)];
    assert_each_refused("lost WAL", &mut left, &damaged, DATABASE);
}

/// One that stopped in order has left nothing in it.
#[test]
fn a_wal_that_is_lost_after_an_orderly_stop_is_no_loss() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let mut left = Left::by_a_stop(seed, 100);
    let mut files = left.files.clone();
    files.remove(WAL);
    files.remove(SHM);
    assert!(
        matches!(left.start_on(&files), Came::Up),
        "it doesn't start"
    );
    assert_eq!(left.assert_recovered(), left.intents.len());
    left.assert_nothing_strange_arrived();
    println!(
        "lost WAL after a stop: all of {} intents",
        left.intents.len()
    );
}

/// The files after somebody changed them, with or without what is in the WAL alone.
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

/// Whole databases that are somebody else's.
const FOREIGN: [&str; 4] = [
    "CREATE TABLE theirs (a)",
    "CREATE TABLE theirs (a); PRAGMA user_version = 2",
    "PRAGMA application_id = 7",
    "PRAGMA journal_mode = WAL; CREATE TABLE theirs (a); PRAGMA user_version = 1",
];

#[test]
fn a_newer_schema_and_files_of_others_are_refused() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let mut left = Left::by_a_stop(seed, 100);
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
fn a_newer_schema_and_files_of_others_are_refused_untouched_if_the_wal_says_so() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let mut left = Left::by_a_stop(seed, 100);
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
fn a_damage_that_is_refused_stays_as_it_is() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let mut left = Left::by_a_stop(seed, 100);
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
fn directories_without_rights_are_refused() {
    let _alone = crate::alone();
    let world = World::new();
    let mut places = vec![
        PathBuf::from("/proc/relay.db"),
        world.directory.path().join("relay.toml/relay.db"),
    ];
    let user = Command::new("id").arg("-u").output().expect("id is there");
    // For root, rights are only words.
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
        let line = line(&ended);
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
        assert!(line(&ended).contains(&first), "{}", ended.log);
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
        .assert_just("second server", &world.database());
    println!("second server: {rounds} times, refused within {slowest:?}");
    assert_eq!((verdict.pending, verdict.dead), (0, 0));
}
