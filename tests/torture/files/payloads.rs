//! Damage to the bytes of a payload, which SQLite can't notice: it has no checksums.

use std::collections::{BTreeMap, HashMap};
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rusqlite::Connection;

use crate::files::{DATABASE, Files, LeftFiles, PAGE, StartResult, Tally, write_into};
use crate::judge::digest;
use crate::support::{Answer, Client, KEY, Receiver};

/// The largest bodies: some are a part of their row, others have up to three further pages.
const BYTES: usize = 12_000;
/// The first byte of a page with rows.
const LEAF: u8 = 0x0d;
/// Bytes of a disk's sector.
const SECTOR: usize = 512;
/// Bytes of a page of a large body before its content: the number of the next page.
const NEXT: usize = 4;

/// Damages a main file at a random place.
type Damage = fn(&mut [u8], &mut StdRng);

const DAMAGES: [(&str, Damage); 4] = [
    ("a bit within a row", flip_within_a_row),
    ("a bit of a further page", |main, random| {
        let at = further_page(main, random) + random.random_range(NEXT..PAGE);
        flip(&mut main[at], random);
    }),
    ("a sector of zeros", |main, random| {
        sector(main, random).fill(0);
    }),
    ("a sector of noise", |main, random| {
        let noise: [u8; SECTOR] = random.random();
        sector(main, random).copy_from_slice(&noise);
    }),
];

fn flip(byte: &mut u8, random: &mut StdRng) {
    *byte ^= 1 << random.random_range(0..8);
}

/// Flips a bit among the first bytes of a body, which stand in the page of its row.
fn flip_within_a_row(main: &mut [u8], random: &mut StdRng) {
    let begin = b"{\"n\":";
    let windows = main.windows(begin.len()).enumerate();
    let found = windows.filter(|(at, some)| some == begin && main[at / PAGE * PAGE] == LEAF);
    let places: Vec<_> = found.map(|(at, _)| at).collect();
    let at = places[random.random_range(0..places.len())];
    let end = (at / PAGE + 1) * PAGE;
    let at = at + random.random_range(0..40.min(end - at));
    flip(&mut main[at], random);
}

/// The place of a page that has a part of a large body, and nothing else.
fn further_page(main: &[u8], random: &mut StdRng) -> usize {
    let pages = main.chunks_exact(PAGE).enumerate();
    // The number of the next page begins with a zero in a file of this size.
    let found = pages.filter(|(_, page)| {
        let filler = page.iter().filter(|byte| **byte == b'x').count();
        page[0] == 0 && filler > PAGE / 2
    });
    let places: Vec<_> = found.map(|(at, _)| at * PAGE).collect();
    places[random.random_range(0..places.len())]
}

/// A sector of such a page, without the number of the next one.
fn sector<'a>(main: &'a mut [u8], random: &mut StdRng) -> &'a mut [u8] {
    let at = further_page(main, random) + SECTOR * random.random_range(1..PAGE / SECTOR);
    &mut main[at..at + SECTOR]
}

/// The digests of all bodies, by row.
fn bodies(database: &Path) -> BTreeMap<i64, [u8; 32]> {
    let sql = Connection::open(database).expect("it opens");
    let check: String = sql
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("a check");
    assert_eq!(check, "ok", "SQLite notices it");
    let mut statement = sql
        .prepare("SELECT id, body FROM intents")
        .expect("good SQL");
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, Vec<u8>>(1)?)));
    rows.expect("rows")
        .map(|row| {
            let (id, body) = row.expect("a row");
            (id, digest(&body))
        })
        .collect()
}

/// Damages a payload of the files; returns the files, and the rows and the numbers of the damaged
/// events. A damage beside all bodies is none.
fn damaged(left: &LeftFiles, damage: Damage, random: &mut StdRng) -> (Files, HashMap<i64, u64>) {
    let sent = left.world.journal.bodies();
    loop {
        let mut files = left.files.clone();
        damage(files.get_mut(DATABASE).expect("a database"), random);
        let directory = tempfile::tempdir().expect("a directory");
        write_into(directory.path(), &files);
        let found = bodies(&directory.path().join(DATABASE));
        let differs = left
            .intents
            .iter()
            .filter(|(row, n)| found.get(row) != sent.get(n));
        let differs: HashMap<_, _> = differs.copied().collect();
        if !differs.is_empty() {
            return (files, differs);
        }
    }
}

