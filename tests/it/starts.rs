//! Starts that must fail: with one line and exit code 1, and nothing changed on disk.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;

use crate::needs_a_file;
use crate::support::{Process, event_id, until};

const TOML: &str =
    "[server]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = ''\n[database]\nmin_free_bytes = 0\n";

/// Every file of a directory with its content.
fn content(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    std::fs::read_dir(directory)
        .expect("a directory")
        .map(|entry| {
            let entry = entry.expect("an entry");
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, std::fs::read(entry.path()).unwrap_or_default())
        })
        .collect()
}

#[cfg(feature = "postgres")]
#[test]
fn a_check_refuses_a_url_of_a_server_as_a_start_does() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    for url in [
        "postgres://u:hunter2@h:99999/d",
        "postgres://u:hunter2@[::1/d",
    ] {
        std::fs::write(path.join("relay.toml"), format!("{TOML}url = '{url}'\n"))
            .expect("writing relay.toml");
        for name in ["check", "serve"] {
            let mut command = Process::command(path);
            command.arg(name).env_remove("RELAY_DATABASE_URL");
            let output = command.output().expect("the binary runs");
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{url}: {error}");
            assert!(
                error.contains("database.url: ") && error.contains("expected postgres://"),
                "{url}: {error}"
            );
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
    std::fs::write(
        path.join("relay.toml"),
        "[server]\nlisten = '127.0.0.1:0'\n",
    )
    .expect("writing relay.toml");
    let mut command = Process::command(path);
    command
        .arg("check")
        .env("RELAY_DATABASE_URL", "postgres://h/d?foo=bar");
    let output = command.output().expect("the binary runs");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        error.starts_with("relay: environment: RELAY_DATABASE_URL: "),
        "{error}"
    );
}

/// Asserts that `relay serve` fails with one line that has all of `says`, and changes nothing.
fn assert_refused(directory: &Path, toml: &str, says: &[&str]) {
    std::fs::write(directory.join("relay.toml"), toml).expect("writing relay.toml");
    let before = content(directory);
    assert_fails(directory, says);
    assert!(content(directory) == before, "something changed on disk");
}

#[cfg(not(feature = "postgres"))]
#[test]
fn a_build_without_postgresql_names_the_setting_that_names_a_server() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let (url, builds) = (
        "postgres://a:hunter2@db/x",
        "a build with --features postgres",
    );
    let in_file = format!("{TOML}url = '{url}'\n");
    assert_refused(path, &in_file, &["database.url", "expected no URL", builds]);
    std::fs::write(path.join("relay.toml"), TOML).expect("writing relay.toml");
    for (arguments, in_environment, setting) in [
        (&["serve"][..], Some(url), "RELAY_DATABASE_URL: ***"),
        (&["list"], Some(url), "database.url"),
        (&["migrate", "--to", "other.db"], Some(url), "database.url"),
        (&["migrate", "--to", url], None, "--to"),
    ] {
        let mut command = Process::command(path);
        command.args(arguments).env_remove("RELAY_DATABASE_URL");
        command.envs(in_environment.map(|url| ("RELAY_DATABASE_URL", url)));
        let output = command.output().expect("the binary runs");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.contains(setting) && error.contains(builds), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    assert!(!path.join("relay.db").exists());
}

