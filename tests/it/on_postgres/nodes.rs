//! Several nodes on one database, as operators see them: `relay nodes`, the admin API, the console
//! and the metrics; and `relay reload`, which reaches all of them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::learned_secrets::{SECRET, handshake, signed};
use crate::support::engine::{FromCell as _, rows_of_postgres};
use crate::support::postgres::{self, Server};
use crate::support::{Answer, Client, Gate, Process, Receiver, event_id, event_with_status, until};

/// Nodes of one database, each with a directory and a file of its own.
struct Nodes {
    server: &'static Server,
    url: String,
    running: Vec<(tempfile::TempDir, Process)>,
}

fn toml(name: &str, url: &str, more: &str) -> String {
    format!(
        "[server]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = '127.0.0.1:0'\n\
         [database]\nurl = '{url}'\n[node]\nname = '{name}'\nlease = '2s'\nheartbeat = '500ms'\n\
         [destinations.orders]\nurl = 'http://127.0.0.1:9/'\n\
         [sources.github]\ndestinations = ['orders']\n{more}"
    )
}

/// Runs a command; returns its exit code, its output, and its complaints.
fn run(directory: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Process::command(directory)
        .env_remove("RELAY_DATABASE_URL")
        .args(arguments)
        .output()
        .expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

impl Nodes {
    fn start(names: &[&str]) -> Option<Self> {
        Self::start_with(names, "")
    }

    /// Nodes whose files have these lines, too.
    fn start_with(names: &[&str], more: &str) -> Option<Self> {
        let server = postgres::server()?;
        let mut nodes = Self {
            server,
            url: server.create_database(),
            running: Vec::new(),
        };
        for name in names {
            let directory = tempfile::tempdir().expect("a temporary directory");
            let mut command = Process::command(directory.path());
            command.env_remove("RELAY_DATABASE_URL").arg("serve");
            let toml = toml(name, &nodes.url, more);
            let process = Process::serve_by(command, directory.path(), &toml);
            nodes.running.push((directory, process));
        }
        until("the nodes share the buckets", || {
            let found = nodes.listed();
            let shares = found.iter().map(|node| node["buckets"].as_u64());
            let shares: Option<Vec<_>> = shares.collect();
            let shares = shares.expect("numbers");
            let is_shared = shares.iter().all(|share| *share > 0);
            (is_shared && shares.iter().sum::<u64>() == 256).then_some(())
        });
        Some(nodes)
    }

    fn directory(&self, at: usize) -> &Path {
        self.running[at].0.path()
    }

    fn admin(&self, at: usize) -> &Client {
        self.running[at]
            .1
            .admin
            .as_ref()
            .expect("an admin listener")
    }

    /// Gives a node another file.
    fn write(&self, at: usize, name: &str, more: &str) {
        let file = self.directory(at).join("relay.toml");
        std::fs::write(file, toml(name, &self.url, more)).expect("writing relay.toml");
    }

    /// The nodes, as `relay nodes --json` lists them.
    fn listed(&self) -> Vec<Value> {
        let (code, listed, said) = run(self.directory(0), &["nodes", "--json"]);
        assert_eq!(code, Some(0), "{said}");
        let lines = listed.lines();
        lines
            .map(|line| serde_json::from_str(line).expect("JSON lines"))
            .collect()
    }

    fn psql(&self, sql: &str) {
        self.server.query(&self.url, sql, &[]);
    }
}

fn names(nodes: &[Value]) -> Vec<&str> {
    let names = nodes.iter().map(|node| node["name"].as_str());
    names.map(|name| name.expect("a name")).collect()
}

#[test]
fn operators_see_the_nodes_with_their_versions_shares_and_heartbeats() {
    let Some(nodes) = Nodes::start(&["a", "b"]) else {
        return;
    };
    nodes.psql("UPDATE relay.nodes SET version = '0.0.1' WHERE name = 'b'");
    let listed = nodes.listed();
    assert_eq!(names(&listed), ["a", "b"]);
    assert_eq!(listed[1]["version"], "0.0.1");
    for node in &listed {
        assert_eq!(node["state"], "alive");
        assert!(node["lease_ms"].as_u64().is_some_and(|left| left <= 2000));
    }
    let (_, table, _) = run(nodes.directory(1), &["nodes"]);
    let lines: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        lines[0],
        ["SLOT", "NAME", "VERSION", "SEEN", "BUCKETS", "STATE"]
    );
    assert_eq!(lines[2][..3], ["1", "b", "0.0.1"]);
    assert_eq!(lines[2][4..6], ["s", "ago"], "{table}");
    assert_eq!(lines[2].last(), Some(&"alive"));

    let found = nodes.admin(1).send("GET", "/api/nodes", &[], b"").json();
    let found = found["items"].as_array().expect("a list");
    assert_eq!(names(found), ["a", "b"]);
    let is_self = found.iter().map(|node| node["is_self"] == true);
    assert_eq!(is_self.collect::<Vec<_>>(), [false, true]);
    let page = nodes.admin(0).send("GET", "/nodes", &[], b"").text();
    assert!(page.contains("Nodes of different versions"), "{page}");
    let overview = nodes.admin(0).send("GET", "/", &[], b"").text();
    assert!(overview.contains("href=\"/nodes\""), "{overview}");

    let metrics = until("the busy tables are measured", || {
        let text = nodes.admin(0).send("GET", "/metrics", &[], b"").text();
        let other = nodes.admin(1).send("GET", "/metrics", &[], b"").text();
        // Of the node that vacuums alone.
        let vacuums = [&text, &other].into_iter().find(|text| {
            text.contains("\nrelay_database_dead_tuples{table=")
                && text.contains("\nrelay_database_oldest_xmin_seconds ")
        });
        vacuums.cloned()
    });
    let value = |name: &str| -> f64 {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        line.expect(name).trim().parse().expect("a number")
    };
    assert!(value("relay_node_buckets ") > 0.0);
    let lease = value("relay_node_lease_seconds ");
    assert!(lease > 0.0 && lease <= 2.0, "{lease}");
}

