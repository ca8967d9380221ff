//! `relay doctor`: each thing that can be wrong around a relay is found, and named in one line.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::needs_a_file;
use crate::support::certificates::{Identity, self_signed};
use crate::support::raw::{answer, read_head, receiver};
use crate::support::{Answer, Process, Receiver};

/// A relay.toml with a destination at a URL, and further settings.
fn toml(url: &str, more: &str) -> String {
    format!(
        "[server]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = ''\n\
         [database]\nmin_free_bytes = '0'\n[api]\nkeys = ['test-key']\n\
         [destinations.orders]\nurl = '{url}'\n{more}\n"
    )
}

/// The findings of relay doctor, and whether it says that all is well.
struct Findings {
    text: String,
    is_well: bool,
}

impl Findings {
    fn of(directory: &Path, args: &[&str]) -> Self {
        let output = Process::command(directory)
            .arg("doctor")
            .args(args)
            .output()
            .expect("the binary runs");
        let text = String::from_utf8(output.stdout).expect("text");
        let code = output.status.code();
        assert!(matches!(code, Some(0 | 1)), "{code:?}: {text}");
        Self {
            text,
            is_well: code == Some(0),
        }
    }

    /// With this relay.toml, which nobody else reads.
    fn with(directory: &Path, toml: &str, args: &[&str]) -> Self {
        let file = directory.join("relay.toml");
        std::fs::write(&file, toml).expect("writing it");
        chmod(&file, 0o600);
        Self::of(directory, args)
    }

    /// The lines with this verdict.
    fn lines(&self, verdict: &str) -> Vec<&str> {
        let lines = self.text.lines();
        lines.filter(|line| line.starts_with(verdict)).collect()
    }

    /// The only line with this verdict; it holds these texts.
    fn assert_only(&self, verdict: &str, texts: &[&str]) {
        let lines = self.lines(verdict);
        let [line] = lines[..] else {
            panic!("expected one {verdict}:\n{}", self.text);
        };
        for text in texts {
            assert!(line.contains(text), "{text} in\n{}", self.text);
        }
        assert_eq!(self.is_well, verdict != "fail", "{}", self.text);
    }
}

fn chmod(path: &Path, mode: u32) {
    let permissions = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(path, permissions).expect("the owner may");
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn fine() -> Receiver {
    Receiver::start(|_| Answer::status(405))
}

#[test]
fn a_relay_that_is_well_has_no_finding_to_act_on() {
    needs_a_file!("the report names it");
    let directory = directory();
    let path = directory.path();
    let orders = fine();
    let more = "[sources.shop]\ndestinations = ['orders']\n\
                [sources.shop.verify.hmac]\nheader = 'X-Signature'\nsecrets = ['t']\n";
    let toml = toml(&orders.url("/very/secret?token=secret"), more);
    let server = Process::serve(path, &toml);
    let found = Findings::with(path, &toml, &[]);
    assert!(found.is_well, "{}", found.text);
    assert_eq!(found.lines("warn"), [""; 0], "{}", found.text);
    for text in [
        "configuration: relay.toml can be used",
        "database: relay.db is whole",
        "a server has it open",
        "destination orders: 127.0.0.1 is at 127.0.0.1: a private address, which",
        "takes TCP connections",
        "this machine's clock agrees",
        "source shop: on this machine its sender posts to http://127.0.0.1",
        "is verified by hmac (secrets: 1)",
    ] {
        assert!(found.text.contains(text), "{text} in\n{}", found.text);
    }
    assert!(!found.text.contains("very/secret"), "{}", found.text);
    assert!(!found.text.contains("=secret"), "{}", found.text);
    // Nothing but the question for the clock came to the destination.
    let arrival = orders.next_within(Duration::ZERO).expect("the question");
    assert_eq!(arrival.path, "/");
    assert!(arrival.body.is_empty());
    drop(server);
}

#[test]
fn a_wrong_name_is_named_with_its_key() {
    let directory = directory();
    let toml = toml("http://no-such-host.invalid/hook", "");
    let found = Findings::with(directory.path(), &toml, &[]);
    let key = "destinations.orders.url";
    found.assert_only(
        "fail",
        &["destination orders:", key, "no-such-host.invalid"],
    );
}

#[test]
fn a_destination_where_nothing_listens_refuses_connections() {
    let directory = directory();
    let toml = toml("http://127.0.0.1:9/hook", "");
    let found = Findings::with(directory.path(), &toml, &["orders"]);
    let texts = [
        "connection refused",
        "something listens at http://127.0.0.1:9",
    ];
    found.assert_only("fail", &texts);
}

/// A TLS server with a certificate of these dates, and a `ca_file` that has it.
fn tls(directory: &Path, identity: &Identity) -> String {
    let url = receiver(Some(identity.server()), |stream, _| {
        if read_head(stream).is_some() {
            answer(stream, "HTTP/1.1 204 No Content\r\n\r\n");
        }
    });
    let file = identity.write(directory);
    toml(&url, &format!("ca_file = '{}'", file.display()))
}

#[test]
fn an_expired_certificate_is_named_with_its_date() {
    let directory = directory();
    let expired = self_signed("127.0.0.1", |params| {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 3, 4);
    });
    let found = Findings::with(directory.path(), &tls(directory.path(), &expired), &[]);
    let texts = ["destination orders: the certificate expired on 2002-03-04"];
    found.assert_only("fail", &texts);
}

