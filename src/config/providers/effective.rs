//! The sources that name a provider, as they take effect.

use serde::Deserialize as _;
use toml::de::DeTable;
use toml::{Spanned, Table, Value};

use crate::config::providers::merge::expand;

/// A source that names a provider, with the provider's settings.
pub(crate) struct EffectiveSource {
    /// The source's name.
    pub name: String,
    /// The provider's name.
    pub provider: String,
    /// All settings; secrets are masked.
    pub settings: Table,
}

/// Settings that hold secrets in place.
const SECRETS: [&str; 2] = ["secrets", "hub_tokens"];

/// The sources of a configuration file that name a provider, as they take effect. None for a text
/// that isn't a configuration: reading it as one says why.
pub(crate) fn effective_sources(text: &str) -> Option<Vec<EffectiveSource>> {
    let mut document = DeTable::parse(text).ok()?;
    expand(document.get_mut()).ok()?;
    let place = document.span();
    let document = Spanned::new(place, document.into_inner());
    let mut document = Table::deserialize(toml::Deserializer::from(document)).ok()?;
    let Some(Value::Table(sources)) = document.remove("sources") else {
        return Some(Vec::new());
    };
    let sources = sources.into_iter().filter_map(|(name, settings)| {
        let Value::Table(mut settings) = settings else {
            return None;
        };
        let provider = settings.get("provider")?.as_str()?.to_owned();
        settings.remove("provider");
        mask(&mut settings);
        Some(EffectiveSource {
            name,
            provider,
            settings,
        })
    });
    Some(sources.collect())
}

impl EffectiveSource {
    /// The settings as a section of a configuration file.
    pub fn to_toml(&self) -> String {
        let source = Table::from_iter([(self.name.clone(), Value::Table(self.settings.clone()))]);
        let document = Table::from_iter([("sources".to_owned(), Value::Table(source))]);
        document.to_string()
    }
}

fn mask(table: &mut Table) {
    for (key, value) in table.iter_mut() {
        if SECRETS.contains(&key.as_str()) {
            *value = Value::Array(vec![Value::String("***".to_owned())]);
        } else {
            mask_within(value);
        }
    }
}

fn mask_within(value: &mut Value) {
    match value {
        Value::Table(table) => mask(table),
        Value::Array(items) => items.iter_mut().for_each(mask_within),
        _ => {}
    }
}
