//! The level and the engines that this build has.

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

/// Whether this build can keep its store on PostgreSQL.
pub const HAS_POSTGRES: bool = cfg!(feature = "postgres");
