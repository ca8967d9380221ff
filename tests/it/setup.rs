//! The commands around a relay: a first configuration, the health check, the manual, completions.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use relay::config::Tls;

use crate::support::certificates::self_signed;
use crate::support::{Process, TestRelay};

fn relay(directory: &Path, args: &[&str]) -> Output {
    Process::command(directory)
        .args(args)
        .output()
        .expect("the binary runs")
}

/// Runs a command that must succeed; returns its standard output.
fn output_of(directory: &Path, args: &[&str]) -> String {
    let output = relay(directory, args);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {error}");
    String::from_utf8(output.stdout).expect("text")
}

/// Runs a command that must fail; returns its standard error.
fn error_of(directory: &Path, args: &[&str]) -> String {
    let output = relay(directory, args);
    assert_eq!(output.status.code(), Some(1), "{args:?}");
    String::from_utf8(output.stderr).expect("text")
}

fn mode(path: &Path) -> u32 {
    let found = std::fs::metadata(path).expect("a file");
    found.permissions().mode() & 0o7777
}

/// The texts in quotes on the lines of a file that hold secrets.
fn secrets(file: &str) -> Vec<&str> {
    let lines = file.lines();
    let keys = lines.filter(|line| line.contains("keys = [") || line.contains("secrets = ["));
    keys.filter_map(|line| line.split('"').nth(1)).collect()
}

#[test]
fn a_first_configuration_is_private_passes_the_check_and_serves() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let said = output_of(path, &["init"]);
    let file = path.join("relay.toml");
    let text = std::fs::read_to_string(&file).expect("the file");
    let found = secrets(&text);
    assert_eq!(found.len(), 3, "{text}");
    for secret in &found {
        assert!(secret.len() >= 50, "{secret}");
        assert!(!said.contains(secret), "{said}");
    }
    assert_eq!(mode(&file), 0o600);
    assert!(output_of(path, &["check"]).contains("the configuration is fine"));
    // Ports of the system's choice, so that nothing else is in the way.
    let text = text
        .replace(":8080\"  ", ":0\"  ")
        .replace(":8081\"", ":0\"");
    let server = Process::serve(path, &text);
    let health = server.client.get("/healthz");
    assert_eq!(health.status, 200);
    let refused = server.client.hook("1", b"{}");
    assert_eq!(refused.status, 404, "{}", refused.text());
}

#[test]
fn the_source_of_a_first_configuration_takes_what_relay_send_signs() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    output_of(path, &["init"]);
    let file = path.join("relay.toml");
    let text = std::fs::read_to_string(&file).expect("the file");
    let text = text
        .replace(":8080\"  ", ":0\"  ")
        .replace(":8081\"", ":0\"");
    let server = Process::serve(path, &text);
    let address = server.client.address().to_string();
    std::fs::write(path.join("event.json"), "{}").expect("an event");
    let mut command = Process::command(path);
    command.args(["send", "demo", "event.json"]);
    // The port is the one that the system chose.
    command.env("RELAY_HTTP_ADDR", address);
    let sent = command.output().expect("the binary runs");
    let said = String::from_utf8_lossy(&sent.stdout);
    assert!(said.contains("202") && said.contains("evt_"), "{said}");
}

#[test]
fn two_first_configurations_have_no_key_in_common() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    output_of(path, &["init", "one.toml"]);
    output_of(path, &["init", "--config", "other.toml"]);
    let read = |name: &str| std::fs::read_to_string(path.join(name)).expect("the file");
    let (one, other) = (read("one.toml"), read("other.toml"));
    let mut all: Vec<_> = secrets(&one).into_iter().chain(secrets(&other)).collect();
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!((count, all.len()), (6, 6));
}

#[test]
fn a_file_that_is_there_is_left_as_it_is() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let file = path.join("relay.toml");
    std::fs::write(&file, "[log]\n").expect("a file");
    let error = error_of(path, &["init"]);
    assert!(error.contains("relay.toml: is there already"), "{error}");
    assert_eq!(std::fs::read_to_string(&file).expect("the file"), "[log]\n");
    // A link is none of relay's to follow, even one that leads nowhere.
    std::os::unix::fs::symlink("elsewhere", path.join("link.toml")).expect("a link");
    error_of(path, &["init", "link.toml"]);
    assert!(!path.join("elsewhere").exists());
    let error = error_of(path, &["init", "no/such/relay.toml"]);
    assert!(error.contains("no/such/relay.toml"), "{error}");
}

#[test]
fn a_first_configuration_is_readable_by_its_owner_under_any_umask() {
    for umask in ["000", "777"] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let relay = Process::command(directory.path());
        let made = Command::new("/bin/sh")
            .args(["-c", &format!("umask {umask}; exec \"$0\" init")])
            .arg(relay.get_program())
            .current_dir(directory.path())
            .output()
            .expect("a shell");
        assert!(made.status.success());
        assert_eq!(mode(&directory.path().join("relay.toml")), 0o600, "{umask}");
    }
}

