//! The reasons for an event's destinations, for `relay match` and the console.

/// Whether an event goes to a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The destination's name.
    pub destination: String,
    /// Whether every event of the source goes there.
    pub is_for_every_event: bool,
    /// The routes that lead there, in order.
    pub routes: Vec<RouteVerdict>,
}

/// Whether a route wants an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteVerdict {
    /// The number of the route in the source, from 0.
    pub number: usize,
    /// The first line that doesn't match; none if all do.
    pub failed: Option<FailedLine>,
}

/// A line that doesn't match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedLine {
    /// The line's key below `when`, such as `body./kind`.
    pub line: String,
    /// The values that it wants, as they are configured.
    pub expected: String,
    /// The value that the event has there, shortened; none if there is none.
    pub found: Option<String>,
}

impl Verdict {
    /// Of a destination that every event goes to, and no route leads to.
    pub fn of_every_event(destination: &str) -> Self {
        Self {
            destination: destination.to_owned(),
            is_for_every_event: true,
            routes: Vec::new(),
        }
    }

    /// Whether the event goes there.
    pub fn is_wanted(&self) -> bool {
        self.is_for_every_event || self.matching_route().is_some()
    }

    /// The number of the first route that wants the event.
    pub fn matching_route(&self) -> Option<usize> {
        let route = self.routes.iter().find(|route| route.failed.is_none())?;
        Some(route.number)
    }
}
