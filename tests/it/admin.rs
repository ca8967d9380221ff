//! The operator's API: who may ask, and what it answers.

use std::collections::BTreeSet;

use relay::Config;
use relay::config::{NamedSecret, Secret};
use serde_json::{Value, json};

use crate::needs_a_file;
use crate::support::{Client, Process, Reply, TestRelay, event_id, off, until};

const OPERATE: &str = "operate-operate-1";
const READ: &str = "read-read-read-12";
const JSON: (&str, &str) = ("Content-Type", "application/json");

fn token(name: &str, secret: &str) -> NamedSecret {
    NamedSecret {
        name: name.to_owned(),
        secret: Secret::new(secret),
    }
}

fn with_tokens(config: &mut Config) {
    off(config);
    config.admin.tokens = vec![token("OPS_TOKEN", OPERATE)];
    config.admin.read_tokens = vec![token("READ_TOKEN", READ)];
}

fn get(admin: &Client, path: &str) -> Value {
    let reply = admin.get(path);
    assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    reply.json()
}

fn post(admin: &Client, path: &str, body: &Value) -> Reply {
    admin.send("POST", path, &[JSON], body.to_string().as_bytes())
}

#[test]
fn a_request_needs_a_token_of_its_role() {
    let relay = TestRelay::start_with("http://127.0.0.1:9/", with_tokens);
    let admin = relay.admin();
    let bearer = |token: &str| format!("Bearer {token}");
    let pause = "/api/destinations/orders/pause";
    for (method, path, token, expected) in [
        ("GET", "/api/overview", None, 401),
        ("GET", "/api/overview", Some("operate-operate-2"), 401),
        ("GET", "/api/overview", Some(READ), 200),
        ("GET", "/api/overview", Some(OPERATE), 200),
        ("GET", "/metrics", None, 401),
        ("GET", "/metrics", Some(READ), 200),
        ("GET", "/healthz", None, 200),
        ("POST", pause, None, 401),
        ("POST", pause, Some(READ), 403),
        ("POST", pause, Some(OPERATE), 200),
        ("GET", "/api/nothing", None, 401),
        ("GET", "/api/nothing", Some(READ), 404),
        ("GET", pause, Some(OPERATE), 405),
        // A preflight has no token.
        ("OPTIONS", "/api/overview", None, 405),
        ("OPTIONS", pause, None, 405),
        ("OPTIONS", "/metrics", None, 405),
    ] {
        let authorization = token.map(bearer).unwrap_or_default();
        let mut headers = vec![JSON];
        if token.is_some() {
            headers.push(("Authorization", &authorization));
        }
        let reply = admin.send(method, path, &headers, b"{}");
        let what = format!("{method} {path} with {token:?}: {}", reply.text());
        assert_eq!(reply.status, expected, "{what}");
        assert_eq!(
            reply.header("www-authenticate").is_some(),
            expected == 401,
            "{what}"
        );
        assert_eq!(reply.header("cache-control"), Some("no-store"), "{what}");
        assert_eq!(
            reply.header("x-content-type-options"),
            Some("nosniff"),
            "{what}"
        );
    }
    // The public listener has nothing of it.
    assert_eq!(relay.client.get("/api/overview").status, 404);
}

#[test]
fn a_page_of_another_site_can_neither_read_nor_change() {
    let relay = TestRelay::start_with("http://127.0.0.1:9/", off);
    let admin = relay.admin();
    let pause = "/api/destinations/orders/pause";
    let evil = ("Host", "relay.evil.example");
    assert_eq!(admin.send("GET", "/api/overview", &[evil], b"").status, 421);
    assert_eq!(admin.send("POST", pause, &[evil, JSON], b"{}").status, 421);
    // A scraper's configuration may name any host.
    assert_eq!(admin.send("GET", "/metrics", &[evil], b"").status, 200);
    for headers in [
        &[("Content-Type", "text/plain")][..],
        &[("Content-Type", "application/x-www-form-urlencoded")],
        &[],
    ] {
        assert_eq!(
            admin.send("POST", pause, headers, b"{}").status,
            415,
            "{headers:?}"
        );
    }
    for header in [
        ("Origin", "http://evil.example"),
        ("Origin", "null"),
        ("Sec-Fetch-Site", "cross-site"),
    ] {
        let reply = admin.send("POST", pause, &[JSON, header], b"{}");
        assert_eq!(reply.status, 403, "{header:?}");
        assert!(reply.header("access-control-allow-origin").is_none());
    }
    let preflight = admin.send("OPTIONS", pause, &[], b"");
    assert_eq!(
        (preflight.status, preflight.header("allow")),
        (405, Some("POST"))
    );
    assert_eq!(admin.send("OPTIONS", pause, &[evil], b"").status, 421);
    assert_eq!(get(&admin, "/api/destinations/orders")["state"], "active");
}

