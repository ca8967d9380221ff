//! Fetches the certificates by which providers sign.

use std::io::Read as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ureq::Agent;

use crate::config::{Live, Resolved};
use crate::delivery::context::Context;
use crate::delivery::levels::http::agents::AgentMaker;
#[cfg(test)]
use crate::delivery::levels::http::{
    names::Names,
    tls::{self, Roots},
};
use crate::model::FetchCertificate;

/// The largest certificate, with its chain.
const MAX_BYTES: u64 = 64 * 1024;
/// The time for a fetch. The provider's request waits for it.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Fetches by URLs that come with requests: under the rules of a client's URLs, so that no address
/// inside the network is asked; or through the operator's proxy, whose rules hold then.
pub(in crate::delivery) fn fetcher(context: &Context) -> FetchCertificate {
    let maker = AgentMaker::new(context);
    let new_agent = move |config| maker.reloaded(config).certificate_agent();
    fetch_by(TIMEOUT, context.config.clone(), new_agent)
}

/// The agent of the fetch before, and the configuration that it was made for.
type MadeAgent = Option<(Arc<Resolved>, Agent)>;

/// Fetches by an agent that is made for the first fetch, and anew after a reload: few relays have a
/// source that needs one.
fn fetch_by(
    timeout: Duration,
    live: Live,
    new_agent: impl Fn(Arc<Resolved>) -> Result<Agent, String> + Send + Sync + 'static,
) -> FetchCertificate {
    let made = Mutex::new(None);
    Arc::new(move |url| {
        let agent = present_agent(&made, &live, &new_agent);
        let fetched = agent.and_then(|agent| fetch(&agent, url, timeout));
        match fetched {
            Ok(certificate) => Some(certificate),
            Err(error) => {
                log::warn!(url, error; "a provider's certificate can't be fetched");
                None
            }
        }
    })
}

/// The agent of the configuration that runs.
fn present_agent(
    made: &Mutex<MadeAgent>,
    live: &Live,
    new_agent: impl Fn(Arc<Resolved>) -> Result<Agent, String>,
) -> Result<Agent, String> {
    let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((config, agent)) = &*made
        && live.is_current(config)
    {
        return Ok(agent.clone());
    }
    let config = live.current();
    let agent = new_agent(Arc::clone(&config))?;
    *made = Some((config, agent.clone()));
    Ok(agent)
}

fn fetch(agent: &Agent, url: &str, timeout: Duration) -> Result<Vec<u8>, String> {
    let request = agent
        .get(url)
        .config()
        .timeout_global(Some(timeout))
        .build();
    let response = request.call().map_err(|error| error.to_string())?;
    let status = response.status();
    if status.as_u16() != 200 {
        return Err(format!("answered {status}"));
    }
    let mut certificate = Vec::new();
    let body = response.into_body().into_reader();
    body.take(MAX_BYTES + 1)
        .read_to_end(&mut certificate)
        .map_err(|error| error.to_string())?;
    if certificate.len() as u64 > MAX_BYTES {
        return Err(format!("expected at most {MAX_BYTES} bytes"));
    }
    Ok(certificate)
}

/// As [`fetcher`], from a server of a test: it stands for hosts, and an authority of its own is
/// trusted.
#[cfg(test)]
pub(in crate::delivery) fn fetcher_from(
    context: &Context,
    server: &crate::delivery::CertificateServer,
) -> FetchCertificate {
    use rustls::pki_types::pem::PemObject as _;

    let maker = AgentMaker::new(context);
    let names = Names::new(1, Arc::clone(&context.clock));
    for host in server.hosts {
        names.set(((*host).to_owned(), 443), server.address);
    }
    let authority = rustls::pki_types::CertificateDer::from_pem_slice(server.authority.as_bytes());
    let authority = authority.expect("a certificate");
    fetch_by(server.timeout, context.config.clone(), move |_| {
        let tls = tls::client(Roots::File(vec![authority.clone()]), None)?;
        Ok(maker.agent(&maker.way_of_certificates(tls), &names))
    })
}

#[cfg(test)]
mod tests;
