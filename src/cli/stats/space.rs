//! The space that the database uses, and when it will be full.

use crate::cli::error::CommandError;
use crate::cli::operate::explained;
use crate::config::{Database, Resolved};
use crate::ops::durations::{Units, when_full};
use crate::store::{Growth, Operator, SpaceSample, SpaceUse};

/// Bytes of the database: of its file, or on the server.
pub(super) fn database_bytes(database: &Database, space: &SpaceUse) -> u64 {
    match database.url {
        None => std::fs::metadata(&database.path).map_or(0, |metadata| metadata.len()),
        Some(_) => space.used,
    }
}

/// Bytes of a file's write-ahead log. A server has its own, which isn't the relay's.
fn wal_bytes(database: &Database) -> u64 {
    if database.url.is_some() {
        return 0;
    }
    let mut wal = database.path.clone().into_os_string();
    wal.push("-wal");
    std::fs::metadata(wal).map_or(0, |metadata| metadata.len())
}

pub(super) fn read(operator: &Operator, config: &Resolved) -> Result<SpaceUse, CommandError> {
    let wal = wal_bytes(&config.database);
    let used = operator
        .used_pages()
        .map_err(explained)?
        .saturating_add(wal);
    let growth = Growth {
        samples: operator.space_samples().map_err(explained)?,
        now: SpaceSample {
            at: operator.now(),
            used,
        },
    };
    let (max, min_free) = (config.database.max_bytes, config.database.min_free_bytes);
    Ok(SpaceUse {
        used,
        max,
        full_in: growth.full_in(max, operator.free_bytes(), min_free),
    })
}

pub(super) fn print(space: SpaceUse) -> Result<(), CommandError> {
    let of = match space.max {
        Some(max) => format!(" of {max} (database.max_bytes)"),
        None => String::new(),
    };
    let full = space
        .full_in
        .map(|left| format!(", full {}", when_full(left, Units::Long)));
    say!("uses {} bytes{of}{}", space.used, full.unwrap_or_default());
    Ok(())
}