#[test]
fn deliveries_are_found_by_filters_and_pages() {
    let relay = TestRelay::start_with("http://127.0.0.1:9/", off);
    let admin = relay.admin();
    let ids: Vec<_> = (0..5)
        .map(|at| event_id(&relay.client.hook(&format!("k{at}"), b"{}")))
        .collect();
    let mut found = Vec::new();
    let mut path = "/api/deliveries?limit=2&status=queued&destination=orders".to_owned();
    loop {
        let page = get(&admin, &path);
        let items = page["items"].as_array().expect("items");
        found.extend(
            items
                .iter()
                .map(|item| item["id"].as_str().expect("an id").to_owned()),
        );
        let Some(next) = page["next"].as_str() else {
            break;
        };
        path = format!("/api/deliveries?limit=2&status=queued&destination=orders&after={next}");
    }
    let newest_first: Vec<_> = ids.iter().rev().cloned().collect();
    assert_eq!(found, newest_first);
    // A last page that is full is the last one all the same.
    let full = get(&admin, "/api/deliveries?limit=5");
    assert_eq!(
        (full["items"].as_array().map(Vec::len), &full["next"]),
        (Some(5), &Value::Null)
    );
    let none = get(&admin, "/api/deliveries?source=gitlab");
    assert_eq!(none["items"], json!([]));
    assert_eq!(get(&admin, "/api/deliveries?until=1h")["items"], json!([]));
    for (query, says) in [
        ("statsu=queued", "no such parameter"),
        ("status=dead", "expected one of"),
        ("limit=0", "from 1 to 200"),
        ("limit=1&limit=2", "expected once"),
        ("since=yesterday", "expected a time"),
        ("after=nonsense", "an earlier page"),
    ] {
        let reply = admin.get(&format!("/api/deliveries?{query}"));
        assert_eq!(reply.status, 400, "{query}");
        assert!(reply.text().contains(says), "{query}: {}", reply.text());
    }
}

#[test]
fn an_event_is_shown_with_its_deliveries_and_its_payload_as_a_file() {
    let relay = TestRelay::start_with("http://127.0.0.1:9/", off);
    let admin = relay.admin();
    let payload = b"{\"html\": \"<script>alert(1)</script>\"}";
    let id = event_id(&relay.client.hook("k", payload));
    let event = get(&admin, &format!("/api/events/{id}"));
    assert_eq!(event["id"], id.as_str());
    assert_eq!(event["deliveries"][0]["destination"], "orders");
    assert_eq!(event["deliveries"][0]["status"], "queued");
    let reply = admin.get(&format!("/api/events/{id}/payload"));
    assert_eq!(reply.body, payload);
    assert_eq!(
        reply.header("content-type"),
        Some("application/octet-stream")
    );
    assert_eq!(reply.header("content-security-policy"), Some("sandbox"));
    let attachment = format!("attachment; filename=\"{id}.bin\"");
    assert_eq!(
        reply.header("content-disposition"),
        Some(attachment.as_str())
    );
    for unknown in [
        "evt_0197b2f0-0000-7000-8000-000000000001",
        "nothing",
        "%2e%2e",
    ] {
        assert_eq!(
            admin.get(&format!("/api/events/{unknown}")).status,
            404,
            "{unknown}"
        );
    }
}

#[test]
fn a_parameter_of_no_route_is_refused() {
    let relay = TestRelay::start_with("http://127.0.0.1:9/", off);
    let admin = relay.admin();
    let id = event_id(&relay.client.hook("k", b"{}"));
    for path in [
        "/api/overview".to_owned(),
        "/api/config".to_owned(),
        "/api/destinations/orders".to_owned(),
        format!("/api/events/{id}"),
        format!("/api/events/{id}/payload"),
    ] {
        assert_eq!(admin.get(&format!("{path}?")).status, 200, "{path}");
        let reply = admin.get(&format!("{path}?limit=1"));
        assert_eq!(reply.status, 400, "{path}: {}", reply.text());
        assert_eq!(reply.json()["details"]["member"], "limit", "{path}");
    }
    // A dry run that is asked for in the wrong place must not be a real one.
    for path in [
        "/api/destinations/orders/pause",
        "/api/operations",
        "/api/reload",
    ] {
        let body = json!({ "reason": "x" });
        let reply = post(&admin, &format!("{path}?dry_run=true"), &body);
        assert_eq!(reply.status, 400, "{path}: {}", reply.text());
        assert_eq!(reply.json()["details"]["member"], "dry_run", "{path}");
    }
    assert_eq!(get(&admin, "/api/destinations/orders")["state"], "active");
}

