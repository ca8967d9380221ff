//! The handshakes that relay knows by a name. They are data, except for `hub`, `cloudevents` and
//! `asana`, which have a condition that no pattern can state.

use std::collections::HashMap;
use std::sync::OnceLock;

use serde::Deserialize;

use crate::config::sections::source::handshakes::table::HandshakeTable;
use crate::model::request::Conditions;

/// The handshakes that relay knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum HandshakeName {
    /// Meta and `WebSub`: GET with `hub.mode=subscribe`.
    Hub,
    /// Dropbox: GET with `challenge`. Microsoft Graph: POST with `validationToken`.
    Echo,
    /// Slack: a signed POST whose `type` is `url_verification`.
    Slack,
    /// Twitch: a signed POST whose message type is `webhook_callback_verification`.
    Twitch,
    /// Zoom: a signed POST whose `event` is `endpoint.url_validation`.
    Zoom,
    /// X: GET with `crc_token`.
    Crc,
    /// Azure Event Grid: POST of a validation event.
    EventGrid,
    /// `CloudEvents`: OPTIONS with `WebHook-Request-Origin`.
    Cloudevents,
    /// Discord's webhook events: a signed POST whose `type` is 0.
    Discord,
    /// Discord's interactions: a signed POST whose `type` is 1.
    DiscordInteractions,
    /// Asana: POST with `X-Hook-Secret`, answered while a secret is expected.
    Asana,
    /// Trello, Mandrill: any GET or HEAD.
    Reachable,
}

/// Their conditions and answers.
const KNOWN: &str = include_str!("known.toml");

impl HandshakeName {
    /// The name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hub => "hub",
            Self::Echo => "echo",
            Self::Slack => "slack",
            Self::Twitch => "twitch",
            Self::Zoom => "zoom",
            Self::Crc => "crc",
            Self::EventGrid => "event_grid",
            Self::Cloudevents => "cloudevents",
            Self::Discord => "discord",
            Self::DiscordInteractions => "discord_interactions",
            Self::Asana => "asana",
            Self::Reachable => "reachable",
        }
    }

    /// The tables that the name stands for.
    pub(crate) fn tables(self) -> &'static [HandshakeTable] {
        static TABLES: OnceLock<HashMap<HandshakeName, Vec<HandshakeTable>>> = OnceLock::new();
        let read =
            || toml::from_str(KNOWN).expect("the tables are part of the program, and tested");
        TABLES
            .get_or_init(read)
            .get(&self)
            .map_or(&[], Vec::as_slice)
    }

    /// The conditions of the first table.
    pub(crate) fn conditions(self) -> Conditions {
        let tables = self.tables().first();
        tables.map(|table| table.when.clone()).unwrap_or_default()
    }
}
