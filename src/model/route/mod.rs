//! Routes: which of a source's events go to which further destinations.
//!
//! - `rule`: a route as it is configured. `pattern`: the values that a line expects.
//! - `table`: the routes of a source, ready to be evaluated. `explanation`: its reasons.
//! - `value`: the values that patterns are matched with. `headers`, `body`: where they are found.
//!
//! An event is routed by its type, the headers that are kept, and its body, and by nothing else, so
//! that a stored event is routed as it would be if it came now. Nothing here recurses over a
//! document; the cost of an event is that of one pass over its body, and of one comparison for each
//! value of the configuration.

mod body;
mod explanation;
mod headers;
mod pattern;
mod rule;
mod table;
#[cfg(test)]
mod tests;
mod value;

pub use super::number::Number;
pub use explanation::{FailedLine, RouteVerdict, Verdict};
pub use headers::header_values;
pub use pattern::{OneOrMany, RouteOperators, RoutePattern};
pub use rule::{Route, When};
pub use table::{RouteTable, RoutedEvent};