/// Asserts that `relay serve` fails with one line that has all of `says`.
fn assert_fails(directory: &Path, says: &[&str]) {
    let output = Process::command(directory)
        .arg("serve")
        .output()
        .expect("the binary runs");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    // Warnings, for example about the configuration, are separate log lines, in JSON here.
    let (log, lines): (Vec<_>, Vec<_>) = error.lines().partition(|line| line.starts_with('{'));
    assert!(
        !log.iter().any(|line| line.contains("\"level\":\"error\"")),
        "{error}"
    );
    assert!(
        lines.iter().all(|line| line.starts_with("relay: ")),
        "{error}"
    );
    assert_eq!(lines.len(), 1, "{error}");
    for text in says {
        assert!(lines[0].contains(text), "{error:?} should say {text:?}");
    }
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

#[test]
fn a_typo_in_the_configuration_is_refused() {
    let directory = directory();
    assert_refused(
        directory.path(),
        "[server]\nlisen = '127.0.0.1:0'\n",
        &["relay.toml:2", "server.lisen", "unknown field", "`listen`"],
    );
    assert_refused(
        directory.path(),
        "[server]\nlisten = '127.0.0.1:0'\n[delivery]\ntimeout = '15'\n",
        &["relay.toml:4", "delivery.timeout", "\"15\"", "\"15s\""],
    );
}

/// Taken for a missing file, it would mean a server without any source.
#[test]
fn a_configuration_that_is_a_link_to_nowhere_is_refused() {
    let directory = directory();
    std::os::unix::fs::symlink("nowhere/relay.toml", directory.path().join("relay.toml"))
        .expect("a link");
    // `relay check` reads what a start would.
    for command in ["check", "list"] {
        let (code, said) = run(directory.path(), &[command]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("relay.toml: No such file"), "{said}");
    }
}

/// In the wrong directory a server would make another database, and know no source.
#[test]
fn a_start_without_a_configuration_says_so() {
    let (empty, other) = (directory(), directory());
    let start = |more: &[&str]| {
        let mut command = Process::command(empty.path());
        command.arg("serve").args(more);
        command
            .env("RELAY_HTTP_ADDR", "127.0.0.1:0")
            .env("RELAY_ADMIN_ADDR", "");
        Process::serve_by(command, other.path(), TOML).begun.clone()
    };
    let said = start(&[]);
    assert!(said.contains("there is no relay.toml here"), "{said}");
    let named = other.path().join("relay.toml").display().to_string();
    let said = start(&["--config", &named]);
    assert!(!said.contains("there is no relay.toml"), "{said}");
}

#[test]
fn a_port_in_use_is_refused() {
    let directory = directory();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    assert_refused(
        directory.path(),
        &TOML.replace("127.0.0.1:0", &address),
        &["server.listen", &address, "in use"],
    );
}

#[test]
fn a_second_server_on_the_same_file_is_refused() {
    needs_a_file!("the start of a file is under test");
    let directory = directory();
    let first = Process::serve(directory.path(), TOML);
    // The first server keeps writing the time to the lock file; only its process number, which
    // comes first, stays the same.
    let content = |directory: &Path| {
        let mut files = content(directory);
        let lock = files.get_mut("relay.db.lock").expect("a lock file");
        lock.truncate(11);
        files
    };
    // The first server still makes the few commits of its start.
    let (mut before, mut unchanged) = (content(directory.path()), 0);
    until("the start is over", || {
        let now = content(directory.path());
        unchanged = if now == before { unchanged + 1 } else { 0 };
        before = now;
        (unchanged == 20).then_some(())
    });
    let output = Process::command(directory.path())
        .arg("serve")
        .output()
        .expect("the binary runs");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(
        error.contains("relay.db: in use by another relay (process "),
        "{error}"
    );
    assert!(
        content(directory.path()) == before,
        "something changed on disk"
    );
    assert_eq!(
        first.client.get("/readyz").status,
        200,
        "the first is unharmed"
    );
}

#[test]
fn a_missing_directory_is_refused() {
    needs_a_file!("the start of a file is under test");
    let directory = directory();
    let toml = format!("{TOML}path = 'nowhere/relay.db'\n").replace("[database]\n", "");
    let toml = toml.replace(
        "[admin]\nlisten = ''\n",
        "[admin]\nlisten = ''\n[database]\n",
    );
    assert_refused(
        directory.path(),
        &toml,
        &["nowhere/relay.db.lock", "expected a directory"],
    );
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    needs_a_file!("the start of a file is under test");
    let directory = directory();
    std::fs::write(
        directory.path().join("relay.db"),
        "not a database ".repeat(1000),
    )
    .expect("writing");
    assert_refused(directory.path(), TOML, &["relay.db", "not a database"]);
}

#[test]
fn another_programs_database_is_refused() {
    needs_a_file!("the start of a file is under test");
    let directory = directory();
    let other = rusqlite::Connection::open(directory.path().join("relay.db")).expect("a database");
    other
        .execute_batch("CREATE TABLE theirs (a)")
        .expect("a table");
    other.close().expect("closing");
    assert_refused(directory.path(), TOML, &["relay.db", "isn't relay's"]);
}

#[test]
fn a_database_of_a_newer_version_is_refused() {
    needs_a_file!("the start of a file is under test");
    let directory = directory();
    let relay = Process::serve(directory.path(), TOML);
    relay.signal("-TERM");
    assert!(relay.wait().0.success());
    let newer = rusqlite::Connection::open(directory.path().join("relay.db")).expect("a database");
    newer
        .execute_batch("PRAGMA user_version = 99")
        .expect("a pragma");
    newer.close().expect("closing");
    assert_refused(
        directory.path(),
        TOML,
        &["relay.db", "schema version 99", "newer"],
    );
}

#[test]
fn a_database_with_an_older_version_number_than_its_schema_is_refused() {
    needs_a_file!("the start of a file is under test");
    let directory = directory();
    let relay = Process::serve(directory.path(), TOML);
    relay.signal("-TERM");
    assert!(relay.wait().0.success());
    // As after a flipped bit in the first page.
    for version in [-1, 0, 1, 2] {
        let flipped =
            rusqlite::Connection::open(directory.path().join("relay.db")).expect("a database");
        flipped
            .pragma_update(None, "user_version", version)
            .expect("a pragma");
        flipped.close().expect("closing");
        let before = std::fs::read(directory.path().join("relay.db")).expect("a file");
        let named = format!("schema version {version}, and its tables are others");
        assert_fails(directory.path(), &["relay.db: ", &named]);
        let after = std::fs::read(directory.path().join("relay.db")).expect("a file");
        assert!(before == after, "the database was changed");
    }
}

#[test]
fn a_damaged_header_is_refused() {
    needs_a_file!("the start of a file is under test");
    let directory = directory();
    let relay = Process::serve(directory.path(), TOML);
    relay.signal("-TERM");
    assert!(relay.wait().0.success());
    let path = directory.path().join("relay.db");
    let mut bytes = std::fs::read(&path).expect("reading");
    bytes[0..16].copy_from_slice(b"SQLite format 9\0");
    std::fs::write(&path, bytes).expect("writing");
    assert_refused(directory.path(), TOML, &["relay.db", "not a database"]);
}

#[test]
fn check_reports_the_errors_of_serve() {
    let directory = directory();
    std::fs::write(directory.path().join("relay.toml"), TOML).expect("writing relay.toml");
    let check = |arguments: &[&str]| {
        let output = Process::command(directory.path())
            .args(arguments)
            .output()
            .expect("the binary runs");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    let (code, text) = check(&["check"]);
    assert_eq!(code, Some(0));
    assert!(text.contains("the configuration is fine"), "{text}");
    let (code, text) = check(&["check", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((code, &json["ok"]), (Some(0), &serde_json::json!(true)));
    assert_eq!(check(&["check", "--config", "missing.toml"]).0, Some(1));
    assert_eq!(check(&["chekc"]).0, Some(2));
}

/// Accepts events; nothing listens at their destination.
const EVENTS: &str = "[server]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = ''\n[database]\nmin_free_bytes = 0\n\
    [destinations.orders]\nurl = 'http://127.0.0.1:9/'\n[sources.github]\ndestinations = ['orders']\n";

/// Runs a command; returns its exit code and its output on both streams.
fn run(directory: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Process::command(directory)
        .args(arguments)
        .output()
        .expect("the binary runs");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[test]
fn a_server_whose_lock_file_was_removed_ends_and_says_why() {
    needs_a_file!("the start of a file is under test");
    for name in ["relay.db.lock", "relay.db"] {
        let directory = directory();
        let relay = Process::serve(directory.path(), EVENTS);
        event_id(&relay.client.hook("1", b"{}"));
        std::fs::rename(directory.path().join(name), directory.path().join("aside"))
            .expect("it is there");
        let (status, log) = relay.wait();
        assert_eq!(status.code(), Some(1), "{log}");
        let last = log.lines().last().unwrap_or_default();
        assert!(
            last.contains(&format!("{name} was removed or replaced")),
            "{last}"
        );
    }
}

#[test]
fn an_unlock_reports_the_loss_and_lets_the_database_start() {
    needs_a_file!("the start of a file is under test");
    let directory = directory();
    let path = directory.path();
    let relay = Process::serve(path, EVENTS);
    event_id(&relay.client.hook("1", b"{}"));
    let before = std::fs::read(path.join("relay.db.lock")).expect("a lock file");
    for arguments in [&["unlock"][..], &["unlock", "--accept-data-loss"]] {
        let (code, said) = run(path, arguments);
        assert_eq!(code, Some(1), "{said}");
        let holder = format!("in use by another relay (process {})", relay.id());
        assert!(said.contains(&holder), "{said}");
    }
    let after = std::fs::read(path.join("relay.db.lock")).expect("a lock file");
    assert!(after == before, "the lock file was changed");
    relay.kill();

    let (code, said) = run(path, &["unlock"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("(the database holds it)"), "{said}");
    std::fs::remove_file(path.join("relay.db-wal")).expect("it is there");
    let (code, said) = run(path, &["unlock"]);
    assert_eq!(code, Some(1), "{said}");
    for part in [
        "relay.db.lock: remembers that an event was accepted at 2",
        "(the database lacks it,",
        "relay unlock --accept-data-loss",
        "nothing was done",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_fails(path, &["relay unlock --accept-data-loss"]);

    let (code, said) = run(path, &["unlock", "--accept-data-loss"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("relay.db.lock: forgot that an event"),
        "{said}"
    );
    let (_, said) = run(path, &["unlock"]);
    assert!(said.contains("remembers nothing that matters"), "{said}");
    let relay = Process::serve(path, EVENTS);
    event_id(&relay.client.hook("1", b"{}"));
}

#[test]
fn an_unlock_without_a_lock_file_does_nothing() {
    needs_a_file!("the start of a file is under test");
    let directory = directory();
    std::fs::write(directory.path().join("relay.toml"), EVENTS).expect("writing relay.toml");
    let arguments = ["unlock", "--accept-data-loss"];
    let (code, said) = run(directory.path(), &arguments);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("there is no database here"), "{said}");
    let relay = Process::serve(directory.path(), EVENTS);
    relay.signal("-TERM");
    assert!(relay.wait().0.success());
    std::fs::remove_file(directory.path().join("relay.db.lock")).expect("it is there");
    let (code, said) = run(directory.path(), &arguments);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("nothing was done"), "{said}");
    assert!(!directory.path().join("relay.db.lock").exists());
}

#[test]
fn a_command_notices_a_server_of_another_pid_namespace() {
    needs_a_file!("the start of a file is under test");
    let directory = directory();
    let relay = Process::serve(directory.path(), EVENTS);
    // As with a server in another PID namespace: no process here has this number.
    let lock = std::fs::File::options()
        .write(true)
        .open(directory.path().join("relay.db.lock"))
        .expect("a lock file");
    std::os::unix::fs::FileExt::write_all_at(&lock, b"2147483647\n", 0).expect("room");
    let (code, said) = run(directory.path(), &["stats"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(", a server has it open"), "{said}");
    let (code, said) = run(directory.path(), &["serve"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("(process 2147483647 of another container"),
        "{said}"
    );
    drop(relay);
}

#[test]
fn a_damaged_page_that_a_start_reads_is_told_with_the_name_of_the_file() {
    const PAGE: usize = 4096;
    needs_a_file!("the start of a file is under test");
    let directory = directory();
    let relay = Process::serve(directory.path(), TOML);
    relay.signal("-TERM");
    assert!(relay.wait().0.success());
    let database = directory.path().join("relay.db");
    let roots = "SELECT rootpage FROM sqlite_schema WHERE tbl_name = 'learned_secrets'";
    let roots: Vec<u32> = {
        let sql = rusqlite::Connection::open(&database).expect("a database");
        let mut roots = sql.prepare(roots).expect("a query");
        let roots = roots.query_map([], |row| row.get(0)).expect("rows");
        roots.collect::<Result<_, _>>().expect("numbers")
    };
    let mut bytes = std::fs::read(&database).expect("a file");
    for root in roots {
        let end = PAGE * root as usize;
        bytes[end - PAGE..end].fill(0xff);
    }
    std::fs::write(&database, bytes).expect("writing it");
    let mut command = Process::command(directory.path());
    let output = command.arg("serve").output().expect("the binary runs");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    // The log says what met the damage; the last line is the command's own.
    let last = error.lines().last().unwrap_or_default();
    assert!(last.contains("relay.db: can't start: "), "{error}");
}
