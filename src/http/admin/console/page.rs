//! The frame of each page, and its answer.

use askama::Template;
use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderName, HeaderValue, LOCATION, REFERRER_POLICY};

use super::assets::{ICON, SCRIPT, STYLE};
use crate::http::admin::access::caller::{Caller, Proof, Role};
use crate::http::response::{Response, with_type};

/// The pages in the order of the navigation: path and name.
const TABS: [(Tab, &str, &str); 6] = [
    (Tab::Overview, "/", "Overview"),
    (Tab::Deliveries, "/deliveries", "Deliveries"),
    (Tab::Destinations, "/destinations", "Destinations"),
    (Tab::Operations, "/operations", "Operations"),
    (Tab::Nodes, "/nodes", "Nodes"),
    (Tab::Configuration, "/configuration", "Configuration"),
];

/// A page of the navigation. An event's page belongs to the deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tab {
    Overview,
    Deliveries,
    Destinations,
    Operations,
    /// Only of a database that several nodes can share.
    Nodes,
    Configuration,
}

/// A link of the navigation.
pub(super) struct TabLink {
    pub path: &'static str,
    pub name: &'static str,
    pub is_here: bool,
}

/// The person who looks at the page.
pub(super) struct Who {
    pub name: String,
    pub role: &'static str,
    pub is_signed_in: bool,
}

/// A message above the page.
pub(super) struct Note {
    pub text: String,
    /// The command that ends the text.
    pub command: Option<&'static str>,
    pub class: &'static str,
    /// Whether it answers the form before.
    pub is_news: bool,
}

impl Note {
    /// The result of a form.
    pub fn result(text: String) -> Self {
        Self {
            text,
            command: None,
            class: "good-note",
            is_news: true,
        }
    }

    /// A state that holds the relay up.
    pub fn trouble(text: String) -> Self {
        Self {
            text,
            command: None,
            class: "bad-note",
            is_news: false,
        }
    }

    /// A state that somebody should know.
    pub fn hint(text: String) -> Self {
        Self {
            text,
            command: None,
            class: "waits-note",
            is_news: false,
        }
    }
}

/// The parts that all pages share.
pub(super) struct Frame {
    pub title: String,
    tab: Option<Tab>,
    /// Whether there may be other nodes.
    has_nodes: bool,
    pub who: Option<Who>,
    pub notes: Vec<Note>,
    /// Whether the script keeps the page up to date.
    pub is_live: bool,
}

impl Frame {
    pub fn new(title: impl Into<String>, tab: Tab, caller: &Caller) -> Self {
        let who = Who {
            name: caller.name.clone(),
            role: match caller.role {
                Role::Read => "read",
                Role::Operate => "operate",
            },
            is_signed_in: caller.proof == Proof::Session,
        };
        Self {
            title: title.into(),
            tab: Some(tab),
            has_nodes: false,
            who: Some(who),
            notes: Vec::new(),
            is_live: false,
        }
    }

    /// The frame of an error at a path that begins so.
    pub fn of_error(title: &str, begin: &str, caller: &Caller) -> Self {
        let begin = if begin == "/events" {
            "/deliveries"
        } else {
            begin
        };
        let tab = TABS.iter().find(|(_, path, _)| *path == begin);
        Self {
            tab: tab.map(|(tab, ..)| *tab),
            ..Self::new(title, Tab::Overview, caller)
        }
    }

    /// The frame for somebody who has not signed in.
    pub fn of_stranger(title: &str) -> Self {
        Self {
            title: title.to_owned(),
            tab: None,
            has_nodes: false,
            who: None,
            notes: Vec::new(),
            is_live: false,
        }
    }

    #[must_use]
    pub fn among_nodes(self, has_nodes: bool) -> Self {
        Self { has_nodes, ..self }
    }

    #[must_use]
    pub fn live(self, is_live: bool) -> Self {
        Self { is_live, ..self }
    }

    #[must_use]
    pub fn with(mut self, note: Option<Note>) -> Self {
        self.notes.extend(note);
        self
    }

    pub fn tabs(&self) -> Vec<TabLink> {
        let is_shown = |tab| tab != Tab::Nodes || self.has_nodes || self.tab == Some(tab);
        let shown = TABS.iter().filter(|(tab, ..)| is_shown(*tab));
        let links = shown.map(|&(tab, path, name)| TabLink {
            path,
            name,
            is_here: self.tab == Some(tab),
        });
        links.collect()
    }

    #[expect(clippy::unused_self, reason = "templates call methods")]
    pub fn style(&self) -> &'static str {
        &STYLE.path
    }

    #[expect(clippy::unused_self, reason = "templates call methods")]
    pub fn script(&self) -> &'static str {
        &SCRIPT.path
    }

    #[expect(clippy::unused_self, reason = "templates call methods")]
    pub fn icon(&self) -> &'static str {
        &ICON.path
    }

    #[expect(clippy::unused_self, reason = "templates call methods")]
    pub fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }
}

/// A page.
pub(super) fn html(page: &impl Template) -> Response {
    let text = page.render().expect("writing into a String can't fail");
    with_type(StatusCode::OK, "text/html; charset=utf-8", text)
}

/// An answer that leads to another page of the console, whose path is ASCII.
pub(super) fn see_other(path: &str) -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::SEE_OTHER;
    let path = HeaderValue::from_str(path).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(LOCATION, path);
    response
}

/// The headers of each answer. Scripts and styles come from this listener alone, none stands in a
/// page, and no other site may frame a page or learn its address.
const HEADERS: [(HeaderName, &str); 4] = [
    (
        hyper::header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
         connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    // Not no-referrer: browsers would then send a form's POST with `Origin: null`.
    (REFERRER_POLICY, "same-origin"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

pub(super) fn secure(headers: &mut HeaderMap) {
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
