//! The checks that a parser of single values can't make: references, contradictions, and the
//! rules of each section.

use std::net::SocketAddr;

use crate::compiled_level::{COMPILED_LEVEL, HAS_POSTGRES};
use crate::config::error::{ConfigError, Origin};
use crate::config::providers::check_needs;
use crate::config::rules::{Checked, EXPECTED_NAME, bad, quoted, same_listener, shown};
use crate::config::sections::{ALERT_SOURCE, Destination, ForwardQuery, ProxySetting, Source};
use crate::config::settings::Config;
use crate::model::{Level, TargetUrl, is_name, known_address};

impl Config {
    /// Checks ranges, names, references and contradictions. A setting that this version knows and
    /// can't act on is refused rather than ignored.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.find_problem()
            .map_err(|problem| Origin::Program.setting(problem))
    }

    pub(super) fn find_problem(&self) -> Checked {
        self.server.check("server")?;
        self.check_backup()?;
        self.database.check("database", HAS_POSTGRES)?;
        self.node.check("node")?;
        self.check_listeners()?;
        self.admin.check("admin")?;
        self.log.check("log")?;
        self.api.check("api")?;
        self.delivery.check("delivery", COMPILED_LEVEL)?;
        self.check_proxy("delivery", self.delivery.proxy.as_ref())?;
        self.retention
            .check("retention", self.api.idempotency_window)?;
        self.check_alerts()?;
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
                admin,
                &format!("an address other than server.listen ({public})"),
            ),
            _ => Ok(()),
        }
    }

    fn check_backup(&self) -> Checked {
        let Some(backup) = &self.backup else {
            return Ok(());
        };
        if self.database.url.is_some() {
            let problem = "contradicts database.url: a server of PostgreSQL has backups of its own";
            return Err(("backup".to_owned(), problem.to_owned()));
        }
        backup.check("backup")
    }

    fn check_alerts(&self) -> Checked {
        let Some(alerts) = &self.alerts else {
            return Ok(());
        };
        alerts.check("alerts")?;
        if let Some(name) = &alerts.destination
            && !self.destinations.contains_key(name)
        {
            let expected = "the name of a [destinations.…] section";
            return bad("alerts.destination", quoted(name), expected);
        }
        if self.sources.contains_key(ALERT_SOURCE) {
            let expected = "another name: with [alerts], \"relay\" is the source of relay's own \
                            alerts";
            return bad(
                &format!("sources.{ALERT_SOURCE}"),
                quoted(ALERT_SOURCE),
                expected,
            );
        }
        let url = alerts.heartbeat.as_ref().and_then(|to| to.url.as_ref());
        let url = url.and_then(|url| url.reveal().parse::<TargetUrl>().ok());
        if let Some((url, address)) = url.and_then(|url| Some((url.port(), url.literal_address()?)))
            && let Some(expected) = self.other_than_own(SocketAddr::new(address, url))
        {
            return bad("alerts.heartbeat.url", "***", &expected);
        }
        Ok(())
    }

    fn check_destination(&self, name: &str, to: &Destination) -> Checked {
        let key = format!("destinations.{name}");
        if !is_name(name) {
            return Err((key, EXPECTED_NAME.to_owned()));
        }
        if let Some(address) = to.url.literal_address()
            && let Some(expected) = self.other_than_own(SocketAddr::new(address, to.url.port()))
        {
            return bad(&format!("{key}.url"), quoted(to.url.origin()), &expected);
        }
        to.check(&key)?;
        let defaults = &self.delivery.defaults;
        to.breaker
            .check_probes(&format!("{key}.breaker"), &defaults.breaker)?;
        self.check_proxy(&key, to.proxy.as_ref())?;
        if !to.secrets.is_empty() && self.level() == Level::Http {
            let problem = "contradicts delivery.level = \"http\", which doesn't sign: \
                           expected level \"durable\"";
            return Err((format!("{key}.secrets"), problem.to_owned()));
        }
        Ok(())
    }

    pub(super) fn check_source(&self, name: &str, source: &Source) -> Checked {
        let key = format!("sources.{name}");
        if name != "*" && !is_name(name) {
            return Err((key, EXPECTED_NAME.to_owned()));
        }
        self.check_routing(&key, source)?;
        let server_url = self.server.public_url.as_deref();
        check_needs(&key, source, server_url)?;
        source.check(&key, server_url, crate::COMPILED_LEVEL)?;
        self.check_window(&key, source)
    }

    /// The source has destinations and routes that an event can take.
    pub(super) fn check_routing(&self, key: &str, source: &Source) -> Checked {
        self.check_destinations(key, "destinations", &source.destinations, source)?;
        for (at, route) in source.routes.iter().enumerate() {
            self.check_destinations(key, &format!("routes[{at}].to"), &route.to, source)?;
        }
        source.check_routes(key)
    }

    /// The names of a list are destinations that can take the source's events, each once.
    fn check_destinations(
        &self,
        key: &str,
        list: &str,
        names: &[String],
        source: &Source,
    ) -> Checked {
        let list = format!("{key}.{list}");
        for (at, destination) in names.iter().enumerate() {
            let Some(to) = self.destinations.get(destination) else {
                let expected = "the name of a [destinations.…] section";
                return bad(&list, quoted(destination), expected);
            };
            if names[..at].contains(destination) {
                return bad(&list, quoted(destination), "each destination once");
            }
            if source.forward_query == ForwardQuery::Append && to.url.as_str().contains('?') {
                let problem = format!(
                    "\"append\" contradicts destinations.{destination}.url, which has a query of \
                     its own"
                );
                return Err((format!("{key}.forward_query"), problem));
            }
        }
        Ok(())
    }

    /// Refuses a window that outlasts retention: a deleted event's key is deleted, too.
    fn check_window(&self, key: &str, source: &Source) -> Checked {
        let retention = &self.retention;
        for (name, kept) in [
            ("delivered", retention.delivered),
            ("dead_lettered", retention.dead_lettered),
        ] {
            if let (Some(kept), Some(window)) = (kept, source.idempotency_window)
                && kept < window
            {
                let kept = shown(kept);
                let most = format!("at most retention.{name} ({kept}): a key goes with its event");
                return bad(&format!("{key}.idempotency_window"), shown(window), &most);
            }
        }
        Ok(())
    }

    /// A proxy at our own listeners would answer CONNECT with an error for ever.
    fn check_proxy(&self, key: &str, proxy: Option<&ProxySetting>) -> Checked {
        let Some(url) = proxy.and_then(ProxySetting::url) else {
            return Ok(());
        };
        let address = known_address(url.host());
        let address = address.map(|address| SocketAddr::new(address, url.port()));
        match address.and_then(|address| self.other_than_own(address)) {
            Some(expected) => bad(&format!("{key}.proxy"), quoted(&url.to_string()), &expected),
            None => Ok(()),
        }
    }

    /// The expectation of an address that is one of our own listeners; none of another one.
    fn other_than_own(&self, address: SocketAddr) -> Option<String> {
        let listeners = [
            ("server.listen", Some(self.server.listen)),
            ("admin.listen", self.admin.listen),
        ];
        let mut listeners = listeners
            .into_iter()
            .filter_map(|(key, own)| Some((key, own?)));
        let (key, own) = listeners.find(|(_, own)| same_listener(*own, address))?;
        Some(format!("an address other than {key} ({own})"))
    }
}
