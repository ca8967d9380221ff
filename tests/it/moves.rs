//! `relay migrate`, as the section "From a file, and back" of docs/postgres.md has it.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rusqlite::Connection;
use serde_json::Value;

use crate::support::own_server::own_server;
use crate::support::postgres::{self, Server};
use crate::support::{
    Answer, Process, Receiver, event_id, event_with_status, relay_id, relay_to, relay_with_status,
};

/// A directory's commands, on its file or on a server's database.
struct Place<'a> {
    path: &'a Path,
    url: Option<&'a str>,
}

impl Place<'_> {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Process::command(self.path);
        command.env_remove("RELAY_DATABASE_URL").args(args);
        if let Some(url) = self.url {
            command.env("RELAY_DATABASE_URL", url);
        }
        command
    }

    fn serve(&self, toml: &str) -> Process {
        Process::serve_by(self.command(&["serve"]), self.path, toml)
    }

    /// The output of a command that succeeds.
    fn output_of(&self, args: &[&str]) -> String {
        let output = self.command(args).output().expect("the binary runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {error}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// The error of a command that fails.
    fn error_of(&self, args: &[&str]) -> String {
        let output = self.command(args).output().expect("the binary runs");
        assert!(!output.status.success(), "{args:?}");
        String::from_utf8(output.stderr).expect("text")
    }

    fn migrate(&self, to: &str) -> Value {
        let printed = self.output_of(&["migrate", "--to", to, "--json"]);
        serde_json::from_str(&printed).expect("JSON")
    }

    /// Everything that commands tell of events: all in an export, which is in the order of ids.
    fn told(&self) -> Vec<String> {
        let export = self.output_of(&["export"]);
        let mut told: Vec<String> = export.lines().skip(1).map(str::to_owned).collect();
        for args in [
            &["list", "--json"][..],
            &["list", "--unrouted", "--json"],
            &["secrets", "list"],
        ] {
            told.push(self.output_of(args));
        }
        // The sizes are left out: each engine has its own.
        let stats: Value =
            serde_json::from_str(&self.output_of(&["stats", "--json"])).expect("JSON");
        told.push(stats["destinations"].to_string());
        told
    }
}

fn toml(url: &str) -> String {
    format!(
        "[server]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = ''\n[database]\nmin_free_bytes = '0'\n\
         [api]\nkeys = ['test-key']\n[delivery]\nlevel = 'durable'\nworkers = 4\n\
         allow_networks = ['127.0.0.0/8']\n[destinations.orders]\nurl = '{url}'\n\
         retry = {{ schedule = ['10h'] }}\n[destinations.audit]\nurl = '{url}'\n\
         retry = {{ schedule = ['10h'] }}\nordering = {{ header = 'x-line' }}\n\
         [sources.github]\ndestinations = ['orders']\n[sources.lines]\ndestinations = ['audit']\n\
         [sources.nobody]\nroutes = [{{ when = {{ type = ['never'] }}, to = ['orders'] }}]\n\
         event_type = {{ header = 'x-type' }}\n"
    )
}

/// A receiver that counts what it took, by `webhook-id`.
struct Counting {
    receiver: Receiver,
    fails: Arc<AtomicBool>,
    taken: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Counting {
    fn start() -> Self {
        let fails = Arc::new(AtomicBool::new(false));
        let taken = Arc::new(Mutex::new(BTreeMap::new()));
        let receiver = {
            let (fails, taken) = (Arc::clone(&fails), Arc::clone(&taken));
            Receiver::start(move |arrival| {
                if arrival.body.starts_with(b"{\"dead\"") {
                    return Answer::status(410);
                }
                if fails.load(Ordering::SeqCst) {
                    return Answer::status(500).body("an answer");
                }
                let id = arrival.header("webhook-id").to_owned();
                *taken.lock().expect("no panic").entry(id).or_insert(0) += 1;
                Answer::status(200)
            })
        };
        Self {
            receiver,
            fails,
            taken,
        }
    }

    fn taken(&self) -> BTreeMap<String, usize> {
        self.taken.lock().expect("no panic").clone()
    }
}

/// Ids of events, by what they are.
type Ids = BTreeMap<&'static str, String>;

/// A file with events in all states.
fn fill(place: &Place<'_>, counting: &Counting, toml: &str) -> Ids {
    let server = place.serve(toml);
    let client = &server.client;
    let mut ids = Ids::new();
    let mut hook = |name: &'static str, body: &[u8], status: &str| {
        let id = event_id(&client.hook(name, body));
        event_with_status(client, &id, status);
        ids.insert(name, id);
    };
    hook("delivered", "{\"a\":\"ä\\u0000\"}".as_bytes(), "delivered");
    hook("erased", b"{}", "delivered");
    hook("dead", b"{\"dead\":1}", "dead_lettered");
    // A 410 pauses its destination.
    place.output_of(&["resume", "orders"]);
    counting.fails.store(true, Ordering::SeqCst);
    let large = format!("{{\"x\":\"{}\"}}", "x".repeat(200 << 10));
    hook("waiting", large.as_bytes(), "retrying");
    hook("discarded", b"{}", "retrying");
    place.output_of(&["discard", "--pending", &ids["discarded"]]);
    place.output_of(&["erase", &ids["erased"]]);
    for (key, name) in [("1", "first"), ("2", "second"), ("3", "third")] {
        let headers = [("idempotency-key", key), ("x-line", "l")];
        let id = event_id(&client.send("POST", "/webhooks/lines", &headers, b"{}"));
        ids.insert(name, id);
    }
    event_with_status(client, &ids["first"], "retrying");
    let headers = [("idempotency-key", "unrouted"), ("x-type", "other")];
    let unrouted = event_id(&client.send("POST", "/webhooks/nobody", &headers, b"{}"));
    ids.insert("unrouted", unrouted);
    counting.fails.store(false, Ordering::SeqCst);
    let url = counting.receiver.url("/x");
    let relayed = relay_id(&client.create(&[("idempotency-key", "k")], &relay_to(&url, "{}")));
    relay_with_status(client, &relayed, "delivered");
    ids.insert("relay", relayed);
    place.output_of(&["pause", "orders"]);
    ids.insert("paused", event_id(&client.hook("paused", b"{}")));
    drop(server);
    ids
}

/// Gives tables rows that few relays have.
fn fill_tables(path: &Path) {
    let sql = Connection::open(path.join("relay.db")).expect("the database");
    sql.execute_batch(
        "UPDATE intents SET query = 'a=1', event_type = 't' || char(0) || 'x'
            WHERE id = (SELECT min(id) FROM intents);
         UPDATE attempts SET failure = 'status', error = 'why', address = '127.0.0.1', next = 'so',
                             resolve_ms = 1, tls_ms = 2, connect_ms = 3, first_byte_ms = 4;
         UPDATE destinations SET held_until = 1, probe_at = 2, probe_wait = 3 WHERE name = 'audit';
         INSERT INTO learned_secrets (id, source, secret, learned_at) VALUES (7, 'asana', 'ä', 5);
         INSERT INTO expected_secrets VALUES ('asana', 1);
         INSERT INTO source_rollups VALUES (60, 60000, 'github', 1, 2, 3);
         INSERT INTO destination_rollups VALUES (60, 60000, 'orders', 1, 2, 3, x'00c801'),
                                                (3600, 0, 'orders', 1, 2, 3, NULL);
         INSERT INTO alert_states VALUES ('relay.backlog', 'orders', 'old', 9);
         INSERT INTO jobs (id, operation, kind, destination_id, states, since, until, total,
                           cursor_at, cursor_intent, cursor_more, created_at, ended_at, nonce,
                           is_cancelled, reason)
         VALUES (41, 41, 0, 1, 16, 0, 9, 3, 1, 2, 3, 4, 5, 'n', 1, 'r');
         UPDATE config_state SET attempts = 3, fingerprint = 'f', error = 'e', is_dry_run = 1;",
    )
    .expect("good SQL");
}

/// The digests of a move's report, by table.
fn digests(report: &Value) -> BTreeMap<String, (u64, String)> {
    let tables = report["tables"].as_array().expect("tables");
    let entry = |table: &Value| {
        let name = table["table"].as_str().expect("a name").to_owned();
        let digest = table["digest"].as_str().expect("a digest").to_owned();
        (name, (table["rows"].as_u64().expect("a number"), digest))
    };
    tables.iter().map(entry).collect()
}

fn server() -> Option<(&'static Server, String)> {
    let server = postgres::server()?;
    Some((server, server.create_database()))
}

#[test]
fn everything_is_answered_alike_after_a_move_there_and_back() {
    let Some((server, url)) = server() else {
        return;
    };
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    let counting = Counting::start();
    let toml = toml(&counting.receiver.url("/"));
    let file = Place { path, url: None };
    let there = Place {
        path,
        url: Some(&url),
    };
    let ids = fill(&file, &counting, &toml);
    fill_tables(path);
    let told = file.told();
    let moved = digests(&file.migrate(&url));
    assert!(moved.values().all(|(rows, _)| *rows > 0), "{moved:#?}");
    assert_eq!(there.told(), told);
    // The file still tells, and neither serves nor changes.
    assert_eq!(file.told(), told);
    for args in [&["serve"][..], &["resume", "orders"]] {
        let refused = file.error_of(args);
        assert!(refused.contains("was moved to postgres://"), "{refused}");
        assert!(refused.contains("relay migrate --abandon"), "{refused}");
    }
    // Back, before anything happens there: the same.
    let back = path.join("back.db");
    let report = there.migrate(back.to_str().expect("text"));
    assert_eq!(digests(&report), moved);
    let refused = there.error_of(&["serve"]);
    assert!(refused.contains("was moved to"), "{refused}");
    there.output_of(&["migrate", "--abandon"]);
    go_on(&there, &counting, &toml, &ids);
    // Later changes are moved as well.
    let told = there.told();
    let late = directory.path().join("late");
    std::fs::create_dir(&late).expect("a directory");
    let report = there.migrate(&format!("sqlite:{}", late.join("relay.db").display()));
    assert_eq!(report["ok"], true);
    std::fs::write(late.join("relay.toml"), &toml).expect("written");
    let late = Place {
        path: &late,
        url: None,
    };
    assert_eq!(late.told(), told);
    let process = late.serve(&toml);
    let again = process.client.hook("after", b"{}");
    assert_eq!(event_id(&again), ids_of_after(&told));
    let new = event_id(&process.client.hook("new", b"{}"));
    event_with_status(&process.client, &new, "delivered");
    assert!(counting.taken().values().all(|times| *times == 1));
    drop(process);
    server.drop_database(&url);
}

/// The id of the event that was accepted on PostgreSQL: the last one.
fn ids_of_after(told: &[String]) -> String {
    let event = told
        .iter()
        .rev()
        .find(|line| line.starts_with("{\"id\":\"evt_"));
    let event: Value = serde_json::from_str(event.expect("an event")).expect("JSON");
    event["id"].as_str().expect("an id").to_owned()
}

/// Serves on PostgreSQL: keys name what they named, and what waited is delivered once.
fn go_on(there: &Place<'_>, counting: &Counting, toml: &str, ids: &Ids) {
    let process = there.serve(toml);
    let client = &process.client;
    for name in ["delivered", "erased", "dead", "discarded", "paused"] {
        let body: &[u8] = if name == "dead" {
            b"{\"dead\":1}"
        } else {
            b"{}"
        };
        let again = client.hook(name, body);
        assert_eq!(event_id(&again), ids[name], "{name}");
    }
    let url = counting.receiver.url("/x");
    let again = client.create(&[("idempotency-key", "k")], &relay_to(&url, "{}"));
    assert_eq!(relay_id(&again), ids["relay"]);
    let conflict = client.create(&[("idempotency-key", "k")], &relay_to(&url, "{\"b\":1}"));
    assert_eq!(conflict.status, 409);
    there.output_of(&["resume", "audit"]);
    there.output_of(&["resume", "orders"]);
    there.output_of(&["retry", &ids["waiting"]]);
    there.output_of(&["retry", &ids["first"]]);
    for name in ["waiting", "paused", "first", "second", "third"] {
        event_with_status(client, &ids[name], "delivered");
    }
    let taken = counting.taken();
    for name in ["waiting", "paused", "first", "second", "third"] {
        assert_eq!(taken.get(&ids[name]), Some(&1), "{name}: {taken:?}");
    }
    let after = event_id(&client.hook("after", b"{}"));
    event_with_status(client, &after, "delivered");
    // A node that is killed serves for the rest of its lease.
    process.signal("-TERM");
    let (status, log) = process.wait();
    assert!(status.success(), "{log}");
}

/// Runs a move until its standard error has a line, and kills it there.
fn kill_at(place: &Place<'_>, to: &str, line: &str) {
    let mut command = place.command(&["migrate", "--to", to]);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let log = BufReader::new(child.stderr.take().expect("a pipe"));
    let found = log
        .lines()
        .map_while(Result::ok)
        .find(|read| read.contains(line));
    assert!(found.is_some(), "no {line:?}");
    // It may have ended by itself.
    let _ = child.kill();
    child.wait().expect("it ends");
}

/// Lines at which a move is killed.
const POINTS: [&str; 6] = [
    "marked as unfinished",
    "copying intents",
    "copying deliveries",
    "comparing attempts",
    "everything is copied",
    "marked as moved",
];

/// Kills a move at a point, and begins again until all is there.
fn kill_and_begin_again(from: &Place<'_>, to: &Place<'_>, target: &str, toml: &str, line: &str) {
    std::fs::write(to.path.join("relay.toml"), toml).expect("written");
    let told = from.told();
    kill_at(from, target, line);
    assert_eq!(from.told(), told, "{line}: the source");
    let again = from.command(&["migrate", "--to", target]).output();
    let again = again.expect("the binary runs");
    let error = String::from_utf8_lossy(&again.stderr);
    // Killed too late: it was done.
    let was_done = error.contains("that move is finished");
    assert!(again.status.success() || was_done, "{line}: {error}");
    assert_eq!(to.told(), told, "{line}: the target");
}

#[test]
fn a_killed_move_is_begun_again_at_any_point() {
    let Some((server, _)) = server() else {
        return;
    };
    let directory = tempfile::tempdir().expect("a directory");
    let counting = Counting::start();
    let toml = toml(&counting.receiver.url("/"));
    let first = directory.path().join("first");
    std::fs::create_dir(&first).expect("a directory");
    let file = Place {
        path: &first,
        url: None,
    };
    fill(&file, &counting, &toml);
    for (at, line) in POINTS.into_iter().enumerate() {
        let url = server.create_database();
        let path = directory.path().join(format!("there-{at}"));
        std::fs::create_dir(&path).expect("a directory");
        let there = Place {
            path: &path,
            url: Some(&url),
        };
        kill_and_begin_again(&file, &there, &url, &toml, line);
        let path = directory.path().join(format!("back-{at}"));
        std::fs::create_dir(&path).expect("a directory");
        let target = path.join("relay.db").display().to_string();
        let back = Place {
            path: &path,
            url: None,
        };
        kill_and_begin_again(&there, &back, &target, &toml, line);
        file.output_of(&["migrate", "--abandon"]);
        server.drop_database(&url);
    }
}

#[test]
fn a_refused_move_says_in_one_line_why() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    let file = Place { path, url: None };
    for (args, problem) in [
        (&["migrate"][..], "expected --to URL, --to PATH"),
        (&["migrate", "--to", "mysql://a/b"], "expected postgres://"),
        (&["migrate", "--to", "other.db"], "relay backup"),
        (
            &["migrate", "--to", "other.db", "--ca-file", "a.pem"],
            "--ca-file",
        ),
        (&["migrate", "--abandon"], "no database here"),
        (
            &["migrate", "--to", "postgres://nobody@127.0.0.1:1/none"],
            "relay.db",
        ),
    ] {
        let error = file.error_of(args);
        assert!(error.contains(problem), "{args:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn a_server_is_verified_by_the_authority_that_the_command_line_names() {
    let Some(mut server) = own_server() else {
        return;
    };
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    let ca_file = server.use_tls(path).display().to_string();
    server.tell("start");
    let to = format!(
        "postgres://postgres@{}/postgres?sslmode=require",
        server.address()
    );
    let file = Place { path, url: None };
    let counting = Counting::start();
    let relay = file.serve(&toml(&counting.receiver.url("/")));
    let id = event_id(&relay.client.hook("an event", b"{}"));
    event_with_status(&relay.client, &id, "delivered");
    drop(relay);

    for (options, problem) in [
        (&[][..], "UnknownIssuer"),
        (
            &["--ca-file", "none.pem"],
            "--ca-file: \"none.pem\": No such file",
        ),
        (
            &["--ca-file", "relay.toml"],
            "--ca-file: \"relay.toml\": expected a PEM file",
        ),
    ] {
        let error = file.error_of(&[&["migrate", "--to", &to], options].concat());
        assert!(error.contains(problem), "{options:?}: {error}");
    }
    let moved = file.output_of(&["migrate", "--to", &to, "--ca-file", &ca_file]);
    assert!(moved.contains("moved "), "{moved}");
    // Later commands have it from the configuration.
    let text = std::fs::read_to_string(path.join("relay.toml")).expect("the configuration");
    let named = text.replace(
        "[database]\n",
        &format!("[database]\nca_file = '{ca_file}'\n"),
    );
    std::fs::write(path.join("relay.toml"), named).expect("written");
    let there = Place {
        path,
        url: Some(&to),
    };
    let shown = there.output_of(&["show", &id]);
    assert!(shown.contains("delivered"), "{shown}");
}

#[test]
fn a_held_relay_is_not_moved() {
    let Some((server, url)) = server() else {
        return;
    };
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    let file = Place { path, url: None };
    let counting = Counting::start();
    let relay = file.serve(&toml(&counting.receiver.url("/")));
    file.output_of(&["pause", "orders"]);
    let id = event_id(&relay.client.hook("an event", b"{}"));
    file.output_of(&["backup", "copy.db"]);
    drop(relay);
    file.output_of(&["restore", "copy.db"]);

    let error = file.error_of(&["migrate", "--to", &url]);
    assert!(error.contains("is held since a restore"), "{error}");
    assert!(error.contains("relay resume --all"), "{error}");
    // Nothing is there yet, and the file is as it was.
    let there = Place {
        path,
        url: Some(&url),
    };
    let absent = there.error_of(&["show", &id]);
    assert!(absent.contains("no tables here"), "{absent}");
    assert!(file.output_of(&["stats"]).starts_with("held since"));

    file.output_of(&["resume", "--all"]);
    file.migrate(&url);
    assert!(there.output_of(&["show", &id]).contains(&id));
    server.drop_database(&url);
}

/// Bytes of payloads, and as many of answers, in the database of the next test.
const LARGE: usize = 64 << 20;

/// The memory of a process that moves it, besides code and shared pages: less than either half.
/// Kibibytes, as `ulimit` has them.
const MEMORY: usize = 40 << 10;

/// The same command with no more memory than [`MEMORY`]: it would end with an error.
fn within_memory(command: &Command) -> Command {
    let mut bound = Command::new("sh");
    bound
        .args(["-c", &format!("ulimit -d {MEMORY} && exec \"$0\" \"$@\"")])
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(command.get_current_dir().expect("a directory"));
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bound.env(name, value),
            None => bound.env_remove(name),
        };
    }
    bound
}

