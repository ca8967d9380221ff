//! A request as the configuration speaks of it: templates name its parts, and conditions test them.
//!
//! - `view`: the request. `json`, `form`: values within a body or a query.
//! - `template`: the template language. `evaluate`: fills a template from a request.
//! - `conditions`: the patterns of `when` and `require`. `format`: the layout of signatures.
//! - `forwarded`: the headers that are kept. `gzip`: compressed bodies.
//!
//! Everything here reads outside input: it is bounded, never panics, and fails closed. A part that
//! is missing where it is needed, or there twice, has no value.

mod conditions;
mod evaluate;
mod form;
mod format;
mod forwarded;
mod gzip;
mod json;
mod template;
#[cfg(test)]
mod tests;
mod view;

pub use conditions::{Conditions, OneOrMany, Operators, Pattern};
pub use evaluate::MissingPart;
pub use form::MAX_FIELDS;
pub use format::{SignatureField, SignatureFormat};
pub use forwarded::{
    is_forwarded, is_of_connection, is_of_this_hop, stored_headers, without_underscores,
};
pub use gzip::{Undecodable, gunzip, is_gzip};
pub use json::{
    Ambiguous, JsonPointer, Lookup, array_index, document, last_value_at, problem_of, scalar_text,
    value_at,
};
pub use template::{InvalidTemplate, Part, Template};
pub use view::RequestView;
