use std::future::pending;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::mpsc;

use super::*;
use crate::stop::Deadline;

/// Sends a message when it is dropped.
struct DropSignal(mpsc::Sender<&'static str>);

impl Drop for DropSignal {
    fn drop(&mut self) {
        let _ = self.0.send("dropped");
    }
}

fn connect(listener: &TcpListener) -> TcpStream {
    let stream = std::net::TcpStream::connect(listener.local_addr().expect("an address"));
    let stream = stream.expect("it listens");
    stream.set_nonblocking(true).expect("a socket");
    TcpStream::from_std(stream).expect("a socket")
}

#[test]
fn connections_are_spread_evenly_and_closed_at_the_stop() {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let _entered = runtime.enter();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let stop = Stop::default();
    let event_loops = EventLoops::start(&Fatal::new(), &stop).expect("they start");
    let serving = event_loops.serving();
    let (sender, messages) = mpsc::channel();
    for _ in 0..3 * serving.len() {
        let sender = sender.clone();
        EventLoop::least_loaded(&serving).spawn_connection(connect(&listener), |_| async move {
            let _signal = DropSignal(sender.clone());
            sender.send("begun").expect("the receiver is there");
            pending::<()>().await;
        });
    }
    for event_loop in &*serving {
        assert_eq!(Arc::strong_count(&event_loop.connections), 1 + 3);
    }
    for _ in 0..3 * serving.len() {
        assert_eq!(messages.recv(), Ok("begun"));
    }
    // A connection that ends is counted no more.
    EventLoop::least_loaded(&serving).spawn_connection(connect(&listener), |_| async {});
    stop.ask(Deadline::now());
    let deadline = Deadline::within(Duration::from_secs(60));
    assert!(event_loops.ended().wait(&deadline));
    drop(sender);
    assert_eq!(
        messages.iter().collect::<Vec<_>>(),
        vec!["dropped"; 3 * serving.len()]
    );
    for event_loop in &*serving {
        assert_eq!(Arc::strong_count(&event_loop.connections), 1);
    }
}

#[test]
fn threads_for_reads_are_nicer_than_those_that_speak_http() {
    let stop = Stop::default();
    let event_loops = EventLoops::start(&Fatal::new(), &stop).expect("they start");
    let niceness = || getpriority_process(None).expect("a thread");
    let own = niceness();
    let (sender, found) = mpsc::channel();
    for event_loop in &*event_loops.serving() {
        let (to, read_to) = (sender.clone(), sender.clone());
        let read = move || read_to.send(("read", niceness())).expect("a receiver");
        event_loop.runtime.spawn(async move {
            to.send(("http", niceness())).expect("a receiver");
            tokio::task::spawn_blocking(read).await.expect("no panic");
        });
    }
    drop(sender);
    let mut found: Vec<_> = found.iter().collect();
    found.sort_unstable();
    let each = event_loops.serving().len();
    let expected = [
        ("http", own),
        ("read", (own + READ_NICENESS).min(MAX_NICENESS)),
    ];
    assert_eq!(found, expected.map(|one| vec![one; each]).concat(), "{own}");
    stop.ask(Deadline::now());
}
