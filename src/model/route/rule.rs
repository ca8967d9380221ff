//! A route as it is configured.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::pattern::RoutePattern;

/// `[[sources.NAME.routes]]`: more destinations, for the events that match.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The names of its destinations.
    pub to: Vec<String>,
    /// The events that it wants.
    #[serde(default)]
    pub when: When,
}

/// Lines of patterns. All lines must match, each by one of its patterns.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct When {
    /// Types; `*` at the end of one stands for any rest.
    #[serde(rename = "type")]
    pub types: Option<Vec<String>>,
    /// By the header's name.
    pub headers: BTreeMap<String, Vec<RoutePattern>>,
    /// By the JSON pointer.
    pub body: BTreeMap<String, Vec<RoutePattern>>,
}

impl When {
    /// How many lines there are.
    pub fn lines(&self) -> usize {
        usize::from(self.types.is_some()) + self.headers.len() + self.body.len()
    }

    /// Whether both want the same events: in the order of values and the case of headers they may
    /// differ.
    pub fn wants_the_same(&self, other: &Self) -> bool {
        let types = |when: &Self| {
            let mut types = when.types.clone().unwrap_or_default();
            types.sort_unstable();
            (when.types.is_some(), types)
        };
        let in_lower_case = |when: &Self| -> BTreeMap<String, Vec<RoutePattern>> {
            let lines = when.headers.iter();
            lines
                .map(|(name, patterns)| (name.to_ascii_lowercase(), patterns.clone()))
                .collect()
        };
        types(self) == types(other)
            && are_the_same(&in_lower_case(self), &in_lower_case(other))
            && are_the_same(&self.body, &other.body)
    }
}

fn are_the_same(
    one: &BTreeMap<String, Vec<RoutePattern>>,
    other: &BTreeMap<String, Vec<RoutePattern>>,
) -> bool {
    let holds_all = |one: &[RoutePattern], other: &[RoutePattern]| {
        other.iter().all(|pattern| one.contains(pattern))
    };
    one.len() == other.len()
        && one
            .iter()
            .zip(other)
            .all(|((name, patterns), (other_name, others))| {
                name == other_name && holds_all(patterns, others) && holds_all(others, patterns)
            })
}
