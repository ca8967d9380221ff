//! The way to a destination: a proxy, and the certificates of both sides.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::secrets::Secret;
use crate::config::sections::{Destination, ProxySetting, proxy_authorization};
use crate::config::settings::Config;
use crate::model::{NoProxy, ProxyUrl};

/// The way to a destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkPolicy {
    /// The proxy that it is reached through; none: directly.
    pub proxy: Option<Arc<ProxyPolicy>>,
    /// The only certificates to trust; none: the usual roots.
    pub ca_file: Option<PathBuf>,
    /// The certificate that relay presents; none: none.
    pub client_certificate: Option<ClientCertificate>,
}

/// A proxy, and what it is used for.
#[derive(Debug, PartialEq, Eq)]
pub struct ProxyPolicy {
    /// Its address.
    pub url: ProxyUrl,
    /// Hosts that are reached without it.
    pub no_proxy: Vec<NoProxy>,
    /// The value of `Proxy-Authorization`.
    pub authorization: Option<Secret>,
}

/// The files of a client certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// A PEM file of the certificate and its chain.
    pub certificate: PathBuf,
    /// A PEM file of its private key.
    pub key: PathBuf,
}

impl NetworkPolicy {
    /// Whether a destination needs connections of its own: those of others were made in another
    /// way. `shared` is the proxy of the shared ones.
    pub fn is_own(&self, shared: Option<&Arc<ProxyPolicy>>) -> bool {
        self.ca_file.is_some() || self.client_certificate.is_some() || self.proxy.as_ref() != shared
    }

    /// The files that it names.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let client = self.client_certificate.as_ref();
        let pair = client.map(|files| [&files.certificate, &files.key]);
        self.ca_file.iter().chain(pair.into_iter().flatten())
    }
}

impl ProxyPolicy {
    /// Whether a URL's host is reached through it.
    pub fn is_for(&self, host: &str) -> bool {
        !self.no_proxy.iter().any(|exempt| exempt.covers(host))
    }
}

impl Config {
    /// The proxy of destinations without one of their own.
    pub(super) fn delivery_proxy(&self) -> Option<Arc<ProxyPolicy>> {
        let delivery = &self.delivery;
        let url = delivery.proxy.as_ref().and_then(ProxySetting::url)?;
        Some(Arc::new(ProxyPolicy {
            url: url.clone(),
            no_proxy: delivery.no_proxy.clone(),
            authorization: delivery
                .proxy_authorization
                .as_ref()
                .and_then(proxy_authorization),
        }))
    }

    /// The way to a named destination, or to all others. `shared` is [`Self::delivery_proxy`].
    pub(super) fn network_policy(
        &self,
        to: Option<&Destination>,
        shared: Option<&Arc<ProxyPolicy>>,
    ) -> NetworkPolicy {
        let Some(to) = to else {
            return NetworkPolicy {
                proxy: shared.filter(|_| self.delivery.proxy_adhoc).cloned(),
                ..NetworkPolicy::default()
            };
        };
        let proxy = match &to.proxy {
            None => shared.cloned(),
            Some(ProxySetting::Direct) => None,
            // `no_proxy` exempts hosts from the proxy of all: this one is for one destination.
            Some(ProxySetting::Through(url)) => Some(Arc::new(ProxyPolicy {
                url: url.clone(),
                no_proxy: Vec::new(),
                authorization: to
                    .proxy_authorization
                    .as_ref()
                    .and_then(proxy_authorization),
            })),
        };
        let files = to
            .client_cert_file
            .as_ref()
            .zip(to.client_key_file.as_ref());
        NetworkPolicy {
            proxy,
            ca_file: to.ca_file.clone(),
            client_certificate: files.map(|(certificate, key)| ClientCertificate {
                certificate: certificate.clone(),
                key: key.clone(),
            }),
        }
    }
}
