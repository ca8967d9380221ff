//! How values are written in `relay.toml` and in environment variables.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Visitor};

/// A duration such as `250ms`, `15s`, `5m`, `2h`, `7d`.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
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

/// A number of bytes such as `512`, `64KiB`, `1MiB`, `2GiB`.
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

/// An address and port; `:8080` means every IPv4 interface.
pub(super) fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    let parsed = match text.strip_prefix(':') {
        Some(port) => port
            .parse()
            .ok()
            .map(|port: u16| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))),
        None => text.parse().ok(),
    };
    parsed.ok_or_else(|| {
        format!("{text:?}: expected an address and port such as \"127.0.0.1:8080\", \"[::1]:8080\" or \":8080\"")
    })
}

struct Text<T>(fn(&str) -> Result<T, String>, &'static str);

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.1)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.0)(text).map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        // Sizes may be written as bare numbers; nothing else may, since its unit would be a guess.
        if self.1 == SIZE {
            (self.0)(&number.to_string()).map_err(E::custom)
        } else {
            Err(E::invalid_type(de::Unexpected::Signed(number), &self))
        }
    }
}

const DURATION: &str = "a duration such as \"15s\"";
const SIZE: &str = "a size such as 32768 or \"64KiB\"";
const LISTEN: &str = "an address and port such as \"127.0.0.1:8080\"";

pub(super) fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    from.deserialize_any(Text(parse_duration, DURATION))
}

pub(super) fn some_duration<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Duration>, D::Error> {
    duration(from).map(Some)
}

/// A duration, or `forever`, which is none.
pub(super) fn duration_or_forever<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Duration>, D::Error> {
    let parse = |text: &str| match text {
        "forever" => Ok(None),
        text => parse_duration(text)
            .map(Some)
            .map_err(|message| format!("{message}, or \"forever\"")),
    };
    from.deserialize_str(Text(parse, "a duration such as \"7d\", or \"forever\""))
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

pub(super) fn size<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    from.deserialize_any(Text(parse_size, SIZE))
}

pub(super) fn some_size<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    size(from).map(Some)
}

pub(super) fn listen<'de, D: Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    from.deserialize_any(Text(parse_listen, LISTEN))
}

pub(super) fn listen_or_off<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<SocketAddr>, D::Error> {
    from.deserialize_any(Text(parse_listen_or_off, LISTEN))
}

/// As [`parse_listen`]; the empty string turns the listener off.
pub(super) fn parse_listen_or_off(text: &str) -> Result<Option<SocketAddr>, String> {
    if text.is_empty() {
        Ok(None)
    } else {
        parse_listen(text).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(parse_duration("7d"), Ok(Duration::from_secs(604_800)));
        for text in [
            "",
            "s",
            "15",
            "1.5s",
            "-1s",
            "15 s",
            "15sec",
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_may_have_a_unit() {
        assert_eq!(parse_size("512"), Ok(512));
        assert_eq!(parse_size("64KiB"), Ok(65_536));
        for text in ["", "KiB", "64KB", "64 KiB", "-1", "18446744073709551615GiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_bare_port_listens_everywhere() {
        assert_eq!(parse_listen(":8429"), Ok(([0, 0, 0, 0], 8429).into()));
        assert!(parse_listen("localhost").is_err());
        assert!(parse_listen(":").is_err());
        assert_eq!(parse_listen_or_off(""), Ok(None));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".*") {
            let _ = parse_duration(&text);
            let _ = parse_size(&text);
            let _ = parse_listen(&text);
        }
    }
}
