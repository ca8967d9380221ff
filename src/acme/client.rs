//! HTTPS to the authority: one connection a request. A certificate takes some fifteen of them every
//! two months.

use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// The time for a request, from the look-up of the name to the end of the answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The largest answer. A chain of certificates takes some 5 KB.
const MAX_BYTES: usize = 1 << 20;

type AnyError = Box<dyn StdError + Send + Sync>;

/// A client of the authority. It follows no redirects and uses no proxy.
#[derive(Clone)]
pub(super) struct HttpsClient(TlsConnector);

impl HttpsClient {
    pub fn new(tls: Arc<ClientConfig>) -> Self {
        Self(TlsConnector::from(tls))
    }

    async fn exchange(
        self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Result<BytesResponse, AnyError> {
        let (mut head, body) = request.into_parts();
        let (host, port) = server_of(&head.uri)?;
        let tcp = TcpStream::connect((host.as_str(), port)).await?;
        let name = ServerName::try_from(host)?;
        let stream = TokioIo::new(self.0.connect(name, tcp).await?);
        let (mut sender, connection) = http1::handshake(stream).await?;
        let authority = head.uri.authority().ok_or("no host")?;
        head.headers
            .insert(HOST, HeaderValue::from_str(authority.as_str())?);
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        head.uri = path.parse()?;
        let answer = async {
            let response = sender.send_request(Request::from_parts(head, body)).await?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, MAX_BYTES).collect().await?.to_bytes();
            Ok(BytesResponse::from(Response::from_parts(
                parts,
                Full::new(body),
            )))
        };
        // The connection does its work while the answer is awaited, and is dropped after it.
        tokio::select! {
            answer = answer => answer,
            ended = connection => match ended {
                Ok(()) => Err("the connection ended without an answer".into()),
                Err(error) => Err(error.into()),
            },
        }
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

/// The host without brackets, and the port. Without TLS anybody on the way could answer.
fn server_of(uri: &Uri) -> Result<(String, u16), AnyError> {
    if uri.scheme_str() != Some("https") {
        return Err(format!("{uri}: expected a URL of https").into());
    }
    let host = uri.host().ok_or("no host")?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok((host.to_owned(), uri.port_u16().unwrap_or(443)))
}
