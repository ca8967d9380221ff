//! The rows that the relay's statements touch, beside many stored ones: each statement is explained
//! by the server as it is executed, with the plan that the relay's sessions get.
//!
//! ```text
//! RELAY_PLANS_ROWS=2500000 cargo test --all-features --test it on_postgres::plans -- --nocapture
//! ```
//!
//! Then 7.5 million deliveries wait, most of them in two lines, and 2.5 million have ended. That
//! takes some five minutes, and many GB below `/dev/shm`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use super::{Scene, in_order, started};
use crate::support::{event_id, event_with_status, relay_id, relay_to, until};

/// Tables that grow.
const BIG: [&str; 5] = ["waiting", "ended", "intents", "attempts", "idempotency"];

/// Rows that a statement may touch in one table: a list looks at 3 200 in one step.
const MOST_TOUCHED: f64 = 4_000.0;

/// Rows that a statement may compare one by one, or read from what it holds in memory. Reading each
/// claim once is 300; comparing each with each destination is 150 000.
const MOST_COMPARED: f64 = 10_000.0;

/// A statement that compares more, and no more however much is stored: the catalogue with itself.
const OF_CATALOGUE: &str = "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace";

/// Statements that count more: by their text, and the reason.
const WHOLE: [(&str, &str); 4] = [
    (
        "SELECT t.id, (SELECT count(*) FROM (SELECT 1 FROM relay.waiting w",
        "up to 10 000 of each destination of a page",
    ),
    (
        "SELECT destination_id, count(*) FROM relay.waiting GROUP BY",
        "the totals, for a fiftieth of the time",
    ),
    (
        "SELECT count(*) FROM relay.waiting WHERE state = 2",
        "the totals, for a fiftieth of the time",
    ),
    (
        "SELECT destination_id, count(*) FROM relay.ended",
        "the totals, for a fiftieth of the time",
    ),
];

/// The usual number of rows of each table: enough to tell a whole table from a part of it.
const ROWS: i64 = 20_000;

fn rows() -> i64 {
    let rows = std::env::var("RELAY_PLANS_ROWS").ok();
    rows.map_or(ROWS, |rows| rows.parse().expect("a number"))
}

/// Two lines of `orders`: one whose first is due, and one that a dead letter blocks.
const LINES: &str = "
    CREATE TABLE line AS
        SELECT destination_id AS d, order_key AS k,
            (extract(epoch FROM now()) * 1000)::int8 - 7200000 AS ms
        FROM relay.ended WHERE order_key IS NOT NULL;
    INSERT INTO relay.intents (id, random, surface, created_at, label, headers, body)
        SELECT (ms << 12) + n * 32 + 31, n, 1, ms, 'github', '', '{}'
        FROM line, generate_series(1, 2 * ROWS) n;
    INSERT INTO relay.waiting (destination_id, next_attempt_at, intent_id, updated_at, order_key,
            place)
        SELECT d, CASE WHEN n = 1 THEN ms ELSE 9223372036854775807 END, (ms << 12) + n * 32 + 31, ms,
            k + n % 2, (ms << 12) + n * 32 + 31
        FROM line, generate_series(1, 2 * ROWS) n;
    DELETE FROM relay.waiting w USING line WHERE w.order_key = k AND w.place = (ms << 12) + 95;
    INSERT INTO relay.ended (intent_id, destination_id, state, attempts, history, updated_at,
            last_error, order_key, place)
        SELECT (ms << 12) + 95, d, 4, 1, 1, ms, 'e', k, (ms << 12) + 95 FROM line;
    DROP TABLE line;";

