//! The views for readers in SQL are those that docs/sql.md describes.

use std::time::Duration;

use rusqlite::Connection;
use rusqlite::types::Value;

use crate::needs_a_file;
use crate::support::{
    Answer, Receiver, TestRelay, event_id, event_with_status, every, orders, relay_id, relay_to,
    relay_with_status,
};

const DOCUMENT: &str = include_str!("../../docs/sql.md");

/// The columns that the document has for a view: name and type.
fn documented(view: &str) -> Vec<(String, String)> {
    let heading = format!("\n## `{view}`\n");
    let (_, section) = DOCUMENT.split_once(&heading).expect("a section");
    let section = section.split("\n## ").next().expect("a section");
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    cells
        .map(|cells| (cells[1].trim_matches('`').to_owned(), cells[2].to_owned()))
        .collect()
}

/// A relay with an event in some states, and its database.
fn filled() -> (Receiver, TestRelay, Vec<String>, Connection) {
    let receiver = Receiver::start(|arrival| {
        Answer::status(if arrival.body.starts_with(b"{\"dead\"") {
            400
        } else {
            200
        })
        .body("answer")
    });
    let relay = TestRelay::start_with(&receiver.url("/"), |config| {
        orders(config).retry = every(Duration::from_secs(3_600), 3);
    });
    let first = event_id(&relay.client.hook("first", br#"{"action":"opened"}"#));
    event_with_status(&relay.client, &first, "delivered");
    let dead = event_id(&relay.client.hook("dead", b"{\"dead\":1}"));
    event_with_status(&relay.client, &dead, "dead_lettered");
    let relayed = relay_id(
        &relay
            .client
            .create(&[], &relay_to(&receiver.url("/x"), "{}")),
    );
    relay_with_status(&relay.client, &relayed, "delivered");
    let sql = relay.sqlite();
    (receiver, relay, vec![first, dead, relayed], sql)
}

#[test]
fn the_views_have_the_documented_columns_in_their_order() {
    needs_a_file!("the views are SQLite's");
    let (_receiver, _relay, _, sql) = filled();
    for view in ["relay_events", "relay_deliveries", "relay_attempts"] {
        let documented = documented(view);
        let statement = sql
            .prepare(&format!("SELECT * FROM {view}"))
            .expect("a view");
        let columns: Vec<&str> = statement.column_names();
        let names: Vec<&str> = documented.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(columns, names, "{view}");
        for (name, kind) in documented {
            let other =
                format!("SELECT count(*) FROM {view} WHERE typeof({name}) NOT IN (?1, 'null')");
            let count = sql.query_row(&other, [&kind], |row| row.get::<_, i64>(0));
            assert_eq!(count, Ok(0), "{view}.{name} is {kind}");
        }
    }
}

#[test]
fn the_documented_queries_run() {
    needs_a_file!("the views are SQLite's");
    let (_receiver, _relay, _, sql) = filled();
    let examples: Vec<&str> = DOCUMENT
        .split("```sql\n")
        .skip(1)
        .map(|rest| rest.split("```").next().expect("an end"))
        .collect();
    assert!(examples.len() >= 5);
    for example in examples {
        let mut statement = sql
            .prepare(example)
            .unwrap_or_else(|error| panic!("{example}: {error}"));
        let mut rows = statement.query([]).expect(example);
        while rows.next().expect(example).is_some() {}
    }
}

#[test]
fn the_views_tell_the_same_as_the_api() {
    needs_a_file!("the views are SQLite's");
    let (_receiver, relay, ids, sql) = filled();
    let mut statement = sql
        .prepare(
            "SELECT e.id, e.surface, e.accepted_at, d.status, d.updated_at, a.outcome,
                    a.status_code, a.response
             FROM relay_events e JOIN relay_deliveries d USING (event)
             JOIN relay_attempts a USING (event, destination) ORDER BY e.event",
        )
        .expect("views");
    let rows = statement.query_map([], |row| {
        let texts: Result<Vec<String>, _> = (0..6).map(|at| row.get(at)).collect();
        Ok((texts?, row.get::<_, i64>(6)?, row.get::<_, Vec<u8>>(7)?))
    });
    let rows: Vec<_> = rows.expect("rows").collect::<Result<_, _>>().expect("rows");
    let shown: Vec<&str> = rows.iter().map(|(texts, ..)| texts[0].as_str()).collect();
    assert_eq!(shown, ids);
    let event = relay.client.get(&format!("/events/{}", ids[1])).json();
    let (texts, code, response) = &rows[1];
    assert_eq!(texts[1], "webhooks");
    assert_eq!(texts[2], event["created_at"].as_str().expect("a time"));
    assert_eq!(
        (texts[3].as_str(), texts[5].as_str()),
        ("dead_lettered", "permanent")
    );
    assert_eq!(texts[4], event["updated_at"].as_str().expect("a time"));
    assert_eq!((*code, response.as_slice()), (400, &b"answer"[..]));
    let event = relay.client.get(&format!("/v1/relays/{}", ids[2])).json();
    assert_eq!(rows[2].0[2], event["createdAt"].as_str().expect("a time"));
}

/// Rows whose columns all have values of their own: an event of two deliveries, with every
/// outcome, then one that was erased, one that was shed, and a relay.
const ROWS: &str = "
    INSERT INTO destinations (id, name) VALUES (7, 'orders'), (8, 'audit');
    INSERT INTO intents (id, random, surface, created_at, label, event_type, url, query, metadata,
                         idempotency_key, headers, body, unrouted, gone, gone_at)
    VALUES (4097, 1, 1, 1000, 'github', 'push', NULL, 'a=1', NULL, 'key', x'613a20ff', x'00ff',
            NULL, NULL, NULL),
           (4098, 1, 1, 2000, 'github', NULL, NULL, NULL, NULL, NULL, x'', x'', 1, 1, 2500),
           (4099, 1, 1, 3000, 'github', NULL, NULL, NULL, NULL, NULL, x'', x'', NULL, 2, 3500),
           (4100, 1, 0, 4001, 'order.paid', NULL, 'http://a/b', NULL, '{}', NULL, x'', x'', NULL,
            NULL, NULL);
    INSERT INTO deliveries (intent_id, destination_id, state, attempts, next_attempt_at, claim,
                            updated_at, last_error, discarded_at)
    VALUES (4097, 7, 0, 1, 5000, NULL, 1500, NULL, NULL),
           (4097, 8, 0, 2, 9223372036854775807, NULL, 1600, NULL, NULL),
           (4098, 7, 1, 3, NULL, 1, 1700, NULL, NULL),
           (4099, 7, 2, 4, 6000, NULL, 1800, 'why', NULL),
           (4099, 8, 3, 5, NULL, NULL, 1900, NULL, NULL),
           (4100, 7, 4, 6, NULL, NULL, 2000, 'gone', 2100);
    INSERT INTO attempts (intent_id, destination_id, entry, attempt, started_at, duration_ms,
                          outcome, status_code, failure, error, response, address, resolve_ms,
                          connect_ms, tls_ms, first_byte_ms, next)
    VALUES (4097, 7, 1, 11, 1010, 20, 0, 200, 'fail', 'err', x'01', 'addr', 21, 22, 23, 24, 'so'),
           (4097, 7, 2, 12, 1020, 30, 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
           (4097, 7, 3, 13, 1030, 40, 2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
           (4097, 7, 4, 14, 1040, 50, 3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
           (4097, 7, 5, 0, 1050, 60, 4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
";

/// The rows that a query finds, each as one text.
fn found(sql: &Connection, query: &str) -> Vec<String> {
    let mut statement = sql.prepare(query).expect(query);
    let columns = statement.column_count();
    let rows = statement.query_map([], |row| {
        let cells = (0..columns).map(|at| {
            Ok(match row.get(at)? {
                Value::Null => "-".to_owned(),
                Value::Integer(number) => number.to_string(),
                Value::Text(text) => text,
                other => format!("{other:?}"),
            })
        });
        let cells: Result<Vec<_>, rusqlite::Error> = cells.collect();
        Ok(cells?.join(" "))
    });
    let rows: Result<_, _> = rows.expect(query).collect();
    rows.expect(query)
}

#[test]
fn each_column_of_the_views_has_its_own_meaning() {
    needs_a_file!("the views are SQLite's");
    let sql = Connection::open_in_memory().expect("a database");
    sql.execute_batch(include_str!("../../schema.sql"))
        .expect("the schema");
    sql.execute_batch(ROWS).expect("rows");
    let events = "SELECT event, id, surface, source, event_type, url, accepted_at, idempotency_key,
                         metadata, query, payload_bytes, hex(payload), payload_gone,
                         payload_gone_at, is_unrouted
                  FROM relay_events ORDER BY event";
    assert_eq!(
        found(&sql, events),
        [
            "4097 evt_00000000-0001-7001-8000-000000000001 webhooks github push - \
             1970-01-01T00:00:01.000Z key - a=1 2 00FF - - 0",
            "4098 evt_00000000-0001-7002-8000-000000000001 webhooks github - - \
             1970-01-01T00:00:02.000Z - - - 0  erased 1970-01-01T00:00:02.500Z 1",
            "4099 evt_00000000-0001-7003-8000-000000000001 webhooks github - - \
             1970-01-01T00:00:03.000Z - - - 0  shed 1970-01-01T00:00:03.500Z 0",
            "4100 00000000-0001-7004-8000-000000000001 relays - order.paid http://a/b \
             1970-01-01T00:00:04.001Z - {} - 0  - - 0",
        ]
    );
    let gone = "SELECT payload IS NULL FROM relay_events ORDER BY event";
    assert_eq!(found(&sql, gone), ["0", "1", "1", "0"]);
    // A header may hold bytes that are no UTF-8.
    let headers = "SELECT hex(CAST(headers AS BLOB)) FROM relay_events WHERE event = 4097";
    assert_eq!(found(&sql, headers), ["613A20FF"]);
    assert_eq!(
        found(&sql, "SELECT * FROM relay_deliveries ORDER BY attempts"),
        [
            "4097 orders queued 1 1970-01-01T00:00:05.000Z 0 1970-01-01T00:00:01.500Z - -",
            "4097 audit queued 2 - 1 1970-01-01T00:00:01.600Z - -",
            "4098 orders processing 3 - 0 1970-01-01T00:00:01.700Z - -",
            "4099 orders retrying 4 1970-01-01T00:00:06.000Z 0 1970-01-01T00:00:01.800Z why -",
            "4099 audit delivered 5 - 0 1970-01-01T00:00:01.900Z - -",
            "4100 orders dead_lettered 6 - 0 1970-01-01T00:00:02.000Z gone 1970-01-01T00:00:02.100Z",
        ]
    );
    assert_eq!(
        found(&sql, "SELECT * FROM relay_attempts ORDER BY entry"),
        [
            "4097 orders 1 11 1970-01-01T00:00:01.010Z 20 delivered 200 fail err Blob([1]) addr 21 \
             22 23 24 so",
            "4097 orders 2 12 1970-01-01T00:00:01.020Z 30 transient - - - - - - - - - -",
            "4097 orders 3 13 1970-01-01T00:00:01.030Z 40 permanent - - - - - - - - - -",
            "4097 orders 4 14 1970-01-01T00:00:01.040Z 50 interrupted - - - - - - - - - -",
            "4097 orders 5 0 1970-01-01T00:00:01.050Z 60 replayed - - - - - - - - - -",
        ]
    );
}
