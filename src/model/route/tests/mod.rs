//! Routes, by hand and beside a naive matcher.

mod body;
mod naive;
mod table;

use serde_json::value::RawValue;

use super::*;

/// The routes of a source, as a file has them.
fn routes(toml: &str) -> Vec<Route> {
    #[derive(serde::Deserialize)]
    struct File {
        routes: Vec<Route>,
    }
    toml::from_str::<File>(toml).expect(toml).routes
}

/// A table with the destination `audit` for every event.
fn table(toml: &str) -> RouteTable {
    RouteTable::new(["audit".to_owned()].into(), &routes(toml))
}

/// A document, kept for as long as the test runs.
fn document(text: &str) -> &'static RawValue {
    let text: &'static str = String::leak(text.to_owned());
    serde_json::from_str(text).expect("JSON")
}
