//! Lays a source's own settings over those of its provider.

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::providers::files::ProviderFile;

/// A source whose provider can't be used.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::config) struct UnknownProvider {
    /// The key, and the problem of its value.
    pub problem: (String, String),
    /// The place of the value in the file.
    pub place: Range<usize>,
}

/// Tables of a source whose entries are merged one by one. Any other value of the source replaces
/// the provider's as a whole.
const MERGED_TABLES: [&str; 2] = ["require", "params"];

/// Settings of a scheme of which one stands for the other: the source's own takes the provider's
/// counterpart away.
const ALTERNATIVES: [(&str, &str); 4] = [
    ("header", "signature"),
    ("header", "value"),
    ("timestamp", "timestamp_header"),
    ("public_keys", "public_keys_file"),
];

/// Gives every source of a document that names a provider the provider's settings, below its own.
pub(in crate::config) fn expand(document: &mut DeTable<'_>) -> Result<(), UnknownProvider> {
    let Some(DeValue::Table(sources)) = document.get_mut("sources").map(Spanned::get_mut) else {
        return Ok(());
    };
    for (name, source) in sources.iter_mut() {
        let DeValue::Table(source) = source.get_mut() else {
            continue;
        };
        let Some(provider) = source.get("provider") else {
            continue;
        };
        // A value that is no text is refused by the type of `provider`.
        let Some(wanted) = provider.get_ref().as_str() else {
            continue;
        };
        let place = provider.span();
        let file = ProviderFile::find(wanted).ok_or_else(|| UnknownProvider {
            problem: (
                format!("sources.{}.provider", name.get_ref()),
                format!("{wanted:?}: expected a name that `relay providers` lists"),
            ),
            place: place.clone(),
        })?;
        let mut merged: DeTable<'_> = file.source(&place);
        lay_over(&mut merged, std::mem::take(source));
        *source = merged;
    }
    Ok(())
}

/// Lays a source's own settings over the provider's.
fn lay_over<'a>(preset: &mut DeTable<'a>, own: DeTable<'a>) {
    let key = own.get("idempotency").map(Spanned::get_ref);
    if key.and_then(DeValue::as_str) == Some("none") {
        // They are about duplicates, of which there are none without a key.
        preset.remove("idempotency_window");
        preset.remove("on_redelivery");
    }
    for (key, value) in own {
        match key.get_ref().as_ref() {
            "verify" => {
                preset.remove("verify_any");
                lay_verify_over(preset, key, value);
                continue;
            }
            "verify_any" => {
                preset.remove("verify");
            }
            name if MERGED_TABLES.contains(&name) => {
                if let Some(DeValue::Table(below)) = preset.get_mut(name).map(Spanned::get_mut)
                    && let DeValue::Table(above) = value.get_ref()
                    && !above.is_empty()
                {
                    merge(below, above.clone());
                    continue;
                }
            }
            _ => {}
        }
        replace(preset, key, value);
    }
}

/// A scheme of the provider's own kind is merged setting by setting; another one replaces it.
fn lay_verify_over<'a>(
    preset: &mut DeTable<'a>,
    key: Spanned<Cow<'a, str>>,
    value: Spanned<DeValue<'a>>,
) {
    if let Some(DeValue::Table(below)) = preset.get_mut("verify").map(Spanned::get_mut)
        && let DeValue::Table(above) = value.get_ref()
        && above.len() == 1
        && let Some((scheme, settings)) = above.iter().next()
        && let Some(DeValue::Table(below)) = below
            .get_mut(scheme.get_ref().as_ref())
            .map(Spanned::get_mut)
        && let DeValue::Table(settings) = settings.get_ref()
    {
        merge_scheme(below, settings.clone());
    } else {
        replace(preset, key, value);
    }
}

/// An empty text takes the provider's setting away: a scheme has no setting whose value is empty.
fn merge_scheme<'a>(preset: &mut DeTable<'a>, own: DeTable<'a>) {
    for (key, value) in own {
        let name = key.get_ref().as_ref();
        for (one, other) in ALTERNATIVES {
            if name == one {
                preset.remove(other);
            } else if name == other {
                preset.remove(one);
            }
        }
        if value.get_ref().as_str() == Some("") {
            preset.remove(name);
        } else {
            replace(preset, key, value);
        }
    }
}

/// Merges tables down to the values that are no tables.
fn merge<'a>(preset: &mut DeTable<'a>, own: DeTable<'a>) {
    for (key, value) in own {
        let name = key.get_ref().as_ref();
        if let Some(DeValue::Table(below)) = preset.get_mut(name).map(Spanned::get_mut)
            && let DeValue::Table(above) = value.get_ref()
        {
            merge(below, above.clone());
        } else {
            replace(preset, key, value);
        }
    }
}

/// Inserts an entry, its key included: an error about the key names the place of the new one.
fn replace<'a>(table: &mut DeTable<'a>, key: Spanned<Cow<'a, str>>, value: Spanned<DeValue<'a>>) {
    table.remove(key.get_ref().as_ref());
    table.insert(key, value);
}
