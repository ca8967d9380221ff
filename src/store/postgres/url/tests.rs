use std::time::Duration;

use tokio_postgres::config::SslMode;

use crate::config::Secret;
use crate::store::postgres::url::DatabaseUrl;

fn read(url: &str) -> Result<DatabaseUrl, String> {
    DatabaseUrl::read(&Secret::new(url), None, Duration::from_secs(5))
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