/// Starts on damaged files, and lets everything be delivered that may be. Asserts that each damaged
/// event is a dead letter that says so, and never arrived; and that all others arrived as they were
/// sent.
fn assert_not_delivered(left: &mut LeftFiles, files: &Files, damaged: &HashMap<i64, u64>) {
    let before = left.world.journal.hits().len();
    assert!(matches!(left.start_on(files), StartResult::Up));
    left.world.drain();
    let ended = left.world.stop();
    assert!(ended.status.success(), "{}", ended.log);
    assert!(ended.log.contains("a payload is damaged"), "{}", ended.log);
    let sent = left.world.journal.bodies();
    for hit in left.world.journal.hits().split_off(before) {
        let n = hit.n.expect("the load's");
        assert_eq!(
            Some(&hit.body),
            sent.get(&n),
            "{n} arrived with another body"
        );
        assert!(!damaged.values().any(|other| *other == n), "{n} is damaged");
    }
    let sql = Connection::open(left.world.database()).expect("it opens");
    let mut statement = sql
        .prepare("SELECT intent_id, state, last_error FROM deliveries")
        .expect("good SQL");
    let rows = statement.query_map([], |row| {
        let error: Option<String> = row.get(2)?;
        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, error))
    });
    for row in rows.expect("rows") {
        let (row, state, error) = row.expect("a row");
        if damaged.contains_key(&row) {
            let error = error.unwrap_or_default();
            assert_eq!(state, 4, "{row} is damaged: {error}");
            assert!(error.starts_with("payload_damaged"), "{row}: {error}");
        } else {
            assert_eq!(state, 3, "{row} is whole: {error:?}");
        }
    }
}

#[test]
fn a_damaged_payload_is_dead_lettered_and_never_delivered() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let mut random = StdRng::seed_from_u64(seed);
    let images = crate::choose(8, 200);
    let mut left = LeftFiles::with_bodies(seed, 60, BYTES);
    let mut tally = Tally::default();
    for image in 0..images {
        let (what, damage) = DAMAGES[image % DAMAGES.len()];
        let (files, damaged) = damaged(&left, damage, &mut random);
        assert_not_delivered(&mut left, &files, &damaged);
        tally.count(format!("{what}: dead-lettered"));
    }
    left.assert_nothing_strange_arrived();
    println!("damaged payloads: {images} images, {tally}");
}

/// The value of all series of a metric that have this label.
fn sum(metrics: &str, name: &str, label: &str) -> f64 {
    let lines = metrics
        .lines()
        .filter(|line| line.starts_with(name) && line.contains(label));
    lines
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

#[test]
fn a_damaged_payload_is_told_by_an_alert_and_counted() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let mut random = StdRng::seed_from_u64(seed);
    let mut left = LeftFiles::with_bodies(seed, 20, BYTES);
    let (files, damaged) = damaged(&left, DAMAGES[1].1, &mut random);
    let alerts = Receiver::start(|_| Answer::status(200));
    left.world.more = format!(
        "[destinations.ops]\nurl = \"{}\"\n[alerts]\ndestination = \"ops\"\n",
        alerts.url("/")
    );
    let port = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let admin = port.local_addr().expect("an address");
    drop(port);
    let address = ("RELAY_ADMIN_ADDR", admin.to_string());
    left.world.environment.push(address);
    assert!(matches!(left.start_on(&files), StartResult::Up));
    // Dead letters are collected for ten seconds.
    let alert = alerts.next_within(Duration::from_secs(60));
    let alert = alert.expect("an alert").body;
    let alert: serde_json::Value = serde_json::from_slice(&alert).expect("JSON");
    assert_eq!(alert["type"], "delivery.dead_lettered", "{alert}");
    let data = &alert["data"];
    assert_eq!(data["count"], damaged.len(), "{alert}");
    assert_eq!(data["reasons"][0]["reason"], "payload_damaged", "{alert}");
    let metrics = Client::of_admin(admin).get("/metrics").text();
    let counted = sum(&metrics, "relay_attempts_total{", "outcome=\"permanent\"");
    assert!((counted - 1.0).abs() < 0.5, "{counted} in {metrics}");
    // The event itself says so, by its id of the alert.
    let id = data["event_ids"][0].as_str().expect("an id");
    let (path, status) = match id.strip_prefix("evt_") {
        Some(_) => (format!("/events/{id}"), "dead_lettered"),
        None => (format!("/v1/relays/{id}"), "failed"),
    };
    let headers = [("X-API-Key", KEY)];
    let shown = left.world.client().send("GET", &path, &headers, b"").json();
    assert_eq!(shown["status"], status, "{shown}");
    assert!(shown.to_string().contains("payload_damaged"), "{shown}");
    let ended = left.world.stop();
    assert!(ended.status.success(), "{}", ended.log);
}
