//! `[[sources.NAME.routes]]`: the checks. A route that no event can take is refused, and so is one
//! that says nothing.

use std::collections::HashSet;
use std::fmt::Display;

use ::http::HeaderName;

use crate::config::rules::{Checked, bad, quoted};
use crate::config::sections::source::event_type::EventTypeAt;
use crate::config::sections::source::route_values::{Values, check_values};
use crate::config::sections::source::section::Source;
use crate::model::request::{JsonPointer, is_forwarded};
use crate::model::route::{Route, RoutePattern, When};

/// The most routes of a source: each is looked at for every event.
const MAX_ROUTES: usize = 64;
/// The most lines of a route: each is compared for every event that the lines before it want.
const MAX_LINES: usize = 32;
/// The most values of a line.
const MAX_VALUES: usize = 64;
/// The longest event type, in characters: a longer one is none.
const MAX_EVENT_TYPE: usize = 128;

impl Source {
    /// The source has a destination, and each route can be taken by some event.
    pub(in crate::config) fn check_routes(&self, key: &str) -> Checked {
        if self.destinations.is_empty() && self.routes.is_empty() {
            let expected = "at least one destination";
            return bad(&format!("{key}.destinations"), "[]", expected);
        }
        let routes = format!("{key}.routes");
        at_most(&routes, self.routes.len(), MAX_ROUTES, "routes")?;
        for (at, route) in self.routes.iter().enumerate() {
            let route_key = format!("{routes}[{at}]");
            if route.to.is_empty() {
                let expected = "at least one destination";
                return bad(&format!("{route_key}.to"), "[]", expected);
            }
            self.check_when(key, &format!("{route_key}.when"), &route.when)?;
            let mut earlier = self.routes[..at].iter();
            if let Some(other) = earlier.position(|other| repeats(other, route)) {
                let problem = format!("repeats {routes}[{other}]: expected another when, or to");
                return Err((route_key, problem));
            }
        }
        Ok(())
    }

    fn check_when(&self, source: &str, key: &str, when: &When) -> Checked {
        if when.lines() == 0 {
            let expected =
                "type, headers or body; a destination of every event stands in destinations";
            return bad(key, "{}", expected);
        }
        at_most(key, when.lines(), MAX_LINES, "lines")?;
        if let Some(types) = &when.types {
            let key = format!("{key}.type");
            if self.event_type.is_none() {
                let expected = format!("{source}.event_type, too: without it events have no type");
                return bad(&key, quoted(types), &expected);
            }
            check_types(&key, types)?;
        }
        self.check_headers(&format!("{key}.headers"), when)?;
        check_body(&format!("{key}.body"), when)?;
        self.check_type_place(key, when)
    }

    /// The types, and a line for the place where the type is found, agree on some value.
    fn check_type_place(&self, key: &str, when: &When) -> Checked {
        let (Some(types), Some(place)) = (&when.types, &self.event_type) else {
            return Ok(());
        };
        let line = match place {
            EventTypeAt::Header(name) => {
                let mut lines = when.headers.iter();
                let line = lines.find(|(known, _)| known.eq_ignore_ascii_case(name));
                line.map(|(name, patterns)| (format!("headers.{name}"), patterns))
            }
            EventTypeAt::JsonPointer(pointer) => {
                let patterns = when.body.get(pointer);
                patterns.map(|patterns| (format!("body.{pointer}"), patterns))
            }
        };
        let Some((line, patterns)) = line else {
            return Ok(());
        };
        let agree = |wanted: &String| patterns.iter().any(|pattern| may_be(pattern, wanted));
        if types.iter().any(agree) {
            return Ok(());
        }
        let problem =
            format!("contradicts {key}.type: the type is found there, and none matches both");
        Err((format!("{key}.{line}"), problem))
    }

    fn check_headers(&self, key: &str, when: &When) -> Checked {
        let mut seen = HashSet::new();
        for (name, patterns) in &when.headers {
            let Ok(header) = HeaderName::try_from(name.as_str()) else {
                return bad(key, quoted(name), "the name of an HTTP header");
            };
            if !self.keeps(&header) {
                let expected = "a header that is kept with the event: a stored event could not \
                                be routed by this one";
                return bad(key, quoted(name), expected);
            }
            if !seen.insert(header) {
                return bad(key, quoted(name), "each header once");
            }
            check_line(&format!("{key}.{name}"), patterns, Values::Texts)?;
        }
        Ok(())
    }