#[test]
fn the_days_that_a_certificate_has_left_are_counted() {
    let directory = directory();
    let lasting = self_signed("127.0.0.1", |params| {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(3001, 1, 1);
    });
    let found = Findings::with(directory.path(), &tls(directory.path(), &lasting), &[]);
    assert!(found.is_well, "{}", found.text);
    let texts = [
        "takes TLS connections",
        "trusted, and valid for",
        "until 3001-01-01",
    ];
    for text in texts {
        assert!(found.text.contains(text), "{text} in\n{}", found.text);
    }
}

#[test]
fn a_private_address_is_forbidden_to_ad_hoc_urls_only() {
    let directory = directory();
    let path = directory.path();
    let orders = fine();
    let toml = toml(&orders.url("/"), "");
    let url = orders.url("/hook");
    let found = Findings::with(path, &toml, &[&url]);
    found.assert_only(
        "fail",
        &["forbidden_address: 127.0.0.1 is not a public address"],
    );
    let open = format!("{toml}[delivery]\nallow_networks = ['127.0.0.0/8']\n");
    let found = Findings::with(path, &open, &[&url]);
    assert!(found.is_well, "{}", found.text);
    assert!(found.text.contains("which delivery.allow_networks allows"));
    let found = Findings::with(path, &toml, &["orders"]);
    assert!(found.is_well, "{}", found.text);
    assert!(
        found.text.contains("a private address, which"),
        "{}",
        found.text
    );
}

#[test]
fn a_secret_file_that_everybody_can_read_is_named_with_its_mode() {
    needs_a_file!("the URL of a server is a secret of its own");
    let directory = directory();
    let path = directory.path();
    let orders = fine();
    let secrets = path.join("keys.txt");
    std::fs::write(&secrets, "a-key-in-a-file\n").expect("writing it");
    let toml = toml(&orders.url("/"), "").replace("keys = ['test-key']", "keys_file = 'keys.txt'");
    chmod(&secrets, 0o644);
    let found = Findings::with(path, &toml, &[]);
    found.assert_only(
        "fail",
        &[
            "api.keys_file: keys.txt has mode 0644",
            "chmod 0600 keys.txt",
        ],
    );
    assert!(!found.text.contains("a-key-in-a-file"), "{}", found.text);
    chmod(&secrets, 0o640);
    assert!(Findings::of(path, &[]).is_well);
    // No secret stands in relay.toml now: everybody may read it.
    chmod(&path.join("relay.toml"), 0o644);
    assert_eq!(Findings::of(path, &[]).lines("warn"), [""; 0]);
}

#[test]
fn a_configuration_with_secrets_that_everybody_can_read_is_a_warning() {
    let directory = directory();
    let orders = fine();
    let path = directory.path();
    Findings::with(path, &toml(&orders.url("/"), ""), &[]);
    chmod(&path.join("relay.toml"), 0o644);
    let found = Findings::of(path, &[]);
    found.assert_only("warn", &["relay.toml holds secrets and has mode 0644"]);
}

#[test]
fn a_clock_that_is_off_from_a_destination_s_is_found() {
    let directory = directory();
    let date = "Thu, 01 Jan 2026 00:00:00 GMT";
    let orders = Receiver::start(move |_| Answer::status(200).header("date", date));
    let found = Findings::with(directory.path(), &toml(&orders.url("/"), ""), &[]);
    found.assert_only(
        "fail",
        &[
            "clock: this machine's clock is",
            "that of destination orders",
        ],
    );
}

