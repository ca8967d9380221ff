//! A proxy that makes tunnels.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::raw::read_head;

pub const ESTABLISHED: &str = "HTTP/1.1 200 Connection established\r\n\r\n";

/// A proxy that makes tunnels, wherever their target is.
pub struct Proxy {
    /// `http://127.0.0.1:…`.
    pub url: String,
    heads: Arc<Mutex<Vec<String>>>,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Proxy {
    /// Makes all tunnels, to their targets.
    pub fn start() -> Self {
        Self::answering(None, |_| ESTABLISHED.to_owned())
    }

    /// Makes all tunnels, to this address: it knows names that nobody else knows.
    pub fn to(address: SocketAddr) -> Self {
        Self::answering(Some(address), |_| ESTABLISHED.to_owned())
    }

    /// Answers a CONNECT by its head. An answer with status 200 makes a tunnel, to its target or to
    /// `to`.
    pub fn answering(
        to: Option<SocketAddr>,
        answer: impl Fn(&str) -> String + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (heads, seen) = (Arc::<Mutex<Vec<String>>>::default(), Arc::default());
        let (kept, copied, answer) = (Arc::clone(&heads), Arc::clone(&seen), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                stream.set_nodelay(true).expect("a socket");
                let (kept, copied) = (Arc::clone(&kept), Arc::clone(&copied));
                let answer = Arc::clone(&answer);
                std::thread::spawn(move || {
                    let mut stream = stream;
                    let Some(head) = read_head(&mut stream) else {
                        return;
                    };
                    let head = String::from_utf8(head).expect("text");
                    kept.lock().expect("no panic").push(head.clone());
                    let answer = answer(&head);
                    let _ = stream.write_all(answer.as_bytes());
                    if answer.contains(" 200 ") {
                        let target = head.split(' ').nth(1).expect("a target");
                        let to = to.map_or_else(|| target.to_owned(), |to| to.to_string());
                        tunnel(stream, &to, &copied);
                    }
                });
            }
        });
        Self { url, heads, seen }
    }

    /// The heads of the requests so far.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("no panic").clone()
    }

    /// The bytes that went through to targets.
    pub fn seen(&self) -> Vec<u8> {
        self.seen.lock().expect("no panic").clone()
    }
}

/// Copies both ways until either side ends.
fn tunnel(client: TcpStream, target: &str, seen: &Arc<Mutex<Vec<u8>>>) {
    let Ok(server) = TcpStream::connect(target) else {
        return;
    };
    server.set_nodelay(true).expect("a socket");
    let back = {
        let (from, to) = (server.try_clone(), client.try_clone());
        let (from, to) = (from.expect("a descriptor"), to.expect("a descriptor"));
        std::thread::spawn(move || copy(from, to, |_| {}))
    };
    copy(client, server, |bytes| {
        seen.lock().expect("no panic").extend_from_slice(bytes);
    });
    let _ = back.join();
}

fn copy(mut from: TcpStream, mut to: TcpStream, see: impl Fn(&[u8])) {
    let mut piece = [0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut piece) {
        see(&piece[..read]);
        if to.write_all(&piece[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
