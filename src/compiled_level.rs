//! The level that this build has.

use crate::model::Level;

/// The highest level in this build.
pub const COMPILED_LEVEL: Level = if cfg!(feature = "delivery-durable") {
    Level::Durable
} else if cfg!(feature = "delivery-http") {
    Level::Http
} else if cfg!(feature = "delivery-simulated") {
    Level::Simulated
} else {
    Level::Off
};