#[test]
fn a_clock_that_is_off_from_the_database_s_is_found() {
    needs_a_file!("the lock file tells the clock");
    let directory = directory();
    let path = directory.path();
    let orders = fine();
    let toml = toml(&orders.url("/"), "");
    Process::serve(path, &toml).kill();
    // The record of a relay whose clock was an hour ahead of the system's.
    let record = format!("{:<10}\n{:020} {:020} {:020}\n", 1, 0, 0, 3_600_000);
    std::fs::write(path.join("relay.db.lock"), record).expect("writing it");
    let found = Findings::with(path, &toml, &[]);
    let texts = [
        "clock: the system's clock is 36",
        "behind relay's",
        "relay unlock",
    ];
    found.assert_only("fail", &texts);
}

#[test]
fn a_damaged_database_is_found_and_a_missing_one_is_fine() {
    needs_a_file!("it is damaged");
    let directory = directory();
    let path = directory.path();
    let orders = fine();
    let more = "[sources.github]\ndestinations = ['orders']\nallow_ips = ['127.0.0.0/8']\n";
    let toml = toml(&orders.url("/"), more);
    let found = Findings::with(path, &toml, &[]);
    assert!(
        found.text.contains("relay.db is not there yet"),
        "{}",
        found.text
    );
    assert!(found.is_well, "{}", found.text);
    let server = Process::serve(path, &toml);
    let large = format!("\"{}\"", "x".repeat(20_000));
    for key in 0..20 {
        let reply = server.client.hook(&key.to_string(), large.as_bytes());
        assert_eq!(reply.status, 202, "{}", reply.text());
    }
    server.signal("-TERM");
    assert!(server.wait().0.success());
    let file = path.join("relay.db");
    let mut bytes = std::fs::read(&file).expect("the database");
    // Pages of payloads, so that it can be opened.
    let half = bytes.len() / 2;
    bytes[half..half + 40_000].fill(0x5a);
    std::fs::write(&file, bytes).expect("writing it");
    let found = Findings::with(path, &toml, &[]);
    found.assert_only("fail", &["database:", "damaged: ", "restore a backup"]);
}

#[test]
fn a_configuration_holds_no_secret_of_a_variable() {
    let directory = directory();
    let file = directory.path().join("relay.toml");
    let about_files = |toml: &str| {
        std::fs::write(&file, toml).expect("writing it");
        chmod(&file, 0o644);
        let mut command = Process::command(directory.path());
        let output = command
            .env("RELAY_API_KEYS", "of-the-variable")
            .arg("doctor")
            .output();
        let text = String::from_utf8(output.expect("the binary runs").stdout).expect("text");
        text.contains("relay.toml holds secrets")
    };
    let listens = "[server]\nlisten = '127.0.0.1:0'\n";
    assert!(!about_files(listens));
    // A secret that a variable overrides is still in the file.
    assert!(about_files(&format!(
        "{listens}[api]\nkeys = ['test-key']\n"
    )));
}

#[cfg(feature = "postgres")]
#[test]
fn a_server_of_the_database_that_refuses_is_named_with_what_to_look_at() {
    let directory = directory();
    let mut command = Process::command(directory.path());
    let url = "postgres://relay:hunter2@127.0.0.1:1/x";
    command.env("RELAY_DATABASE_URL", url);
    let output = command.arg("doctor").output().expect("the binary runs");
    let text = String::from_utf8(output.stdout).expect("text");
    let line = text.lines().find(|line| line.starts_with("fail"));
    let line = line.expect(&text);
    for said in [
        "postgres://relay@127.0.0.1:1/x",
        "Connection refused",
        "look whether the server runs",
    ] {
        assert!(line.contains(said), "{said} in {line}");
    }
    // Nothing is kept on this machine's disk.
    assert!(!text.contains("disk: "), "{text}");
    assert!(
        !text.contains("hunter2") && !line.contains("damaged"),
        "{text}"
    );
}

