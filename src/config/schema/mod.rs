//! The JSON Schema of relay.toml, for editors: made from the types that read the file.
//!
//! - `facts`: defaults and bounds, which the types don't tell. `choices`, `texts`: the values that
//!   are read by code of their own. `plain`: what a TOML file can't hold, and editors don't want.

mod choices;
mod facts;
mod plain;
#[cfg(test)]
mod tests;
mod texts;

use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::config::providers;
use crate::config::settings::Config;

/// The schema, by the draft 2020-12.
pub(crate) fn schema() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = Value::from(generator.into_root_schema_for::<Config>());
    plain::simplify(&mut schema);
    facts::add(&mut schema);
    let names: Vec<Value> = providers::FILES
        .iter()
        .map(|file| file.name.into())
        .collect();
    schema["$defs"]["Source"]["properties"]["provider"]["enum"] = names.into();
    schema["title"] = "relay.toml".into();
    schema["description"] = "The configuration of a relay.".into();
    schema
}
