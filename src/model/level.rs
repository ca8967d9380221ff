//! The levels of delivery.

use std::fmt;

use serde::Deserialize;

/// The parts of delivery that run. No variant depends on the build: a build that lacks a level
/// names the feature that adds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Records intents and shows them; contacts no destination.
    Off,
    /// The executor runs, and its transport makes up the answers.
    Simulated,
    /// Attempts go over HTTP, with a few quick retries.
    Http,
    /// Adds persisted retry schedules, limits per destination, and signatures.
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
