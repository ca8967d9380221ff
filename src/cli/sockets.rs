//! The sockets that a service manager listens at for relay (socket activation): it keeps them while
//! relay restarts, so that no connection is refused meanwhile.

use listenfd::ListenFd;

use crate::cli::error::CommandError;
use crate::relay::Sockets;

/// The names that a socket unit gives its sockets (`FileDescriptorName=`).
const SERVER: &str = "server";
const ADMIN: &str = "admin";
/// The name of a socket without one, and of all sockets where no names are passed.
const UNNAMED: &str = "unknown";

/// Takes the sockets that were passed to this process: none if `LISTEN_PID` is another one. An
/// error names the variable and the expectation.
pub(super) fn take() -> Result<Sockets, CommandError> {
    // Read first: the descriptors are taken together with their variables.
    let names = std::env::var("LISTEN_FDNAMES").ok();
    let mut passed = ListenFd::from_env();
    let names = named(names.as_deref(), passed.len())?;
    let mut sockets = Sockets::default();
    for (at, name) in names.iter().enumerate() {
        let place = if name == SERVER {
            &mut sockets.server
        } else {
            &mut sockets.admin
        };
        let taken = passed.take_tcp_listener(at);
        *place = taken.map_err(|error| not_tcp(name, &error))?;
    }
    Ok(sockets)
}

fn not_tcp(name: &str, error: &std::io::Error) -> String {
    format!("LISTEN_FDS: the socket \"{name}\": {error}: expected one that listens for TCP")
}

/// The name of each of `count` sockets. A single one without a name is the public listener.
fn named(names: Option<&str>, count: usize) -> Result<Vec<String>, String> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let given: Vec<&str> = match names {
        Some(names) => names.split(':').collect(),
        None => vec![UNNAMED; count],
    };
    if given.len() != count {
        return Err(format!(
            "LISTEN_FDNAMES: \"{}\": expected a name for each of the {count} sockets of LISTEN_FDS",
            given.join(":")
        ));
    }
    let given: Vec<&str> = match given[..] {
        [name] if name == UNNAMED || name.is_empty() || name.ends_with(".socket") => vec![SERVER],
        _ => given,
    };
    for (at, name) in given.iter().enumerate() {
        if ![SERVER, ADMIN].contains(name) {
            return Err(format!(
                "LISTEN_FDNAMES: \"{name}\": expected \"{SERVER}\" or \"{ADMIN}\" \
                 (FileDescriptorName= in the socket unit)"
            ));
        }
        if given[..at].contains(name) {
            return Err(format!(
                "LISTEN_FDNAMES: \"{name}\" comes twice: expected one socket of each name"
            ));
        }
    }
    Ok(given.into_iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests;
