//! A server that is full, stopped, crowded or replaced: clients get an answer in time, nothing
//! acknowledged is lost, and the relay goes on by itself.

use std::process::Command;
use std::time::{Duration, Instant};

use super::{Scene, name_of, started};
use crate::support::own_server::{SMALL_DISK, own_server_with_a_small_disk};
use crate::support::{Client, Reply, event_id, until};

/// The limit of a call to the server, its last attempt, and time for the rest.
const ANSWERED: Duration = Duration::from_secs(10 + 1 + 1);

/// Sends an event under a key of its own; whether it was acknowledged.
fn is_acknowledged(client: &Client, key: &str, body: &[u8]) -> bool {
    let reply = client.hook(key, body);
    assert!([202, 503].contains(&reply.status), "{}", reply.text());
    reply.status == 202
}

fn is_ready(client: &Client) -> bool {
    client.send("GET", "/readyz", &[], b"").status == 200
}

/// Asserts that everything that was acknowledged is there, and is delivered.
fn assert_delivered(scene: &Scene, acknowledged: i64) {
    until("everything is delivered", || {
        (scene.count("SELECT count(*) FROM waiting") == 0).then_some(())
    });
    let delivered = "SELECT count(*) FROM ended WHERE state = 3";
    let keys = "SELECT count(DISTINCT idempotency_key) FROM intents";
    assert!(scene.count(keys) >= acknowledged);
    assert_eq!(
        scene.count(delivered),
        scene.count("SELECT count(*) FROM intents")
    );
}

#[test]
fn a_full_disk_refuses_events_until_there_is_room() {
    let Some(mut server) = own_server_with_a_small_disk() else {
        return;
    };
    server.tell("start");
    let queries = server.server();
    let tablespace = format!("CREATE TABLESPACE small LOCATION '{SMALL_DISK}'");
    queries.query(&server.url(), &tablespace, &[]);
    let url = queries.create_database();
    let moved = format!("ALTER DATABASE {} SET TABLESPACE small", name_of(&url));
    queries.query(&server.url(), &moved, &[]);
    let through = url.clone();
    let mut scene = Scene::on(server, url, |_| through, |_| {});
    let client = scene.relay.client.clone();
    let body = vec![b'1'; 100_000];
    let mut acknowledged = 0;
    let refused = (0..400).map(|n| client.hook(&n.to_string(), &body));
    let refused: Vec<Reply> = refused
        .inspect(|reply| acknowledged += i64::from(reply.status == 202))
        .skip_while(|reply| reply.status == 202)
        .take(3)
        .collect();
    assert_eq!(refused.len(), 3, "the disk is never full");
    for reply in refused {
        assert_eq!(reply.status, 503, "{}", reply.text());
        assert!(
            reply.text().contains("too little free space"),
            "{}",
            reply.text()
        );
        assert!(!is_ready(&client));
    }
    // It stays so, however often it is asked: the node's balancer leaves it alone.
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        assert!(!is_ready(&client), "ready, and full");
    }
    assert!(client.get("/events?limit=1").status < 500);
    scene.server.tell("room");
    until("there is room", || is_ready(&client).then_some(()));
    assert!(is_acknowledged(&client, "after", &body));
    assert_delivered(&scene, acknowledged + 1);
}

/// The server's processes that work for relay.
fn backends(scene: &Scene) -> Vec<String> {
    let sql = "SELECT pid::text FROM pg_stat_activity WHERE application_name = 'relay'
               AND datname = current_database()";
    let rows = crate::support::engine::rows_of_postgres(&scene.queries, &scene.url, sql);
    let pids = rows.into_iter().flatten().flatten();
    pids.map(|pid| String::from_utf8(pid).expect("a number"))
        .collect()
}

/// Processes that stand still until this is dropped.
struct Stopped(Vec<String>);

impl Stopped {
    fn new(pids: Vec<String>) -> Self {
        let stopped = Self(pids);
        stopped.signal("-STOP");
        stopped
    }

    fn signal(&self, name: &str) {
        // One may have ended.
        let _ = Command::new("kill").arg(name).args(&self.0).status();
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        self.signal("-CONT");
    }
}

