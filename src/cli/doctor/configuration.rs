//! The configuration: whether a server would start with it.

use std::path::Path;
use std::sync::Arc;

use crate::cli::doctor::report::Report;
use crate::config::{Config, ConfigError, ConfigFile, Fingerprint, Loaded, Resolved};
use crate::delivery;
use crate::model::Level;
use crate::store::Store;

const ABOUT: &str = "configuration";

/// The settings that take effect. If a server would refuse them, those of them that can be read.
pub(super) fn look(report: &mut Report, file: Option<&Path>) -> Option<Arc<Resolved>> {
    let shown = file.unwrap_or(Path::new(Config::FILE)).display();
    let config = match load(file) {
        Ok((config, fingerprint)) => {
            if file.is_none() && !Path::new(Config::FILE).exists() {
                let fact = "there is no relay.toml, and so there is no source or destination";
                report.warn(ABOUT, fact, "relay init writes one, --config names another");
            } else {
                let fact = format!("{shown} can be used (fingerprint {fingerprint})");
                report.ok(ABOUT, fact);
            }
            // The modes of files are looked at apart.
            let notes = config.notes().into_iter();
            for note in notes.filter(|note| !note.contains("key_file: ")) {
                report.warn(ABOUT, note, "");
            }
            config
        }
        Err(error) => {
            let advice = "correct it: relay serve refuses it, and a reload does";
            report.fail(ABOUT, error.to_string(), advice);
            // Unchecked and without secrets: the rest can be looked at all the same.
            Config::load_for_commands(file).ok()?
        }
    };
    let config = config.resolve();
    let level = config.level();
    if level < Level::Http {
        let fact = format!("delivery.level is \"{level}\": nothing is sent to destinations");
        report.warn(ABOUT, fact, "expected \"durable\", or a build that has it");
    }
    Some(Arc::new(config))
}

fn load(file: Option<&Path>) -> Result<(Config, Fingerprint), ConfigError> {
    let Loaded {
        config,
        fingerprint,
        overrides,
    } = ConfigFile::new(file)?.load()?;
    let resolved = config.resolve();
    let refused = |problem| overrides.name_variables(Config::refused(file, problem));
    Store::check(&resolved.database).map_err(refused)?;
    delivery::check(&resolved).map_err(refused)?;
    Ok((config, fingerprint))
}
