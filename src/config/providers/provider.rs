//! The contents of a provider's file.

use std::ops::Range;

use serde::Deserialize;
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use crate::config::providers::files::{FILES, ProviderFile};

/// The description of a provider, for the operator.
#[derive(Debug, Deserialize)]
pub(crate) struct Provider {
    /// The product's name.
    pub title: String,
    /// The page where the provider documents its signatures.
    pub docs: String,
    /// The evidence for the verification: a published vector, a documented scheme, a token, or the
    /// reason why there is none.
    pub verified_by: String,
    /// The steps at the provider, in order.
    pub setup: Vec<String>,
    /// Facts that the operator should know.
    pub notes: Vec<String>,
    /// The settings that only the operator knows.
    #[serde(default)]
    pub needs: Vec<Need>,
}

/// A setting that a provider's preset can't know.
#[derive(Debug, Deserialize)]
pub(crate) struct Need {
    /// The key, such as `secrets_env` or `params.topic_arn`.
    pub name: String,
    /// The value's meaning.
    pub about: String,
    /// The line of a source that sets it; none if it isn't set in the file.
    pub line: Option<String>,
}

impl ProviderFile {
    /// The file of a provider.
    pub fn find(name: &str) -> Option<&'static Self> {
        FILES.iter().find(|file| file.name == name)
    }

    /// The description.
    pub fn describe(&self) -> Provider {
        toml::from_str(self.text).expect("a test reads every provider's file")
    }

    /// A section of a configuration file that connects the provider to the destination `orders`.
    pub fn section(&self) -> String {
        let name = self.name;
        let needs = self.describe().needs;
        let lines = needs.into_iter().filter_map(|need| need.line);
        let lines: String = lines.map(|line| line + "\n").collect();
        format!("[sources.{name}]\nprovider = \"{name}\"\n{lines}destinations = [\"orders\"]\n")
    }

    /// The settings of a source.
    pub fn settings(&self) -> Table {
        let mut document: Table =
            toml::from_str(self.text).expect("a test reads every provider's file");
        match document.remove("source") {
            Some(Value::Table(source)) => source,
            _ => unreachable!("a test finds the source of every provider's file"),
        }
    }

    /// The names of the provider's schemes.
    pub fn scheme_names(&self) -> Vec<String> {
        let settings = self.settings();
        let one = settings.get("verify").and_then(Value::as_table);
        let any = settings.get("verify_any").and_then(Value::as_array);
        let any = any.into_iter().flatten().filter_map(Value::as_table);
        let tables = one.into_iter().chain(any);
        let names = tables.flat_map(Table::keys).filter(|name| *name != "when");
        names.cloned().collect()
    }

    /// The settings of a source, as text with the file's layout, under the header `[sources.NAME]`.
    pub fn source_text(&self, source: &str) -> String {
        let is_header = |line: &str, table: &str| line.trim_start_matches('[').starts_with(table);
        let lines = self
            .text
            .lines()
            .skip_while(|line| !is_header(line, "source]"))
            .take_while(|line| {
                !is_header(line, "vectors]") && !is_header(line, "handshake_vectors]")
            })
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut text = String::new();
        for line in lines {
            let rest = line.trim_start_matches('[');
            let brackets = &line[..line.len() - rest.len()];
            match rest.strip_prefix("source") {
                Some(rest) if !brackets.is_empty() => {
                    text.extend([brackets, "sources.", source, rest]);
                }
                _ => text.push_str(line),
            }
            text.push('\n');
        }
        text
    }

    /// The settings of a source, to be merged. Each value has the place of the key `provider` in
    /// the operator's file: an error about a value then names a line of that file.
    pub(super) fn source(&self, place: &Range<usize>) -> DeTable<'static> {
        let document = DeTable::parse(self.text).expect("a test reads every provider's file");
        let source = document.into_inner().remove("source");
        match source.map(|source| placed(source.into_inner(), place).into_inner()) {
            Some(DeValue::Table(source)) => source,
            _ => unreachable!("a test finds the source of every provider's file"),
        }
    }
}

/// A value with another place, and all values in it.
fn placed<'a>(value: DeValue<'a>, place: &Range<usize>) -> Spanned<DeValue<'a>> {
    let value = match value {
        DeValue::Array(items) => {
            let items = items.into_iter();
            DeValue::Array(items.map(|item| placed(item.into_inner(), place)).collect())
        }
        DeValue::Table(entries) => {
            let entries = entries.into_iter().map(|(key, value)| {
                let key = Spanned::new(place.clone(), key.into_inner());
                (key, placed(value.into_inner(), place))
            });
            DeValue::Table(entries.collect())
        }
        simple => simple,
    };
    Spanned::new(place.clone(), value)
}