#[test]
fn stopped_backends_are_left_and_every_request_is_answered_in_time() {
    let Some(server) = started() else {
        return;
    };
    let url = server.server().create_database();
    let through = url.clone();
    let scene = Scene::on(server, url, |_| through, |_| {});
    let client = &scene.relay.client;
    let id = event_id(&client.hook("before", b"\"before\""));
    scene.receiver.next();
    let backends = backends(&scene);
    assert!(backends.len() > 3, "{backends:?}");
    let stopped = Stopped::new(backends);
    let admin = scene.relay.admin();
    let took = std::thread::scope(|scope| {
        let timed = |status: fn(u16) -> bool, ask: Box<dyn Fn() -> Reply + Send>| {
            scope.spawn(move || {
                let start = Instant::now();
                let reply = ask();
                assert!(status(reply.status), "{} {}", reply.status, reply.text());
                start.elapsed()
            })
        };
        let (one, path) = (client.clone(), format!("/events/{id}"));
        let (other, of_stats) = (client.clone(), admin.clone());
        let asked = [
            timed(
                |status| status == 202,
                Box::new(move || one.hook("while", b"\"while\"")),
            ),
            timed(|status| status == 200, Box::new(move || other.get(&path))),
            timed(
                |status| status == 200,
                Box::new(move || of_stats.send("GET", "/metrics", &[], b"")),
            ),
            timed(
                |status| status == 200,
                Box::new(move || admin.send("GET", "/api/overview", &[], b"")),
            ),
        ];
        asked.map(|asked| asked.join().expect("no panic"))
    });
    drop(stopped);
    println!("answered after {took:.1?}");
    assert!(took.iter().all(|took| *took < ANSWERED), "{took:?}");
    assert_eq!(&scene.receiver.next().body[..], b"\"while\"");
    assert_delivered(&scene, 2);
}

#[test]
fn a_server_that_is_stopped_as_a_whole_is_told_to_clients_in_time() {
    let Some(server) = started() else {
        return;
    };
    let url = server.server().create_database();
    let through = url.clone();
    let scene = Scene::on(server, url, |_| through, |_| {});
    let client = &scene.relay.client;
    event_id(&client.hook("before", b"\"before\""));
    scene.receiver.next();
    let mut stopped = backends(&scene);
    stopped.push(scene.server.pid().to_string());
    let stopped = Stopped::new(stopped);
    // The later ones wait behind the first.
    let took = std::thread::scope(|scope| {
        let asked = [0, 1, 2, 3].map(|n| {
            scope.spawn(move || {
                let start = Instant::now();
                let reply = client.hook(&n.to_string(), b"\"while\"");
                assert_eq!(reply.status, 503, "{}", reply.text());
                start.elapsed()
            })
        });
        asked.map(|asked| asked.join().expect("no panic"))
    });
    let is_unready = !is_ready(client);
    drop(stopped);
    println!("answered after {took:.1?}");
    assert!(took.iter().all(|took| *took < ANSWERED), "{took:?}");
    assert!(is_unready);
    until("it goes on", || {
        is_acknowledged(client, "after", b"\"after\"").then_some(())
    });
    assert_delivered(&scene, 2);
}

#[test]
fn a_crowded_server_is_waited_for() {
    let Some(server) = started() else {
        return;
    };
    let queries = server.server();
    let url = queries.create_database();
    let name = name_of(&url).to_owned();
    let role = format!("CREATE ROLE relay LOGIN; ALTER DATABASE {name} OWNER TO relay");
    queries.query(&server.url(), &role, &[]);
    let through = url.replace("user=postgres", "user=relay");
    let scene = Scene::on(server, url, |_| through, |_| {});
    let client = &scene.relay.client;
    event_id(&client.hook("before", b"\"before\""));
    let limit = |connections| {
        let limit = format!("ALTER DATABASE {name} CONNECTION LIMIT {connections}");
        scene.queries.query(&scene.server.url(), &limit, &[]);
    };
    limit(0);
    let ends = "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity
                WHERE application_name = 'relay'";
    assert!(scene.count(ends) > 0);
    let start = Instant::now();
    let reply = client.hook("while", b"\"while\"");
    assert_eq!(reply.status, 503, "{}", reply.text());
    assert!(start.elapsed() < ANSWERED, "{:?}", start.elapsed());
    assert!(!is_ready(client));
    limit(-1);
    until("it goes on", || {
        is_acknowledged(client, "while", b"\"while\"").then_some(())
    });
    assert_delivered(&scene, 2);
}