/// Events with payloads of 256 KiB, and as many bytes of answers of 4 KiB each.
fn fill_large(path: &Path) {
    let events = LARGE >> 18;
    let answers = LARGE / events / 4096;
    let sql = Connection::open(path.join("relay.db")).expect("the database");
    sql.execute_batch(&format!(
        "INSERT INTO destinations (id, name) VALUES (1, 'orders');
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {events})
         INSERT INTO intents (id, random, surface, created_at, label, headers, body)
         SELECT 1000000000000000 + i, i, 1, 1, 'github', x'', randomblob({LARGE} / {events})
         FROM n;
         INSERT INTO deliveries (intent_id, destination_id, state, updated_at, last_error, history)
         SELECT id, 1, 4, 1, 'x', {answers} FROM intents;
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {answers})
         INSERT INTO attempts (intent_id, destination_id, entry, attempt, started_at, duration_ms,
                               outcome, response)
         SELECT intent_id, 1, i, i, 1, 1, 2, randomblob(4096) FROM deliveries, n;"
    ))
    .expect("good SQL");
}

#[test]
fn a_move_there_and_back_takes_less_memory_than_the_database_has_bytes() {
    let Some((server, url)) = server() else {
        return;
    };
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    let file = Place { path, url: None };
    drop(file.serve(&toml("http://127.0.0.1:9/")));
    fill_large(path);
    let there = Place {
        path,
        url: Some(&url),
    };
    let back = path.join("back.db").display().to_string();
    for (from, to) in [(&file, &url), (&there, &back)] {
        let command = within_memory(&from.command(&["migrate", "--to", to]));
        let output = { command }.output().expect("the binary runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "to {to}: {error}");
    }
    server.drop_database(&url);
}
