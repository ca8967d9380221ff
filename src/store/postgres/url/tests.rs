use std::path::Path;
use std::time::Duration;

use tokio_postgres::config::SslMode;

use crate::config::Secret;
use crate::store::postgres::url::{BY_FILE, BY_OPTIONS, DatabaseUrl, SettingNames};

fn read(url: &str) -> Result<DatabaseUrl, String> {
    read_with(url, None, BY_FILE)
}

fn read_with(url: &str, ca_file: Option<&str>, names: SettingNames) -> Result<DatabaseUrl, String> {
    let ca_file = ca_file.map(Path::new);
    let read = DatabaseUrl::read(&Secret::new(url), ca_file, Duration::from_secs(5), names);
    read.map_err(|wrong| format!("{}: {}", wrong.name, wrong.problem))
}

#[test]
fn a_wrong_setting_is_named_as_it_was_given() {
    let (private, unreadable) = ("postgres://a@h/x?sslmode=require", "postgres://a@/x");
    let cases = [
        (private, BY_FILE, "database.ca_file: \"none.pem\": No such"),
        (private, BY_OPTIONS, "--ca-file: \"none.pem\": No such"),
        (unreadable, BY_FILE, "database.url: expected"),
        (unreadable, BY_OPTIONS, "--to: expected"),
    ];
    for (url, names, expected) in cases {
        let problem = read_with(url, Some("none.pem"), names).err().expect(url);
        assert!(problem.starts_with(expected), "{problem}");
    }
}

#[test]
fn a_url_is_shown_without_its_password() {
    let url = read("postgres://relay:hunter2@db1:5433,db2/events?sslmode=require").expect("a URL");
    assert_eq!(url.to_string(), "postgres://relay@db1:5433,db2:5432/events");
}

#[test]
fn tls_is_required_unless_the_connection_stays_on_this_machine_or_the_url_says_so() {
    let modes = [
        ("postgres://a@db.example/x", SslMode::Require),
        ("postgres://a@db.example/x?sslmode=prefer", SslMode::Require),
        ("postgres://a@localhost,db.example/x", SslMode::Require),
        (
            "postgres://a@db.example/x?sslmode=disable",
            SslMode::Disable,
        ),
        ("postgres://a@localhost/x", SslMode::Disable),
        ("postgres://a@localhost/x?sslmode=require", SslMode::Require),
        ("postgres:///x?host=/run/postgresql", SslMode::Disable),
        (
            "postgres://a@localhost/x?hostaddr=192.0.2.2",
            SslMode::Require,
        ),
        (
            "postgres://a@db.example/x?hostaddr=127.0.0.1",
            SslMode::Disable,
        ),
        (
            "postgres://a@db1,db2/x?hostaddr=::1,192.0.2.2",
            SslMode::Require,
        ),
        ("postgres:///x?hostaddr=127.0.0.1", SslMode::Disable),
        (
            "postgres:///x?hostaddr=192.0.2.2&sslmode=disable",
            SslMode::Disable,
        ),
    ];
    for (text, mode) in modes {
        let url = read(text).expect("a URL");
        assert_eq!(url.config().get_ssl_mode(), mode, "{text}");
        assert_eq!(
            url.tls().client.is_some(),
            mode == SslMode::Require,
            "{text}"
        );
    }
}

#[test]
fn a_wrong_url_is_refused_without_its_password() {
    let wrong = [
        ("postgres:///x", "expected a host"),
        (
            "postgres://a:hunter2@h/x?sslmode=verify-full",
            "sslmode: expected require",
        ),
        (
            "postgres://a:hunter2@h/x?target_session_attrs=read-only",
            "expected read-write",
        ),
        (
            "postgres://a:hunter2@h:port/x",
            "invalid value for option `port`",
        ),
        ("postgres://a:hun@ter2@h/x", "percent-encoded"),
        ("postgres://a:hunter2", "invalid value for option `port`"),
        ("mysql://a:hunter2@h/x", "expected postgres://USER"),
        (
            "postgres://a:hunter2@/x?hostaddr=192.0.2.2",
            "hostaddr: expected a host",
        ),
        (
            "postgres://a:hunter2@/x?host=/run&hostaddr=192.0.2.2",
            "hostaddr: expected a host",
        ),
        (
            "postgres://a:hunter2@h/x?hostaddr=192.0.2.2,192.0.2.3",
            "hostaddr: expected a host",
        ),
    ];
    for (text, expected) in wrong {
        let problem = read(text).err().expect(text);
        assert!(problem.contains(expected), "{text}: {problem}");
        assert!(
            !problem.contains("hun") && !problem.contains("ter2"),
            "{problem}"
        );
    }
}
