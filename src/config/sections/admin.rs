//! `[admin]`: the operator's listener.

use std::net::SocketAddr;

use serde::Deserialize;

use crate::config::units;

/// The operator's listener. It serves the metrics, which the public listener never does.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// The address to listen at; none turns the listener off. Default: `127.0.0.1:8081`.
    #[serde(deserialize_with = "units::listen_or_off")]
    pub listen: Option<SocketAddr>,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: Some(SocketAddr::from(([127, 0, 0, 1], 8081))),
        }
    }
}
