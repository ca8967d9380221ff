//! `relay stats --since`: the counts of a real server, after its stop.

use serde_json::Value;

use crate::support::{Answer, Process, Receiver, event_with_status};

/// The output of a command, which succeeds.
fn output_of(directory: &std::path::Path, arguments: &[&str]) -> String {
    let output = Process::command(directory)
        .args(arguments)
        .output()
        .expect("the command runs");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{text}");
    text
}

#[test]
fn a_stop_loses_no_count_and_stats_show_them_by_source_and_destination() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let orders = Receiver::start(|_| Answer::status(200));
    let toml = format!(
        "[server]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = ''\n[database]\nmin_free_bytes = '0'\n\
         [api]\nkeys = ['test-key']\n[destinations.orders]\nurl = '{}'\n\
         [sources.shop]\ndestinations = ['orders']\n\
         [sources.closed]\ndestinations = ['orders']\nallow_ips = ['192.0.2.1/32']\n",
        orders.url("/")
    );
    let server = Process::serve(directory.path(), &toml);
    let post = |source: &str, key: usize| {
        let request = format!(
            "POST /webhooks/{source} HTTP/1.1\r\nHost: a\r\nIdempotency-Key: {key}\r\n\
             Content-Length: 2\r\n\r\n{{}}"
        );
        let mut connection = server.client.connect();
        assert!(connection.send(request.as_bytes()));
        connection.reply().expect("an answer")
    };
    for key in [1, 2, 3, 1] {
        let reply = post("shop", key);
        let id = reply.json()["event_id"].as_str().expect("an id").to_owned();
        event_with_status(&server.client, &id, "delivered");
    }
    assert_eq!(post("closed", 1).status, 403);
    server.signal("-TERM");
    let (exit, log) = server.wait();
    assert!(exit.success(), "{log}");

    let path = directory.path();
    let stats = output_of(path, &["stats", "--since", "1d", "--json"]);
    let stats: Value = serde_json::from_str(&stats).expect("JSON");
    let sources = &stats["period"]["sources"];
    let of = |name: &str| {
        let mut rows = sources.as_array().expect("a list").iter();
        let found = rows.find(|row| row["source"] == name).expect("the source");
        ["accepted", "duplicates", "refused"].map(|field| found[field].as_u64().expect("a number"))
    };
    assert_eq!((of("shop"), of("closed")), ([3, 1, 0], [0, 0, 1]));
    let to = &stats["period"]["destinations"][0];
    assert_eq!(
        (&to["destination"], &to["delivered"]),
        (&"orders".into(), &3.into())
    );
    assert_eq!((&to["failed"], &to["dead"]), (&0.into(), &0.into()));
    let p99 = to["latency_seconds"]["p99"].as_f64().expect("a latency");
    assert!((0.0..60.0).contains(&p99), "{p99}");

    let text = output_of(path, &["stats", "--since", "1d"]);
    assert!(text.contains("ACCEPTED") && text.contains("P99"), "{text}");
    let without = output_of(path, &["stats", "--json"]);
    let without: Value = serde_json::from_str(&without).expect("JSON");
    assert_eq!(without["period"], Value::Null);
}