/// Root writes for the service, which owns the directory and runs as another user.
#[test]
fn a_first_configuration_that_root_writes_belongs_to_the_owner_of_its_directory() {
    use std::os::unix::fs::MetadataExt as _;

    if !rustix::process::geteuid().is_root() {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    std::os::unix::fs::chown(directory.path(), Some(1234), Some(4321)).expect("root may");
    output_of(directory.path(), &["init"]);
    let found = std::fs::metadata(directory.path().join("relay.toml")).expect("the file");
    assert_eq!((found.uid(), found.gid()), (1234, 4321));
}

#[test]
fn the_health_of_either_listener_is_asked() {
    let toml = |admin: &str| {
        format!(
            "[server]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = '{admin}'\n\
             [database]\nmin_free_bytes = '0'\n[api]\nkeys = ['test-key']\n"
        )
    };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let server = Process::serve(path, &toml("127.0.0.1:0"));
    let admin = server.admin.as_ref().expect("the admin listener").address();
    let public = server.client.address();
    let config = |admin: &str| {
        let text = toml(admin).replace("127.0.0.1:0", &public.to_string());
        std::fs::write(path.join("relay.toml"), text).expect("the file");
    };
    config(&admin.to_string());
    assert!(output_of(path, &["health"]).contains(&admin.to_string()));
    config("");
    assert!(output_of(path, &["health"]).contains(&public.to_string()));
    let ready = format!("http://{public}/readyz");
    assert!(output_of(path, &["health", &ready]).contains("/readyz: 200"));
    // A name that no configuration knows, and a route that isn't there.
    output_of(
        path,
        &["health", &format!("http://localhost:{}", public.port())],
    );
    let error = error_of(path, &["health", &format!("http://{public}/nothing")]);
    assert!(error.contains("answered 404"), "{error}");
    server.kill();
    let error = error_of(path, &["health"]);
    assert!(error.contains("refused"), "{error}");
}

/// The certificate is for the names by which others reach the relay.
#[test]
fn the_health_of_a_listener_in_tls_is_asked_whatever_its_certificate_names() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let identity = self_signed("hooks.example", |_| {});
    identity.write(path);
    std::fs::write(path.join("key.pem"), identity.key_pem()).expect("writing it");
    let (certificate, key) = (path.join("certificate.pem"), path.join("key.pem"));
    let tls = Tls {
        cert_file: certificate.clone(),
        key_file: key.clone(),
    };
    let relay = TestRelay::start_with("http://127.0.0.1:9/", |config| {
        config.server.tls = Some(tls);
        config.admin.listen = None;
    });
    let address = relay.client.address().to_string();
    let toml = format!(
        "[server]\nlisten = '{address}'\ntls = {{ cert_file = {certificate:?}, key_file = {key:?} }}\n\
         [admin]\nlisten = ''\n"
    );
    std::fs::write(path.join("relay.toml"), toml).expect("the file");
    let said = output_of(path, &["health"]);
    assert!(
        said.contains(&format!("https://{address}/healthz: 200")),
        "{said}"
    );
    output_of(path, &["health", &format!("https://{address}/readyz")]);
    // In the clear there is no answer.
    error_of(path, &["health", &format!("http://{address}/")]);
}

#[test]
fn the_health_of_something_silent_is_bad_within_seconds() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", silent.local_addr().expect("an address"));
    let begin = std::time::Instant::now();
    error_of(directory.path(), &["health", &url]);
    assert!(begin.elapsed().as_secs() < 20, "{:?}", begin.elapsed());
    for wrong in ["127.0.0.1", "ftp://127.0.0.1/"] {
        let error = error_of(directory.path(), &["health", wrong]);
        assert!(error.contains("expected a URL such as"), "{error}");
    }
}

#[test]
fn each_command_has_a_page_in_the_manual() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let page = output_of(path, &["man"]);
    assert!(page.contains(".TH relay 1"), "{page}");
    assert!(page.contains("relay\\-serve(1)"), "{page}");
    assert!(output_of(path, &["man", "serve"]).contains(".TH relay-serve 1"));
    assert!(error_of(path, &["man", "nothing"]).contains("no command"));
    output_of(path, &["man", "--dir", "."]);
    for name in [
        "relay",
        "relay-serve",
        "relay-secrets",
        "relay-secrets-expect",
    ] {
        let page = std::fs::read_to_string(path.join(format!("{name}.1")));
        assert!(page.expect(name).contains(&format!(".TH {name} 1")));
    }
    let help = path.join("relay-help.1");
    assert!(!help.exists(), "help needs no page");
    let error = error_of(path, &["man", "--dir", "no/such"]);
    let expected = "no/such/relay.1: No such file or directory";
    assert!(error.contains(expected), "{error}");
    assert!(
        error.contains("expected a directory that is there"),
        "{error}"
    );
}

#[test]
fn completions_know_the_commands() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for shell in ["bash", "zsh", "fish"] {
        let text = output_of(directory.path(), &["completions", shell]);
        assert!(
            text.contains("replay") && text.contains("dry-run"),
            "{shell}"
        );
        let Ok(mut child) = Command::new(shell)
            .args(["-n"])
            .stdin(std::process::Stdio::piped())
            .spawn()
        else {
            // The shell isn't on this machine.
            continue;
        };
        let mut stdin = child.stdin.take().expect("a pipe");
        std::io::Write::write_all(&mut stdin, text.as_bytes()).expect("it reads");
        drop(stdin);
        assert!(child.wait().expect("it ends").success(), "{shell}");
    }
    let output = relay(directory.path(), &["completions", "csh"]);
    assert_eq!(output.status.code(), Some(2));
}
