//! Why a store was not moved. None names an engine's error.

use thiserror::Error;

use super::error::OpenError;
use crate::clock::Timestamp;

/// Why a move was not made. One line each.
#[derive(Debug, Error)]
pub(crate) enum MoveError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("{name}: {problem}")]
    Side { name: String, problem: String },
    #[error(
        "{from}: a file isn't moved to a file: relay backup and relay restore copy one; \
         expected --to postgres://…"
    )]
    FileToFile { from: String },
    #[error(
        "{from}: a server isn't moved to a server: PostgreSQL's pg_dump --schema relay copies one; \
         expected --to with the path of a file"
    )]
    ServerToServer { from: String },
    #[error("{name}: a relay serves it ({holder}); stop it, and move it then; nothing was changed")]
    Served { name: String, holder: String },
    #[error(
        "{name}: is held since a restore, which can't be moved: run relay resume --all first; \
         nothing was changed"
    )]
    Held { name: String },
    #[error(
        "{name}: holds {found} already; expected a place with nothing of a relay's; nothing was \
         changed"
    )]
    NotEmpty { name: String, found: String },
    #[error("{name}: was moved to {to} at {at}, and that move is finished; nothing was changed")]
    Finished {
        name: String,
        to: String,
        at: Timestamp,
    },
    #[error(
        "{name}: was moved to {to} at {at}, and {target} isn't the rest of that move; nothing was \
         changed"
    )]
    MovedElsewhere {
        name: String,
        to: String,
        at: Timestamp,
        target: String,
    },
    #[error(
        "{table}: {rows} rows were read from {from}, and {found} other ones from {to} after they \
         were written; {from} is as it was, and {to} isn't used"
    )]
    Differs {
        table: &'static str,
        from: String,
        to: String,
        rows: u64,
        found: String,
    },
    #[error("{name}: no move is unfinished here, and it wasn't moved away; nothing was done")]
    NothingToAbandon { name: String },
}

impl MoveError {
    /// A side's problem.
    pub fn of(name: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Side {
            name: name.into(),
            problem: problem.into(),
        }
    }
}