#[test]
fn the_payload_of_a_discarded_event_is_not_found() {
    let relay = TestRelay::start_with("http://127.0.0.1:9/", off);
    let admin = relay.admin();
    let id = event_id(&relay.client.hook("k", b"{}"));
    let path = format!("/api/events/{id}/payload");
    assert_eq!(admin.get(&path).status, 200);
    let discard = json!({ "kind": "discard", "ids": [id], "pending": true });
    let reply = post(&admin, "/api/operations", &discard);
    assert_eq!(reply.status, 202, "{}", reply.text());
    let gone = until("it is discarded", || {
        let reply = admin.get(&path);
        (reply.status == 404).then_some(reply)
    });
    assert!(gone.text().contains("discarded"), "{}", gone.text());
}

#[test]
fn destinations_that_are_kept_back_come_first() {
    needs_a_file!("rows are written by SQL");
    let relay = TestRelay::start_with("http://127.0.0.1:9/", |config| {
        off(config);
        let orders = config.destinations["orders"].clone();
        for name in ["audit", "zoo"] {
            config.destinations.insert(name.to_owned(), orders.clone());
        }
    });
    let admin = relay.admin();
    let id = event_id(&relay.client.hook("k", b"{}"));
    post(&admin, "/api/destinations/zoo/pause", &json!({}));
    let names = || -> Vec<String> {
        let page = get(&admin, "/api/destinations");
        let items = page["items"].as_array().expect("a list").iter();
        items
            .map(|one| format!("{} {}", one["name"], one["state"]).replace('"', ""))
            .collect()
    };
    assert_eq!(names(), ["zoo paused", "audit active", "orders active"]);
    // Deliveries wait for a destination that a reload has removed, and a hold is over.
    let sql = rusqlite::Connection::open(relay.directory.path().join("relay.db"));
    let sql = sql.expect("the database opens");
    sql.execute_batch(
        "INSERT INTO destinations (name) VALUES ('removed');
         UPDATE destinations SET held_until = 1 WHERE name = 'audit';",
    )
    .expect("a change");
    let moved = sql.execute(
        "UPDATE deliveries SET destination_id = (SELECT id FROM destinations WHERE name = 'removed')",
        [],
    );
    assert_eq!(moved.expect("a change"), 1, "{id}");
    assert_eq!(
        names(),
        [
            "removed unknown_destination",
            "zoo paused",
            "audit active",
            "orders active"
        ]
    );
}

#[test]
fn an_origin_can_be_paused_before_anything_was_sent_to_it_as_by_the_command() {
    let relay = TestRelay::start_with("http://127.0.0.1:9/", off);
    let admin = relay.admin();
    let act = |name: &str, action: &str| {
        let path = format!("/api/destinations/{name}/{action}");
        post(&admin, &path, &json!({}))
    };
    let unseen = act("https%3A%2F%2Fother.example", "resume").json();
    assert_eq!(
        (&unseen["is_changed"], &unseen["state"]),
        (&json!(false), &json!("active"))
    );
    // The command takes a URL for its origin as well.
    let paused = act("https%3A%2F%2Fnew.example%2Fpath", "pause").json();
    assert_eq!(paused["name"], "https://new.example");
    assert_eq!(
        (&paused["is_changed"], &paused["state"]),
        (&json!(true), &json!("paused"))
    );
    let resumed = act("https%3A%2F%2Fnew.example", "resume").json();
    assert_eq!(resumed["is_changed"], true);
    for name in ["nobody", "ftp%3A%2F%2Fnew.example"] {
        assert_eq!(act(name, "pause").status, 404, "{name}");
    }
}

