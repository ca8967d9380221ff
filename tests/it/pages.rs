//! Pages of relays: their sizes, their tokens, and their order.

use crate::support::{TestRelay, URL, off, relay_to};

#[test]
fn pages_of_large_relays_are_cut_short_and_skip_none() {
    let relay = TestRelay::start();
    let filler = "x".repeat(30_000);
    for n in 0..80 {
        let body = relay_to(URL, &format!("{{\"n\":{n},\"filler\":\"{filler}\"}}"));
        assert_eq!(relay.client.create(&[], &body).status, 201);
    }
    let mut query = "pageSize=200".to_owned();
    let mut seen = Vec::new();
    loop {
        let reply = relay.client.get(&format!("/v1/relays?{query}"));
        assert!(
            reply.body.len() < 1_100_000,
            "{} bytes in one page",
            reply.body.len()
        );
        let page = reply.json();
        for item in page["items"].as_array().expect("items") {
            seen.push(item["payload"]["n"].as_u64().expect("a number"));
        }
        match page["nextPageToken"].as_str() {
            Some(token) => query = format!("pageSize=200&pageToken={token}"),
            None => break,
        }
    }
    assert_eq!(seen, (0..80).collect::<Vec<_>>());
}

#[test]
fn pages_follow_each_other_while_relays_are_added() {
    let relay = TestRelay::start_with(URL, |config| {
        config.delivery.level = Some(relay::model::Level::Off);
    });
    let create = |n: usize| {
        relay
            .client
            .create(&[], &relay_to(URL, &format!("{{\"n\":{n}}}")))
    };
    for n in 0..5 {
        assert_eq!(create(n).status, 201);
        relay.client.hook(&n.to_string(), b"{}");
    }
    let mut seen = Vec::new();
    let mut path = "/v1/relays?pageSize=2".to_owned();
    loop {
        let page = relay.client.get(&path).json();
        let items = page["items"].as_array().expect("a list").clone();
        assert!(items.len() <= 2);
        seen.extend(
            items
                .iter()
                .map(|item| item["payload"]["n"].as_u64().expect("a number")),
        );
        if seen.len() == 2 {
            create(5);
        }
        match page["nextPageToken"].as_str() {
            Some(token) => path = format!("/v1/relays?pageSize=2&pageToken={token}"),
            None => break,
        }
    }
    assert_eq!(seen, [0, 1, 2, 3, 4, 5]);
}

#[test]
fn page_sizes_and_tokens_are_checked() {
    let relay = TestRelay::start_with(URL, off);
    for n in 0..3 {
        assert_eq!(
            relay
                .client
                .create(&[], &relay_to(URL, &format!("{{\"n\":{n}}}")))
                .status,
            201
        );
    }
    let list = |query: &str| relay.client.get(&format!("/v1/relays?{query}"));
    let token = list("pageSize=1").json()["nextPageToken"]
        .as_str()
        .expect("more")
        .to_owned();
    for query in [
        "pageSize=1",
        "pageSize=200",
        "pageSize=%31",
        "pageSize=1&other=x",
        "",
        "&&",
        "other",
    ] {
        assert_eq!(list(query).status, 200, "{query}");
    }
    assert_eq!(
        list(&format!("pageToken={token}")).json()["items"][0]["payload"]["n"],
        1
    );
    let tokens = [
        "pageToken".to_owned(),
        "pageToken=".to_owned(),
        "pageToken=0".to_owned(),
        "pageToken=null".to_owned(),
        format!("pageToken={token}x"),
        format!("pageToken={}", &token[..token.len() - 1]),
        format!("pageToken={}", token.to_uppercase()),
        format!("pageToken={token}&pageToken={token}"),
        format!("pageToken=%00{token}"),
        format!("pageToken={}", "r1-".repeat(1000)),
        "pageToken='%20OR%201=1--".to_owned(),
    ];
    let sizes = [
        "pageSize",
        "pageSize=",
        "pageSize=0",
        "pageSize=-1",
        "pageSize=201",
        "pageSize=1.0",
        "pageSize=1e1",
        "pageSize=0x1",
        "pageSize=%20",
        "pageSize=+1",
        "pageSize=99999999999999999999",
        "pageSize=1&pageSize=1",
        "pageSize=all",
        "pageSize=%d9%a1",
    ];
    for query in tokens.iter().map(String::as_str).chain(sizes) {
        let reply = list(query);
        assert_eq!(reply.status, 400, "{query}: {}", reply.text());
        let member = reply.json()["details"]["member"]
            .as_str()
            .map(str::to_owned);
        assert_eq!(member.as_deref(), query.split(['=', '&']).next(), "{query}");
        assert!(reply.text().contains("expected"), "{}", reply.text());
    }
}
