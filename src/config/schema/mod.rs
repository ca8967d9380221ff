//! The JSON Schema of relay.toml, for editors.
//!
//! - `relay.schema.json`: the schema, by the draft 2020-12. It is part of the program as a text,
//!   since the code that makes it would be six times as large.
//! - `made`: makes it from the types that read relay.toml, in tests, which compare the two.
//!   `facts`: defaults and bounds, which the types don't tell. `choices`, `texts`: the values that
//!   are read by code of their own. `plain`: what a TOML file can't hold, and editors don't want.

#[cfg(test)]
mod choices;
#[cfg(test)]
mod facts;
#[cfg(test)]
mod made;
#[cfg(test)]
mod plain;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod texts;

/// The schema, as `relay schema` prints it.
pub(crate) const SCHEMA: &str = include_str!("relay.schema.json");
