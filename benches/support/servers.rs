//! Servers that show limits, and sinks.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

/// The TLS of each of a sink's addresses.
pub type Acceptors = HashMap<IpAddr, TlsAcceptor>;

/// A hyper server that reads and counts each body and answers a constant: the limit for any
/// handler.
pub fn no_op(runtime: &Runtime) -> (SocketAddr, Arc<AtomicU64>) {
    counting(runtime, Ipv4Addr::LOCALHOST, None)
}

/// As [`no_op`], at all addresses of this machine, so that one listener stands for many hosts; in
/// TLS if there are acceptors.
pub fn no_op_of_hosts(runtime: &Runtime, tls: Option<Acceptors>) -> (SocketAddr, Arc<AtomicU64>) {
    counting(runtime, Ipv4Addr::UNSPECIFIED, tls)
}

fn counting(
    runtime: &Runtime,
    at: Ipv4Addr,
    tls: Option<Acceptors>,
) -> (SocketAddr, Arc<AtomicU64>) {
    let hits = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&hits);
    let address = answering(runtime, at, tls, move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        std::future::ready(true)
    });
    (address, hits)
}

/// A hyper server that appends each body to a file and answers after a sync, which all bodies that
/// arrived meanwhile share: the limit for any server that answers after a sync.
pub fn fsync_log(runtime: &Runtime, directory: &Path) -> SocketAddr {
    let queue = log(directory, |waiter: oneshot::Sender<()>| {
        // A client may have left at the end of a sample.
        let _ = waiter.send(());
    });
    answering(runtime, Ipv4Addr::LOCALHOST, None, move |body| {
        let (waiter, synced) = oneshot::channel();
        queue.send((body, waiter)).expect("the log goes on");
        async move { synced.await.is_ok() }
    })
}

/// A thread that appends records to a file and calls `done` after a sync, which all records that
/// came meanwhile share. It ends when all senders are dropped. Clients bound the records that wait.
pub fn log<T: Send + 'static>(
    directory: &Path,
    mut done: impl FnMut(T) + Send + 'static,
) -> Sender<(Bytes, T)> {
    /// The most records of a sync.
    const BATCH: usize = 512;

    let (queue, appended) = channel::<(Bytes, T)>();
    let path = directory.join("log");
    let mut file = std::fs::File::create(path).expect("a file");
    std::thread::spawn(move || {
        while let Ok(first) = appended.recv() {
            let batch: Vec<_> = std::iter::once(first)
                .chain(appended.try_iter().take(BATCH - 1))
                .collect();
            let bytes: Vec<u8> = batch
                .iter()
                .flat_map(|(body, _)| body.iter().copied())
                .collect();
            std::io::Write::write_all(&mut file, &bytes).expect("room");
            file.sync_data().expect("a disk that syncs");
            for (_, record) in batch {
                done(record);
            }
        }
    });
    queue
}

/// A hyper server that gives each body to `take`, and answers 202 on success.
pub fn answering<F>(
    runtime: &Runtime,
    at: Ipv4Addr,
    tls: Option<Acceptors>,
    take: impl Fn(Bytes) -> F + Clone + Send + Sync + 'static,
) -> SocketAddr
where
    F: Future<Output = bool> + Send,
{
    const ANSWER: &str =
        r#"{"event_id":"evt_01a200b0-98cc-7000-84ec-471754438fd6","status":"accepted"}"#;
    let (listener, address) = listen(runtime, at);
    let tls = tls.map(Arc::new);
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).expect("a socket option");
            let (take, tls) = (take.clone(), tls.clone());
            tokio::spawn(async move {
                let service = service_fn(move |request: hyper::Request<Incoming>| {
                    let take = take.clone();
                    async move {
                        let body = request.into_body().collect().await;
                        let is_well = match body {
                            Ok(body) => take(body.to_bytes()).await,
                            Err(_) => false,
                        };
                        let response = hyper::Response::builder()
                            .status(if is_well { 202 } else { 400 })
                            .header("content-type", "application/json")
                            .body(Full::new(Bytes::from_static(ANSWER.as_bytes())))
                            .expect("a constant");
                        Ok::<_, Infallible>(response)
                    }
                });
                let mut server = http1::Builder::new();
                server.timer(TokioTimer::new());
                // The client closes at its end.
                if let Some(tls) = tls {
                    if let Ok(stream) = acceptor(&tls, &stream).accept(stream).await {
                        let io = TokioIo::new(stream);
                        let _ = server.serve_connection(io, service).await;
                    }
                } else {
                    let io = TokioIo::new(stream);
                    let _ = server.serve_connection(io, service).await;
                }
            });
        }
    });
    address
}

/// A listener on a free port. The address leads to it.
pub fn listen(runtime: &Runtime, at: Ipv4Addr) -> (TcpListener, SocketAddr) {
    /// A connection for each of many hosts may come at once.
    const BACKLOG: u32 = 4096;

    let _entered = runtime.enter();
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from((at, 0))).expect("a free port");
    let listener = socket.listen(BACKLOG).expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    (listener, SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

/// The TLS of the address that was connected to.
pub fn acceptor<'a>(tls: &'a Acceptors, stream: &TcpStream) -> &'a TlsAcceptor {
    let here = stream.local_addr().expect("a connection has an address");
    tls.get(&here.ip()).expect("a certificate for each address")
}
