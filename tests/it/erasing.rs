//! `relay erase`: the bytes are in no file any more, and the record stays.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::commands::{error_of, output_of};
use crate::damage::places;
use crate::needs_a_file;
use crate::support::{
    Answer, Process, Receiver, event_id, event_with_status, relay_id, relay_to, relay_with_status,
};

/// Texts that stand nowhere but in what is erased: headers, payload, key, metadata, answer, query
/// string, and the answer's part of an error.
const MARKS: [&str; 7] = [
    "header-mark-4711",
    "payload-mark-4711",
    "key-mark-4711",
    "metadata-mark-4711",
    "answer-mark-4711",
    "query-mark-4711",
    "location-mark-4711",
];

/// A server with a destination that answers with a mark, and fails while it is told to.
fn serve(path: &Path) -> (Process, Receiver, Arc<AtomicBool>) {
    let fails = Arc::new(AtomicBool::new(false));
    let receiver = {
        let fails = Arc::clone(&fails);
        Receiver::start(move |arrival| {
            let is_slow = arrival.body.starts_with(b"{\"slow\"");
            let answer = if fails.load(Ordering::SeqCst) {
                // Its target becomes a part of the error.
                Answer::status(307).header("location", &format!("/{}", MARKS[6]))
            } else {
                Answer::status(200)
            };
            let wait = Duration::from_millis(if is_slow { 1_500 } else { 0 });
            answer.body(MARKS[4]).after(wait)
        })
    };
    let toml = format!(
        "[server]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = ''\n[database]\nmin_free_bytes = '0'\n\
         [api]\nkeys = ['test-key']\n[delivery]\nlevel = 'durable'\nworkers = 4\n\
         allow_networks = ['127.0.0.0/8']\n[destinations.orders]\nurl = '{}'\n\
         retry = {{ schedule = ['10h'] }}\nbreaker = {{ enabled = false }}\n\
         [destinations.archive]\nurl = 'http://127.0.0.1:9/'\n[sources.github]\ndestinations = ['orders']\n\
         forward_query = 'append'\n",
        receiver.url("/")
    );
    (Process::serve(path, &toml), receiver, fails)
}

/// The files of a directory in which a text stands.
fn found_in(directory: &Path, text: &str) -> Vec<String> {
    let files = std::fs::read_dir(directory).expect("a directory");
    let files = files.map(|file| file.expect("a file").path());
    files
        .filter(|file| file.is_file() && !places(file, text.as_bytes()).is_empty())
        .map(|file| file.display().to_string())
        .collect()
}

fn hook(server: &Process, key: &str, body: &str) -> String {
    let headers = [("idempotency-key", key), ("x-custom", MARKS[0])];
    let path = format!("/webhooks/github?q={}", MARKS[5]);
    event_id(&server.client.send("POST", &path, &headers, body.as_bytes()))
}

fn marked(server: &Process, key: &str) -> String {
    hook(server, key, &format!("{{\"a\":\"{}\"}}", MARKS[1]))
}

fn event(server: &Process, id: &str) -> Value {
    server.client.get(&format!("/events/{id}")).json()
}

#[test]
fn erased_bytes_are_in_no_file_and_the_event_still_answers() {
    needs_a_file!("its bytes are read");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let (server, receiver, fails) = serve(path);
    let delivered = marked(&server, MARKS[2]);
    event_with_status(&server.client, &delivered, "delivered");
    let url = relay_to(&receiver.url("/"), &format!("{{\"a\":\"{}\"}}", MARKS[1]));
    let with_metadata = url.replacen(
        '{',
        &format!("{{\"metadata\":{{\"m\":\"{}\"}},", MARKS[3]),
        1,
    );
    let keyed = [("idempotency-key", MARKS[2])];
    let relayed = relay_id(&server.client.create(&keyed, &with_metadata));
    relay_with_status(&server.client, &relayed, "delivered");
    fails.store(true, Ordering::SeqCst);
    let waiting = marked(&server, "waits");
    event_with_status(&server.client, &waiting, "retrying");
    // Its reason quotes the answer, and is all that is left of it but the key.
    let discarded = marked(&server, "goes");
    event_with_status(&server.client, &discarded, "retrying");
    output_of(path, &["discard", "--pending", &discarded]);
    for mark in MARKS {
        assert!(!found_in(path, mark).is_empty(), "{mark} is there at first");
    }

    let ids = [delivered.as_str(), &relayed, &waiting, &discarded];
    let shown = output_of(path, &[&["erase", "--dry-run"], &ids[..]].concat());
    assert_eq!(shown, "nothing was done; it would be: erased 4\n");
    assert_eq!(event(&server, &delivered)["payload"]["a"], MARKS[1]);
    assert_eq!(
        output_of(path, &[&["erase"], &ids[..]].concat()),
        "erased 4\n"
    );
    for mark in MARKS {
        assert_eq!(found_in(path, mark), Vec::<String>::new(), "{mark}");
    }
    // A copy that is made from now on has none of it, either.
    let copy = path.join("copy.db");
    let sql = rusqlite::Connection::open(path.join("relay.db")).expect("the database");
    sql.execute("VACUUM INTO ?1", [copy.to_str().expect("text")])
        .expect("a copy");
    for mark in MARKS {
        assert_eq!(found_in(path, mark), Vec::<String>::new(), "{mark}");
    }

    let shown = event(&server, &delivered);
    assert_eq!(
        (&shown["payload"], &shown["status"]),
        (&Value::Null, &"delivered".into())
    );
    let says = shown["status_description"].as_str().expect("a text");
    assert!(says.contains("Its payload was erased at 20"), "{says}");
    let shown = event(&server, &waiting);
    assert_eq!(shown["status"], "dead_lettered");
    let error = shown["last_error"].as_str().expect("a reason");
    assert!(error.starts_with("payload_erased"), "{error}");
    let shown = server.client.get(&format!("/v1/relays/{relayed}")).json();
    assert_eq!(shown["payload"], serde_json::json!({}));
    assert!(shown.get("metadata").is_none());

    // Its key still names it, and nothing sends it again.
    let again = server.client.create(&keyed, &with_metadata);
    assert_eq!((again.status, relay_id(&again)), (201, relayed.clone()));
    assert_eq!(marked(&server, MARKS[2]), delivered);
    fails.store(false, Ordering::SeqCst);
    for args in [
        &["replay", "--dead", "--json"][..],
        &["replay", "--status", "delivered", "--all", "--json"],
        &[
            "replay",
            "--to",
            "archive",
            "--status",
            "dead_lettered",
            "--json",
        ],
    ] {
        let told: Value = serde_json::from_str(&output_of(path, args)).expect("JSON");
        assert_eq!(told["replayed"], 0, "{told}");
        assert!(told["payload_gone"].as_i64() > Some(0), "{args:?}: {told}");
    }
    let (text, _) = error_of(path, &["erase", &delivered]);
    assert!(!text.contains("nothing"), "{text}");
}