#[test]
fn a_pause_says_who_paused_before_and_a_later_pause_is_not_ended_by_mistake() {
    let relay = TestRelay::start_with("http://127.0.0.1:9/", off);
    let admin = relay.admin();
    let (pause, resume) = (
        "/api/destinations/orders/pause",
        "/api/destinations/orders/resume",
    );
    let first = post(&admin, pause, &json!({ "reason": "moving" })).json();
    assert_eq!(
        (&first["is_changed"], &first["state"]),
        (&json!(true), &json!("paused"))
    );
    let second = post(&admin, pause, &json!({ "reason": "me too" })).json();
    assert_eq!(second["is_changed"], false);
    assert_eq!(second["paused_before"]["reason"], "moving");
    assert_eq!(second["paused_reason"], "moving");
    // The page of another operator shows an earlier pause.
    let stale = json!({ "paused_at": "2020-01-01T00:00:00Z" });
    let refused = post(&admin, resume, &stale);
    assert_eq!(refused.status, 409, "{}", refused.text());
    assert!(refused.text().contains("moving"), "{}", refused.text());
    let seen = json!({ "paused_at": first["paused_at"] });
    let resumed = post(&admin, resume, &seen).json();
    assert_eq!(
        (&resumed["is_changed"], &resumed["state"]),
        (&json!(true), &json!("active"))
    );
    let again = post(&admin, resume, &json!({})).json();
    assert_eq!(again["is_changed"], false);
    for (path, body, status) in [
        ("/api/destinations/nobody/pause", json!({}), 404),
        (pause, json!({ "reasn": "x" }), 400),
        (pause, json!({ "reason": "" }), 400),
        (pause, json!({ "reason": "x".repeat(501) }), 400),
        (pause, json!([]), 400),
        (resume, json!({ "paused_at": "soon" }), 400),
    ] {
        let reply = post(&admin, path, &body);
        assert_eq!(reply.status, status, "{path} {body}: {}", reply.text());
    }
    assert_eq!(admin.send("POST", pause, &[JSON], b"{} {}").status, 400);
    for (body, member) in [
        (&b"{\"reason\": 1}"[..], Some("reason")),
        (b"{\"reasn\": \"x\"}", Some("reasn")),
        (b"{\"reason\": \"x\", \"reason\": \"y\"}", None),
        (b"{\"reason\"", None),
        (b"{reason: 1}", None),
        (b"{\"reason\": \"\xff\"}", Some("reason")),
    ] {
        let what = String::from_utf8_lossy(body).into_owned();
        let reply = admin.send("POST", pause, &[JSON], body);
        assert_eq!(reply.status, 400, "{what}: {}", reply.text());
        assert_eq!(reply.json()["details"]["member"].as_str(), member, "{what}");
        let message = reply.json()["message"].as_str().expect("a text").to_owned();
        assert!(!message.starts_with(['.', '?']), "{what}: {message}");
    }
}

#[test]
fn the_overview_counts_what_waits_and_the_destinations_by_state() {
    let relay = TestRelay::start_with("http://127.0.0.1:9/", off);
    let admin = relay.admin();
    relay.client.hook("k", b"{}");
    post(&admin, "/api/destinations/orders/pause", &json!({}));
    let overview = until("deliveries are counted", || {
        let overview = get(&admin, "/api/overview");
        overview["deliveries"].is_object().then_some(overview)
    });
    assert_eq!(overview["deliveries"]["queued"], 1);
    assert_eq!(overview["kept"]["paused"], 1);
    assert_eq!(overview["destinations"], json!({ "paused": 1 }));
    assert_eq!(overview["is_ready"], true);
    let destinations = get(&admin, "/api/destinations");
    assert_eq!(destinations["total"], 1);
    assert_eq!(destinations["items"][0]["waiting"], 1);
    assert_eq!(destinations["items"][0]["url"], "http://127.0.0.1:9/…");
    let config = get(&admin, "/api/config");
    let contract: Value =
        serde_saphyr::from_str(include_str!("../../openapi.admin.yaml")).expect("YAML");
    let schema = "/paths/~1api~1config/get/responses/200/content/application~1json/schema";
    let listed = &contract.pointer(schema).expect("a schema")["properties"];
    let names = |value: &Value| {
        value
            .as_object()
            .expect("members")
            .keys()
            .cloned()
            .collect()
    };
    let (shown, listed): (BTreeSet<String>, BTreeSet<String>) = (names(&config), names(listed));
    assert_eq!(shown, listed);
    assert_eq!(config["api"]["keys"], "set (1)");
    assert!(!config.to_string().contains(crate::support::KEY));
}

