use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use super::*;
use crate::config::Config;

/// Sends a beat to a server that answers with this status; the result, and the request.
fn beat(status: &str) -> (Result<(), String>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let answer = format!(
        "HTTP/1.1 {status}\r\nLocation: http://{address}/elsewhere\r\nContent-Length: 0\r\n\
         Connection: close\r\n\r\n"
    );
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut request = [0; 4096];
        let read = stream.read(&mut request).expect("a request");
        stream.write_all(answer.as_bytes()).expect("an answer");
        String::from_utf8_lossy(&request[..read]).into_owned()
    });
    let config = Agent::config_builder()
        .max_redirects(0)
        .http_status_as_error(false)
        .build();
    let agent = Agent::new_with_config(config);
    let url = format!("http://{address}/ping/secret");
    let sent = send(&agent, &url, Config::default().resolve().adhoc());
    (sent, server.join().expect("no panic"))
}

#[test]
fn a_beat_is_one_get_and_an_answer_of_2xx_takes_it() {
    let (sent, request) = beat("200 OK");
    assert_eq!(sent, Ok(()));
    assert!(
        request.starts_with("GET /ping/secret HTTP/1.1\r\n"),
        "{request}"
    );
}

#[test]
fn a_redirect_and_an_error_are_told_without_the_url() {
    for status in ["302 Found", "404 Not Found", "500 Oops"] {
        let (sent, _) = beat(status);
        let code = status.split(' ').next().unwrap_or_default();
        assert_eq!(sent, Err(format!("answered {code}")));
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!(
        "http://{}/secret",
        listener.local_addr().expect("an address")
    );
    drop(listener);
    let agent = Agent::new_with_defaults();
    let refused = send(&agent, &url, Config::default().resolve().adhoc());
    assert_eq!(refused, Err("connection refused".to_owned()));
}