#[test]
fn handshakes_are_tried_against_the_running_relay() {
    let directory = directory();
    let path = directory.path();
    let orders = fine();
    let sources = "[sources.meta]\ndestinations = ['orders']\nhandshakes = ['hub']\n\
                   hub_tokens = ['a-token']\nallow_ips = ['127.0.0.0/8']\n\
                   [sources.slack]\ndestinations = ['orders']\nhandshakes = ['slack']\n\
                   [sources.slack.verify.hmac]\nheader = 'X-Signature'\nsecrets = ['s']\n\
                   [sources.asana]\ndestinations = ['orders']\nhandshakes = ['asana']\n\
                   [sources.asana.verify.hmac]\nheader = 'X-Signature'\n";
    let text = toml(&orders.url("/"), sources);
    let server = Process::serve(path, &text);
    let text = text.replace("127.0.0.1:0", &server.client.address().to_string());
    let found = Findings::with(path, &text, &[]);
    assert!(found.is_well, "{}", found.text);
    for answered in [
        "source meta: the handshake hub is answered",
        "source slack: the handshake slack is answered",
        "source asana: asana was not tried: the source would learn a secret",
    ] {
        assert!(
            found.text.contains(answered),
            "{answered} in\n{}",
            found.text
        );
    }
    // The file has another token than the server that runs.
    let changed = text.replace("a-token", "another-token");
    let found = Findings::with(path, &changed, &["meta"]);
    found.assert_only(
        "fail",
        &["source meta: the handshake hub fails: answered 403"],
    );
    assert!(!found.text.contains("another-token"), "{}", found.text);
    server.signal("-TERM");
    server.wait();
    let found = Findings::with(path, &text, &["meta"]);
    found.assert_only("warn", &["its handshakes were not tried: no server runs"]);
}

#[test]
fn a_configuration_that_a_server_refuses_is_one_finding_among_others() {
    let directory = directory();
    let orders = fine();
    let wrong = toml(&orders.url("/"), "").replace("[api]", "readers = 0\n[api]");
    let found = Findings::with(directory.path(), &wrong, &[]);
    let texts = ["configuration: relay.toml: database.readers: 0: expected 1 to 64"];
    found.assert_only("fail", &texts);
    assert!(
        found.text.contains("takes TCP connections"),
        "{}",
        found.text
    );
    let found = Findings::with(directory.path(), "[nothing", &[]);
    found.assert_only("fail", &["configuration: relay.toml:1:"]);
}

#[test]
fn names_choose_the_subjects_and_unknown_ones_are_refused() {
    let directory = directory();
    let orders = fine();
    let more = "[sources.shop]\ndestinations = ['orders']\n";
    let toml = toml(&orders.url("/"), more);
    let found = Findings::with(directory.path(), &toml, &["shop"]);
    found.assert_only("warn", &["source shop: is not verified"]);
    assert!(!found.text.contains("destination orders"), "{}", found.text);
    let found = Findings::with(directory.path(), &toml, &["nobody"]);
    found.assert_only("fail", &["nobody: the configuration has no destination"]);
}

#[test]
fn programs_read_one_document() {
    let directory = directory();
    let toml = toml("http://127.0.0.1:9/secret", "");
    let found = Findings::with(directory.path(), &toml, &["--json"]);
    let document: Value = serde_json::from_str(&found.text).expect("one document");
    assert_eq!(document["ok"], false);
    let findings = document["findings"].as_array().expect("a list");
    let failed = findings.iter().find(|finding| finding["verdict"] == "fail");
    let failed = failed.expect("the destination");
    assert_eq!(failed["about"], "destination orders");
    assert!(failed["message"].is_string() && failed["advice"].is_string());
    assert!(!found.text.contains("secret\""), "{}", found.text);
}

#[test]
fn certificates_and_keys_of_the_relay_s_own_listeners_are_looked_at() {
    let directory = directory();
    let path = directory.path();
    let orders = fine();
    let expired = self_signed("hooks.example", |params| {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 3, 4);
    });
    expired.write(path);
    let key = path.join("key.pem");
    std::fs::write(&key, expired.key_pem()).expect("writing it");
    chmod(&key, 0o600);
    let more = "[server.tls]\ncert_file = 'certificate.pem'\nkey_file = 'key.pem'\n";
    let toml = toml(&orders.url("/"), more);
    let found = Findings::with(path, &toml, &[]);
    found.assert_only(
        "fail",
        &["server.tls: certificate.pem", "expired on 2002-03-04"],
    );
    let another = self_signed("hooks.example", |_| {});
    std::fs::write(&key, another.key_pem()).expect("writing it");
    let found = Findings::of(path, &[]);
    found.assert_only(
        "fail",
        &[
            "server.tls: server.tls.key_file: \"",
            "belongs to another certificate",
        ],
    );
    chmod(&key, 0o644);
    let found = Findings::of(path, &[]);
    let wide = "server.tls.key_file: key.pem has mode 0644";
    assert!(
        found.lines("fail").iter().any(|line| line.contains(wide)),
        "{}",
        found.text
    );
}

