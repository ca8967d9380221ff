//! The syntax of values in `relay.toml` and in environment variables.
//!
//! `networks`: networks. `texts`: the syntax of values for the schema, in tests.

mod networks;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod texts;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use serde::de::{self, Deserialize, Deserializer, Visitor};

use crate::config::units::networks::Network;
pub(super) use networks::networks;
#[cfg(test)]
pub(crate) use texts::{
    DurationText, LastingText, ListenOrOffText, ListenText, NetworkText, SizeText,
};

/// Parses a duration such as `250ms`, `15s`, `5m`, `2h`, `7d`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let expected = || {
        format!(
            "{text:?}: expected a duration such as \"250ms\", \"15s\", \"5m\", \"2h\" or \"7d\""
        )
    };
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .ok_or_else(expected)?;
    let number: u64 = text[..split].parse().map_err(|_| expected())?;
    let millis = match &text[split..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(expected()),
    };
    number
        .checked_mul(millis)
        .map(Duration::from_millis)
        .ok_or_else(expected)
}

/// Parses a number of bytes such as `512`, `64KiB`, `1MiB`, `2GiB`.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let expected =
        || format!("{text:?}: expected a size such as \"512\", \"64KiB\", \"1MiB\" or \"2GiB\"");
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let number: u64 = text[..split].parse().map_err(|_| expected())?;
    let unit: u64 = match &text[split..] {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(expected()),
    };
    number.checked_mul(unit).ok_or_else(expected)
}

/// Parses an address and port; `:8080` means every IPv4 interface.
pub(super) fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    let parsed = match text.strip_prefix(':') {
        Some(port) => port
            .parse()
            .ok()
            .map(|port: u16| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))),
        None => text.parse().ok(),
    };
    parsed.ok_or_else(|| {
        format!(
            "{text:?}: expected an address and port such as \"127.0.0.1:8080\", \"[::1]:8080\" \
             or \":8080\""
        )
    })
}

/// A value that is written as a text.
struct Text<T> {
    parse: fn(&str) -> Result<T, String>,
    expected: &'static str,
}

impl<T> Text<T> {
    fn new(parse: fn(&str) -> Result<T, String>, expected: &'static str) -> Self {
        Self { parse, expected }
    }
}

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        // Only a size may be a bare number: the unit of any other value would be a guess.
        if self.expected == SIZE {
            (self.parse)(&number.to_string()).map_err(E::custom)
        } else {
            Err(E::invalid_type(de::Unexpected::Signed(number), &self))
        }
    }
}

const DURATION: &str = "a duration such as \"15s\"";
const SIZE: &str = "a size such as 32768 or \"64KiB\"";
const LISTEN: &str = "an address and port such as \"127.0.0.1:8080\"";

pub(super) fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    from.deserialize_any(Text::new(parse_duration, DURATION))
}

pub(super) fn some_duration<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Duration>, D::Error> {
    duration(from).map(Some)
}

/// A duration, or `forever`: none.
pub(super) fn duration_or_forever<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Duration>, D::Error> {
    let parse = |text: &str| match text {
        "forever" => Ok(None),
        text => parse_duration(text)
            .map(Some)
            .map_err(|message| format!("{message}, or \"forever\"")),
    };
    from.deserialize_str(Text::new(
        parse,
        "a duration such as \"7d\", or \"forever\"",
    ))
}

pub(super) fn durations<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Duration>, D::Error> {
    struct One(Duration);
    impl<'de> Deserialize<'de> for One {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            duration(from).map(Self)
        }
    }
    let all: Vec<One> = Vec::deserialize(from)?;
    Ok(all.into_iter().map(|one| one.0).collect())
}

/// A list that protects: an empty one would protect nothing, and look as if nothing passed.
pub(super) fn at_least_one<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Vec<T>, D::Error> {
    let list = Vec::deserialize(from)?;
    if list.is_empty() {
        let problem = "[]: expected at least one; without the key nothing is checked";
        return Err(serde::de::Error::custom(problem));
    }
    Ok(list)
}

/// Networks that protect.
pub(super) fn some_networks<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<IpNet>, D::Error> {
    let networks: Vec<Network> = at_least_one(from)?;
    Ok(networks.into_iter().map(|network| network.0).collect())
}

pub(super) fn size<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    from.deserialize_any(Text::new(parse_size, SIZE))
}

pub(super) fn some_size<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    size(from).map(Some)
}

pub(super) fn listen<'de, D: Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    from.deserialize_any(Text::new(parse_listen, LISTEN))
}

pub(super) fn listen_or_off<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<SocketAddr>, D::Error> {
    from.deserialize_any(Text::new(parse_listen_or_off, LISTEN))
}

/// Parses as [`parse_listen`] does; the empty string turns the listener off.
pub(super) fn parse_listen_or_off(text: &str) -> Result<Option<SocketAddr>, String> {
    if text.is_empty() {
        Ok(None)
    } else {
        parse_listen(text).map(Some)
    }
}
