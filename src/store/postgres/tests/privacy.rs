use std::path::Path;
use std::time::Duration;

use crate::config::Secret;
use crate::store::postgres::connection::Connection;
use crate::store::postgres::failure::{Class, Failure};
use crate::store::postgres::tests::own_server::own_server;
use crate::store::postgres::url::{BY_FILE, DatabaseUrl};

fn connect(url: &str, ca_file: Option<&Path>) -> Result<Connection, Failure> {
    let timeout = Duration::from_secs(5);
    let url = DatabaseUrl::read(&Secret::new(url), ca_file, timeout, BY_FILE).expect("a URL");
    Connection::open(&url, Duration::from_secs(10))
}

#[test]
fn tls_verifies_the_server_by_its_authority_and_name() {
    let Some(mut server) = own_server() else {
        return;
    };
    let files = tempfile::tempdir().expect("a directory");
    let ca_file = server.use_tls(files.path());
    server.tell("start");
    let url = format!("postgres://postgres@{}/postgres", server.address());
    let required = format!("{url}?sslmode=require");

    let mut sql = connect(&required, Some(&ca_file)).expect("a private connection");
    let used = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert!(sql.one(used, &[]).expect("a row").get::<_, bool>(0));
    // More than one record of TLS, both ways.
    let long = "x".repeat(100_000);
    let row = sql.one("SELECT $1::text", &[&long]).expect("a row");
    assert_eq!(row.get::<_, &str>(0), long);

    // An authority that isn't the server's, and a name that isn't in its certificate.
    let stranger = connect(&required, None)
        .err()
        .expect("an unknown authority");
    assert!(stranger.to_string().contains("UnknownIssuer"), "{stranger}");
    let by_address = required.replace("localhost", "127.0.0.1");
    let nameless = connect(&by_address, Some(&ca_file))
        .err()
        .expect("another name");
    assert!(
        nameless.to_string().contains("not valid for name"),
        "{nameless}"
    );

    let mut plain = connect(&format!("{url}?sslmode=disable"), None).expect("a connection");
    assert!(!plain.one(used, &[]).expect("a row").get::<_, bool>(0));
}

#[test]
fn a_server_without_tls_is_refused_where_it_is_required() {
    let Some(mut server) = own_server() else {
        return;
    };
    server.tell("start");
    let url = format!(
        "postgres://postgres@{}/postgres?sslmode=require",
        server.address()
    );
    let refused = connect(&url, None).err().expect("no TLS");
    assert_eq!(refused.class(), Class::Denied);
    let expected = "error performing TLS handshake: server does not support TLS";
    assert_eq!(refused.to_string(), expected);
}
