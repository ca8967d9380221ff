use std::fmt;

use serde::Deserialize;

/// How far deliveries go. Never gated: a build that lacks a level says which feature brings it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Record and observe; contact nobody.
    Off,
    /// An executor that answers itself.
    Simulated,
    /// Attempts over HTTP, with a few quick retries.
    Http,
    /// Persisted schedules, limits per destination, signatures.
    Durable,
}

impl Level {
    /// The cargo feature that compiles this level in; none for [`Level::Off`].
    pub const fn feature(self) -> Option<&'static str> {
        match self {
            Self::Off => None,
            Self::Simulated => Some("delivery-simulated"),
            Self::Http => Some("delivery-http"),
            Self::Durable => Some("delivery-durable"),
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Simulated => "simulated",
            Self::Http => "http",
            Self::Durable => "durable",
        })
    }
}
