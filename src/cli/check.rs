//! `relay check`: prints the settings that take effect.

use clap::Args;
use serde_json::json;

use crate::cli::config_file::ConfigFile;
use crate::cli::error::CommandError;
use crate::config::providers::EffectiveSource;
use crate::config::{Config, Resolved, SourceVerify, Verify};

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
        let config = Config::load(file)?;
        let (notes, config) = (config.notes(), config.resolve());
        let effective = Config::effective_sources(file);
        if self.json {
            print_json(&config, &effective, &notes)
        } else {
            print_text(&config, &effective, &notes)
        }
    }
}

fn admin_address(config: &Resolved) -> String {
    config
        .admin
        .listen
        .map_or_else(|| "off".to_owned(), |address| address.to_string())
}

fn print_json(
    config: &Resolved,
    effective: &[EffectiveSource],
    notes: &[String],
) -> Result<(), CommandError> {
    let summary = json!({
        "ok": true,
        "listen": config.server.listen.to_string(),
        "admin": admin_address(config),
        "database": config.database.path.display().to_string(),
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
    effective: &[EffectiveSource],
    notes: &[String],
) -> Result<(), CommandError> {
    say!("the configuration is fine");
    say!("  listen        {}", config.server.listen);
    say!("  admin         {}", admin_address(config));
    say!("  database      {}", config.database.path.display());
    say!("  level         {}", config.level());
    say!("  API keys      {}", config.api.keys.len());
    for (name, to) in &config.destinations {
        let url = to.url.as_ref().map_or("", |url| url.origin());
        let attempts = to.retry.max_attempts();
        let signed = if to.secrets.is_empty() {
            ""
        } else {
            ", signed"
        };
        say!("  destination   {name} -> {url} (up to {attempts} attempts{signed})");
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
            source.destinations.join(", ")
        );
    }
    Ok(())
}
