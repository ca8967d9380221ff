//! The database: whether it can be opened, and whether its structure is whole.

use std::time::Duration;

use crate::cli::doctor::clock;
use crate::cli::doctor::report::Report;
use crate::cli::operate::explained;
use crate::clock::{Clock as _, SystemClock};
use crate::config::Database;
use crate::store::{OpenError, Operator, QuickCheck};

const ABOUT: &str = "database";

/// The time for the check of the structure. Beside a server it keeps the WAL from being emptied,
/// which grows by 30 MB a second at most.
const CHECK_WITHIN: Duration = Duration::from_secs(10);

/// Returns whether a server has the database open. `is_whole`: whether it is looked at, too.
pub(super) fn look(report: &mut Report, settings: &Database, is_whole: bool) -> bool {
    let path = settings.path.display();
    let operator = match Operator::reading(settings) {
        Ok(operator) => operator,
        Err(OpenError::Missing { .. }) => {
            if is_whole {
                let fact = format!("{path} is not there yet: the first start makes it");
                report.ok(ABOUT, fact);
            }
            return false;
        }
        Err(OpenError::NoTables { database }) => {
            if is_whole {
                let fact = format!("{database} has no tables yet: the first start makes them");
                report.ok(ABOUT, fact);
            }
            return false;
        }
        Err(error) => {
            let advice = match &error {
                OpenError::NoPostgres { .. } => "install that build, or name no server",
                OpenError::Server { .. } => {
                    "look whether the server runs, and whether database.url names it and its user"
                }
                OpenError::Denied { .. } | OpenError::NoFile { .. } => {
                    "name a file in database.path, and give it and its directory to relay's user"
                }
                _ => "if it is damaged, keep a copy of all its files, and restore a backup",
            };
            report.fail(ABOUT, error.to_string(), advice);
            return false;
        }
    };
    let is_served = operator.has_server();
    if is_whole {
        let (has_url, now) = (settings.url.is_some(), SystemClock::new().wall());
        clock::look_at_record(report, has_url, operator.now(), now);
        if has_url {
            // Its pages are the server's own to check.
            report.ok(ABOUT, format!("{} has relay's tables", settings.shown()));
        } else {
            look_at_structure(report, &operator, &path.to_string());
        }
        let served = if is_served { "a server" } else { "no server" };
        report.ok(ABOUT, format!("{served} has it open"));
    }
    is_served
}

fn look_at_structure(report: &mut Report, operator: &Operator, path: &str) {
    match operator.quick_check(CHECK_WITHIN) {
        Ok(QuickCheck::Fine) => report.ok(ABOUT, format!("{path} is whole (quick_check)")),
        Ok(QuickCheck::Damaged(problems)) => {
            let fact = format!("{path} is damaged: {}", problems.join(", "));
            let advice = "stop relay, keep a copy of all its files, and restore a backup";
            report.fail(ABOUT, fact, advice);
        }
        Ok(QuickCheck::Unfinished) => {
            let fact = format!(
                "{path}: nothing is damaged as far as {} s went (quick_check)",
                CHECK_WITHIN.as_secs()
            );
            report.warn(ABOUT, fact, "it is large: check a backup of it instead");
        }
        Err(error) => report.fail(ABOUT, format!("{path}: {}", explained(error)), ""),
    }
}
