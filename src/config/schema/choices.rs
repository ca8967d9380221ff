//! The schemas of values that may be written in several ways.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::config::sections::{
    Handshake, HandshakeName, HandshakeTable, HeaderNames, IdempotencyKeyAt, Ordering, ReplyJson,
};
use crate::model::Number;
use crate::model::request::{self, Operators};
use crate::model::route::{self, RouteOperators, RoutePattern};

macro_rules! schema_of {
    ($type:ty, $name:literal, |$generator:ident| $schema:expr) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema($generator: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

schema_of!(HeaderNames, "HeaderNames", |_generator| json_schema!({
    "description": "A header's name, or a list of names.",
    "type": ["string", "array"],
    "items": { "type": "string" },
}));

schema_of!(Ordering, "Ordering", |_generator| json_schema!({
    "description": "The order of deliveries: \"source\", \"all\", or a table with by or header.",
    "anyOf": [
        { "enum": ["source", "all"] },
        {
            "type": "object",
            "properties": {
                "by": {
                    "description": "A JSON pointer into the body, \"source\" or \"all\".",
                    "type": "string",
                    "pattern": "^(/.*|source|all)$",
                },
                "header": { "description": "The name of a header.", "type": "string" },
                "on_dead": {
                    "description": "The fate of a key's later deliveries once one is \
                                    dead-lettered.",
                    "enum": ["block", "skip"],
                    "default": "skip",
                },
            },
            "oneOf": [{ "required": ["by"] }, { "required": ["header"] }],
            "additionalProperties": false,
        },
    ],
}));

schema_of!(IdempotencyKeyAt, "Idempotency", |_generator| {
    let text = serde_json::json!({ "type": "string", "minLength": 1 });
    let pointer = serde_json::json!({ "type": "string", "pattern": "^/" });
    let names = serde_json::json!({
        "type": "array", "items": text, "minItems": 1, "maxItems": 8,
    });
    let place = serde_json::json!({
        "anyOf": [
            { "enum": ["none", "body"] },
            {
                "type": "object",
                "properties": {
                    "header": text,
                    "headers": names,
                    "json_pointer": pointer,
                    "form": text,
                    "query": text,
                },
                "minProperties": 1,
                "maxProperties": 1,
                "additionalProperties": false,
            },
        ],
    });
    json_schema!({
        "description": "The place of the key, or a list of places, of which the first that has one \
                        counts.",
        "anyOf": [place, { "type": "array", "items": place, "minItems": 1, "maxItems": 8 }],
    })
});

schema_of!(Handshake, "Handshake", |generator| {
    let name = generator.subschema_for::<HandshakeName>();
    let table = generator.subschema_for::<HandshakeTable>();
    json_schema!({
        "description": "The name of a handshake that relay knows, or a description of one.",
        "anyOf": [name, table],
    })
});

schema_of!(ReplyJson, "ReplyJson", |generator| {
    let within = generator.subschema_for::<ReplyJson>();
    json_schema!({
        "description": "A JSON document whose texts are templates.",
        "type": ["object", "array", "string", "number", "boolean"],
        "additionalProperties": within,
        "items": within,
    })
});

schema_of!(request::Pattern, "Pattern", |generator| {
    let operators = generator.subschema_for::<Operators>();
    json_schema!({
        "description": "An expected value, or a table of operators.",
        "anyOf": [{ "type": ["string", "number", "boolean"] }, operators],
    })
});

schema_of!(RoutePattern, "RoutePattern", |generator| {
    let operators = generator.subschema_for::<RouteOperators>();
    json_schema!({
        "description": "An expected value, or a table of operators.",
        "anyOf": [{ "type": ["string", "number", "boolean"] }, operators],
    })
});

schema_of!(request::OneOrMany, "Patterns", |generator| {
    let one = generator.subschema_for::<request::Pattern>();
    json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
});

schema_of!(route::OneOrMany, "RoutePatterns", |generator| {
    let one = generator.subschema_for::<RoutePattern>();
    json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
});

schema_of!(
    Number,
    "Number",
    |_generator| json_schema!({ "type": "number" })
);