#[test]
fn a_reload_takes_a_good_file_over_and_keeps_what_runs_instead_of_a_bad_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let toml = |limit: &str| {
        format!(
            "[server]\nlisten = '127.0.0.1:0'\nmax_body_bytes = {limit}\n\
             [admin]\nlisten = '127.0.0.1:0'\n[database]\nmin_free_bytes = 0\n"
        )
    };
    let mut process = Process::serve(directory.path(), &toml("1000"));
    let admin = process.admin.clone().expect("an admin listener");
    let before = get(&admin, "/api/config");
    assert_eq!(before["server"]["max_body_bytes"], 1000);
    let write = |text: &str| {
        std::fs::write(directory.path().join("relay.toml"), text).expect("a file");
    };
    write(&toml("2000"));
    let dry = post(&admin, "/api/reload", &json!({ "dry_run": true })).json();
    assert_eq!(dry["is_reloaded"], false, "{dry}");
    assert_eq!(get(&admin, "/api/config")["server"]["max_body_bytes"], 1000);
    let done = post(&admin, "/api/reload", &json!({})).json();
    assert_eq!(done["is_reloaded"], true, "{done}");
    let after = get(&admin, "/api/config");
    assert_eq!(after["server"]["max_body_bytes"], 2000);
    assert_eq!(after["generation"], 1);
    assert_ne!(after["fingerprint"], before["fingerprint"]);
    write(&toml("'much'"));
    let refused = post(&admin, "/api/reload", &json!({}));
    assert_eq!(refused.status, 409);
    assert!(
        refused.text().contains("max_body_bytes"),
        "{}",
        refused.text()
    );
    let kept = get(&admin, "/api/config");
    assert_eq!(kept["server"]["max_body_bytes"], 2000);
    assert!(kept["last_reload"]["error"].is_string(), "{kept}");
    // A dry run is no reload, and leaves the last one as it was.
    write(&toml("3000"));
    let dry = post(&admin, "/api/reload", &json!({ "dry_run": true }));
    assert_eq!(dry.status, 200, "{}", dry.text());
    assert_eq!(
        get(&admin, "/api/config")["last_reload"],
        kept["last_reload"]
    );
    assert_eq!(post(&admin, "/api/reload", &json!({})).status, 200);
    write(&toml("'much'"));
    let dry = post(&admin, "/api/reload", &json!({ "dry_run": true }));
    assert_eq!(dry.status, 409);
    let last = get(&admin, "/api/config")["last_reload"].clone();
    assert_eq!(last["error"], Value::Null, "{last}");
    process.signal("-TERM");
    assert!(process.ended().success());
}

#[test]
fn rollups_have_bounds_that_an_error_names() {
    let relay = TestRelay::start_with("http://127.0.0.1:9/", off);
    let admin = relay.admin();
    let rollups = get(&admin, "/api/rollups");
    assert_eq!(rollups["step_seconds"], 60);
    for (query, says) in [
        ("from=1h&to=2h", "a time before to"),
        ("step=1s", "whole number of minutes"),
        ("step=soon", "a duration"),
        ("from=90d&step=1m", "parts at most"),
    ] {
        let reply = admin.get(&format!("/api/rollups?{query}"));
        assert_eq!(reply.status, 400, "{query}: {}", reply.text());
        assert!(reply.text().contains(says), "{query}: {}", reply.text());
    }
}

#[test]
fn each_change_is_a_line_of_the_log_with_who_what_and_how_many() {
    let directory = tempfile::tempdir().expect("a directory");
    let toml = "[server]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = '127.0.0.1:0'\n\
                tokens_env = ['OPS_TOKEN']\n[database]\nmin_free_bytes = 0\n\
                [delivery]\nlevel = 'off'\n[destinations.orders]\nurl = 'http://127.0.0.1:9/'\n\
                [sources.github]\ndestinations = ['orders']\n";
    let mut command = Process::command(directory.path());
    command.arg("serve").env("OPS_TOKEN", OPERATE);
    let mut process = Process::serve_by(command, directory.path(), toml);
    let admin = process.admin.clone().expect("an admin listener");
    event_id(&process.client.hook("k", b"{}"));
    let bearer = format!("Bearer {OPERATE}");
    let headers = [JSON, ("Authorization", bearer.as_str())];
    let destination = "/api/destinations/orders";
    for (path, body, line, holds) in [
        (
            format!("{destination}/pause"),
            json!({ "reason": "moving" }),
            "destination paused",
            &["\"orders\"", "\"moving\""][..],
        ),
        (
            format!("{destination}/resume"),
            json!({}),
            "destination resumed",
            &["\"orders\""],
        ),
        (
            "/api/operations".to_owned(),
            json!({ "kind": "discard", "pending": true }),
            "operation created",
            &["\"discard\"", "\"total\":1"],
        ),
        (
            "/api/reload".to_owned(),
            json!({ "dry_run": true }),
            "reload requested",
            &["\"dry_run\":true"],
        ),
    ] {
        let reply = admin.send("POST", &path, &headers, body.to_string().as_bytes());
        assert!(reply.status < 300, "{path}: {}", reply.text());
        let log = process.read_until(line);
        let told = log.lines().last().expect("a line");
        assert!(told.contains("\"who\":\"OPS_TOKEN\""), "{told}");
        for text in holds {
            assert!(told.contains(text), "{text}: {told}");
        }
        assert!(!log.contains(OPERATE), "{log}");
    }
    process.signal("-TERM");
    assert!(process.ended().success());
}