#[test]
fn the_key_of_an_erased_event_names_it_after_a_restart() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let (server, receiver, _fails) = serve(path);
    let id = marked(&server, MARKS[2]);
    event_with_status(&server.client, &id, "delivered");
    output_of(path, &["erase", &id]);
    server.kill();
    let toml = std::fs::read_to_string(path.join("relay.toml")).expect("the file");
    let server = Process::serve(path, &toml);
    assert_eq!(marked(&server, MARKS[2]), id);
    assert_eq!(found_in(path, MARKS[2]), Vec::<String>::new());
    drop(receiver);
}

#[test]
fn an_attempt_under_way_ends_before_its_event_is_erased() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let (server, receiver, _fails) = serve(path);
    for by_filter in [false, true] {
        let key = format!("slow {by_filter}");
        let id = hook(&server, &key, &format!("{{\"slow\":\"{}\"}}", MARKS[1]));
        receiver.next();
        let args = if by_filter {
            ["erase", "--all"]
        } else {
            ["erase", &id]
        };
        output_of(path, &args);
        let shown = event(&server, &id);
        assert_eq!(
            shown["status"], "delivered",
            "its answer came first: {shown}"
        );
        assert_eq!(shown["payload"], Value::Null);
        assert_eq!(found_in(path, MARKS[4]), Vec::<String>::new());
        assert_eq!(found_in(path, MARKS[1]), Vec::<String>::new());
    }
}

#[test]
fn a_filter_erases_all_that_match_with_a_server_and_without() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let (server, _receiver, fails) = serve(path);
    fails.store(true, Ordering::SeqCst);
    let ids: Vec<String> = (0..120).map(|n| marked(&server, &format!("{n}"))).collect();
    for id in &ids {
        event_with_status(&server.client, id, "retrying");
    }
    let counted = output_of(
        path,
        &["erase", "--source", "github", "--dry-run", "--json"],
    );
    let counted: Value = serde_json::from_str(&counted).expect("JSON");
    assert_eq!(
        (&counted["total"], &counted["is_exact"]),
        (&120.into(), &true.into())
    );
    assert_eq!(
        output_of(path, &["erase", "--source", "github"]),
        "erased 120\n"
    );
    assert_eq!(found_in(path, MARKS[1]), Vec::<String>::new());
    assert_eq!(event(&server, &ids[7])["payload"], Value::Null);
    let again = output_of(path, &["erase", "--source", "github"]);
    assert_eq!(again, "erased 0, 120 erased already\n");

    let more = marked(&server, "more");
    event_with_status(&server.client, &more, "retrying");
    server.kill();
    assert_eq!(
        output_of(path, &["erase", "--all"]),
        "erased 1, 120 erased already\n"
    );
    assert_eq!(found_in(path, MARKS[1]), Vec::<String>::new());
}

