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
