//! Asks the authority when to renew the certificate in use (RFC 9773).

use std::time::Duration;

use instant_acme::{CertificateIdentifier, Error, RenewalInfo};

use crate::acme::advice::{Advice, Window};
use crate::acme::agent::AcmeAgent;
use crate::acme::schedule::Failure;
use crate::clock::Timestamp;
use crate::http::Identity;
use crate::tls;

/// The time for a question: two requests.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Characters of the authority's explanation in the log.
const MAX_EXPLANATION: usize = 200;

/// The name by which an authority knows a certificate; none if it names no key of its authority.
pub(super) fn identifier(identity: &Identity) -> Option<CertificateIdentifier<'static>> {
    let issued = tls::issued(identity.certificate())?;
    Some(CertificateIdentifier {
        authority_key_identifier: tls::base64url(issued.authority_key).into(),
        serial: tls::base64url(issued.serial).into(),
    })
}

impl AcmeAgent {
    /// The certificate in use, if it is for these names, as the authority knows it.
    pub(super) fn identifier(&self) -> Option<CertificateIdentifier<'static>> {
        let identity = self.parts.listener.identity();
        identifier(&*identity.filter(|_| self.state.is_obtained)?)
    }

    /// The advice on the certificate in use.
    fn advice(&self, certificate: &CertificateIdentifier<'_>) -> Option<&Advice> {
        let known = certificate.to_string();
        self.state
            .advice
            .as_ref()
            .filter(|advice| advice.is_on(&known))
    }

    /// When the authority advises to renew the certificate in use.
    pub(super) fn advised(&self) -> Option<Timestamp> {
        self.advice(&self.identifier()?)?.renew_at()
    }

    /// How long to wait before the authority is asked; none without a certificate to ask about.
    pub(super) fn wait_to_ask(&self, now: Timestamp) -> Option<Duration> {
        let certificate = self.identifier()?;
        let advice = self.advice(&certificate);
        Some(advice.map_or(Duration::ZERO, |advice| advice.wait(now)))
    }

    /// Asks, and notes the answer.
    pub(super) async fn ask(&mut self, now: Timestamp) {
        let Some(certificate) = self.identifier() else {
            return;
        };
        let known = self.advice(&certificate).cloned();
        let mut advice = known.unwrap_or_else(|| Advice::on(certificate.to_string()));
        let before = advice.renew_at();
        let asked = tokio::time::timeout(TIMEOUT, self.question(&certificate));
        match asked.await {
            Ok(Ok(Some((info, again)))) => {
                advice.take(window(&info), rand::random(), again, now);
                if advice.renew_at() != before {
                    tell(&advice, &info, now);
                }
            }
            Ok(Ok(None)) => advice.is_not_given(now),
            Ok(Err((Failure::Limited(wait), problem))) => fail(&mut advice, wait, &problem, now),
            Ok(Err((_, problem))) => fail(&mut advice, None, &problem, now),
            Err(_) => fail(&mut advice, None, "no answer within a minute", now),
        }
        self.state.advice = Some(advice);
        self.save_or_warn();
    }

    /// None: the authority gives no advice.
    async fn question(
        &self,
        certificate: &CertificateIdentifier<'_>,
    ) -> Result<Option<(RenewalInfo, Duration)>, (Failure, String)> {
        let account = self.account().await?;
        match account.renewal_info(certificate).await {
            Ok(answer) => Ok(Some(answer)),
            Err(Error::Unsupported(_)) => Ok(None),
            Err(error) => Err(self.classified(&error)),
        }
    }
}

fn window(info: &RenewalInfo) -> Window {
    let window = &info.suggested_window;
    let at = |seconds: i64| Timestamp::from_millis(seconds.saturating_mul(1000));
    Window {
        start: at(window.start.unix_timestamp()),
        end: at(window.end.unix_timestamp()),
    }
}

/// Logs an advice that is new. One that lies in the past is most often about a revocation.
fn tell(advice: &Advice, info: &RenewalInfo, now: Timestamp) {
    let Some(at) = advice.renew_at() else { return };
    let explanation = info.explanation_url.as_ref();
    let explanation = explanation.map(|url| url.chars().take(MAX_EXPLANATION).collect::<String>());
    if at <= now {
        log::warn!(
            renew_at:% = at, explanation = explanation.as_deref();
            "the authority asks for the renewal of the certificate: it was revoked, or will be"
        );
    } else {
        log::info!(
            renew_at:% = at, explanation = explanation.as_deref();
            "the authority advises when to renew the certificate"
        );
    }
}

fn fail(advice: &mut Advice, again: Option<Duration>, problem: &str, now: Timestamp) {
    if advice.fail(again, now) {
        log::warn!(
            error = problem;
            "the authority can't be asked when to renew the certificate: it is asked again later"
        );
    }
}
