//! The page of nodes: of two on one database of PostgreSQL, and of the one server of a file.

use std::sync::Arc;

use relay::config::{Database, Secret};
use serde_json::json;

use crate::pages::look;
use crate::scene::Scene;
use crate::support::postgres::{self, Server};
use crate::support::{TestRelay, config, until};
use crate::webdriver::{Browser, is_there};

const NAMES: [&str; 2] = ["node-in-the-northern-hall-of-the-first-building", "south"];

/// A node of a database, without a destination that listens.
fn node(name: &str, url: &str) -> TestRelay {
    let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
    let mut config = config(directory.path(), "http://127.0.0.1:9/");
    config.database = Database {
        url: Some(Secret::new(url)),
        ..Database::default()
    };
    config.node.name = Some(name.to_owned());
    TestRelay::start_in(directory, config, None)
}

/// Two nodes of a database, in the middle of an upgrade; none without a server.
fn two_nodes() -> Option<[TestRelay; 2]> {
    let server: &Server = postgres::server()?;
    let url = server.create_database();
    let nodes = NAMES.map(|name| node(name, &url));
    let older = "UPDATE relay.nodes SET version = '0.0.1' WHERE name = 'south'";
    server.query(&url, older, &[]);
    until("the nodes share the buckets", || {
        let found = nodes[0].admin().send("GET", "/api/nodes", &[], b"").json();
        let items = found["items"].as_array().expect("a list");
        let shares = items.iter().map(|node| node["buckets"].as_u64());
        let shares: Vec<_> = shares.map(|share| share.expect("a number")).collect();
        (!shares.contains(&0) && shares.iter().sum::<u64>() == 256).then_some(())
    });
    Some(nodes)
}

#[test]
fn the_nodes_of_a_database_are_shown_with_versions_shares_and_leases() {
    if !is_there() {
        return;
    }
    let Some(nodes) = two_nodes() else {
        return;
    };
    let url = |path: &str| format!("http://{}{path}", nodes[0].admin().address());
    for has_scripts in [true, false] {
        let browser = Browser::start(has_scripts);
        browser.open(&url("/"));
        browser.follow("Nodes");
        browser.see("Nodes of different versions run side by side");
        for text in ["answers here", "south", "0.0.1", "alive", "Lease ends"] {
            browser.see(text);
        }
        let source = browser.source();
        assert!(NAMES.iter().all(|name| source.contains(name)), "{source}");
        if has_scripts {
            look(&browser, "nodes", &url("/nodes"));
        }
    }
}

#[test]
fn the_page_of_a_file_s_one_server_is_linked_nowhere() {
    if !is_there() {
        return;
    }
    let scene = Scene::empty(false);
    let browser = Browser::start(true);
    look(&browser, "nodes-file", &scene.url("/nodes"));
    browser.see("answers here");
    browser.open(&scene.url("/"));
    let links = "return document.querySelectorAll('a[href=\"/nodes\"]').length";
    assert_eq!(browser.run(links), json!(0));
}
