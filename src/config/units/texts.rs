//! The syntax of values for the schema: one type for each function that reads a text.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident: $schema:tt;)*) => {$(
        $(#[$doc])*
        pub(crate) enum $name {}

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )*};
}

texts! {
    /// A duration, with its unit.
    DurationText: { "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$" };
    /// A duration, or `forever`.
    LastingText: { "type": "string", "pattern": "^([0-9]+(ms|s|m|h|d)|forever)$" };
    /// A size in bytes, or with its unit.
    SizeText: {
        "type": ["integer", "string"],
        "minimum": 0,
        "pattern": "^[0-9]+(B|KiB|MiB|GiB)?$",
    };
    /// An address and a port.
    ListenText: { "type": "string", "pattern": "^(.+)?:[0-9]+$" };
    /// An address and a port, or nothing.
    ListenOrOffText: { "type": "string", "pattern": "^((.+)?:[0-9]+)?$" };
    /// A network, such as `10.0.0.0/8`.
    NetworkText: { "type": "string", "pattern": "^[0-9A-Fa-f.:]+/[0-9]{1,3}$" };
}