/// Deliveries that wait for tomorrow, of 500 destinations, and as many that have ended within the
/// last hour, a tenth of them dead letters. A thousand of them and their keys are past retention. A
/// life that is over holds a claim.
fn fill(rows: i64) -> String {
    let mut sql = String::new();
    for table in BIG {
        let off = "autovacuum_enabled = off";
        writeln!(sql, "ALTER TABLE relay.{table} SET ({off});").expect("a String takes all");
    }
    let id = "(now.ms - CASE WHEN n > ROWS + 1000 OR n <= ROWS THEN 3600000 ELSE 3000000000 END
               + n / 100 << 12) | (n % 100 << 5) | 31";
    let now = "(SELECT (extract(epoch FROM now()) * 1000)::int8 AS ms) now";
    write!(
        sql,
        "INSERT INTO relay.destinations (name, bucket)
             SELECT 'd' || n, n % 256 FROM generate_series(1, 500) n;
         CREATE TABLE seeded AS SELECT n, {id} AS id, now.ms AS ms
             FROM generate_series(1, 2 * ROWS) n, {now};
         INSERT INTO relay.intents (id, random, surface, created_at, label, url, headers, body,
                 idempotency_key)
             SELECT id, n, n % 2, id >> 12, 'github', CASE WHEN n % 2 = 0 THEN 'u' END, '', '{{}}',
                 convert_to('k' || n, 'UTF8')
             FROM seeded ORDER BY id;
         INSERT INTO relay.idempotency (digest, intent_id, created_at)
             SELECT gen_random_uuid(), id, id >> 12 FROM seeded;
         INSERT INTO relay.waiting (destination_id, next_attempt_at, intent_id, state, history,
                 attempts, updated_at)
             SELECT d.first + n % 500, ms + 86400000 + n, id, CASE WHEN n % 10 = 0 THEN 2 ELSE 0 END,
                 (n % 10 = 0)::int, (n % 10 = 0)::int, id >> 12
             FROM seeded, (SELECT min(id) AS first FROM relay.destinations WHERE name LIKE 'd%') d
             WHERE n <= ROWS;
         INSERT INTO relay.ended (intent_id, destination_id, state, attempts, history, updated_at,
                 last_error)
             SELECT id, d.first + n % 500, CASE WHEN n % 10 = 0 THEN 4 ELSE 3 END, 1, 1, id >> 12,
                 'e'
             FROM seeded, (SELECT min(id) AS first FROM relay.destinations WHERE name LIKE 'd%') d
             WHERE n > ROWS;
         INSERT INTO relay.attempts (intent_id, destination_id, entry, attempt, started_at,
                 duration_ms, outcome)
             SELECT intent_id, destination_id, 1, 1, updated_at, 1, 0
             FROM relay.ended JOIN seeded ON seeded.id = intent_id;
         INSERT INTO relay.claims (epoch, turn, made_at, intents, destinations, attempts, histories,
                 begun)
             SELECT 0, 1, 0, array_agg(intent_id), array_agg(destination_id),
                 array_agg(attempts + 1), array_agg(history), 10
             FROM (SELECT * FROM relay.waiting ORDER BY intent_id LIMIT 100) w;
         DROP TABLE seeded;"
    )
    .expect("a String takes all");
    sql.push_str(LINES);
    sql.replace("ROWS", &rows.to_string())
}

/// Three hundred deliveries under way, in the life of the node that runs.
const CLAIMS: &str = "
    INSERT INTO relay.claims (epoch, turn, made_at, intents, destinations, attempts, histories,
                              begun)
        SELECT (SELECT epoch FROM relay.nodes), -1 - n / 100, 0, array_agg(intent_id),
               array_agg(destination_id), array_agg(attempts + 1), array_agg(history), 100
        FROM (SELECT row_number() OVER (ORDER BY intent_id) AS n, *
              FROM relay.waiting WHERE place IS NULL) w
        WHERE n BETWEEN 1000 AND 1299 GROUP BY n / 100";

/// The statistics by which statements are planned.
#[derive(Clone, Copy, Debug)]
enum Statistics {
    /// Of tables that were empty then.
    OfNothing,
    /// Of tables that hold a thousand times as much by their statistics.
    OfMuch,
}

/// The options of a session whose statements are explained in the server's log.
const EXPLAINED: [&str; 6] = [
    "session_preload_libraries=auto_explain",
    "auto_explain.log_min_duration=0",
    "auto_explain.log_analyze=on",
    "auto_explain.log_timing=off",
    "auto_explain.log_format=json",
    "auto_explain.log_nested_statements=on",
];

/// An event of the first of the two lines.
const LINE: &[u8] = b"{\"line\": \"one\"}";

