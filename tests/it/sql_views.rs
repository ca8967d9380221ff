//! The views for readers in SQL are those that docs/sql.md describes.

use std::time::Duration;

use rusqlite::Connection;

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
