//! Networks, such as `10.0.0.0/8`.

use std::fmt;

use ipnet::IpNet;
use serde::de::{self, Deserialize, Deserializer, Visitor};

use crate::model::canonical_network;

/// Parses a network. Addresses are compared in their canonical form, and so are networks.
fn parse_network(text: &str) -> Result<IpNet, String> {
    text.parse().map(canonical_network).map_err(|_| {
        format!(
            "{text:?}: expected a network such as \"192.0.2.0/24\" or \"2001:db8::/32\"; a single \
             address is \"192.0.2.1/32\" or \"2001:db8::1/128\""
        )
    })
}

/// One element of a list.
pub(super) struct Network(pub IpNet);

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Read;

        impl Visitor<'_> for Read {
            type Value = Network;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a network such as \"192.0.2.0/24\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Network, E> {
                parse_network(text).map(Network).map_err(E::custom)
            }
        }

        from.deserialize_str(Read)
    }
}

pub(in crate::config) fn networks<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Vec<IpNet>, D::Error> {
    let networks: Vec<Network> = Vec::deserialize(from)?;
    Ok(networks.into_iter().map(|network| network.0).collect())
}
