//! `relay health`: asks a running relay whether it is alive, for the health check of a container.

use std::net::ToSocketAddrs as _;
use std::time::Duration;

use clap::Args;
use http::Uri;
use rustls::pki_types::ServerName;
use serde_json::json;

use crate::cli::config_file::ConfigFile;
use crate::cli::error::CommandError;
use crate::cli::send::post::{self, Door};
use crate::config::Config;

/// The longest wait to connect, and for the answer: a health check is repeated every few seconds.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The route that tells that the process lives. `/readyz` fails on a full disk, which no restart
/// mends.
const PATH: &str = "/healthz";

#[derive(Args)]
pub(super) struct Health {
    #[command(flatten)]
    file: ConfigFile,
    /// The URL to ask [default: /healthz of the admin listener, or of the public one]
    ///
    /// A certificate is not verified.
    url: Option<Uri>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// A request for a health check.
struct Question {
    /// The addresses of its host, to be tried in this order: `localhost` is two, and a relay
    /// listens at one of them.
    doors: Vec<Door>,
    host: String,
    target: String,
}

impl Health {
    pub fn run(&self) -> Result<(), CommandError> {
        let question = match &self.url {
            Some(url) => Question::of(url)?,
            None => Question::of_listener(&Config::load_for_commands(self.file.path())?)?,
        };
        let scheme = question.doors.first().map_or("http", Door::scheme);
        let shown = format!("{scheme}://{}{}", question.host, question.target);
        let answer = question.ask();
        let (status, code) = answer.map_err(|problem| format!("{shown}: {problem}"))?;
        if self.json {
            say!("{}", json!({ "ok": true, "url": shown, "status": code }));
        } else {
            say!("{shown}: {status}");
        }
        Ok(())
    }
}

impl Question {
    /// By a URL; one without a path asks [`PATH`].
    fn of(url: &Uri) -> Result<Self, String> {
        let wrong = |expected: &str| format!("\"{url}\": expected {expected}");
        let example = "a URL such as http://127.0.0.1:8081/healthz";
        let default_port = match url.scheme_str() {
            Some("http") => 80,
            Some("https") => 443,
            _ => return Err(wrong(example)),
        };
        let authority = url.authority().ok_or_else(|| wrong(example))?;
        let host = authority.host();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let found = (bare, url.port_u16().unwrap_or(default_port)).to_socket_addrs();
        let found = found.map_err(|error| format!("{host}: {error}"))?;
        let target = url.path_and_query().map_or("/", |target| target.as_str());
        let name = ServerName::try_from(bare.to_owned()).map_err(|_| wrong(example))?;
        let tls = (default_port == 443).then_some(name);
        let doors = found.map(|address| Door {
            address,
            tls: tls.clone(),
        });
        Ok(Self {
            doors: doors.collect(),
            host: authority.to_string(),
            target: if target == "/" { PATH } else { target }.to_owned(),
        })
    }

    /// Of the admin listener, or of the public one if that is off.
    fn of_listener(config: &Config) -> Result<Self, String> {
        let (key, listen, is_tls) = match config.admin.listen {
            Some(admin) => ("admin.listen", admin, config.admin.tls.is_some()),
            None => (
                "server.listen",
                config.server.listen,
                config.server.speaks_tls(),
            ),
        };
        if listen.port() == 0 {
            return Err(format!(
                "{key}: {listen}: the system chooses the port: expected a URL after relay health"
            ));
        }
        let door = Door::of(listen, is_tls);
        Ok(Self {
            host: door.address.to_string(),
            doors: vec![door],
            target: PATH.to_owned(),
        })
    }

    /// The status of the answer, in words and as its code, if it is a success.
    fn ask(&self) -> Result<(String, u16), String> {
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.target, self.host
        );
        let mut answer = Err("it has no address".to_owned());
        for door in &self.doors {
            let tried = post::exchange(door, request.as_bytes(), TIMEOUT);
            answer = tried.map_err(|error| error.to_string());
            if answer.is_ok() {
                break;
            }
        }
        match post::split(&answer?) {
            Some((status, code @ 200..=299, _)) => Ok((status, code)),
            Some((status, _, _)) => Err(format!("answered {status}")),
            None => Err("the answer is no HTTP".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpListener};

    use super::*;

    #[test]
    fn each_address_of_the_host_is_tried() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let answering = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut request = [0; 1024];
            let read = stream.read(&mut request).expect("a request");
            assert!(request[..read].starts_with(b"GET /healthz HTTP/1.1\r\n"));
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(answer).expect("an answer");
        });
        // Nothing listens at port 0.
        let nobody = SocketAddr::from(([127, 0, 0, 1], 0));
        let question = |addresses: &[SocketAddr]| {
            let door = |address: &SocketAddr| Door {
                address: *address,
                tls: None,
            };
            Question {
                doors: addresses.iter().map(door).collect(),
                host: "localhost".to_owned(),
                target: PATH.to_owned(),
            }
        };
        assert_eq!(
            question(&[nobody, address]).ask(),
            Ok(("200 OK".to_owned(), 200))
        );
        answering.join().expect("no panic");
        assert!(question(&[nobody]).ask().is_err());
    }
}
