//! Fetches the certificates by which providers sign.

use std::io::Read as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ureq::Agent;

use crate::delivery::context::Context;
use crate::delivery::levels::http::agents::AgentMaker;
use crate::model::FetchCertificate;

/// The largest certificate, with its chain.
const MAX_BYTES: u64 = 64 * 1024;
/// The time for a fetch. The provider's request waits for it.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Fetches by URLs that come with requests: under the rules of a client's URLs, so that no address
/// inside the network is asked.
pub(in crate::delivery) fn fetcher(context: &Context) -> FetchCertificate {
    let maker = AgentMaker::new(context);
    // Made for the first fetch: few relays have a source that needs one.
    let agent = OnceLock::new();
    Arc::new(move |url| {
        let made = agent.get_or_init(|| maker.client_agent());
        let fetched = made
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|agent| fetch(agent, url));
        match fetched {
            Ok(certificate) => Some(certificate),
            Err(error) => {
                log::warn!(url, error; "a provider's certificate can't be fetched");
                None
            }
        }
    })
}

fn fetch(agent: &Agent, url: &str) -> Result<Vec<u8>, String> {
    let request = agent
        .get(url)
        .config()
        .timeout_global(Some(TIMEOUT))
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

#[cfg(test)]
mod tests;
