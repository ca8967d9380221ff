//! Reloads of the configuration, by signals and by `relay reload`.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::needs_a_file;
use crate::support::engine::is_postgres;
use crate::support::{Client, Connection, Process, Reply, until};

const TOML: &str = "[server]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = '127.0.0.1:0'\n\
    [database]\nmin_free_bytes = 0\n[delivery]\nlevel = 'off'\n\
    [destinations.orders]\nurl = 'http://127.0.0.1:9/'\n[sources.github]\ndestinations = ['orders']\n";
const MORE: &str = "[sources.stripe]\ndestinations = ['orders']\n";

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn write(directory: &Path, toml: &str) {
    std::fs::write(directory.join("relay.toml"), toml).expect("writing relay.toml");
}

/// Runs a command; returns its exit code and its output on both streams.
fn run(directory: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Process::command(directory)
        .args(arguments)
        .output()
        .expect("the binary runs");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.code(), as_of_a_file(said))
}

/// Without what an answer has besides on PostgreSQL: the node's name, and that the test's URL comes
/// from the environment.
fn as_of_a_file(said: String) -> String {
    if !is_postgres() {
        return said;
    }
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
    let said = said
        .replace("database.url (RELAY_DATABASE_URL), ", "")
        .replace(
            "; the environment overrides database.url (RELAY_DATABASE_URL)",
            "",
        );
    let node = format!("{}: ", host.trim_end());
    said.strip_prefix(&node).unwrap_or(&said).to_owned()
}

fn reload(directory: &Path) -> String {
    let (code, said) = run(directory, &["reload"]);
    assert_eq!(code, Some(0), "{said}");
    said
}

fn refused(directory: &Path) -> String {
    let (code, said) = run(directory, &["reload"]);
    assert_eq!(code, Some(1), "{said}");
    said
}

fn post(client: &Client, source: &str, key: &str) -> Reply {
    let headers = [
        ("Idempotency-Key", key),
        ("Content-Type", "application/json"),
    ];
    client.send("POST", &format!("/webhooks/{source}"), &headers, b"{}")
}

fn metrics(relay: &Process) -> String {
    let admin = relay.admin.as_ref().expect("an admin listener");
    admin.send("GET", "/metrics", &[], b"").text()
}

/// The value of a metric without labels.
fn metric(relay: &Process, name: &str) -> f64 {
    let text = metrics(relay);
    let line = text
        .lines()
        .find(|line| line.starts_with(&format!("{name} ")));
    let value = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    value.unwrap_or_else(|| panic!("{name}: {text}"))
}

