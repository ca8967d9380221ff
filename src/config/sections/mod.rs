//! The sections of `relay.toml`, one a file: the keys with their units and defaults, and the
//! check of their values. `rate_limit`, `retry`, `breaker`, `ordering`: tables within sections;
//! `acme`: within one; `proxy`, `tls`: within two.

mod acme;
mod admin;
mod alerts;
mod api;
mod backup;
mod breaker;
mod database;
mod delivery;
mod destination;
mod log;
mod node;
mod ordering;
mod proxy;
mod rate_limit;
mod retention;
mod retry;
mod server;
mod source;
mod tls;

pub use acme::Acme;
pub use admin::Admin;
pub use alerts::{ALERT_SOURCE, AlertFormat, Alerts, Heartbeat};
pub use api::{Api, ApiRateLimit};
pub use backup::Backup;
pub use breaker::BreakerSettings;
pub use database::Database;
pub use delivery::{Defaults, Delivery, Simulated};
pub use destination::Destination;
pub use log::{Log, LogFormat};
pub use node::Node;
pub use ordering::Ordering;
pub use proxy::ProxySetting;
pub(super) use proxy::header_value as proxy_authorization;
pub use rate_limit::RateLimit;
pub use retention::Retention;
pub use retry::RetrySettings;
pub use server::Server;
pub use source::{
    Algorithm, Alternative, Answer, BasicScheme, CertificateHost, Decode, Encoding, EventTypeAt,
    ForwardQuery, Handshake, HandshakeMethod, HandshakeName, HandshakeTable, HeaderNames,
    HmacScheme, IdempotencyKeyAt, PublicKeyScheme, RedeliveryAction, ReplyJson, ReplyPart,
    ReplyText, SecretEncoding, SignedRequest, Source, SourceVerify, StandardWebhooks,
    TimestampFormat, TokenScheme, Verify,
};
pub use tls::Tls;
