//! `relay.toml` and the environment, made into a checked [`Config`], and resolved into the settings
//! that take effect.
//!
//! Unknown keys, bad values and settings that contradict each other are errors of one line that
//! name the file, the key, the value and the expectation.
//!
//! - `settings`: all of them. `sections`: the sections with their defaults, one a file. `units`:
//!   the syntax of values.
//! - `load`: reads the file. `environment`: the variables that override it. `secrets`: texts that
//!   are never printed, and the references to them. `error`: the errors. `wording`: the parser's.
//! - `text_file`: reads a file of text. `file`: `relay.toml` as a server reads it, at its start and
//!   at each reload. `fingerprint`: its
//!   identity. `effects`: when a change of a setting takes effect. `changes`: those of a reload.
//! - `providers`: the settings of well-known senders, which a source takes over by name.
//! - `check`: references and contradictions. `rules`: the rules of single values. `notes`: allowed
//!   settings that have a price. `idle_settings`: those without effect at the level that runs.
//!   `secret_places`: where secrets stand.
//! - `schema`: the JSON Schema of the file, for editors.
//! - `resolved`: the policies that the rest of the relay reads, with every default applied.
//!   `network`: the way to a destination. `live`: the handle to the policies that run. `redacted`:
//!   the policies for operators, without secrets. `routing`: the destinations of an event.

mod changes;
mod check;
mod effects;
mod environment;
mod error;
mod file;
mod fingerprint;
mod idle_settings;
mod live;
mod load;
mod network;
mod notes;
pub(crate) mod providers;
mod redacted;
mod resolved;
mod routing;
mod rules;
pub(crate) mod schema;
mod secret_places;
mod secrets;
mod sections;
mod settings;
#[cfg(test)]
mod tests;
mod text_file;
mod units;
mod wording;

pub(crate) use changes::{Changes, Names, fixed_settings};
pub use error::ConfigError;
pub(crate) use file::{ConfigFile, Loaded};
pub(crate) use fingerprint::Fingerprint;
pub(crate) use live::Live;
pub use network::{ClientCertificate, NetworkPolicy, ProxyPolicy};
pub use resolved::{
    AlertPolicy, DeliveryPolicy, DestinationPolicy, HeartbeatPolicy, Resolved, SourcePolicy,
};
pub use routing::StoredEvent;
pub(crate) use secret_places::SecretPlace;
pub use secrets::{NamedSecret, Secret, VariableNames};
pub use sections::{
    ALERT_SOURCE, Acme, Admin, AlertFormat, Alerts, Algorithm, Alternative, Answer, Api,
    ApiRateLimit, Backup, BasicScheme, BreakerSettings, CertificateHost, Database, Decode,
    Defaults, Delivery, Destination, Encoding, EventTypeAt, ForwardQuery, Handshake,
    HandshakeMethod, HandshakeName, HandshakeTable, HeaderNames, Heartbeat, HmacScheme,
    IdempotencyKeyAt, Log, LogFormat, Node, Ordering, ProxySetting, PublicKeyScheme, RateLimit,
    RedeliveryAction, ReplyJson, ReplyPart, ReplyText, Retention, RetrySettings, SecretEncoding,
    Server, SignedRequest, Simulated, Source, SourceVerify, StandardWebhooks, TimestampFormat, Tls,
    TokenScheme, Verify,
};
pub use settings::Config;
pub(crate) use units::parse_duration;