/// Uses everything once.
fn use_everything(scene: &Scene) {
    let client = &scene.relay.client;
    for n in 0..40 {
        event_id(&client.hook(&format!("of the test {n}"), b"{\"n\": 1}"));
        let duplicate = client.hook(&format!("of the test {n}"), b"{\"n\": 1}");
        assert_eq!(duplicate.json()["status"], "duplicate");
        let to = relay_to(&scene.receiver.url("/hook"), "{}");
        relay_id(&client.create(&[], &to));
    }
    for n in 0..10 {
        event_id(&client.hook(&format!("behind others {n}"), LINE));
    }
    let last = event_id(&client.hook("the last one", b"{\"n\": 1}"));
    event_with_status(client, &last, "delivered");
    let admin = scene.relay.admin();
    for path in [
        "/api/overview",
        "/api/deliveries?limit=50",
        "/api/deliveries?status=dead_lettered&limit=50",
        "/api/deliveries?status=retrying&limit=50",
        "/api/deliveries?status=queued&limit=50",
        "/api/deliveries?status=processing&limit=50",
        "/api/deliveries?destination=d3&limit=50",
        "/api/deliveries?destination=d3&status=dead_lettered&limit=50",
        "/api/destinations",
        "/api/destinations/d3",
        "/api/operations",
        "/api/rollups",
        "/metrics",
    ] {
        let reply = admin.send("GET", path, &[], b"");
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    }
    let relays = client.get("/v1/relays?limit=50");
    assert_eq!(relays.status, 200, "relays: {}", relays.text());
    for act in ["pause", "resume"] {
        let path = format!("/api/destinations/orders/{act}");
        let reply = admin.send(
            "POST",
            &path,
            &[("Content-Type", "application/json")],
            b"{}",
        );
        assert!(reply.status < 300, "{path}: {}", reply.text());
    }
    let discard = br#"{"kind": "discard", "destination": "orders"}"#;
    let json = [("Content-Type", "application/json")];
    let reply = admin.send("POST", "/api/operations", &json, discard);
    assert!(reply.status < 300, "{}", reply.text());
    until("both lines have gone on", || {
        let gone = "SELECT count(DISTINCT order_key) FROM ended WHERE state = 3
             AND order_key IN (SELECT order_key FROM waiting)";
        (scene.count(gone) == 2).then_some(())
    });
    until("retention has passed", || {
        let old = "SELECT count(*) FROM ended
             WHERE intent_id < (extract(epoch FROM now()) * 1000 - 1e9)::int8 << 12";
        (scene.count(old) == 0).then_some(())
    });
    until("the stored deliveries were counted", || {
        let text = admin.send("GET", "/metrics", &[], b"").text();
        text.contains("relay_deliveries{").then_some(())
    });
}

/// The plans in a server's log: the text of each statement, and its plan.
fn plans(log: &str) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    let mut lines = log.lines().peekable();
    while let Some(line) = lines.next() {
        if !line.ends_with("plan:") {
            continue;
        }
        let mut text = String::new();
        while let Some(line) = lines.next_if(|line| line.starts_with('\t')) {
            text.push_str(line);
            text.push('\n');
        }
        let explained: Value = serde_json::from_str(&text.replace('\t', " ")).expect("JSON");
        let statement = explained["Query Text"].as_str().expect("text").to_owned();
        found.push((statement, explained["Plan"].clone()));
    }
    found
}

/// Notes the rows that a part of a plan touches in each big table, and tables that are read whole.
fn touched(node: &Value, rows: &mut BTreeMap<String, f64>) {
    let number = |name: &str| node[name].as_f64().unwrap_or(0.0);
    if let Some(table) = node["Relation Name"]
        .as_str()
        .filter(|name| BIG.contains(name))
    {
        let each = number("Actual Rows")
            + number("Rows Removed by Filter")
            + number("Rows Removed by Index Recheck");
        let mut count = each * number("Actual Loops");
        if node["Node Type"] == "Seq Scan" {
            count = f64::INFINITY;
        }
        *rows.entry(table.to_owned()).or_default() += count;
    }
    for part in node["Plans"].as_array().into_iter().flatten() {
        touched(part, rows);
    }
}

/// The rows that a part of a plan looks at without an index, in all of its loops.
fn compared(node: &Value) -> f64 {
    let number = |name: &str| node[name].as_f64().unwrap_or(0.0);
    let kind = node["Node Type"].as_str().unwrap_or_default();
    let mut rows = number("Rows Removed by Join Filter");
    if ["CTE Scan", "Function Scan", "Materialize"].contains(&kind) {
        rows += number("Actual Rows") + number("Rows Removed by Filter");
    }
    let parts = node["Plans"].as_array().into_iter().flatten();
    rows * number("Actual Loops") + parts.map(compared).sum::<f64>()
}

