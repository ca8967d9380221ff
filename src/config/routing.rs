//! The destinations of a source's events.

use std::borrow::Cow;
use std::sync::Arc;

use crate::config::resolved::SourcePolicy;
use crate::config::sections::Decode;
use crate::model::request::{document, gunzip, is_gzip, problem_of};
use crate::model::route::{RoutedEvent, Verdict, header_values};

/// An event as it is stored.
#[derive(Clone, Copy, Debug)]
pub struct StoredEvent<'a> {
    /// Its type, if it came with one.
    pub event_type: Option<&'a str>,
    /// `name: value\r\n` each.
    pub headers: &'a [u8],
    /// The body as it was sent.
    pub body: &'a [u8],
}

impl SourcePolicy {
    /// The destinations of an event, each once; empty if no route wants it.
    pub fn route(&self, event: &RoutedEvent<'_>) -> Arc<[String]> {
        match &self.routes {
            None => Arc::clone(&self.destinations),
            Some(routes) => routes.route(event),
        }
    }

    /// The destinations of a stored event, each once. An event that came without a type has the one
    /// that today's `event_type` finds in it.
    pub fn route_stored(&self, event: &StoredEvent<'_>) -> Arc<[String]> {
        if self.routes.is_none() {
            return Arc::clone(&self.destinations);
        }
        self.read_stored(event, |event| self.route(event))
    }

    /// For each destination of the source, whether a stored event goes there, and why; and the
    /// event's type, if it has one.
    pub fn explain_stored(&self, event: &StoredEvent<'_>) -> (Vec<Verdict>, Option<String>) {
        self.read_stored(event, |event| {
            let verdicts = match &self.routes {
                Some(routes) => routes.explain(event),
                None => self
                    .destinations
                    .iter()
                    .map(|name| Verdict::of_every_event(name))
                    .collect(),
            };
            (verdicts, event.event_type.map(str::to_owned))
        })
    }

    /// The names of all destinations, those of routes included, each once.
    pub fn all_destinations(&self) -> &[String] {
        let routes = self.routes.as_ref();
        routes.map_or(&self.destinations, |routes| routes.destinations())
    }

    fn read_stored<T>(
        &self,
        event: &StoredEvent<'_>,
        read: impl FnOnce(&RoutedEvent<'_>) -> T,
    ) -> T {
        let body = self.decoded(event);
        let document = body.as_deref().and_then(|body| document(body).ok());
        let found = match (event.event_type, &self.event_type) {
            (None, Some(at)) => at.read(|name| header_values(event.headers, name), document),
            _ => None,
        };
        read(&RoutedEvent {
            event_type: event.event_type.or(found.as_deref()),
            headers: event.headers,
            document,
        })
    }

    /// Why the body of an event would be refused; none if it would be taken.
    pub fn problem_of_body(&self, event: &StoredEvent<'_>) -> Option<String> {
        let Some(body) = self.decoded(event) else {
            return Some("the body can't be decoded: expected gzip, once".to_owned());
        };
        let problem = problem_of(&body).filter(|_| !self.accept_any_content)?;
        Some(format!(
            "{problem}: expected a JSON document, unless the source has accept_any_content = true"
        ))
    }

    /// The body as the source reads it; none if it can't be decoded.
    pub(crate) fn decoded<'a>(&self, event: &StoredEvent<'a>) -> Option<Cow<'a, [u8]>> {
        let mut codings = header_values(event.headers, "content-encoding");
        let is_compressed = self.decode == Some(Decode::Gzip)
            && codings
                .next()
                .is_some_and(|coding| is_gzip(coding.trim_ascii()));
        if !is_compressed {
            return Some(Cow::Borrowed(event.body));
        }
        let decoded = gunzip(event.body, self.max_body_bytes).ok()?;
        Some(Cow::Owned(decoded))
    }
}
