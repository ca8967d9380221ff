//! Damage to the main file of the database.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rusqlite::{Connection, OpenFlags};

use crate::files::{
    DATABASE, Files, LeftFiles, PAGE, StartResult, Tally, assert_met_the_damage, assert_names,
    failure_line, look,
};

/// The result of a start on a damaged main file. The damage may be met only when it is read.
fn result_of_start(left: &mut LeftFiles, files: &Files) -> &'static str {
    if let StartResult::Refused(ended) = left.start_on(files) {
        if ended.log.contains("listening at") {
            assert_met_the_damage(&ended);
            return "ended when it read it";
        }
        assert_names(&ended, DATABASE);
        return "refused";
    }
    left.send_one();
    let end = Instant::now() + Duration::from_secs(2);
    let is_pending = |left: &LeftFiles| {
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

/// The damages here are whole pages, the byte with a page's type, and the file's header: `SQLite`
/// notices most of them. Damages of payloads alone are those of `payloads`.
#[test]
fn a_damaged_page_is_refused_or_fatal_and_is_never_delivered() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let mut random = StdRng::seed_from_u64(seed);
    let images = crate::choose(40, 400);
    let mut left = LeftFiles::by_a_stop(seed, 150);
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
        let result_of_start = result_of_start(&mut left, &files);
        tally.count(format!("{what}: {result_of_start}"));
    }
    left.assert_nothing_strange_arrived();
    println!("damaged pages: {images} images of {pages} pages: {tally}");
    assert!(tally.of("noise: served all") == 0, "noise is no damage");
}

/// Asserts that a start on each of these sets of files is refused.
pub fn assert_each_refused(
    name: &str,
    left: &mut LeftFiles,
    damaged: &[(String, Files)],
    named: &str,
) {
    let mut tally = Tally::default();
    for (what, files) in damaged {
        match left.start_on(files) {
            StartResult::Refused(ended) => {
                println!("{what}: {}", failure_line(&ended));
                left.assert_refused(&ended, named, files);
                tally.count("refused");
            }
            StartResult::Up => {
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

/// The main file truncated in many ways.
fn cuts(left: &LeftFiles) -> Vec<(String, Files)> {
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
fn a_main_file_truncated_to_whole_pages_is_refused() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let mut left = LeftFiles::by_a_stop(seed, 100);
    let mut cuts = cuts(&left);
    // Without the cut of the last page, which has a test of its own.
    cuts.pop();
    assert_each_refused("cut main file", &mut left, &cuts, DATABASE);
}

#[test]
fn a_main_file_truncated_within_its_last_page_is_refused() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let mut left = LeftFiles::by_a_stop(seed, 100);
    let cuts = cuts(&left);
    let last = &cuts[cuts.len() - 1..];
    assert_each_refused("cut last page", &mut left, last, DATABASE);
}

/// With a WAL beside it the main file may end early, because its end can be in the WAL. SQLite
/// can't tell a cut of the last page from that, and relay doesn't promise to find it.
#[test]
fn a_main_file_truncated_beside_its_wal_is_refused() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let mut left = LeftFiles::by_a_kill(seed);
    let mut cuts = cuts(&left);
    cuts.truncate(4);
    assert_each_refused("cut main file beside a WAL", &mut left, &cuts, DATABASE);
}

#[test]
fn an_empty_or_missing_main_file_beside_its_wal_is_refused() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let mut left = LeftFiles::by_a_kill(seed);
    let mut lost = left.files.clone();
    lost.remove(DATABASE);
    let mut empty = left.files.clone();
    empty.insert(DATABASE.to_owned(), Vec::new());
    let damaged = [("lost".to_owned(), lost), ("empty".to_owned(), empty)];
    assert_each_refused("lost main file", &mut left, &damaged, DATABASE);
}
