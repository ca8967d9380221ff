//! The directory of backups: whether one can be written there.

use std::io;
use std::path::Path;

use crate::cli::doctor::report::Report;
use crate::config::Backup;

const ABOUT: &str = "backups";

pub(super) fn look(report: &mut Report, settings: Option<&Backup>) {
    let Some(settings) = settings else { return };
    let shown = settings.directory.display();
    match try_to_write(&settings.directory) {
        Ok(()) => report.ok(ABOUT, format!("{shown} can be written to")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let fact = format!("{shown} is not there: the first backup makes its last part");
            report.warn(
                ABOUT,
                fact,
                "make it, and give it to the user that relay runs as",
            );
        }
        Err(error) => {
            let fact = format!("{shown} can't be written to: {error}");
            let advice = "backup.directory has to be writable for the user that relay runs as; in \
                          the unit of systemd ReadWritePaths= names it";
            report.fail(ABOUT, fact, advice);
        }
    }
}

/// Makes a directory within it, and removes it: nobody takes that for a backup.
fn try_to_write(directory: &Path) -> io::Result<()> {
    let probe = directory.join(format!(".relay-doctor-{}", std::process::id()));
    std::fs::create_dir(&probe)?;
    std::fs::remove_dir(&probe)
}
