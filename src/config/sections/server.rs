//! `[server]`: the public listener.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

use crate::config::rules::{Checked, MAX_BODY_BYTES, check_public_url, timeout, within};
use crate::config::sections::acme::Acme;
use crate::config::sections::tls::Tls;
use crate::config::units;

/// The public listener and its limits.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// The address to listen at. Default: `127.0.0.1:8080`.
    #[serde(deserialize_with = "units::listen")]
    #[cfg_attr(test, schemars(with = "units::ListenText"))]
    pub listen: SocketAddr,
    /// Open connections, at most; further ones wait in the kernel's backlog. Default: 1 024.
    pub max_connections: u32,
    /// The largest body on `/v1`, in bytes. Default: 32 KiB.
    #[serde(deserialize_with = "units::size")]
    #[cfg_attr(test, schemars(with = "units::SizeText"))]
    pub max_body_bytes: u64,
    /// The time for a client to send the headers of a request, from their first byte on; for the
    /// first request of a connection, from its beginning. Default: 10 s.
    #[serde(deserialize_with = "units::duration")]
    #[cfg_attr(test, schemars(with = "units::DurationText"))]
    pub header_timeout: Duration,
    /// The time for a connection to be idle between an answer and the next request. Default: 75 s,
    /// longer than the minute for which proxies and load balancers keep an idle connection, so that
    /// they never send a request on one that relay is closing.
    #[serde(deserialize_with = "units::duration")]
    #[cfg_attr(test, schemars(with = "units::DurationText"))]
    pub keep_alive_timeout: Duration,
    /// The headers of a request, at most. Default: 100.
    pub max_headers: usize,
    /// The largest line and headers of a request, in bytes. Default: 32 KiB.
    #[serde(deserialize_with = "units::size")]
    #[cfg_attr(test, schemars(with = "units::SizeText"))]
    pub max_header_bytes: u64,
    /// The time for a request from its headers to its answer. Default: 30 s.
    #[serde(deserialize_with = "units::duration")]
    #[cfg_attr(test, schemars(with = "units::DurationText"))]
    pub request_timeout: Duration,
    /// The time for requests and attempts to finish when the relay stops. Default: 10 s.
    #[serde(deserialize_with = "units::duration")]
    #[cfg_attr(test, schemars(with = "units::DurationText"))]
    pub shutdown_grace: Duration,
    /// The beginning of the URLs that providers were given, up to the path. Default: none.
    pub public_url: Option<String>,
    /// Networks of proxies whose `X-Forwarded-For` is believed. Default: none.
    #[serde(deserialize_with = "units::networks")]
    #[cfg_attr(test, schemars(with = "Vec<units::NetworkText>"))]
    pub trusted_proxies: Vec<IpNet>,
    /// The certificate of the listener, which then speaks TLS alone. Default: none.
    pub tls: Option<Tls>,
    /// The certificate by ACME, in place of `tls`. Default: none.
    pub acme: Option<Acme>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            max_connections: 1024,
            max_body_bytes: 32_768,
            header_timeout: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(75),
            max_headers: 100,
            max_header_bytes: 32 << 10,
            request_timeout: Duration::from_secs(30),
            shutdown_grace: Duration::from_secs(10),
            public_url: None,
            trusted_proxies: Vec::new(),
            tls: None,
            acme: None,
        }
    }
}

impl Server {
    /// Whether the listener speaks TLS, with a certificate from files or from ACME.
    pub(crate) fn speaks_tls(&self) -> bool {
        self.tls.is_some() || self.acme.is_some()
    }

    /// Fewer headers than a browser sends, or fewer bytes than hyper reads at once, are a typo;
    /// more are held in memory for each connection.
    const HEADERS: RangeInclusive<usize> = 8..=1024;
    const HEADER_BYTES: RangeInclusive<u64> = 8 << 10..=1 << 20;

    pub(in crate::config) fn check(&self, key: &str) -> Checked {
        within(
            &format!("{key}.max_connections"),
            self.max_connections,
            1,
            65_536,
        )?;
        within(
            &format!("{key}.max_body_bytes"),
            self.max_body_bytes,
            1,
            MAX_BODY_BYTES,
        )?;
        within(
            &format!("{key}.max_headers"),
            self.max_headers,
            *Self::HEADERS.start(),
            *Self::HEADERS.end(),
        )?;
        within(
            &format!("{key}.max_header_bytes"),
            self.max_header_bytes,
            *Self::HEADER_BYTES.start(),
            *Self::HEADER_BYTES.end(),
        )?;
        timeout(&format!("{key}.header_timeout"), self.header_timeout)?;
        timeout(
            &format!("{key}.keep_alive_timeout"),
            self.keep_alive_timeout,
        )?;
        timeout(&format!("{key}.request_timeout"), self.request_timeout)?;
        timeout(&format!("{key}.shutdown_grace"), self.shutdown_grace)?;
        if let Some(tls) = &self.tls {
            tls.check(&format!("{key}.tls"))?;
        }
        if let Some(acme) = &self.acme {
            if self.tls.is_some() {
                let problem = "contradicts server.tls: expected one of the two";
                return Err((format!("{key}.acme"), problem.to_owned()));
            }
            acme.check(&format!("{key}.acme"), self.listen.port())?;
        }
        match &self.public_url {
            Some(url) => check_public_url(&format!("{key}.public_url"), url),
            None => Ok(()),
        }
    }
}
