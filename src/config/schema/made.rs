//! Makes the schema from the types that read relay.toml.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::{facts, plain};
use crate::config::providers;
use crate::config::settings::Config;

/// The schema, by the draft 2020-12.
pub fn schema() -> Value {
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
