use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use super::*;

/// Fetches from a server that answers with these bytes.
fn fetch_answer(answer: Vec<u8>) -> Result<Vec<u8>, String> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!(
        "http://{}/a.pem",
        listener.local_addr().expect("an address")
    );
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let _ = stream.read(&mut [0; 4096]);
        // The client closes before the end of a text that is too long.
        let _ = stream.write_all(&answer);
    });
    let config = Agent::config_builder().max_redirects(0).build();
    let fetched = fetch(&Agent::new_with_config(config), &url, TIMEOUT);
    server.join().expect("no panic");
    fetched
}

fn answer(status: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[test]
fn only_a_short_text_with_status_200_is_a_certificate() {
    assert_eq!(fetch_answer(answer("200 OK", b"pem")), Ok(b"pem".to_vec()));
    let long = vec![b'a'; 64 * 1024];
    assert_eq!(fetch_answer(answer("200 OK", &long)), Ok(long.clone()));
    let longer = [&long[..], b"a"].concat();
    assert!(fetch_answer(answer("200 OK", &longer)).is_err());
    for status in ["302 Found", "204 No Content", "404 Not Found", "500 Oops"] {
        let fetched = fetch_answer(answer(status, b""));
        assert!(fetched.is_err(), "{status}: {fetched:?}");
    }
}