/// The parts of a plan that read a table, a line each.
fn reads(node: &Value, lines: &mut String) {
    if node["Relation Name"].is_string() {
        let shown = [
            "Node Type",
            "Index Name",
            "Alias",
            "Index Cond",
            "Filter",
            "Actual Rows",
            "Actual Loops",
            "Rows Removed by Filter",
        ];
        for name in shown.map(|name| &node[name]) {
            if !name.is_null() {
                write!(lines, " {name}").expect("a String takes all");
            }
        }
        lines.push('\n');
    }
    for part in node["Plans"].as_array().into_iter().flatten() {
        reads(part, lines);
    }
}

/// A statement in one line.
fn in_line(statement: &str) -> String {
    let words: Vec<&str> = statement.split_whitespace().collect();
    words.join(" ")
}

fn assert_bounded(statistics: Statistics) {
    let Some(server) = started() else {
        return;
    };
    let url = server.server().create_database();
    let options = EXPLAINED.map(|option| format!("-c%20{}", option.replace('=', "%3D")));
    let plain = url.clone();
    let mut scene = Scene::on(server, url, |_| plain, in_order);
    event_id(&scene.relay.client.hook("of an earlier life", LINE));
    scene.receiver.next();
    scene.relay.stop();
    let sql = |sql: &str| scene.queries.query(&scene.url, sql, &[]);
    sql("ANALYZE");
    sql(&fill(rows()));
    if let Statistics::OfMuch = statistics {
        sql("ANALYZE");
        sql(
            "UPDATE pg_class SET reltuples = reltuples * 1000 WHERE reltuples > 0
             AND relnamespace = 'relay'::regnamespace",
        );
    }
    let Scene { server, url, .. } = scene;
    let explained = format!("{url}&options={}", options.join("%20"));
    let scene = Scene::on(server, url, |_| explained, in_order);
    scene.queries.query(&scene.url, CLAIMS, &[]);
    use_everything(&scene);
    let mut most = BTreeMap::<String, BTreeMap<String, f64>>::new();
    let mut shown = BTreeMap::<String, String>::new();
    let mut comparing = BTreeMap::<String, f64>::new();
    for (statement, plan) in plans(&scene.server.log()) {
        let mut rows = BTreeMap::new();
        touched(&plan, &mut rows);
        let pairs = compared(&plan);
        let text = in_line(&statement);
        if pairs > MOST_COMPARED && !text.contains(OF_CATALOGUE) {
            comparing.insert(text, pairs);
        }
        let known = most.entry(in_line(&statement)).or_default();
        for (table, count) in rows {
            let most = known.entry(table).or_default();
            *most = most.max(count);
            if count > MOST_TOUCHED {
                let mut lines = String::new();
                reads(&plan, &mut lines);
                shown.insert(in_line(&statement), lines);
            }
        }
    }
    let mut problems = Vec::new();
    for (statement, rows) in &most {
        let is_whole = WHOLE.iter().any(|(text, _)| statement.contains(text));
        let total: f64 = rows.values().sum();
        let short: String = statement.chars().take(90).collect();
        println!("{total:>9} rows: {short}");
        if !is_whole && rows.values().any(|count| *count > MOST_TOUCHED) {
            let lines = shown.get(statement).map_or("", String::as_str);
            problems.push(format!("{statement}\n{lines}"));
        }
    }
    println!(
        "{statistics:?}: {} statements, {} rows stored",
        most.len(),
        rows()
    );
    assert!(most.len() > 40, "{} statements", most.len());
    for (text, reason) in WHOLE {
        assert!(
            most.keys().any(|known| known.contains(text)),
            "{text}: {reason}"
        );
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(comparing.is_empty(), "{comparing:#?}");
}

#[test]
fn no_statement_reads_a_big_table_that_was_empty_when_it_was_analyzed() {
    assert_bounded(Statistics::OfNothing);
}

#[test]
fn no_statement_reads_a_big_table() {
    assert_bounded(Statistics::OfMuch);
}
