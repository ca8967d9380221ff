//! The tests' own tools: they fail at once and say why, wherever they run.

use std::process::Command;
use std::time::Duration;

use crate::support::{Process, engine, postgres};

const TOML: &str = "[server]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = ''\n\
                    [database]\nmin_free_bytes = 0\n";

#[test]
#[should_panic(expected = "it didn't say \"more\" in time")]
fn a_log_that_does_not_go_on_fails_the_test() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut process = Process::serve(directory.path(), TOML);
    process.read_within(Duration::ZERO, "more");
}

#[test]
#[should_panic(expected = "it is not listening at https://…\n{")]
fn a_server_that_listens_by_another_scheme_fails_the_test_with_its_log() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut command = Process::command(directory.path());
    command.arg("serve");
    Process::serve_by_tls(command, directory.path(), TOML);
}

#[test]
fn a_test_that_reloads_by_a_signal_passes_under_nohup() {
    let output = Command::new("sh")
        .args(["-c", "trap '' HUP; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", "reloads::a_missing_or_empty_file_is_refused"])
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}

#[test]
fn a_look_into_postgres_tells_text_bytes_and_nulls_apart() {
    let Some(server) = postgres::server() else {
        return;
    };
    let database = server.create_database();
    let look = |sql: &str| engine::rows_of_postgres(server, &database, sql);
    let rows = look("VALUES ('a b', 1, NULL, decode('00ff0a', 'hex')), ('', -2, 'ü', '\\x')");
    let text = |text: &str| Some(text.as_bytes().to_vec());
    let first = vec![text("a b"), text("1"), None, Some(vec![0, 255, 10])];
    let second = vec![text(""), text("-2"), text("ü"), Some(Vec::new())];
    assert_eq!(rows, [first, second]);
    assert!(look("SELECT 1 WHERE false").is_empty());
    assert_eq!(look("SELECT ''"), [[text("")]]);
    server.drop_database(&database);
}
