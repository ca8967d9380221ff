//! The addresses that may send events to a source.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hyper::header::{HeaderMap, HeaderName};
use ipnet::IpNet;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The networks of a source's senders, and of the proxies before relay.
pub(super) struct AllowedAddresses {
    allowed: Vec<IpNet>,
    trusted_proxies: Arc<[IpNet]>,
}

impl AllowedAddresses {
    /// None if every address may send.
    pub fn new(allowed: &[IpNet], trusted_proxies: &Arc<[IpNet]>) -> Option<Self> {
        (!allowed.is_empty()).then(|| Self {
            allowed: allowed.to_vec(),
            trusted_proxies: Arc::clone(trusted_proxies),
        })
    }

    /// Whether the sender of a request may send. `peer` is the other end of its connection.
    pub fn allow(&self, peer: IpAddr, headers: &HeaderMap) -> bool {
        let sender = sender(peer, headers, &self.trusted_proxies);
        sender.is_some_and(|sender| contains(&self.allowed, sender))
    }
}

/// The address of the sender: the peer, or the address that the last trusted proxy names. None if
/// a proxy that is trusted names something that is no address.
fn sender(peer: IpAddr, headers: &HeaderMap, trusted_proxies: &[IpNet]) -> Option<IpAddr> {
    let mut sender = peer.to_canonical();
    // Each proxy appends the address that it was called from: the last entry is the nearest.
    let lines = headers.get_all(FORWARDED_FOR).iter().rev();
    let mut entries = lines.flat_map(|line| line.as_bytes().rsplit(|&b| b == b','));
    while contains(trusted_proxies, sender) {
        let Some(entry) = entries.next() else {
            break;
        };
        sender = address(entry)?;
    }
    Some(sender)
}

/// An entry of `X-Forwarded-For`: an address, which some proxies write with its port.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim();
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let address: IpAddr = text.parse().ok().or_else(bracketed).or_else(with_port)?;
    Some(address.to_canonical())
}

fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

#[cfg(test)]
mod tests;
