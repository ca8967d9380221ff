//! HTTPS to the authority: one connection a request. A certificate takes some fifteen of them every
//! two months.

use std::error::Error as StdError;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::response::Parts;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::clock::Timestamp;
use crate::model;

/// The time for a request, from the look-up of the name to the end of the answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The largest answer. A chain of certificates takes some 5 KB.
const MAX_BYTES: usize = 1 << 20;

/// The time between two questions about a certificate if the authority names none (RFC 9773,
/// 4.3.2). instant-acme takes no answer without it.
const SIX_HOURS: HeaderValue = HeaderValue::from_static("21600");

type AnyError = Box<dyn StdError + Send + Sync>;

/// A client of the authority. It follows no redirects and uses no proxy. Clones share what the last
/// answer has said.
#[derive(Clone)]
pub(super) struct HttpsClient {
    tls: TlsConnector,
    /// `Retry-After` of the last answer, if it was an error: instant-acme doesn't tell.
    retry_after: Arc<Mutex<Option<String>>>,
}

impl HttpsClient {
    pub fn new(tls: Arc<ClientConfig>) -> Self {
        Self {
            tls: TlsConnector::from(tls),
            retry_after: Arc::default(),
        }
    }

    /// How long the authority wants to be left alone, if its last answer has said so.
    pub fn retry_after(&self, now: Timestamp) -> Option<Duration> {
        let said = self.retry_after.lock();
        let said = said.unwrap_or_else(PoisonError::into_inner);
        model::retry_after(said.as_deref()?, now)
    }

    /// Notes what an answer says of the next request.
    fn note(&self, method: &Method, head: &mut Parts) {
        let is_error = head.status.is_client_error() || head.status.is_server_error();
        let said = head.headers.get(RETRY_AFTER).filter(|_| is_error);
        let said = said.and_then(|value| Some(value.to_str().ok()?.to_owned()));
        *self
            .retry_after
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = said;
        if *method == Method::GET && !is_error {
            head.headers.entry(RETRY_AFTER).or_insert(SIX_HOURS);
        }
    }

    async fn exchange(
        self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Result<BytesResponse, AnyError> {
        let (mut head, body) = request.into_parts();
        let method = head.method.clone();
        let (host, port) = server_of(&head.uri)?;
        let tcp = TcpStream::connect((host.as_str(), port)).await?;
        let name = ServerName::try_from(host)?;
        let stream = TokioIo::new(self.tls.connect(name, tcp).await?);
        let (mut sender, connection) = http1::handshake(stream).await?;
        let authority = head.uri.authority().ok_or("no host")?;
        head.headers
            .insert(HOST, HeaderValue::from_str(authority.as_str())?);
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        head.uri = path.parse()?;
        let answer = async {
            let response = sender.send_request(Request::from_parts(head, body)).await?;
            let (mut parts, body) = response.into_parts();
            self.note(&method, &mut parts);
            let body = Limited::new(body, MAX_BYTES).collect().await?.to_bytes();
            Ok(BytesResponse::from(Response::from_parts(
                parts,
                Full::new(body),
            )))
        };
        let mut answer = pin!(answer);
        // The connection does its work while the answer is awaited, and is dropped after it. One
        // that the authority closes ends first: the answer that came by it is still to be taken.
        let ended = tokio::select! {
            answer = &mut answer => return answer,
            ended = connection => ended,
        };
        answer.await.map_err(|missing: AnyError| match ended {
            Ok(()) => missing,
            Err(error) => error.into(),
        })
    }
}

impl HttpClient for HttpsClient {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let client = self.clone();
        let at = request
            .uri()
            .authority()
            .map(ToString::to_string)
            .unwrap_or_default();
        Box::pin(async move {
            match timeout(TIMEOUT, client.exchange(request)).await {
                Ok(answer) => answer.map_err(|error| Error::Other(format!("{at}: {error}").into())),
                Err(_) => Err(Error::Other(format!("{at}: no answer within 30 s").into())),
            }
        })
    }
}

/// Whether an authority says that there were too many requests (RFC 8555, 6.7).
pub(super) fn is_rate_limited(error: &Error) -> bool {
    is_of_type(error, "urn:ietf:params:acme:error:rateLimited")
}

/// Whether an authority has forgotten the account.
pub(super) fn is_account_unknown(error: &Error) -> bool {
    is_of_type(error, "urn:ietf:params:acme:error:accountDoesNotExist")
}

fn is_of_type(error: &Error, wanted: &str) -> bool {
    matches!(error, Error::Api(problem) if problem.r#type.as_deref() == Some(wanted))
}

/// The host without brackets, and the port. Without TLS anybody on the way could answer.
fn server_of(uri: &Uri) -> Result<(String, u16), AnyError> {
    if uri.scheme_str() != Some("https") {
        return Err(format!("{uri}: expected a URL of https").into());
    }
    let host = uri.host().ok_or("no host")?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok((host.to_owned(), uri.port_u16().unwrap_or(443)))
}
