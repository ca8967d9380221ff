//! Accepting beside its limits: the same server without relay, and a bare log.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use relay::model::Level;
use serde_json::{Value, json};

use super::postgres::{self, Server};
use super::support::servers::fsync_log;
use super::support::{self, load, ratios, rounds, runtime, sample, shown};
use super::{Shared, stop};

/// Connections of the load, and sessions of the server without relay.
const CONNECTIONS: usize = 64;

/// Rows of a transaction that copies: as many as a batch has at most with that many connections.
const COPIED: usize = 64;

/// Transactions that copy, in a sample.
const COPIES: usize = 200;

/// The bare table: a row has an id, a time and a body.
const TABLE: &str = "CREATE TABLE bare (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz DEFAULT now(), body bytea)";

/// One node beside a log with one connection, and beside rows of the same body with 64.
pub fn beside_bare(server: &Server) -> Value {
    let client = runtime(1);
    let (mut by_log, mut log_p50, mut p50) = (Vec::new(), Vec::new(), Vec::new());
    let (mut accepted, mut copied, mut inserted) = (Vec::new(), Vec::new(), Vec::new());
    let mut tail = Vec::new();
    for _ in 0..rounds() {
        let directory = support::directory();
        let nobody = "127.0.0.1:9".parse().expect("an address");
        let mut config = support::config(directory.path(), nobody);
        config.delivery.level = Some(Level::Off);
        let logs = runtime(1);
        let log = load(&client, fsync_log(&logs, directory.path()), 1, sample()).p50;
        drop(logs);
        let database = Shared::new(server);
        let nodes = database.nodes(&config, 1);
        let alone = load(&client, nodes[0].address(), 1, sample()).p50;
        let many = load(&client, nodes[0].address(), CONNECTIONS, sample());
        stop(nodes);
        database.sql(TABLE);
        copied.push(copies(&database, directory.path()));
        inserted.push(inserts(&database, directory.path()));
        by_log.push(alone.as_secs_f64() / log.as_secs_f64());
        log_p50.push(log.as_secs_f64() * 1e3);
        p50.push(alone.as_secs_f64() * 1e3);
        tail.push(many.p99.as_secs_f64() / many.p50.as_secs_f64());
        accepted.push(many.per_second);
    }
    println!(
        "accepting beside its limits: {} rounds, interleaved; medians, and (least–most)",
        rounds()
    );
    let figures = [
        ("p50 of 1 connection, ms", p50),
        ("p50 of the log, ms", log_p50),
        ("p50 of 1 connection ÷ the log's", by_log),
        ("p99 ÷ p50, 64 connections", tail),
        (
            "POST/s ÷ rows/s of COPY, 64 a commit",
            ratios(&accepted, &copied),
        ),
        (
            "POST/s ÷ rows/s of 64 that insert one",
            ratios(&accepted, &inserted),
        ),
    ];
    let kept = figures.map(|(name, samples)| {
        let (text, figure) = shown(&samples);
        println!("{name:<38} | {text}");
        json!({ "figure": name, "measured": figure })
    });
    json!(kept)
}

/// Rows a second that one session copies.
fn copies(database: &Shared<'_>, directory: &Path) -> f64 {
    let row = format!("{}\n", support::body().replace('\\', "\\\\"));
    let mut script = String::new();
    for _ in 0..COPIES {
        script.push_str("COPY bare (body) FROM STDIN;\n");
        for _ in 0..COPIED {
            script.push_str(&row);
        }
        script.push_str("\\.\n");
    }
    let file = directory.join("copy.sql");
    std::fs::write(&file, script).expect("room");
    let began = Instant::now();
    run(Command::new(program("psql"))
        .args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--file"])
        .arg(&file)
        .arg(&database.url));
    rate(COPIES * COPIED, began.elapsed())
}

/// Rows a second that sessions insert one by one, each with a commit of its own.
fn inserts(database: &Shared<'_>, directory: &Path) -> f64 {
    let file = directory.join("insert.sql");
    let mut script = String::new();
    let body = support::body();
    writeln!(script, "INSERT INTO bare (body) VALUES ('{body}');").expect("memory takes all");
    // A colon may begin a variable of pgbench's, and the length is all that counts.
    std::fs::write(&file, script.replace(':', "=")).expect("room");
    let before = database.number("SELECT count(*) FROM bare");
    let began = Instant::now();
    run(Command::new(program("pgbench"))
        .args(["--no-vacuum", "--jobs=1", "--protocol=prepared"])
        .arg(format!("--client={CONNECTIONS}"))
        .arg(format!("--time={}", sample().as_secs().max(1)))
        .arg("--file")
        .arg(&file)
        .arg(&database.url));
    let took = began.elapsed();
    (database.number("SELECT count(*) FROM bare") - before) / took.as_secs_f64()
}

fn program(name: &str) -> std::path::PathBuf {
    let folder = postgres::programs().expect("the server runs");
    folder.join(name)
}

fn run(command: &mut Command) {
    let made = command.output().expect("it is installed");
    let complaint = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{command:?}: {complaint}");
}

#[expect(clippy::cast_precision_loss, reason = "a rate")]
fn rate(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}
