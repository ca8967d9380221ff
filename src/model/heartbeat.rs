//! How a heartbeat is sent.

use std::sync::Arc;

/// Sends a beat to a URL. An error is its class, and never holds the URL. Blocks.
pub type SendHeartbeat = Arc<dyn Fn(&str) -> Result<(), String> + Send + Sync>;