#[test]
fn a_reload_takes_over_the_whole_file_and_tells_what_changes() {
    let directory = directory();
    let path = directory.path();
    let relay = Process::serve(path, TOML);
    let info = || -> Vec<String> {
        let text = metrics(&relay);
        let lines = text
            .lines()
            .filter(|line| line.starts_with("relay_config_info{"));
        lines.map(str::to_owned).collect()
    };
    let before = info();
    assert_eq!(before.len(), 1, "{before:?}");
    assert!(before[0].contains("generation=\"0\""), "{before:?}");
    assert!((metric(&relay, "relay_config_last_reload_successful") - 1.0).abs() < 0.1);
    let started = metric(&relay, "relay_config_last_reload_success_timestamp_seconds");
    assert!(started > 1.7e9, "{started}");
    assert_eq!(post(&relay.client, "stripe", "1").status, 404);

    write(path, &format!("{TOML}{MORE}"));
    let said = reload(path);
    assert!(said.starts_with("generation 1, fingerprint "), "{said}");
    assert!(said.contains("adds source stripe"), "{said}");
    assert_eq!(post(&relay.client, "stripe", "1").status, 202);
    let after = info();
    assert_eq!(after.len(), 1, "the series before is gone: {after:?}");
    assert!(after[0].contains("generation=\"1\""), "{after:?}");
    assert_ne!(before[0].split(',').next(), after[0].split(',').next());
    let reloaded = metric(&relay, "relay_config_last_reload_success_timestamp_seconds");
    assert!(reloaded > started, "{reloaded}");

    // Back again: the same fingerprint, another generation.
    write(path, TOML);
    let said = reload(path);
    assert!(said.starts_with("generation 2, "), "{said}");
    assert!(said.contains("removes source stripe"), "{said}");
    assert_eq!(info()[0].split(',').next(), before[0].split(',').next());
    assert_eq!(post(&relay.client, "stripe", "2").status, 404);
    let (code, json) = run(path, &["reload", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((code, &json["generation"]), (Some(0), &3.into()));
    assert_eq!(json["changes"], "changes nothing");
}

#[test]
fn a_refused_reload_leaves_everything_as_it_was_and_says_why_in_one_line() {
    let directory = directory();
    let path = directory.path();
    let mut relay = Process::serve(path, TOML);
    // A file that a command can't read either it refuses by itself. It still names the database of
    // the one server that has to hear of it; the nodes of a PostgreSQL hear nothing.
    for (is_readable, toml, says) in [
        (
            false,
            format!("{TOML}[sources.x]\ndestination = 'orders'\n"),
            "sources.x",
        ),
        (
            true,
            format!("{TOML}[sources.x]\ndestinations = ['none']\n"),
            "sources.x.destinations",
        ),
        (
            true,
            format!("{TOML}{MORE}[retention]\ndelivered = '1s'\n"),
            "retention.delivered",
        ),
        (
            true,
            format!("{TOML}{MORE}[api]\nkeys_file = 'none'\n"),
            "api.keys_file",
        ),
        (
            false,
            format!("{TOML}{MORE}[sources.y]\ndestina"),
            "relay.toml:",
        ),
    ] {
        write(path, &toml);
        relay.signal("-HUP");
        let log = relay.read_until("was not reloaded");
        assert!(log.contains(says), "{log}");
        assert!(metric(&relay, "relay_config_last_reload_successful") < 0.5);
        assert_eq!(post(&relay.client, "stripe", "1").status, 404);
        assert_eq!(post(&relay.client, "github", says).status, 202);
        // The command says the same.
        let said = refused(path);
        assert!(said.contains(says) && said.lines().count() == 1, "{said}");
        if is_readable || !is_postgres() {
            relay.wait_for_line("was not reloaded");
        }
    }
    write(path, TOML);
    let said = reload(path);
    assert!(
        said.starts_with("generation 1, "),
        "refusals don't count: {said}"
    );
    assert!(metric(&relay, "relay_config_last_reload_successful") > 0.5);
}

#[test]
fn settings_that_only_a_start_can_change_are_refused_all_together() {
    needs_a_file!("its path is changed");
    let directory = directory();
    let path = directory.path();
    let relay = Process::serve(path, TOML);
    let toml = format!("{TOML}{MORE}[log]\nformat = 'text'\n")
        .replace("[server]\n", "[server]\nmax_connections = 7\n")
        .replace("[delivery]\n", "[delivery]\nworkers = 3\n")
        .replace("[database]\n", "[database]\nreaders = 9\n");
    write(path, &toml);
    let said = refused(path);
    assert!(said.contains("relay.toml: "), "{said}");
    for key in [
        "server.max_connections",
        "database.readers",
        "delivery.workers",
        "log.format",
    ] {
        assert!(said.contains(key), "{key}: {said}");
    }
    assert_eq!(post(&relay.client, "stripe", "1").status, 404);
    // The same file by another name, and the same level by its default, are no changes.
    let same = TOML.replace("[database]\n", "[database]\npath = './relay.db'\n");
    write(path, &format!("{same}{MORE}"));
    let said = reload(path);
    assert!(
        said.contains("adds source stripe") && !said.contains("changes"),
        "{said}"
    );
}

#[test]
fn a_missing_or_empty_file_is_refused() {
    let directory = directory();
    let path = directory.path();
    let mut relay = Process::serve(path, TOML);
    for text in ["", "\n  \n", "# every setting is gone\n", "[server]\n"] {
        write(path, text);
        relay.signal("-HUP");
        let log = relay.read_until("was not reloaded");
        assert!(log.contains("relay.toml: is empty"), "{log}");
    }
    // The command says so, too, though such a file doesn't name the database.
    let elsewhere = tempfile::tempdir().expect("a temporary directory");
    write(elsewhere.path(), "# every setting is gone\n");
    let (code, said) = run(elsewhere.path(), &["reload"]);
    assert!(said.contains("relay.toml: is empty"), "{said}");
    assert_eq!(code, Some(1));
    std::fs::remove_file(path.join("relay.toml")).expect("it is there");
    relay.signal("-HUP");
    let log = relay.read_until("was not reloaded");
    assert!(log.contains("relay.toml: No such file"), "{log}");
    assert_eq!(post(&relay.client, "github", "1").status, 202);
}

#[test]
fn a_dry_run_tells_what_would_change_and_changes_nothing() {
    let directory = directory();
    let path = directory.path();
    let relay = Process::serve(path, TOML);
    for key in 0..3 {
        assert_eq!(post(&relay.client, "github", &key.to_string()).status, 202);
    }
    let toml = TOML.replace("orders", "bills").replace(":9/", ":8/");
    write(path, &toml.replace("[sources.github]", "[sources.gitlab]"));
    let (code, said) = run(path, &["reload", "--dry-run"]);
    assert_eq!(code, Some(0), "{said}");
    for part in [
        "adds destination bills, source gitlab",
        "removes destination orders (3 pending), source github",
        "nothing was done",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(post(&relay.client, "gitlab", "1").status, 404);
    assert_eq!(post(&relay.client, "github", "4").status, 202);
    assert!(metrics(&relay).contains("generation=\"0\""));
    write(
        path,
        "[sources.x]\ndestinations = ['none']\n[server]\nlisten = '127.0.0.1:0'\n",
    );
    let (code, said) = run(path, &["reload", "--dry-run"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("sources.x.destinations"), "{said}");
    assert!(metric(&relay, "relay_config_last_reload_successful") > 0.5);
}

#[test]
fn the_environment_is_that_of_the_start_and_named() {
    let directory = directory();
    let path = directory.path();
    let mut command = Process::command(path);
    command.arg("serve").env("RELAY_API_KEYS", "from-the-start");
    let relay = Process::serve_by(command, path, TOML);
    write(path, &format!("{TOML}[api]\nkeys = ['from-the-file']\n"));
    let said = reload(path);
    assert!(
        said.contains("the environment overrides api.keys (RELAY_API_KEYS)"),
        "{said}"
    );
    let status = |key: &str| {
        let reply = relay
            .client
            .send("GET", "/v1/relays", &[("X-API-Key", key)], b"");
        reply.status
    };
    assert_eq!(
        (status("from-the-start"), status("from-the-file")),
        (200, 401)
    );
}

#[test]
fn editors_and_symlinks_that_replace_the_file_are_followed() {
    let directory = directory();
    let path = directory.path();
    let relay = Process::serve(path, TOML);
    // An editor's way: a new file takes the place of the old one.
    std::fs::write(path.join("new"), format!("{TOML}{MORE}")).expect("writing");
    std::fs::rename(path.join("new"), path.join("relay.toml")).expect("renaming");
    reload(path);
    assert_eq!(post(&relay.client, "stripe", "1").status, 202);
    drop(relay);

    // Kubernetes' way: the file is a link into a directory that is a link, which is swapped.
    for (name, toml) in [("one", TOML.to_owned()), ("two", format!("{TOML}{MORE}"))] {
        std::fs::create_dir(path.join(name)).expect("a directory");
        std::fs::write(path.join(name).join("relay.toml"), toml).expect("writing");
    }
    std::fs::create_dir(path.join("run")).expect("a directory");
    symlink(path.join("one"), path.join("data")).expect("a link");
    symlink(path.join("data/relay.toml"), path.join("run/linked.toml")).expect("a link");
    let mut command = Process::command(&path.join("run"));
    command.args(["serve", "--config", "linked.toml"]);
    let relay = Process::serve_by(command, &path.join("run"), "");
    symlink(path.join("two"), path.join("next")).expect("a link");
    std::fs::rename(path.join("next"), path.join("data")).expect("renaming");
    let (code, said) = run(&path.join("run"), &["reload", "--config", "linked.toml"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(post(&relay.client, "stripe", "1").status, 202);
}

#[test]
fn a_file_that_is_being_written_is_read_once_it_is_complete() {
    let directory = directory();
    let path = directory.path();
    let mut relay = Process::serve(path, TOML);
    // A file that is empty at the signal is read again and again, for a second.
    write(path, "");
    relay.signal("-HUP");
    write(path, &format!("{TOML}{MORE}"));
    let log = relay.read_until("reloaded");
    assert!(
        log.contains("adds source stripe") && !log.contains("removes"),
        "{log}"
    );
    assert_eq!(post(&relay.client, "github", "1").status, 202);
}

/// A request for a source whose head has been read: the relay asks for the body.
fn with_its_head_read(client: &Client, source: &str) -> Connection {
    let mut slow = client.connect();
    let head = format!(
        "POST /webhooks/{source} HTTP/1.1\r\nHost: relay\r\nIdempotency-Key: 1\r\n\
         Content-Type: application/json\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    );
    slow.send(head.as_bytes());
    assert_eq!(slow.reply().expect("an answer").status, 100);
    slow.send(b"{");
    slow
}

#[test]
fn a_source_that_is_removed_while_a_body_arrives_still_accepts_it() {
    let directory = directory();
    let path = directory.path();
    let relay = Process::serve(path, &format!("{TOML}{MORE}"));
    let mut slow = with_its_head_read(&relay.client, "stripe");
    write(path, TOML);
    let said = reload(path);
    assert!(said.contains("removes source stripe"), "{said}");
    slow.send(b"}");
    assert_eq!(slow.reply().expect("an answer").status, 202);
    // The same connection, and the next request: there is no such source.
    slow.send(
        b"POST /webhooks/stripe HTTP/1.1\r\nHost: relay\r\nIdempotency-Key: 2\r\n\
          Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
    );
    assert_eq!(slow.reply().expect("the connection goes on").status, 404);
}

#[test]
fn a_rotated_secret_counts_from_the_reload_on() {
    let directory = directory();
    let path = directory.path();
    std::fs::write(path.join("secret"), "old-secret\n").expect("writing");
    let toml = format!(
        "{TOML}[sources.gitlab]\ndestinations = ['orders']\n\
         verify.token = {{ header = 'X-Gitlab-Token', secrets_file = 'secret' }}\n"
    );
    let relay = Process::serve(path, &toml);
    let status = |secret: &str, key: &str| {
        let headers = [
            ("Idempotency-Key", key),
            ("Content-Type", "application/json"),
            ("X-Gitlab-Token", secret),
        ];
        relay
            .client
            .send("POST", "/webhooks/gitlab", &headers, b"{}")
            .status
    };
    assert_eq!(
        (status("old-secret", "1"), status("new-secret", "2")),
        (202, 401)
    );
    let fingerprint = |said: &str| said.split(", ").nth(1).map(|part| part[..76].to_owned());
    std::fs::write(path.join("secret"), "new-secret\nold-secret\n").expect("writing");
    let both = reload(path);
    assert!(both.contains("changes source gitlab"), "{both}");
    assert_eq!(
        (status("old-secret", "3"), status("new-secret", "4")),
        (202, 202)
    );
    std::fs::write(path.join("secret"), "new-secret\n").expect("writing");
    let new = reload(path);
    assert_eq!(
        (status("old-secret", "5"), status("new-secret", "6")),
        (401, 202)
    );
    assert!(fingerprint(&both).is_some() && fingerprint(&both) == fingerprint(&new));
}

#[test]
fn token_buckets_keep_their_level() {
    let directory = directory();
    let path = directory.path();
    let toml = |burst: u32, rate: f64| {
        format!(
            "{TOML}rate_limit = {{ per_second = {rate}, burst = {burst} }}\n\
             [sources.'*']\ndestinations = ['orders']\n\
             rate_limit = {{ per_second = {rate}, burst = {burst} }}\n\
             [api]\nkeys = ['k']\nrate_limit.get = {{ per_second = {rate}, burst = {burst} }}\n"
        )
    };
    let relay = Process::serve(path, &toml(4, 0.001));
    let of_api = || {
        let reply = relay
            .client
            .send("GET", "/v1/relays", &[("X-API-Key", "k")], b"");
        reply.status
    };
    for key in 0..4 {
        assert_eq!(post(&relay.client, "github", &key.to_string()).status, 202);
        assert_eq!(post(&relay.client, "other", &key.to_string()).status, 202);
        assert_eq!(of_api(), 200);
    }
    let are_empty = || {
        let statuses = [
            post(&relay.client, "github", "x").status,
            post(&relay.client, "other", "x").status,
            of_api(),
        ];
        assert_eq!(statuses, [429; 3]);
    };
    are_empty();
    // The same limits, and another setting; then other limits: an empty bucket stays empty.
    for toml in [
        format!("{}{MORE}", toml(4, 0.001)),
        toml(400, 0.001),
        toml(2, 0.002),
    ] {
        write(path, &toml);
        reload(path);
        are_empty();
    }
    // A bucket that is half full stays half full. A name that was never seen has a full one.
    assert_eq!(post(&relay.client, "fresh", "1").status, 202);
    write(path, &toml(4, 0.001));
    reload(path);
    let taken = (2..9).filter(|key| post(&relay.client, "fresh", &key.to_string()).status == 202);
    assert_eq!(taken.count(), 2);
}

/// Sends SIGHUP, sooner than a program that does it could be started.
fn hang_up(process: u32) {
    let process = i32::try_from(process).expect("a process");
    let process = rustix::process::Pid::from_raw(process).expect("a process");
    rustix::process::kill_process(process, rustix::process::Signal::HUP).expect("it runs");
}

#[test]
fn a_hundred_reloads_a_second_under_load_refuse_no_request() {
    let directory = directory();
    let path = directory.path();
    let relay = Process::serve(path, &format!("{TOML}{MORE}"));
    let begin = Instant::now();
    let (ends, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
    let refused = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for client in 0..4 {
            let (ends, sent, refused, relay) = (&ends, &sent, &refused, &relay);
            scope.spawn(move || {
                let mut key = 0;
                let mut connection = relay.client.connect();
                while !ends.load(Ordering::Relaxed) {
                    key += 1;
                    let head = format!(
                        "POST /webhooks/github HTTP/1.1\r\nHost: relay\r\n\
                         Idempotency-Key: {client}-{key}\r\nContent-Type: application/json\r\n\
                         Content-Length: 2\r\n\r\n{{}}"
                    );
                    connection.send(head.as_bytes());
                    let status = connection.reply().map(|reply| reply.status);
                    if status != Some(202) {
                        refused.lock().expect("no panics").push(status);
                    }
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for round in 0..200 {
            let toml = if round % 2 == 0 {
                TOML.to_owned()
            } else {
                format!("{TOML}{MORE}")
            };
            std::fs::write(path.join("next"), toml).expect("writing");
            std::fs::rename(path.join("next"), path.join("relay.toml")).expect("renaming");
            hang_up(relay.id());
            let sent_before = sent.load(Ordering::Relaxed);
            until("requests between two signals", || {
                (sent.load(Ordering::Relaxed) >= sent_before + 4).then_some(())
            });
            // A file that changes more often than it can be read twice alike is never taken.
            if round == 100 {
                until("a reload beside the requests", || {
                    (post(&relay.client, "stripe", "0").status == 404).then_some(())
                });
            }
        }
        ends.store(true, Ordering::Relaxed);
    });
    assert_eq!(refused.into_inner().expect("no panics"), []);
    // The last file runs, and signals that came during a reload, which takes 50 ms at least, were
    // done together.
    reload(path);
    let most = begin.elapsed().as_millis() / 50 + 1;
    assert_eq!(post(&relay.client, "stripe", "1").status, 202);
    relay.signal("-TERM");
    let (status, log) = relay.wait();
    assert!(status.success(), "{log}");
    let reloads = log.matches("configuration reloaded").count();
    assert!(
        reloads >= 2 && reloads as u128 <= most,
        "{reloads} of {most}"
    );
}

#[test]
fn a_reload_during_the_start_waits_until_the_relay_is_ready() {
    needs_a_file!("a lock on the file holds the start");
    let directory = directory();
    let path = directory.path();
    drop(Process::serve(path, TOML));
    write(path, TOML);
    // The start waits for a transaction of somebody else's.
    let other = rusqlite::Connection::open(path.join("relay.db")).expect("a database");
    other
        .execute_batch("BEGIN IMMEDIATE")
        .expect("a transaction");
    let mut command = Process::command(path);
    command.arg("serve");
    let mut relay = Process::serve_beside(command, path, TOML, |id| {
        // It locks the lock file after it has begun to receive signals.
        until("it has locked the database", || {
            let lock = std::fs::read_to_string(path.join("relay.db.lock")).ok()?;
            (lock.split_whitespace().next()? == id.to_string()).then_some(())
        });
        hang_up(id);
        hang_up(id);
        other.execute_batch("COMMIT").expect("the end");
    });
    assert!(
        !relay.begun.contains("configuration reloaded"),
        "{}",
        relay.begun
    );
    relay.wait_for_line("configuration reloaded");
    assert_eq!(post(&relay.client, "github", "1").status, 202);
}

#[test]
fn a_reload_during_a_stop_is_ignored_and_said() {
    let directory = directory();
    let path = directory.path();
    let mut relay = Process::serve(path, TOML);
    let mut slow = with_its_head_read(&relay.client, "github");
    relay.signal("-TERM");
    relay.wait_for_line("stopping");
    relay.signal("-HUP");
    relay.wait_for_line("not reloaded: the relay is stopping");
    slow.send(b"}");
    assert_eq!(slow.reply().expect("an answer").status, 202);
    let (status, log) = relay.wait();
    assert!(
        status.success() && !log.contains("configuration reloaded"),
        "{log}"
    );
}

#[test]
fn under_nohup_a_hangup_is_ignored_and_the_command_says_so() {
    needs_a_file!("several nodes are asked through the database");
    let directory = directory();
    let path = directory.path();
    let mut shell = Command::new("sh");
    let binary = env!("CARGO_BIN_EXE_relay");
    shell
        .args(["-c", &format!("trap '' HUP; exec {binary} serve")])
        .current_dir(path)
        .env_clear()
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let relay = Process::serve_by(shell, path, TOML);
    relay.signal("-HUP");
    write(path, &format!("{TOML}{MORE}"));
    let said = refused(path);
    assert_eq!(
        said.trim_end(),
        "relay: the server ignores SIGHUP, since it was started under nohup: \
         reload it by POST /api/reload, or restart it without nohup"
    );
    let (code, said) = run(path, &["reload", "--dry-run"]);
    assert_eq!(
        (code, said.as_str()),
        (Some(0), "adds source stripe; nothing was done\n")
    );
    assert!(metrics(&relay).contains("generation=\"0\""));
    // The way that the error names.
    let admin = relay.admin.as_ref().expect("an admin listener");
    let json = [("Content-Type", "application/json")];
    let done = admin.send("POST", "/api/reload", &json, b"{}");
    assert_eq!(done.status, 200, "{}", done.text());
    assert_eq!(post(&relay.client, "stripe", "1").status, 202);
}

#[test]
fn without_a_server_there_is_nothing_to_reload() {
    needs_a_file!("the lock file tells of a server");
    let directory = directory();
    let path = directory.path();
    let relay = Process::serve(path, TOML);
    relay.signal("-TERM");
    assert!(relay.wait().0.success());
    let said = refused(path);
    assert!(said.contains("relay.db: no server runs on it"), "{said}");
    // A file that can't be read is the command's own error, as it is the server's.
    write(path, "[sources");
    assert!(refused(path).contains("relay.toml:1"));
}

#[test]
fn a_program_that_embeds_the_relay_gets_no_signal() {
    let directory = Arc::new(directory());
    let config = crate::support::config(directory.path(), "http://127.0.0.1:9/");
    let database = config.database.path.display().to_string();
    let relay = crate::support::TestRelay::start_in(Arc::clone(&directory), config, None);
    write(
        directory.path(),
        &format!("[database]\npath = '{database}'\n"),
    );
    let said = refused(directory.path());
    assert!(said.contains("a program that embeds the relay"), "{said}");
    drop(relay);
}

#[test]
fn a_terminal_that_goes_away_reloads_and_is_mentioned() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let directory = directory();
    let path = directory.path();
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    // The relay must not hold this end, too.
    rustix::io::fcntl_setfd(&terminal, rustix::io::FdFlags::CLOEXEC).expect("a flag");
    grantpt(&terminal).expect("its permissions");
    unlockpt(&terminal).expect("its lock");
    let name = ptsname(&terminal, Vec::new()).expect("its name");
    let name = name.into_string().expect("a path");
    let input = std::fs::File::open(name).expect("the other end");
    let mut command = Process::command(path);
    command.arg("serve").stdin(input);
    let mut relay = Process::serve_by(command, path, TOML);
    relay.signal("-HUP");
    let log = relay.read_until("configuration reloaded");
    assert!(!log.contains("terminal"), "{log}");
    drop(terminal);
    relay.signal("-HUP");
    relay.wait_for_line("the terminal of the start is gone");
    relay.wait_for_line("configuration reloaded");
    until("it goes on", || {
        (post(&relay.client, "github", "1").status == 202).then_some(())
    });
}
