//! Each key is live or takes a restart: the table in the code, the sections and the document agree.

use std::cell::RefCell;

use serde::Deserialize as _;
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};

use super::*;

/// Tables within sections whose keys take effect in ways of their own.
const OWN_TABLES: [&str; 1] = ["tls"];

type Error = serde::de::value::Error;

/// Follows a path of keys into a type, and reports the fields of the table that is there.
struct Explorer<'a> {
    path: &'a [String],
    fields: &'a RefCell<Vec<String>>,
}

impl<'de> Deserializer<'de> for Explorer<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("a value"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if self.path.is_empty() {
            *self.fields.borrow_mut() = fields.iter().map(|key| (*key).to_owned()).collect();
            return Err(Error::custom("found"));
        }
        visitor.visit_map(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

impl<'de> MapAccess<'de> for Explorer<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let key: StrDeserializer<'_, Error> = StrDeserializer::new(&self.path[0]);
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        seed.deserialize(Explorer {
            path: &self.path[1..],
            fields: self.fields,
        })
    }
}

/// The keys of the table at a path; none if a value is there.
fn fields(path: &[String]) -> Vec<String> {
    let fields = RefCell::default();
    let explorer = Explorer {
        path,
        fields: &fields,
    };
    Config::deserialize(explorer).expect_err("an explorer has no values");
    fields.into_inner()
}

#[test]
fn every_key_of_the_file_is_in_the_table() {
    let mut keys = Vec::new();
    for section in fields(&[]) {
        if section == "sources" || section == "destinations" {
            assert!(NAMED.iter().any(|key| key.starts_with(&section)));
            continue;
        }
        let of_section = fields(std::slice::from_ref(&section));
        for key in &of_section {
            // A reference to a variable or a file is another way to write its key.
            let base = key
                .strip_suffix("_env")
                .or_else(|| key.strip_suffix("_file"));
            let base = base.filter(|base| of_section.iter().any(|known| known == base));
            let key = base.unwrap_or(key);
            keys.push(format!("{section}.{key}"));
            if OWN_TABLES.contains(&key) {
                let of_table = fields(&[section.clone(), key.to_owned()]);
                keys.extend(
                    of_table
                        .iter()
                        .map(|name| format!("{section}.{key}.{name}")),
                );
            }
        }
    }
    keys.sort();
    keys.dedup();
    let mut known: Vec<_> = SETTINGS
        .iter()
        .map(|setting| setting.key.to_owned())
        .collect();
    known.sort();
    assert_eq!(keys, known);
}

#[test]
fn the_document_shows_the_table() {
    let document = include_str!("../../../docs/configuration.md");
    let (_, section) = document
        .split_once("\n## Settings and reloads\n")
        .expect("the section");
    let rows = section.lines().skip_while(|line| !line.starts_with("|---"));
    let shown: Vec<_> = rows
        .skip(1)
        .take_while(|row| row.starts_with('|'))
        .map(str::to_owned)
        .collect();
    let settings = SETTINGS.iter().map(|setting| (setting.key, setting.effect));
    let named = NAMED.iter().map(|key| (*key, Effect::Live));
    let expected: Vec<_> = settings
        .chain(named)
        .map(|(key, effect)| format!("| `{key}` | {} |", effect.name()))
        .collect();
    assert_eq!(shown, expected, "copy these:\n{}", expected.join("\n"));
}
