//! The free space of the database's disk.

use std::path::Path;

use crate::cli::doctor::report::Report;
use crate::config::Database;

const ABOUT: &str = "disk";

pub(super) fn look(report: &mut Report, settings: &Database) {
    // The disk of a server is another machine's.
    if settings.url.is_some() {
        return;
    }
    let directory = match settings.path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let shown = directory.display();
    let stat = match rustix::fs::statvfs(directory) {
        Ok(stat) => stat,
        Err(error) => {
            let fact = format!("{shown}: {error}");
            let advice = "database.path names a file in a directory that has to be there";
            return report.fail(ABOUT, fact, advice);
        }
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let (min, free_text) = (settings.min_free_bytes, size(free));
    let wanted = format!("database.min_free_bytes is {}", size(min));
    if stat.f_files > 0 && stat.f_favail == 0 {
        let fact = format!("{shown}: no file can be created, since all inodes are taken");
        report.fail(ABOUT, fact, "remove some files");
    } else if free < min {
        let fact = format!("{shown}: {free_text} are free, and {wanted}: nothing is accepted");
        report.fail(ABOUT, fact, "free some space");
    } else if free < min.saturating_mul(2) {
        let fact = format!("{shown}: {free_text} are free, and {wanted}");
        report.warn(ABOUT, fact, "free some space soon");
    } else {
        report.ok(ABOUT, format!("{shown}: {free_text} are free ({wanted})"));
    }
}

/// A number of bytes for people.
fn size(bytes: u64) -> String {
    let units = [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => {
            let tenths = u128::from(bytes) * 10 / u128::from(*unit);
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        }
        None => format!("{bytes} bytes"),
    }
}
