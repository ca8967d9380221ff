//! TLS on the connections to the server.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream as RustlsStream;

/// Makes connections private, and checks the server's certificate.
#[derive(Clone)]
pub struct Tls {
    /// None: the URL says that TLS isn't used.
    pub client: Option<Arc<ClientConfig>>,
}

/// A connection to one host.
pub struct ToHost {
    client: Option<Arc<ClientConfig>>,
    name: Result<ServerName<'static>, String>,
}

/// A private connection.
pub struct PrivateStream(RustlsStream<Socket>);

impl MakeTlsConnect<Socket> for Tls {
    type Stream = PrivateStream;
    type TlsConnect = ToHost;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> io::Result<ToHost> {
        // A path of a Unix socket has no name, and isn't spoken to in private.
        let name = ServerName::try_from(host.to_owned());
        Ok(ToHost {
            client: self.client.clone(),
            name: name.map_err(|error| format!("\"{host}\": {error}")),
        })
    }
}

impl TlsConnect<Socket> for ToHost {
    type Stream = PrivateStream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<PrivateStream>> + Send>>;

    fn connect(self, stream: Socket) -> Self::Future {
        Box::pin(async {
            let client = self
                .client
                .ok_or_else(|| io::Error::other("TLS isn't used"))?;
            let name = self.name.map_err(io::Error::other)?;
            let private = TlsConnector::from(client).connect(name, stream).await?;
            Ok(PrivateStream(private))
        })
    }
}

impl TlsStream for PrivateStream {
    /// None: the certificate is always verified.
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for PrivateStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, into)
    }
}

impl AsyncWrite for PrivateStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
