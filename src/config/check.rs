//! The checks that a parser of single values can't make: references, contradictions, and the
//! rules of each section.

use std::net::SocketAddr;

use crate::compiled_level::COMPILED_LEVEL;
use crate::config::error::{ConfigError, Origin};
use crate::config::providers::check_needs;
use crate::config::rules::{Checked, EXPECTED_NAME, bad, quoted, same_listener};
use crate::config::sections::{Destination, Source};
use crate::config::settings::Config;
use crate::model::{Level, is_name};

impl Config {
    /// Checks ranges, names, references and contradictions. A setting that this version knows and
    /// can't act on is refused rather than ignored.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.find_problem()
            .map_err(|problem| Origin::Program.setting(problem))
    }

    pub(super) fn find_problem(&self) -> Checked {
        self.server.check("server")?;
        self.database.check("database")?;
        self.check_listeners()?;
        self.log.check("log")?;
        self.api.check("api")?;
        self.delivery.check("delivery", COMPILED_LEVEL)?;
        self.retention
            .check("retention", self.api.idempotency_window)?;
        for (name, destination) in &self.destinations {
            self.check_destination(name, destination)?;
        }
        for (name, source) in &self.sources {
            self.check_source(name, source)?;
        }
        Ok(())
    }

    fn check_listeners(&self) -> Checked {
        let public = self.server.listen;
        match self.admin.listen {
            Some(admin) if same_listener(admin, public) => bad(
                "admin.listen",
                public,
                "an address other than server.listen",
            ),
            _ => Ok(()),
        }
    }

    fn check_destination(&self, name: &str, to: &Destination) -> Checked {
        let key = format!("destinations.{name}");
        if !is_name(name) {
            return Err((key, EXPECTED_NAME.to_owned()));
        }
        if let Some(address) = to.url.literal_address()
            && self.listens_at(SocketAddr::new(address, to.url.port()))
        {
            return bad(
                &format!("{key}.url"),
                quoted(to.url.origin()),
                "an address other than our own listeners",
            );
        }
        to.check(&key)?;
        if !to.secrets.is_empty() && self.level() == Level::Http {
            let problem = "contradicts delivery.level = \"http\", which doesn't sign: \
                           expected level \"durable\"";
            return Err((format!("{key}.secrets"), problem.to_owned()));
        }
        Ok(())
    }

    fn check_source(&self, name: &str, source: &Source) -> Checked {
        let key = format!("sources.{name}");
        if name != "*" && !is_name(name) {
            return Err((key, EXPECTED_NAME.to_owned()));
        }
        let list = format!("{key}.destinations");
        for (at, destination) in source.destinations.iter().enumerate() {
            if !self.destinations.contains_key(destination) {
                let expected = "the name of a [destinations.…] section";
                return bad(&list, quoted(destination), expected);
            }
            if source.destinations[..at].contains(destination) {
                return bad(&list, quoted(destination), "each destination once");
            }
        }
        let server_url = self.server.public_url.as_deref();
        check_needs(&key, source, server_url)?;
        source.check(&key, server_url, crate::COMPILED_LEVEL)
    }

    fn listens_at(&self, address: SocketAddr) -> bool {
        [Some(self.server.listen), self.admin.listen]
            .into_iter()
            .flatten()
            .any(|own| own.port() != 0 && same_listener(own, address))
    }
}
