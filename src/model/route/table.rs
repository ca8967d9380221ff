//! The routes of a source, ready to be evaluated.

use std::cell::OnceCell;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::body::{NodeId, PointerTree};
use super::explanation::{FailedLine, RouteVerdict, Verdict};
use super::headers::header_values;
use super::pattern::{RoutePattern, listed};
use super::rule::{Route, When};
use super::value::Value;
use crate::model::request::JsonPointer;

/// The destinations of a source with routes.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteTable {
    /// The destinations of every event.
    always: Arc<[String]>,
    /// All destinations: those of every event, then the others in the order of the routes.
    names: Vec<String>,
    routes: Vec<CompiledRoute>,
    pointers: PointerTree,
    /// The pointers of the routes, each once; the node is none for a text that is no pointer.
    slots: Vec<(String, Option<NodeId>)>,
}

#[derive(Clone, Debug, PartialEq)]
struct CompiledRoute {
    /// Places in [`RouteTable::names`].
    to: Vec<usize>,
    types: Option<Vec<TypePattern>>,
    /// By the name of the header in lower case.
    headers: Vec<(String, Vec<RoutePattern>)>,
    /// By the place in [`RouteTable::slots`].
    body: Vec<(usize, Vec<RoutePattern>)>,
}

/// The types that a line wants.
#[derive(Clone, Debug, PartialEq)]
struct TypePattern {
    text: String,
    /// Whether more may follow.
    is_prefix: bool,
}

/// An event as routes see it: as it is kept, so that a stored one is routed like a new one.
#[derive(Clone, Copy, Debug)]
pub struct RoutedEvent<'a> {
    /// Its type, if it has one.
    pub event_type: Option<&'a str>,
    /// The headers that are kept, `name: value\r\n` each.
    pub headers: &'a [u8],
    /// Its body; none if that isn't JSON.
    pub document: Option<&'a RawValue>,
}

/// A line of a route that doesn't match.
enum Line<'t> {
    Type(&'t [TypePattern]),
    Header(&'t str, &'t [RoutePattern]),
    Body(usize, &'t [RoutePattern]),
}

/// The values of a document at the pointers of a table.
type Values<'a> = Vec<Option<Value<'a>>>;

impl RouteTable {
    /// `always` are the destinations of every event.
    pub fn new(always: Arc<[String]>, routes: &[Route]) -> Self {
        let mut table = Self {
            names: always.to_vec(),
            always,
            routes: Vec::with_capacity(routes.len()),
            pointers: PointerTree::new(),
            slots: Vec::new(),
        };
        for route in routes {
            let to = route.to.iter().map(|name| table.place_of(name)).collect();
            let compiled = table.compile(to, &route.when);
            table.routes.push(compiled);
        }
        table
    }

    fn place_of(&mut self, name: &str) -> usize {
        let known = self.names.iter().position(|known| known == name);
        known.unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        })
    }

    fn compile(&mut self, to: Vec<usize>, when: &When) -> CompiledRoute {
        let types = when.types.as_ref().map(|types| {
            let types = types.iter().map(|text| TypePattern::parse(text));
            types.collect()
        });
        let headers = when
            .headers
            .iter()
            .map(|(name, patterns)| (name.to_ascii_lowercase(), patterns.clone()))
            .collect();
        let body = when
            .body
            .iter()
            .map(|(pointer, patterns)| (self.slot_of(pointer), patterns.clone()))
            .collect();
        CompiledRoute {
            to,
            types,
            headers,
            body,
        }
    }

    fn slot_of(&mut self, pointer: &str) -> usize {
        let known = self.slots.iter().position(|(known, _)| known == pointer);
        known.unwrap_or_else(|| {
            let parsed = JsonPointer::parse(pointer);
            let node = parsed.map(|parsed| self.pointers.add(&parsed));
            self.slots.push((pointer.to_owned(), node));
            self.slots.len() - 1
        })
    }

    /// All destinations: those of every event, then the others in the order of the routes.
    pub fn destinations(&self) -> &[String] {
        &self.names
    }

    /// Whether some line looks at a header.
    pub fn reads_headers(&self) -> bool {
        self.routes.iter().any(|route| !route.headers.is_empty())
    }

    /// Whether some line looks at the body.
    pub fn reads_body(&self) -> bool {
        !self.slots.is_empty()
    }

    /// The destinations of an event, each once; empty if no route wants it.
    pub fn route(&self, event: &RoutedEvent<'_>) -> Arc<[String]> {
        let evaluation = Evaluation::new(self, event);
        let mut is_wanted = vec![false; self.names.len()];
        is_wanted[..self.always.len()].fill(true);
        let mut wanted = self.always.len();
        for route in &self.routes {
            let adds = route.to.iter().any(|at| !is_wanted[*at]);
            if adds && evaluation.failed_line(route).is_none() {
                for at in &route.to {
                    wanted += usize::from(!is_wanted[*at]);
                    is_wanted[*at] = true;
                }
            }
        }
        if wanted == self.always.len() {
            return Arc::clone(&self.always);
        }
        let names = self.names.iter().zip(is_wanted);
        names
            .filter(|(_, is_wanted)| *is_wanted)
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// For each destination, whether an event goes there, and why.
    pub fn explain(&self, event: &RoutedEvent<'_>) -> Vec<Verdict> {
        let evaluation = Evaluation::new(self, event);
        let failed: Vec<Option<FailedLine>> = self
            .routes
            .iter()
            .map(|route| Some(evaluation.explain(&evaluation.failed_line(route)?)))
            .collect();
        let names = self.names.iter().enumerate();
        names
            .map(|(at, name)| Verdict {
                destination: name.clone(),
                is_for_every_event: at < self.always.len(),
                routes: (0..)
                    .zip(self.routes.iter().zip(&failed))
                    .filter(|(_, (route, _))| route.to.contains(&at))
                    .map(|(number, (_, failed))| RouteVerdict {
                        number,
                        failed: failed.clone(),
                    })
                    .collect(),
            })
            .collect()
    }
}