#[test]
fn a_batch_that_no_standby_has_is_not_acknowledged() {
    let Some(server) = started() else {
        return;
    };
    let url = server.server().create_database();
    let through = url.clone();
    let scene = Scene::on(server, url, |_| through, |_| {});
    let set_standbys = |names: &str| {
        let set = format!("ALTER SYSTEM SET synchronous_standby_names = '{names}'");
        for sql in [&set, "SELECT pg_reload_conf()"] {
            scene.queries.query(&scene.server.url(), sql, &[]);
        }
    };
    // The destination is known from here on.
    assert!(is_acknowledged(&scene.relay.client, "before", b"{}"));
    let wait = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    for cut_off in ["pg_terminate_backend", "pg_cancel_backend"] {
        set_standbys("nobody");
        // The heartbeat's.
        let waiting = format!("SELECT count(*) {wait}");
        until("commits wait", || (scene.count(&waiting) > 0).then_some(()));
        let client = scene.relay.client.clone();
        let sent = std::thread::spawn(move || is_acknowledged(&client, cut_off, b"{}"));
        let batch = format!("SELECT count({cut_off}(pid)) {wait} AND query LIKE '%WITH present%'");
        until("the batch is cut off", || {
            (scene.count(&batch) > 0).then_some(())
        });
        let found = format!("SELECT count(*) {wait} AND query LIKE '%AS t(id, random)%'");
        until("it is found, or acknowledged", || {
            (sent.is_finished() || scene.count(&found) > 0).then_some(())
        });
        assert!(!sent.is_finished(), "{cut_off}: acknowledged");
        set_standbys("");
        assert!(sent.join().expect("no panic"), "{cut_off}");
    }
    assert_delivered(&scene, 3);
}

#[test]
fn a_promoted_standby_is_found_and_nothing_acknowledged_is_lost() {
    let Some(primary) = started() else {
        return;
    };
    let mut standby = primary.standby();
    standby.tell("start");
    let queries = primary.server();
    for sql in [
        "ALTER SYSTEM SET synchronous_standby_names = '*'",
        "SELECT pg_reload_conf()",
    ] {
        queries.query(&primary.url(), sql, &[]);
    }
    let is_synchronous = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
    until("the standby is synchronous", || {
        (queries.query(&primary.url(), is_synchronous, &[]) == b"1\n").then_some(())
    });
    let hosts = format!("{},{}", standby.address(), primary.address());
    let url = queries.create_database();
    let mut scene = Scene::on(
        primary,
        url,
        |name| format!("postgres://postgres@{hosts}/{name}?target_session_attrs=read-write"),
        |_| {},
    );
    let client = scene.relay.client.clone();
    let mut acknowledged = 0;
    for n in 0..50 {
        acknowledged += i64::from(is_acknowledged(&client, &n.to_string(), b"\"before\""));
    }
    assert_eq!(acknowledged, 50);
    scene.server.tell("immediate");
    let waiting = {
        let client = client.clone();
        std::thread::spawn(move || is_acknowledged(&client, "while", b"\"while\""))
    };
    let start = Instant::now();
    standby.tell("promote");
    let promoted = start.elapsed();
    acknowledged += i64::from(waiting.join().expect("no panic"));
    println!(
        "promoted in {promoted:.1?}, acknowledged after {:.1?}",
        start.elapsed()
    );
    assert_eq!(acknowledged, 51, "the request outlasts the promotion");
    // The new primary's database, by its own socket.
    let folder = |socket: std::path::PathBuf| socket.with_file_name("").display().to_string();
    scene.url = format!(
        "postgres:///{}?host={}&port={}&user=postgres",
        name_of(&scene.url),
        folder(standby.socket()).trim_end_matches('/'),
        standby.port()
    );
    scene.queries = standby.server();
    until("it goes on", || {
        is_acknowledged(&client, "after", b"\"after\"").then_some(())
    });
    assert_delivered(&scene, acknowledged + 1);
}