/// Retention and updates leave copies of rows in pages that are used again.
#[test]
fn no_copy_is_left_by_rows_that_were_moved_or_deleted_around_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let (server, _receiver, fails) = serve(path);
    fails.store(true, Ordering::SeqCst);
    let size = |n: usize| 100 + (n * 337) % 3_000;
    let ids: Vec<String> = (0..300)
        .map(|n| {
            let body = format!(
                "{{\"m\":\"mark-{n:05}\",\"f\":\"{}\"}}",
                "y".repeat(size(n))
            );
            hook(&server, &format!("{n}"), &body)
        })
        .collect();
    for id in &ids {
        event_with_status(&server.client, id, "retrying");
    }
    // Two of three lose their payloads without being erased, and their pages are merged.
    let discarded = (0..300).filter(|n| n % 3 != 0).map(|n| ids[n].as_str());
    let discarded: Vec<&str> = discarded.collect();
    output_of(path, &[&["discard", "--pending"], &discarded[..]].concat());
    output_of(path, &["erase", "--all"]);
    for n in 0..300 {
        let mark = format!("mark-{n:05}");
        assert_eq!(found_in(path, &mark), Vec::<String>::new(), "{mark}");
    }
}

#[test]
fn a_reader_that_keeps_the_log_is_named_and_waited_for() {
    needs_a_file!("a reader keeps its log");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let (server, _receiver, _fails) = serve(path);
    let id = marked(&server, "1");
    event_with_status(&server.client, &id, "delivered");
    let sql = rusqlite::Connection::open(path.join("relay.db")).expect("the database");
    sql.execute_batch("BEGIN; SELECT count(*) FROM intents")
        .expect("a snapshot");
    let mut erase = Process::command(path);
    let mut erase = erase.args(["erase", &id]).spawn().expect("the binary runs");
    let mut log = std::io::BufReader::new(erase.stderr.take().expect("a pipe"));
    let mut line = String::new();
    std::io::BufRead::read_line(&mut log, &mut line).expect("a line");
    let me = std::process::id().to_string();
    assert!(line.contains("waiting until the write-ahead log"), "{line}");
    assert!(line.contains(&format!("process {me} (")), "{line}");
    // Reading the files here would drop the snapshot's locks.
    let log = path.join("relay.db-wal").metadata().expect("the log");
    assert!(log.len() > 0, "the log has it still");
    sql.execute_batch("COMMIT").expect("its end");
    assert!(erase.wait().expect("it ends").success());
    assert_eq!(found_in(path, MARKS[1]), Vec::<String>::new());
}

#[test]
fn erase_wants_ids_or_a_filter() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let (_server, _receiver, _fails) = serve(path);
    let (text, code) = error_of(path, &["erase"]);
    assert!(text.contains("--all") && code == Some(2), "{text}");
    let (text, code) = error_of(
        path,
        &[
            "erase",
            "--source",
            "github",
            "evt_01890a5d-ac96-774b-bcce-b302099a8057",
        ],
    );
    assert!(
        text.contains("expected either") && code == Some(2),
        "{text}"
    );
    let (text, code) = error_of(path, &["erase", "evt_01890a5d-ac96-774b-bcce-b302099a8057"]);
    assert!(
        text.contains("there is no such relay or event") && code == Some(1),
        "{text}"
    );
}

#[test]
fn the_copies_that_still_hold_what_was_erased_are_named() {
    needs_a_file!("copies of it are named");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let (server, _receiver, fails) = serve(path);
    std::fs::create_dir(path.join("backups")).expect("a directory");
    output_of(path, &["backup", "backups/early.db"]);
    // With this reader the log is not moved into the database, as when a kill comes early.
    let reader = rusqlite::Connection::open(path.join("relay.db")).expect("the database");
    reader
        .execute_batch("BEGIN; SELECT count(*) FROM intents")
        .expect("a snapshot");
    let id = marked(&server, "1");
    event_with_status(&server.client, &id, "delivered");
    fails.store(true, Ordering::SeqCst);
    // Of this one little more than the key is left.
    let discarded = marked(&server, MARKS[2]);
    event_with_status(&server.client, &discarded, "retrying");
    output_of(path, &["discard", "--pending", &discarded]);
    output_of(path, &["backup", "backups/before.db"]);
    server.kill();
    let toml = std::fs::read_to_string(path.join("relay.toml")).expect("the file");
    let toml = format!("{toml}[backup]\ndirectory = 'backups'\n");
    std::fs::write(path.join("relay.toml"), toml).expect("written");
    output_of(path, &["restore", "backups/before.db"]);

    let names_in = |text: &str| -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix("  "));
        let names = lines.filter_map(|line| Path::new(line).file_name());
        names
            .map(|name| name.to_string_lossy().into_owned())
            .collect()
    };
    let erase = |id: &str| {
        let (text, code) = error_of(path, &["erase", id]);
        assert_eq!(code, Some(0), "{text}");
        names_in(&text)
    };
    let named = erase(&id);
    assert!(named[0].starts_with("relay.db.before-"), "{named:?}");
    assert_eq!(named[1..], ["before.db"]);
    output_of(path, &["backup", "backups/between.db"]);
    let named = erase(&discarded);
    assert!(named[0].starts_with("relay.db.before-"), "{named:?}");
    assert_eq!(named[1..], ["before.db", "between.db"]);
    drop(reader);
}
