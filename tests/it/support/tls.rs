//! A client that speaks TLS, and trusts the certificates that it is given.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
    StreamOwned,
};

use super::Reply;
use super::certificates::Identity;

/// A client of one listener.
#[derive(Clone)]
pub struct TlsClient {
    address: SocketAddr,
    config: ClientConfig,
}

/// A handshake of which both sides have sent their first message.
pub struct BegunHandshake {
    tls: ClientConnection,
    tcp: TcpStream,
}

/// A connection after its handshake.
pub struct TlsConnection {
    stream: StreamOwned<ClientConnection, TcpStream>,
    read: Vec<u8>,
}

impl TlsClient {
    /// A client that trusts these certificates.
    pub fn new(address: SocketAddr, trusted: &[&Identity]) -> Self {
        Self::speaking(address, trusted, rustls::ALL_VERSIONS)
    }

    /// A client that trusts any certificate, to look at it.
    pub fn trusting_all(address: SocketAddr) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Any(provider)))
            .with_no_client_auth();
        Self { address, config }
    }

    /// As [`TlsClient::new`], with these versions alone.
    pub fn speaking(
        address: SocketAddr,
        trusted: &[&Identity],
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Self {
        let mut roots = RootCertStore::empty();
        for one in trusted {
            let der = CertificateDer::from_pem_slice(one.pem().as_bytes());
            roots.add(der.expect("a certificate")).expect("a root");
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { address, config }
    }

    /// Offers these protocols.
    pub fn offering(mut self, protocols: &[&str]) -> Self {
        let protocols = protocols.iter().map(|name| name.as_bytes().to_vec());
        self.config.alpn_protocols = protocols.collect();
        self
    }

    /// Shakes hands; an error is one of TLS.
    pub fn try_connect(&self) -> std::io::Result<TlsConnection> {
        self.try_connect_as("localhost")
    }

    /// As [`TlsClient::try_connect`], asking for a name.
    pub fn try_connect_as(&self, name: &str) -> std::io::Result<TlsConnection> {
        let tcp = TcpStream::connect(self.address)?;
        tcp.set_read_timeout(Some(Duration::from_secs(60)))?;
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let tls = ClientConnection::new(Arc::new(self.config.clone()), name).expect("a client");
        BegunHandshake { tls, tcp }.finish()
    }

    /// Sends the first message of a handshake, and waits for the answer without reading it.
    pub fn begin(&self) -> BegunHandshake {
        let mut tcp = TcpStream::connect(self.address).expect("somebody listens");
        let limit = Some(Duration::from_secs(60));
        tcp.set_read_timeout(limit).expect("a timeout");
        let name = ServerName::try_from("localhost").expect("a name");
        let mut tls = ClientConnection::new(Arc::new(self.config.clone()), name).expect("a client");
        tls.write_tls(&mut tcp).expect("it is open");
        assert_eq!(tcp.peek(&mut [0]).expect("an answer"), 1);
        BegunHandshake { tls, tcp }
    }

    pub fn connect(&self) -> TlsConnection {
        self.try_connect().expect("a handshake")
    }

    /// Sends a request on a connection of its own.
    pub fn send(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Reply {
        let mut connection = self.connect();
        connection.ask(method, path, headers, body);
        connection.reply().expect("an answer")
    }

    /// `POST /webhooks/github` under a key.
    pub fn hook(&self, key: &str, body: &[u8]) -> Reply {
        let headers = format!("Idempotency-Key: {key}\r\nContent-Type: application/json\r\n");
        self.send("POST", "/webhooks/github", &headers, body)
    }
}

impl BegunHandshake {
    /// Ends the handshake; an error is one of TLS.
    pub fn finish(self) -> std::io::Result<TlsConnection> {
        let Self { mut tls, mut tcp } = self;
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp)?;
        }
        Ok(TlsConnection {
            stream: StreamOwned::new(tls, tcp),
            read: Vec::new(),
        })
    }

    /// The connection, to be left silent.
    pub fn into_tcp(self) -> TcpStream {
        self.tcp
    }
}

impl TlsConnection {
    /// The negotiated protocol, version and certificate.
    pub fn tls(&self) -> &ClientConnection {
        &self.stream.conn
    }

    /// Sends bytes; false if the peer has closed.
    pub fn write(&mut self, bytes: &[u8]) -> bool {
        self.stream
            .write_all(bytes)
            .and_then(|()| self.stream.flush())
            .is_ok()
    }

    pub fn ask(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) {
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\
             Content-Length: {length}\r\n\r\n"
        );
        assert!(self.write(&[head.as_bytes(), body].concat()));
    }

    /// Reads to the end of the connection.
    pub fn rest(&mut self) -> Vec<u8> {
        // Not every peer says goodbye.
        let _ = self.stream.read_to_end(&mut self.read);
        std::mem::take(&mut self.read)
    }

    /// Waits for the next answer; none if the connection ends first.
    pub fn reply(&mut self) -> Option<Reply> {
        loop {
            if let Some(mut reply) = Reply::parse(&self.read) {
                let head = self.read.len() - reply.body.len();
                let length = reply.header("content-length");
                let length = length.map_or(0, |length| length.parse().expect("a number"));
                if reply.body.len() >= length {
                    reply.body.truncate(length);
                    self.read.drain(..head + length);
                    return Some(reply);
                }
            }
            let mut some = [0; 4096];
            match self.stream.read(&mut some) {
                Ok(read @ 1..) => self.read.extend_from_slice(&some[..read]),
                Ok(0) | Err(_) => return None,
            }
        }
    }
}

/// Takes any certificate.
#[derive(Debug)]
struct Any(Arc<CryptoProvider>);

impl ServerCertVerifier for Any {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