#[test]
fn the_certificate_by_acme_is_looked_at_with_its_names_and_failures() {
    needs_a_file!("the state of ACME stands beside it");
    let directory = directory();
    let path = directory.path();
    let orders = fine();
    let state = path.join("relay.db.acme");
    let with = |domain: &str| {
        let more = format!(
            "[server.acme]\ndomains = ['{domain}']\naccept_terms = true\nexternal_port = 443\n"
        );
        Findings::with(path, &toml(&orders.url("/"), &more), &[])
    };
    let note = |failures: u32| {
        let text = format!(
            r#"{{"directory_url": "", "domains": [], "is_obtained": true,
                 "tries": {{"last_at": 0, "failures": {failures}}}}}"#
        );
        std::fs::write(state.join("state.json"), text).expect("writing it");
    };
    let store = |year: i32| {
        let own = self_signed("hooks.example", |params| {
            params.not_before = rcgen::date_time_ymd(2001, 1, 1);
            params.not_after = rcgen::date_time_ymd(year, 3, 4);
        });
        let pem = own.key_pem() + &own.pem();
        std::fs::write(state.join("certificate.pem"), pem).expect("writing it");
    };
    let found = with("hooks.example");
    found.assert_only("warn", &["server.acme: there is no certificate yet"]);
    std::fs::create_dir(&state).expect("a directory");
    note(3);
    let found = with("hooks.example");
    found.assert_only(
        "fail",
        &["server.acme: there is no certificate, and 3 tries"],
    );
    store(2002);
    note(0);
    let found = with("hooks.example");
    found.assert_only("fail", &["server.acme: ", "expired on 2002-03-04"]);
    store(2099);
    let found = with("hooks.example");
    assert!(found.is_well, "{}", found.text);
    for text in ["days old", "the certificate is for hooks.example"] {
        assert!(found.text.contains(text), "{text} in\n{}", found.text);
    }
    let found = with("other.example");
    found.assert_only(
        "fail",
        &["server.acme: the certificate is not for other.example"],
    );
    note(2);
    let found = with("hooks.example");
    found.assert_only(
        "warn",
        &["the last 2 tries to renew the certificate failed"],
    );
}

#[test]
fn a_directory_of_backups_is_tried() {
    needs_a_file!("backups of PostgreSQL are its own");
    let directory = directory();
    let path = directory.path();
    let orders = fine();
    let with = |name: &str| {
        let more = format!("[backup]\ndirectory = '{name}'\n");
        Findings::with(path, &toml(&orders.url("/"), &more), &[])
    };
    std::fs::create_dir(path.join("backups")).expect("a directory");
    let found = with("backups");
    assert!(
        found.is_well && found.text.contains("backups can be written to"),
        "{}",
        found.text
    );
    let entries = std::fs::read_dir(path.join("backups")).expect("a directory");
    assert_eq!(entries.count(), 0, "nothing is left there");
    with("missing").assert_only("warn", &["backups: missing is not there"]);
    std::fs::write(path.join("file"), "").expect("a file");
    with("file").assert_only("fail", &["backups: file can't be written to"]);
}

#[test]
fn a_ping_is_one_attempt_that_the_receiver_may_refuse() {
    needs_a_file!("nothing is stored in it");
    let directory = directory();
    let path = directory.path();
    let orders = Receiver::start(|arrival| {
        let is_ping = arrival.path == "/hook";
        Answer::status(if is_ping { 200 } else { 404 })
    });
    let text = toml(&orders.url("/hook"), "");
    let found = Findings::with(path, &text, &["--ping", "orders"]);
    assert!(
        found.is_well && found.text.contains("took a relay.ping"),
        "{}",
        found.text
    );
    let within = Duration::from_secs(10);
    orders
        .next_within(within)
        .expect("the question for the clock");
    let ping = orders.next_within(within).expect("the ping");
    let body: Value = serde_json::from_slice(&ping.body).expect("JSON");
    assert_eq!(body["type"], "relay.ping");
    let text = toml(&orders.url("/elsewhere"), "");
    let found = Findings::with(path, &text, &["--ping"]);
    found.assert_only("fail", &["did not take a relay.ping: answered 404"]);
    assert!(!path.join("relay.db").exists(), "nothing is stored");
}