impl TypePattern {
    fn parse(text: &str) -> Self {
        let prefix = text.strip_suffix('*');
        Self {
            text: prefix.unwrap_or(text).to_owned(),
            is_prefix: prefix.is_some(),
        }
    }

    fn matches(&self, event_type: &str) -> bool {
        if self.is_prefix {
            event_type.starts_with(&self.text)
        } else {
            event_type == self.text
        }
    }
}

/// The evaluation of one event. The body is looked at once, and only if a route's type and headers
/// match that has a line for it.
struct Evaluation<'t, 'a> {
    table: &'t RouteTable,
    event: RoutedEvent<'a>,
    /// None if the body is no JSON.
    values: OnceCell<Option<Values<'a>>>,
}

impl<'t, 'a> Evaluation<'t, 'a> {
    fn new(table: &'t RouteTable, event: &RoutedEvent<'a>) -> Self {
        Self {
            table,
            event: *event,
            values: OnceCell::new(),
        }
    }

    /// The first line of a route that doesn't match.
    fn failed_line(&self, route: &'t CompiledRoute) -> Option<Line<'t>> {
        if let Some(types) = &route.types {
            let found = self.event.event_type;
            let matches = |found| types.iter().any(|wanted| wanted.matches(found));
            if !found.is_some_and(matches) {
                return Some(Line::Type(types));
            }
        }
        let failed = route
            .headers
            .iter()
            .find(|(name, patterns)| !self.header_matches(name, patterns));
        if let Some((name, patterns)) = failed {
            return Some(Line::Header(name, patterns));
        }
        let failed = route
            .body
            .iter()
            .find(|(slot, patterns)| !self.body_matches(*slot, patterns));
        failed.map(|(slot, patterns)| Line::Body(*slot, patterns))
    }

    /// Whether one of a header's values matches. One that isn't there has none.
    fn header_matches(&self, name: &str, patterns: &[RoutePattern]) -> bool {
        let mut values = header_values(self.event.headers, name).peekable();
        if values.peek().is_none() {
            return patterns.iter().any(RoutePattern::matches_absence);
        }
        values.any(|value| {
            let value = Value::of_header(value);
            patterns.iter().any(|pattern| pattern.matches(Some(&value)))
        })
    }

    /// Whether the value at a pointer matches. A body that is no JSON matches no line, not even one
    /// for a missing value.
    fn body_matches(&self, slot: usize, patterns: &[RoutePattern]) -> bool {
        let Some(values) = self.values() else {
            return false;
        };
        let is_pointer = self.table.slots[slot].1.is_some();
        let value = values[slot].as_ref();
        is_pointer && patterns.iter().any(|pattern| pattern.matches(value))
    }

    fn values(&self) -> Option<&Values<'a>> {
        let values = self.values.get_or_init(|| {
            let places = self.table.pointers.find(self.event.document?.get());
            let slots = self.table.slots.iter();
            let values = slots.map(|(_, node)| places.value((*node)?).map(Value::of_json));
            Some(values.collect())
        });
        values.as_ref()
    }

    fn explain(&self, line: &Line<'_>) -> FailedLine {
        match line {
            Line::Type(types) => FailedLine {
                line: "type".to_owned(),
                expected: types
                    .iter()
                    .map(TypePattern::to_string)
                    .collect::<Vec<_>>()
                    .join(", "),
                found: self.event.event_type.map(|found| format!("{found:?}")),
            },
            Line::Header(name, patterns) => FailedLine {
                line: format!("headers.{name}"),
                expected: listed(patterns),
                found: {
                    let values = header_values(self.event.headers, name);
                    let values: Vec<_> = values
                        .map(|value| Value::of_header(value).to_string())
                        .collect();
                    (!values.is_empty()).then(|| values.join(", "))
                },
            },
            Line::Body(slot, patterns) => FailedLine {
                line: format!("body.{}", self.table.slots[*slot].0),
                expected: listed(patterns),
                found: match self.values() {
                    None => Some("a body that is not JSON".to_owned()),
                    Some(values) => values[*slot].as_ref().map(Value::to_string),
                },
            },
        }
    }
}

impl std::fmt::Display for TypePattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let star = if self.is_prefix { "*" } else { "" };
        write!(f, "{:?}", format!("{}{star}", self.text))
    }
}