#[test]
fn a_reload_reaches_every_node_or_the_one_that_is_named() {
    let Some(nodes) = Nodes::start(&["a", "b"]) else {
        return;
    };
    let more = "[sources.stripe]\ndestinations = ['orders']\n";
    let names = ["a", "b"];
    let post = |at: usize| {
        let (_, node) = &nodes.running[at];
        let headers = [
            ("Idempotency-Key", names[at]),
            ("Content-Type", "application/json"),
        ];
        let reply = node
            .client
            .send("POST", "/webhooks/stripe", &headers, b"{}");
        reply.status
    };
    nodes.write(0, "a", more);
    nodes.write(1, "b", more);
    let (code, said, _) = run(nodes.directory(0), &["reload", "--dry-run"]);
    assert_eq!((code, said.lines().count()), (Some(0), 2), "{said}");
    assert!(said.starts_with("a: ") && said.contains("nothing was done\nb: "));
    assert_eq!([post(0), post(1)], [404, 404]);

    let (code, said, _) = run(nodes.directory(0), &["reload", "--node", "b"]);
    assert_eq!(code, Some(0));
    assert!(said.starts_with("b: generation 1, "), "{said}");
    assert_eq!([post(0), post(1)], [404, 202]);

    let (code, said, _) = run(nodes.directory(1), &["reload", "--json"]);
    assert_eq!(code, Some(0));
    let answers: Vec<Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON lines"))
        .collect();
    let told: Vec<_> = answers
        .iter()
        .map(|answer| (&answer["node"], &answer["generation"]))
        .collect();
    assert_eq!(
        told,
        [(&"a".into(), &1.into()), (&"b".into(), &2.into())],
        "{said}"
    );
    assert_eq!(post(0), 202);
}

