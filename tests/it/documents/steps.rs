//! Commands that want more than being run as they stand: something that has to be there before, the
//! server stopped meanwhile, an end.

use super::scene::Scene;
use crate::support::certificates::self_signed;
use crate::support::{Client, TestRelay, until};

/// How a command is run.
#[derive(Clone, Copy)]
pub enum Step {
    /// As it stands.
    Run,
    /// After this.
    After(fn(&mut Scene)),
    /// While no server runs.
    WithoutServer(fn(&mut Scene)),
    /// It starts the server, and goes on.
    Serves,
    /// It goes on until it is interrupted.
    Follows,
    /// It is what systemd does; here this does it.
    Instead(fn(&mut Scene)),
}

/// The steps of a document's commands, if they are no plain ones. `*` stands for every document.
pub const STEPS: &[(&str, &str, Step)] = &[
    ("*", "relay serve", Step::Serves),
    (
        "*",
        "cargo run --release --features delivery -- serve",
        Step::Serves,
    ),
    ("*", "systemctl stop relay", Step::Instead(Scene::stop)),
    ("*", "systemctl start relay", Step::Instead(Scene::start)),
    ("README.md", "relay show evt_…", Step::After(latest_event)),
    (
        "docs/operating.md",
        "relay init",
        Step::After(empty_directory),
    ),
    (
        "docs/operating.md",
        "relay cancel 7",
        Step::After(operation),
    ),
    (
        "docs/operating.md",
        "relay tail --source github",
        Step::Follows,
    ),
    (
        "docs/operating.md",
        "relay tail --destination orders",
        Step::Follows,
    ),
    (
        "docs/operating.md",
        "curl -N 'http://127.0.0.1:8081/api/tail?since=5m'",
        Step::Follows,
    ),
    (
        "docs/operating.md",
        "relay restore copy.db",
        Step::WithoutServer(nothing),
    ),
    (
        "docs/operating.md",
        "relay unlock --accept-data-loss",
        Step::WithoutServer(nothing),
    ),
    (
        "docs/operating.md",
        "relay export --since 7d --output events.jsonl",
        Step::After(no_export),
    ),
    (
        "docs/operating.md",
        "relay secrets forget asana 3",
        Step::After(three_secrets),
    ),
    (
        "docs/backup.md",
        "relay restore /var/backups/relay/relay-20261126T130501Z.db",
        Step::After(scheduled_backup),
    ),
    (
        "docs/backup.md",
        "ssh backup-host 'for f in relay/*.db; do relay verify \"$f\" || exit 1; done'",
        Step::After(copied_backup),
    ),
    (
        "docs/backup.md",
        "relay restore FILE",
        Step::WithoutServer(interrupted_restore),
    ),
    (
        "docs/backup.md",
        "relay restore --abandon",
        Step::WithoutServer(interrupted_restore),
    ),
    (
        "docs/delivery.md",
        "openssl s_client -connect HOST:PORT </dev/null | openssl x509 > receiver.pem",
        Step::After(tls_receiver),
    ),
];

pub fn step_of(document: &str, command: &str) -> Step {
    let is_it = |of: &str, known: &str| (of == "*" || of == document) && known == command;
    let found = STEPS.iter().find(|(of, known, _)| is_it(of, known));
    found.map_or(Step::Run, |(.., step)| *step)
}

fn nothing(_: &mut Scene) {}

fn latest_event(scene: &mut Scene) {
    let listed = scene.run("relay list --json --limit 1");
    let row: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    let id = row["id"].as_str().expect("an id").to_owned();
    scene.words.set("evt_…", &id);
}

/// relay.toml is where it was, and `relay init` makes another one elsewhere.
fn empty_directory(scene: &mut Scene) {
    let new = scene.path("new");
    std::fs::create_dir(&new).expect("a directory");
    scene.words.set(
        "relay init",
        &format!("cd {} && relay init && cd -", new.display()),
    );
}

/// An operation that waits for an attempt in flight.
fn operation(scene: &mut Scene) {
    let client = scene.client();
    let headers = [
        ("Idempotency-Key", "slow"),
        ("Content-Type", "application/json"),
    ];
    let accepted = client.send("POST", "/webhooks/slow", &headers, b"{}");
    assert_eq!(accepted.status, 202, "{}", accepted.text());
    scene.next_arrival_at("/slow");
    let said = scene.run("relay discard --pending --destination slow --detach --json");
    let operation: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    let cancel = format!("relay cancel {}", operation["job"]);
    scene.words.set("relay cancel 7", &cancel);
}

fn no_export(scene: &mut Scene) {
    std::fs::remove_file(scene.path("work/events.jsonl")).expect("an earlier export");
}

fn three_secrets(scene: &mut Scene) {
    let client = Client::of_admin(scene.client().address());
    for secret in ["first-secret", "second-secret", "third-secret"] {
        scene.run("relay secrets expect asana --add");
        until("the server expects it", || {
            let headers = [("X-Hook-Secret", secret)];
            let learned = client.send("POST", "/webhooks/asana", &headers, b"");
            (learned.status == 200).then_some(())
        });
    }
}

/// Without rsync nothing has brought it there.
fn copied_backup(scene: &mut Scene) {
    let there = scene.path("backup-host/relay/today.db");
    if !there.exists() {
        std::fs::copy(scene.path("backups/today.db"), there).expect("a backup");
    }
}

fn scheduled_backup(scene: &mut Scene) {
    let backups = scene.path("backups");
    let scheduled = backups.join("relay-20261126T130501Z.db");
    std::fs::copy(backups.join("today.db"), &scheduled).expect("a backup");
    scene.words.set("FILE", &scheduled.display().to_string());
}

/// The files of a restore that was killed after the old database had moved aside.
fn interrupted_restore(scene: &mut Scene) {
    let aside = scene.path("work/relay.db.before-20261126T130502Z");
    for ending in ["", "-wal", "-shm"] {
        let moved = |path: &str| scene.path(&format!("work/{path}{ending}"));
        // A database that was closed in order has the first file alone.
        let _ = std::fs::rename(moved("relay.db"), moved("relay.db.before-20261126T130502Z"));
    }
    assert!(aside.exists());
    let marker = serde_json::json!({ "aside": aside, "newest": 0 });
    scene.write("work/relay.db.restore", &marker.to_string());
}

fn tls_receiver(scene: &mut Scene) {
    let identity = self_signed("localhost", |_| {});
    identity.write(&scene.path("work"));
    let key = scene.path("work/key.pem");
    std::fs::write(&key, identity.key_pem()).expect("writing it");
    let tls = relay::config::Tls {
        cert_file: scene.path("work/certificate.pem"),
        key_file: key,
    };
    let receiver = TestRelay::start_with(crate::support::URL, |config| {
        config.server.tls = Some(tls);
    });
    let address = receiver.client.address().to_string();
    scene.words.set("HOST:PORT", &address);
    scene.tls = Some(receiver);
}
