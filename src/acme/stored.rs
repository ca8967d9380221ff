//! The stored state of a relay's certificate, for commands beside it.

use std::io;
use std::path::{Path, PathBuf};

use crate::acme::agent::State;
use crate::acme::files::{CERTIFICATE, STATE, StateDirectory};

/// The stored state.
pub(crate) struct Stored {
    /// The file of the certificate, if there is one.
    pub certificate: Option<PathBuf>,
    /// Tries since the last certificate that brought none.
    pub failures: u32,
}

/// Looks at the state of a relay with this database. An error names the file.
pub(crate) fn stored(database: &Path) -> Result<Stored, String> {
    let directory = StateDirectory::of(database);
    let failed = |name: &str, error: io::Error| {
        let path = directory.path().join(name);
        format!("{}: {error}", path.display())
    };
    let state = directory
        .read(STATE)
        .map_err(|error| failed(STATE, error))?;
    let state: Option<State> = state.and_then(|text| serde_json::from_str(&text).ok());
    let certificate = directory
        .read(CERTIFICATE)
        .map_err(|error| failed(CERTIFICATE, error))?;
    Ok(Stored {
        certificate: certificate.map(|_| directory.path().join(CERTIFICATE)),
        failures: state.map_or(0, |state| state.failures()),
    })
}
