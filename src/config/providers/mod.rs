//! Providers: the well-known senders of webhooks, one TOML file each in `providers/`. A source that
//! names a provider takes its settings from that file.
//!
//! A provider is data: the rest of the relay knows none by name.
//!
//! - `files`: the files, compiled in. `provider`: their contents.
//! - `needs`: the settings that only the operator knows.
//! - `merge`: lays a source's own settings over its provider's. `effective`: the result, for
//!   people.

mod effective;
mod files;
mod merge;
mod needs;
mod provider;
#[cfg(test)]
mod tests;

pub(crate) use effective::{EffectiveSource, effective_sources};
pub(crate) use files::{FILES, ProviderFile};
pub(super) use merge::expand;
pub(super) use needs::check_needs;
