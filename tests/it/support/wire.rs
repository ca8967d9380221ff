//! A proxy before PostgreSQL that cuts a connection at a statement.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The moment of a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The server never gets the statement.
    Before,
    /// The server makes the statement and commits; its answer is lost.
    Answer,
    /// The server gets the statement once the client has sent it again on another connection.
    Late,
}

/// Copies both ways, but for one statement.
pub struct Wire {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    marked: Mutex<Marked>,
    /// Told when a marked message was sent.
    sent: Condvar,
}

#[derive(Default)]
struct Marked {
    /// The bytes of a parameter that tell the statement.
    marker: Vec<u8>,
    cut: Option<Cut>,
    /// The messages with the marker.
    messages: Vec<Vec<u8>>,
}

impl Wire {
    /// A proxy before the server of this socket.
    pub fn start(socket: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::<State>::default();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (socket, state) = (socket.clone(), Arc::clone(&shared));
                std::thread::spawn(move || carry(client, &socket, &state));
            }
        });
        Self { address, state }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts the connection at the next statement with these bytes in a parameter.
    pub fn cut(&self, marker: &str, cut: Cut) {
        *self.state.lock() = Marked {
            marker: marker.as_bytes().to_vec(),
            cut: Some(cut),
            messages: Vec::new(),
        };
    }

    /// The messages with the bytes of the last cut.
    pub fn sent(&self) -> Vec<Vec<u8>> {
        self.state.lock().messages.clone()
    }
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Marked> {
        self.marked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees a client's message; the cut, if it is the statement.
    fn see(&self, message: &[u8]) -> Option<Cut> {
        let mut marked = self.lock();
        if marked.marker.is_empty() || !contains(message, &marked.marker) {
            return None;
        }
        marked.messages.push(message.to_vec());
        self.sent.notify_all();
        marked.cut.take()
    }

    /// Waits until a statement was sent again.
    fn sent_again(&self) {
        let is_waiting = |marked: &mut Marked| marked.messages.len() < 2;
        let waited = self.sent.wait_while(self.lock(), is_waiting);
        drop(waited);
    }
}

pub fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn carry(mut client: TcpStream, socket: &Path, state: &State) {
    let Ok(mut server) = UnixStream::connect(socket) else {
        return;
    };
    client.set_nodelay(true).expect("a socket");
    let is_mute = Arc::new(AtomicBool::new(false));
    let answers = {
        let (from, to) = (server.try_clone(), client.try_clone());
        let (from, to) = (from.expect("a descriptor"), to.expect("a descriptor"));
        let is_mute = Arc::clone(&is_mute);
        std::thread::spawn(move || answer(from, to, &is_mute))
    };
    let mut piece = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = client.read(&mut piece) {
        let message = &piece[..read];
        match state.see(message) {
            Some(Cut::Before) => break,
            None => {
                if server.write_all(message).is_err() {
                    break;
                }
                continue;
            }
            Some(Cut::Late) => {
                let _ = client.shutdown(Shutdown::Both);
                state.sent_again();
            }
            Some(Cut::Answer) => {}
        }
        is_mute.store(true, Ordering::SeqCst);
        let _ = server.write_all(message);
        // The server makes the statement before it finds this end.
        let _ = server.shutdown(Shutdown::Write);
        let _ = answers.join();
        let _ = client.shutdown(Shutdown::Both);
        return;
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
    let _ = answers.join();
}

/// Copies the server's answers, and drops those that are to be lost.
fn answer(mut from: UnixStream, mut to: TcpStream, is_mute: &AtomicBool) {
    let mut piece = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut piece) {
        if !is_mute.load(Ordering::SeqCst) && to.write_all(&piece[..read]).is_err() {
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
