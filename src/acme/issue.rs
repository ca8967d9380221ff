//! One order: proves to the authority that relay answers for the names, and gets a certificate.

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeType, Error, Identifier,
    NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

use crate::acme::client::is_rate_limited;
use crate::http::ListenerTls;

/// How long an authority may take to check the names, and to sign.
const PATIENCE: RetryPolicy = RetryPolicy::new().timeout(Duration::from_secs(120));

/// The challenges of an order, which the listener answers until this is dropped.
struct Shown<'a>(&'a ListenerTls);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        self.0.forget_challenges();
    }
}

/// Orders a certificate, in the place of another one. Returns its key and its chain, in PEM.
pub(super) async fn issue(
    account: &Account,
    domains: &[String],
    listener: &ListenerTls,
    replaced: Option<CertificateIdentifier<'_>>,
) -> Result<String, Error> {
    let names: Vec<_> = domains.iter().cloned().map(Identifier::Dns).collect();
    let mut order = order(account, &names, replaced).await?;
    let shown = Shown(listener);
    prove(&mut order, listener).await?;
    match order.poll_ready(&PATIENCE).await? {
        OrderStatus::Ready => {}
        _ => return Err(refusal(&mut order).await),
    }
    drop(shown);
    let key = order.finalize().await?;
    let chain = order.poll_certificate(&PATIENCE).await?;
    Ok(key + &chain)
}

/// Makes an order. One that names the certificate that it replaces is exempt from limits (RFC 9773,
/// 5). An authority may refuse the name, or not know of it: then the order is made without.
async fn order(
    account: &Account,
    names: &[Identifier],
    replaced: Option<CertificateIdentifier<'_>>,
) -> Result<Order, Error> {
    if let Some(replaced) = replaced {
        let order = NewOrder::new(names).replaces(replaced);
        match account.new_order(&order).await {
            Err(error) if !is_rate_limited(&error) => {
                log::debug!(error:%; "an order that names what it replaces came to nothing");
            }
            made => return made,
        }
    }
    account.new_order(&NewOrder::new(names)).await
}

/// Shows a challenge for each name that has to be proved, and tells the authority.
async fn prove(order: &mut Order, listener: &ListenerTls) -> Result<(), Error> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        // An earlier proof may still count.
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let mut challenge = authorization
            .challenge(ChallengeType::TlsAlpn01)
            .ok_or(Error::Str(
                "the authority doesn't offer tls-alpn-01 for a name",
            ))?;
        let domain = challenge.identifier().to_string();
        let digest = challenge.key_authorization().digest().as_ref().to_vec();
        let pair = challenge_certificate(&domain, &digest).map_err(Error::Other)?;
        listener.show_challenge(&domain, pair);
        challenge.set_ready().await?;
    }
    Ok(())
}

/// The certificate that proves a name (RFC 8737, 3).
fn challenge_certificate(
    domain: &str,
    digest: &[u8],
) -> Result<Arc<CertifiedKey>, Box<dyn std::error::Error + Send + Sync>> {
    let mut params = CertificateParams::new(vec![domain.to_owned()])?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let chain = vec![certificate.der().clone()];
    let key = ring::default_provider()
        .key_provider
        .load_private_key(key)?;
    // Not by `from_der`: webpki refuses the challenge's own extension, which is critical.
    Ok(Arc::new(CertifiedKey::new(chain, key)))
}

/// The reason why an order became invalid: that of the first name that has one.
async fn refusal(order: &mut Order) -> Error {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let Ok(state) = authorization.refresh().await else {
            continue;
        };
        let name = state.identifier().to_string();
        let problem = state.challenges.iter().find_map(|one| one.error.as_ref());
        if let Some(problem) = problem {
            return Error::Other(format!("{name}: {problem}").into());
        }
    }
    Error::Str("the authority has made the order invalid, and gives no reason")
}
