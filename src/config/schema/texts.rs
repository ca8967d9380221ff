//! The schemas of values that are texts, and are parsed by code of their own.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::config::sections::{ProxySetting, ReplyText};
use crate::model::request::{SignatureFormat, Template};
use crate::model::{NoProxy, TargetUrl};

macro_rules! texts {
    ($($type:ident: $description:literal, $pattern:literal;)*) => {$(
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string",
                    "description": $description,
                    "pattern": $pattern,
                })
            }
        }
    )*};
}

texts! {
    TargetUrl: "A URL such as https://orders.internal/hook.", "^[Hh][Tt][Tt][Pp][Ss]?://[^\\s]+$";
    ProxySetting: "A proxy such as http://proxy:3128; empty: none.", "^(http://[^\\s]+)?$";
    NoProxy: "A name with all names below it, or a network.", "^[^\\s]+$";
    Template: "A text with parts of the request in braces, such as {timestamp}.{body}.", "^";
    SignatureFormat: "A text with {signature}, and maybe {timestamp}.", "\\{signature\\}";
    ReplyText: "A text with parts of the request in braces, such as {query.challenge}.", "^";
}
