use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use super::*;
use crate::clock::SystemClock;
use crate::config::Config;

/// The URL of a receiver that answers one request, and waits for the end.
fn receiver() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let read = stream.read(&mut [0; 4096]);
        assert!(read.is_ok_and(|read| read > 0), "a request");
        stream
            .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
            .expect("it is open");
        let _ = stream.read(&mut [0]);
    });
    format!("http://{address}/")
}

#[test]
fn hosts_that_are_asked_one_after_the_other_need_the_buffers_of_one_connection() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let maker = AgentMaker::of(Arc::new(Config::default().resolve()), &clock, &[]);
    let way = AgentMaker::shared_way(UrlOrigin::Operator, None).expect("no file is named");
    let pooled = maker.pooled(&way, &Names::new(1, clock), 10);
    for _ in 0..3 {
        let answer = pooled.agent.get(receiver()).call().expect("an answer");
        assert_eq!(answer.status(), 204);
    }
    assert_eq!(pooled.idle.counts(), (3, 1));
}
