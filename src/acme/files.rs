//! The state on disk, in a directory beside the database that only its owner can read.
//!
//! Each file is replaced as a whole: written beside its place, synced, and renamed.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::sign::CertifiedKey;

use crate::tls::{PairFiles, read_pair};

/// The account's key and address at the authority.
pub(super) const ACCOUNT: &str = "account.json";
/// The private key, and the certificate with its chain: one file, so that they change together.
pub(super) const CERTIFICATE: &str = "certificate.pem";
/// The tries, and the order that they are for.
pub(super) const STATE: &str = "state.json";

/// The directory.
#[derive(Clone, Debug)]
pub(super) struct StateDirectory(PathBuf);

impl StateDirectory {
    /// The one of a database. It may not be there yet.
    pub fn of(database: &Path) -> Self {
        let mut name = database.as_os_str().to_owned();
        name.push(".acme");
        Self(name.into())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes the directory, or narrows its mode.
    pub fn make(&self) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(&self.0) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                fs::set_permissions(&self.0, Permissions::from_mode(0o700))
            }
            result => result,
        }
    }

    /// The text of a file, if it is there.
    pub fn read(&self, name: &str) -> io::Result<Option<String>> {
        match fs::read_to_string(self.0.join(name)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces a file.
    pub fn write(&self, name: &str, text: &str) -> io::Result<()> {
        let partial = self.0.join(format!("{name}.partial"));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&partial)?;
        // One that a crash left behind may have another mode.
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&partial, self.0.join(name))?;
        OpenOptions::new().read(true).open(&self.0)?.sync_all()
    }

    /// Removes a file, if it is there.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.0.join(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The certificate with its key, if there is one.
    pub fn certificate(&self) -> Result<Option<Arc<CertifiedKey>>, String> {
        let path = self.0.join(CERTIFICATE);
        if !path.exists() {
            return Ok(None);
        }
        let pair = read_pair(&PairFiles {
            certificate: &path,
            key: &path,
            certificate_setting: "server.acme",
            key_setting: "server.acme",
        });
        pair.map(Some).map_err(|(_, problem)| problem)
    }
}

/// The certificate that was obtained for the listener of a database. One that can't be read is
/// asked for anew.
pub(crate) fn stored_certificate(database: &Path) -> Option<Arc<CertifiedKey>> {
    match StateDirectory::of(database).certificate() {
        Ok(found) => found,
        Err(problem) => {
            log::warn!(error = problem.as_str(); "the certificate of server.acme can't be read");
            None
        }
    }
}

#[cfg(test)]
mod tests;
