//! `relay check`: prints the settings that take effect.

use std::fmt::Write as _;

use clap::Args;
use serde_json::json;

use crate::cli::config_file::ConfigFile;
use crate::cli::error::CommandError;
use crate::config::providers::EffectiveSource;
use crate::config::{
    Config, ConfigFile as File, DestinationPolicy, Fingerprint, Loaded, Resolved, SourcePolicy,
    SourceVerify, Verify,
};
use crate::delivery;
use crate::model::ProxyUrl;
use crate::relay::check_certificates;
use crate::store::Store;

#[derive(Args)]
pub(super) struct Check {
    #[command(flatten)]
    file: ConfigFile,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl Check {
    pub fn run(&self) -> Result<(), CommandError> {
        let file = self.file.path();
        let Loaded {
            config,
            fingerprint,
            overrides,
        } = File::new(file)?.load()?;
        let (notes, config) = (config.notes(), config.resolve());
        let refused = |problem| overrides.name_variables(Config::refused(file, problem));
        Store::check(&config.database).map_err(refused)?;
        delivery::check(&config).map_err(refused)?;
        check_certificates(&config).map_err(refused)?;
        let effective = Config::effective_sources(file);
        if self.json {
            print_json(&config, &fingerprint, &effective, &notes)
        } else {
            print_text(&config, &fingerprint, &effective, &notes)
        }
    }
}

fn admin_address(config: &Resolved) -> String {
    config
        .admin
        .listen
        .map_or_else(|| "off".to_owned(), |address| address.to_string())
}

fn with_tls(is_secure: bool) -> &'static str {
    if is_secure { " with TLS" } else { "" }
}

fn print_json(
    config: &Resolved,
    fingerprint: &Fingerprint,
    effective: &[EffectiveSource],
    notes: &[String],
) -> Result<(), CommandError> {
    let summary = json!({
        "ok": true,
        "fingerprint": fingerprint.to_string(),
        "listen": config.server.listen.to_string(),
        "tls": config.server.speaks_tls(),
        "admin": admin_address(config),
        "adminTls": config.admin.tls.is_some(),
        "database": config.database.shown(),
        "level": config.level().to_string(),
        "apiKeys": config.api.keys.len(),
        "destinations": config.destinations.keys().collect::<Vec<_>>(),
        "sources": config.sources.keys().collect::<Vec<_>>(),
        "notes": notes,
        "providers": effective
            .iter()
            .map(|source| (source.name.clone(), json!(source.settings)))
            .collect::<serde_json::Map<_, _>>(),
    });
    say!("{summary}");
    Ok(())
}

fn print_text(
    config: &Resolved,
    fingerprint: &Fingerprint,
    effective: &[EffectiveSource],
    notes: &[String],
) -> Result<(), CommandError> {
    say!("the configuration is fine");
    say!("  fingerprint   {fingerprint}");
    let is_secure = config.server.speaks_tls();
    say!(
        "  listen        {}{}",
        config.server.listen,
        with_tls(is_secure)
    );
    let is_secure = config.admin.tls.is_some();
    say!(
        "  admin         {}{}",
        admin_address(config),
        with_tls(is_secure)
    );
    say!("  database      {}", config.database.shown());
    say!("  level         {}", config.level());
    say!("  API keys      {}", config.api.keys.len());
    for (name, to) in &config.destinations {
        let url = to.url.as_ref().map_or("", |url| url.origin());
        let mut facts = format!("up to {} attempts", to.retry.max_attempts());
        if !to.secrets.is_empty() {
            facts.push_str(", signed");
        }
        if let Some(proxy) = proxy_of(to) {
            write!(facts, ", through the proxy {proxy}").expect("a String takes all");
        }
        if to.network.client_certificate.is_some() {
            facts.push_str(", with a client certificate");
        }
        say!("  destination   {name} -> {url} ({facts})");
    }
    print_sources(config)?;
    for note in notes {
        say!("  note          {note}");
    }
    for source in effective {
        say!("\n# {}, which takes over {}:", source.name, source.provider);
        say!("{}", source.to_toml().trim_end());
    }
    Ok(())
}

/// The proxy that a named destination is reached through.
fn proxy_of(to: &DestinationPolicy) -> Option<&ProxyUrl> {
    let proxy = to.network.proxy.as_deref()?;
    let is_used = proxy.is_for(to.url.as_ref()?.host());
    is_used.then_some(&proxy.url)
}

fn print_sources(config: &Resolved) -> Result<(), CommandError> {
    for (name, source) in &config.sources {
        let verified = match &source.verify {
            None => "",
            Some(SourceVerify::Any(_)) => " (verified by one of several schemes)",
            Some(SourceVerify::One(scheme)) => match **scheme {
                Verify::Token(_) | Verify::Basic(_) => " (secrets verified)",
                _ => " (signatures verified)",
            },
        };
        say!(
            "  source        {name} -> {}{verified}",
            destinations(source)
        );
    }
    Ok(())
}

/// The destinations of every event, and those of routes.
fn destinations(source: &SourcePolicy) -> String {
    let always = source.destinations.join(", ");
    let by_route = source.all_destinations()[source.destinations.len()..].join(", ");
    match (always.is_empty(), by_route.is_empty()) {
        (_, true) => always,
        (true, false) => format!("by route {by_route}"),
        (false, false) => format!("{always}, by route {by_route}"),
    }
}
