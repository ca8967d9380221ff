//! `[sources.NAME] forward_query`: the query string of an event on its way to the destinations.

use serde::Deserialize;

/// How the query string of an event reaches its destinations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ForwardQuery {
    /// In the header `Relay-Query`, as it was sent.
    #[default]
    Header,
    /// Appended to the destination's URL.
    Append,
    /// Not at all.
    Drop,
}

/// How bodies are decoded before they are verified and checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Decode {
    /// Bodies with `Content-Encoding: gzip` are decompressed; the others are taken as they are.
    Gzip,
}
