//! Moves a whole store from one engine to another: a file to a server of PostgreSQL, or back.
//!
//! `run`: the steps, in their order. The source is locked for the move's whole length, and read as
//! it was at its beginning. The order of the marks is what makes a move safe to be interrupted:
//!
//! 1. The target is marked as unfinished: nobody serves it.
//! 2. All rows are copied, read back and compared by a digest.
//! 3. The target is marked as complete. It still isn't served.
//! 4. The source is marked as moved away: from here on nobody serves it.
//! 5. The target's mark is removed.
//!
//! A move that is interrupted before the fourth step is begun anew; after it, the next one only
//! removes the target's mark.

mod run;

use crate::clock::{Clock as _, SystemClock};
use crate::config;
use crate::store::move_error::MoveError;
use crate::store::types::{MoveProgress, MoveReport};
use crate::store::{postgres, sqlite};

/// Moves the store that `from` names to the place that `to` names. `node`: this process among the
/// nodes, as the server that comes to use the target will be named. `progress` is called after each
/// step. Blocks.
pub(crate) fn move_store(
    from: &config::Database,
    to: &config::Database,
    node: &config::Node,
    progress: &dyn Fn(MoveProgress),
) -> Result<MoveReport, MoveError> {
    match (&from.url, &to.url) {
        (None, Some(url)) => {
            let mut source = sqlite::MovedFile::lock(&from.path)?;
            let mut target = postgres::MovedServer::target(url, to, node)?;
            run::run(
                &mut source,
                &mut target,
                SystemClock::new().wall(),
                progress,
            )
        }
        (Some(url), None) => {
            let mut source = postgres::MovedServer::source(url, from, node)?;
            let mut target = sqlite::NewFile::at(&to.path)?;
            run::run(
                &mut source,
                &mut target,
                SystemClock::new().wall(),
                progress,
            )
        }
        (None, None) => Err(MoveError::FileToFile {
            from: from.path.display().to_string(),
        }),
        (Some(_), Some(_)) => Err(MoveError::ServerToServer {
            from: "database.url".to_owned(),
        }),
    }
}

/// Gives up the move that the store has a mark of; in words, what was done. Blocks.
pub(crate) fn abandon_move(settings: &config::Database) -> Result<String, MoveError> {
    match &settings.url {
        None => sqlite::abandon_move(&settings.path),
        Some(url) => postgres::abandon_move(url, settings),
    }
}

#[cfg(test)]
mod tests;