#[test]
fn a_secret_that_one_node_learns_is_in_use_on_all_until_it_is_forgotten() {
    let asana = "[sources.asana]\nprovider = 'asana'\ndestinations = ['orders']\n";
    let Some(nodes) = Nodes::start_with(&["a", "b"], asana) else {
        return;
    };
    let [first, second] = [0, 1].map(|at| &nodes.running[at].1);
    assert_eq!(signed(second, "asana", SECRET, "[1]"), 401);
    // Any node may get the handshake.
    let (code, _, said) = run(nodes.directory(0), &["secrets", "expect", "asana"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(handshake(second, SECRET).status, 200);
    assert_eq!(signed(second, "asana", SECRET, "[2]"), 200);
    until("the other node verifies by it", || {
        (signed(first, "asana", SECRET, "[3]") == 200).then_some(())
    });

    let (code, _, said) = run(nodes.directory(1), &["secrets", "forget", "asana"]);
    assert_eq!(code, Some(0), "{said}");
    until("both nodes have forgotten it", || {
        let statuses = [first, second].map(|node| signed(node, "asana", SECRET, "[4]"));
        (statuses == [401, 401]).then_some(())
    });
}

#[test]
fn a_node_that_refuses_its_file_is_named_and_the_others_reload() {
    let Some(nodes) = Nodes::start(&["a", "b"]) else {
        return;
    };
    nodes.write(1, "b", "[sources.stripe]\ndestinations = ['nobody']\n");
    let (code, said, complaints) = run(nodes.directory(0), &["reload"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.starts_with("a: generation 1, "), "{said}");
    let mut lines = complaints.lines();
    let of_b = lines.next().expect("a line");
    assert!(of_b.starts_with("b: ") && of_b.contains("sources.stripe"));
    assert_eq!(lines.next(), Some("relay: 1 of 2 nodes were not reloaded"));

    let (code, _, complaints) = run(nodes.directory(0), &["reload", "--node", "c"]);
    assert_eq!(code, Some(1));
    assert_eq!(
        complaints.trim(),
        "relay: --node: \"c\": expected a node that lives: a, b"
    );
}

#[test]
fn a_node_that_is_too_old_for_the_tables_hands_over_and_ends_with_a_line() {
    let Some(mut nodes) = Nodes::start(&["a", "b"]) else {
        return;
    };
    nodes.psql("UPDATE relay.about SET version = 3, minimum = 2");
    for (_, node) in nodes.running.drain(..) {
        let (status, log) = node.wait();
        assert_eq!(status.code(), Some(1), "{log}");
        let lines = log.lines().filter(|line| line.contains("fatal"));
        let lines: Vec<_> = lines.collect();
        assert_eq!(lines.len(), 1, "{log}");
        assert!(
            lines[0].contains("has schema version 3, newer than"),
            "{log}"
        );
    }
    let left = "SELECT (SELECT count(*) FROM relay.nodes)
                     + (SELECT count(*) FROM relay.buckets WHERE epoch IS NOT NULL)";
    let left = nodes.server.query(&nodes.url, left, &[]);
    assert_eq!(String::from_utf8_lossy(&left).trim(), "0");
}

#[test]
fn commands_about_a_file_leave_one_beside_a_server_alone() {
    let Some(nodes) = Nodes::start(&["a"]) else {
        return;
    };
    let directory = nodes.directory(0);
    // Of a relay that kept its database here before.
    let files = ["relay.db", "relay.db.lock"].map(|name| directory.join(name));
    for file in &files {
        std::fs::write(file, "of another time").expect("written");
    }
    for arguments in [
        &["unlock"][..],
        &["unlock", "--accept-data-loss"],
        &["backup", "copy.db"],
        &["restore", "copy.db"],
        &["restore", "--abandon"],
        &["restore", "--settle"],
    ] {
        let (code, said, complaint) = run(directory, arguments);
        assert_eq!(
            (code, said.as_str()),
            (Some(1), ""),
            "{arguments:?}: {complaint}"
        );
        assert_eq!(complaint.lines().count(), 1, "{arguments:?}: {complaint}");
        assert!(
            complaint.contains("a server of PostgreSQL"),
            "{arguments:?}: {complaint}"
        );
    }
    for file in &files {
        let content = std::fs::read(file).expect("it is there");
        assert_eq!(content, b"of another time", "{}", file.display());
    }
    let (_, said, _) = run(directory, &["doctor"]);
    let about = |subject: &str| {
        let lines = said.lines().filter(|line| line.contains(subject));
        lines.collect::<Vec<_>>().join("\n")
    };
    let database = about("database: ");
    assert!(
        database.contains("postgres://") && database.contains("has relay's tables"),
        "{said}"
    );
    assert!(
        !said.contains("quick_check") && !said.contains("relay.db"),
        "{said}"
    );
    assert!(about("clock: ").contains("the database's"), "{said}");
}

/// A node that lost its place while an attempt hung claims the delivery anew, once it is back. Each
/// of the two attempts ends its own claim.
#[test]
fn a_delivery_that_is_claimed_again_during_its_attempt_is_settled() {
    // The first delivery proves the receiver; the next two attempts hang behind a gate each.
    let gates = [Gate::closed(), Gate::closed()];
    let held = gates.clone();
    let seen = AtomicUsize::new(0);
    let receiver = Receiver::start(move |_| match seen.fetch_add(1, Ordering::SeqCst) {
        nth @ 1..3 => Answer::status(200).behind(&held[nth - 1]),
        _ => Answer::status(200),
    });
    let more = format!(
        "[api]\nkeys = ['k']\n[delivery]\nlevel = 'durable'\n[destinations.slow]\nurl = '{}'\n\
         [sources.x]\ndestinations = ['slow']\n",
        receiver.url("/")
    );
    let Some(nodes) = Nodes::start_with(&["a"], &more) else {
        return;
    };
    let client = &nodes.running[0].1.client;
    let hook = |key, body: &[u8]| {
        event_id(&client.send("POST", "/webhooks/x", &[("idempotency-key", key)], body))
    };
    event_with_status(client, &hook("1", b"{}"), "delivered");
    receiver.next();
    let id = hook("2", b"{}");
    receiver.next();
    // Others took this node for dead, and it joins again.
    nodes.psql("DELETE FROM relay.nodes");
    receiver.next();
    gates[0].open();
    until("the first attempt ends", || {
        let ended = "relay_attempts_total{destination=\"slow\",outcome=\"delivered\"} 2";
        let metrics = nodes.admin(0).get("/metrics").text();
        metrics.contains(ended).then_some(())
    });
    gates[1].open();
    event_with_status(client, &id, "delivered");
    event_with_status(client, &hook("3", b"{}"), "delivered");
    // Those of the life before are for whoever takes over.
    until("no claim is left", || {
        let left = "SELECT count(*) FROM relay.claims JOIN relay.nodes USING (epoch)";
        let left = nodes.server.query(&nodes.url, left, &[]);
        (left.trim_ascii() == b"0").then_some(())
    });
}

/// The next alerts, until one of each of these types was told.
fn told(ops: &Receiver, types: [&str; 2]) -> [Value; 2] {
    let mut alerts: Vec<Value> = Vec::new();
    until("the alerts", || {
        while let Some(alert) = ops.next_within(Duration::from_millis(1)) {
            alerts.push(serde_json::from_slice(&alert.body).expect("JSON"));
        }
        let of = |name: &str| alerts.iter().find(|alert| alert["type"] == name).cloned();
        let [first, second] = types.map(of);
        first.zip(second).map(|(first, second)| [first, second])
    })
}

#[test]
fn dead_letters_and_refused_reloads_of_nodes_that_do_not_lead_are_told() {
    let status = Arc::new(AtomicU16::new(200));
    let answered = Arc::clone(&status);
    let receiver = Receiver::start(move |_| Answer::status(answered.load(Ordering::SeqCst)));
    let ops = Receiver::start(|_| Answer::status(200));
    let mut more = format!(
        "[alerts]\ndestination = 'ops'\n[destinations.ops]\nurl = '{}'\n",
        ops.url("/")
    );
    let sources = ["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7"];
    for name in sources {
        let to = receiver.url("/");
        let route = format!(
            "[destinations.{name}]\nurl = '{to}'\n[sources.{name}]\ndestinations = ['{name}']\n"
        );
        more.push_str(&route);
    }
    let Some(nodes) = Nodes::start_with(&["a", "b"], &more) else {
        return;
    };
    let post = |source: &str, key: &str| {
        let (_, node) = &nodes.running[0];
        let headers = [
            ("Idempotency-Key", key),
            ("Content-Type", "application/json"),
        ];
        let path = format!("/webhooks/{source}");
        assert_eq!(node.client.send("POST", &path, &headers, b"{}").status, 202);
    };
    for source in sources {
        post(source, "delivered");
    }
    for _ in sources {
        receiver.next();
    }
    let look = "SELECT d.name, n.name FROM relay.destinations d
                JOIN relay.buckets b ON b.bucket = d.bucket JOIN relay.nodes n ON n.epoch = b.epoch
                WHERE d.name LIKE 's_' AND b.epoch <>
                    (SELECT epoch FROM relay.buckets WHERE bucket = 0) LIMIT 1";
    let found = rows_of_postgres(nodes.server, &nodes.url, look);
    let found = found.into_iter().flatten().map(String::from_cell);
    let found: Vec<String> = found.collect();
    let [source, node] = &found[..] else {
        panic!("all are the leader's: {found:?}");
    };
    status.store(400, Ordering::SeqCst);
    post(source, "given up");
    let at = usize::from(node == "b");
    nodes.write(at, node, "[nonsense]\n");
    // By the other's file: a command refuses its own if that is wrong.
    let (code, ..) = run(nodes.directory(1 - at), &["reload", "--node", node]);
    assert_eq!(code, Some(1));
    let types = ["delivery.dead_lettered", "config.reload_failed"];
    let [digest, reload] = told(&ops, types);
    assert_eq!(digest["data"]["count"], 1, "{digest}");
    assert_eq!(reload["data"]["node"], node.as_str(), "{reload}");
}
