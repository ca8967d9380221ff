use std::path::Path;

use serde_json::json;

use super::error::CommandError;
use crate::config::Config;

pub(super) fn run(file: Option<&Path>, json: bool) -> Result<(), CommandError> {
    let config = Config::load(file)?;
    let resolved = config.resolve();
    let level = resolved.level().to_string();
    let effective = Config::effective_sources(file);
    let admin = config
        .admin
        .listen
        .map_or_else(|| "off".to_owned(), |address| address.to_string());
    if json {
        let summary = json!({
            "ok": true,
            "listen": config.server.listen.to_string(),
            "admin": admin,
            "database": config.database.path.display().to_string(),
            "level": level,
            "apiKeys": config.api.keys.len(),
            "destinations": config.destinations.keys().collect::<Vec<_>>(),
            "sources": config.sources.keys().collect::<Vec<_>>(),
            "providers": effective
                .iter()
                .map(|source| (source.name.clone(), json!(source.settings)))
                .collect::<serde_json::Map<_, _>>(),
        });
        say!("{summary}");
        return Ok(());
    }
    say!("the configuration is fine");
    say!("  listen        {}", config.server.listen);
    say!("  admin         {admin}");
    say!("  database      {}", config.database.path.display());
    say!("  level         {level}");
    say!("  API keys      {}", config.api.keys.len());
    for (name, to) in &config.destinations {
        let attempts = resolved.destination(name).retry.max_attempts();
        let signed = if to.secrets.is_empty() {
            ""
        } else {
            ", signed"
        };
        say!(
            "  destination   {name} -> {} (up to {attempts} attempts{signed})",
            to.url.origin()
        );
    }
    print_sources(&config)?;
    for source in &effective {
        say!("\n# {}, which takes over {}:", source.name, source.provider);
        say!("{}", source.to_toml().trim_end());
    }
    Ok(())
}

fn print_sources(config: &Config) -> Result<(), CommandError> {
    for (name, source) in &config.sources {
        let verified = if source.verify.is_some() {
            " (signatures verified)"
        } else {
            ""
        };
        say!(
            "  source        {name} -> {}{verified}",
            source.destinations.join(", ")
        );
    }
    Ok(())
}