    /// Whether a header is stored with the events of this source.
    pub(in crate::config) fn keeps(&self, name: &HeaderName) -> bool {
        let is_secret = || {
            let secrets = self.secret_headers();
            secrets.iter().any(|secret| secret == name.as_str())
        };
        let is_credential = name == "authorization" && !self.forward_authorization;
        is_forwarded(name) && !is_credential && !is_secret()
    }
}

/// Whether a value may match a pattern and be of a wanted type. Of all that begin so it sees only
/// plain cases.
fn may_be(pattern: &RoutePattern, wanted: &str) -> bool {
    let Some(begin) = wanted.strip_suffix('*') else {
        return pattern.matches_scalar(wanted);
    };
    let may_begin = |text: &String| text.starts_with(begin) || begin.starts_with(text.as_str());
    match pattern {
        RoutePattern::Text(text) => text.starts_with(begin),
        // A type may be a number's text.
        RoutePattern::Number(_) | RoutePattern::Bool(_) => true,
        RoutePattern::Operators(operators) => {
            operators.exists != Some(false) && operators.prefix.as_ref().is_none_or(may_begin)
        }
    }
}

/// Whether one of two routes adds nothing to the other.
fn repeats(one: &Route, other: &Route) -> bool {
    let holds = |one: &Route, other: &Route| other.to.iter().all(|name| one.to.contains(name));
    (holds(one, other) || holds(other, one)) && one.when.wants_the_same(&other.when)
}

fn check_types(key: &str, types: &[String]) -> Checked {
    check_list(key, types.len())?;
    for (at, text) in types.iter().enumerate() {
        let prefix = text.strip_suffix('*').unwrap_or(text);
        if prefix.contains('*') {
            return bad(key, quoted(text), "\"*\" as the last character only");
        }
        let is_type =
            prefix.len() <= MAX_EVENT_TYPE && prefix.bytes().all(|b| b.is_ascii_graphic());
        if !is_type || text.is_empty() {
            let expected = "a type, of 1 to 128 visible ASCII characters: no other is one";
            return bad(key, quoted(text), expected);
        }
        if types[..at].contains(text) {
            return bad(key, quoted(text), "each value once");
        }
    }
    Ok(())
}

fn check_body(key: &str, when: &When) -> Checked {
    for (pointer, patterns) in &when.body {
        if JsonPointer::parse(pointer).is_none() {
            return bad(key, quoted(pointer), "a JSON pointer such as \"/id\"");
        }
        check_line(&format!("{key}.{pointer}"), patterns, Values::Any)?;
    }
    // A text, a number or a truth value, or nothing at all, has nothing within it.
    for (outer, patterns) in &when.body {
        let is_empty = |pattern: &RoutePattern| pattern.wants_scalar() || pattern.matches_absence();
        if !patterns.iter().all(is_empty) {
            continue;
        }
        let within = format!("{outer}/");
        let inner = when.body.iter().find(|(pointer, patterns)| {
            pointer.starts_with(&within) && !patterns.iter().any(RoutePattern::matches_absence)
        });
        if let Some((inner, _)) = inner {
            let problem = format!("contradicts {key}.{outer}, which leaves no value there");
            return Err((format!("{key}.{inner}"), problem));
        }
    }
    Ok(())
}

fn check_line(key: &str, patterns: &[RoutePattern], values: Values) -> Checked {
    check_list(key, patterns.len())?;
    check_values(key, patterns, values, MAX_VALUES)
}

fn check_list(key: &str, length: usize) -> Checked {
    if length == 0 {
        return bad(key, "[]", "at least one value");
    }
    at_most(key, length, MAX_VALUES, "values")
}

fn at_most(key: &str, found: usize, most: usize, of: impl Display) -> Checked {
    if found > most {
        return bad(key, format!("{found} {of}"), &format!("at most {most}"));
    }
    Ok(())
}
