//! A second guard of sole ownership, which nobody can remove: an abstract socket that bears the
//! number of the database's inode.
//!
//! The lock is on a file that has a name, and whoever removes it lets a second server take a new
//! one. The first server notices that and ends, within a second. The socket keeps the second one
//! out until then. It has no name in the file system, and goes with its process.
//!
//! Abstract sockets belong to a network namespace: containers with one each do not see each
//! other's, and have the lock alone. So have systems other than Linux.

use std::path::Path;

use crate::store::error::OpenError;

/// Held for as long as the database is owned.
#[derive(Debug, Default)]
pub struct SecondGuard {
    #[cfg(target_os = "linux")]
    _socket: Option<std::os::unix::net::UnixListener>,
}

#[cfg(not(target_os = "linux"))]
pub fn acquire(_database: &Path, _pause: impl FnMut()) -> Result<SecondGuard, OpenError> {
    Ok(SecondGuard::default())
}

#[cfg(target_os = "linux")]
pub use linux::acquire;

#[cfg(target_os = "linux")]
mod linux {
    use std::io::{self, ErrorKind};
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::fs::MetadataExt as _;
    use std::os::unix::net::{SocketAddr, UnixListener};

    use rustix::net::sockopt::socket_peercred;
    use rustix::net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType, UCred, connect, socket_with,
    };

    use super::{OpenError, Path, SecondGuard};

    /// Attempts, with a pause after each: a process that was killed leaves the lock and the socket
    /// in either order.
    const TRIES: u32 = 10;

    /// Guards a database that exists. Calls `pause` between two attempts.
    pub fn acquire(database: &Path, mut pause: impl FnMut()) -> Result<SecondGuard, OpenError> {
        let failed = |source| OpenError::Lock {
            path: database.to_owned(),
            source,
        };
        let found = database.metadata().map_err(failed)?;
        let name = format!("relay-{}-{}", found.dev(), found.ino());
        for _ in 0..TRIES {
            match bind(&name) {
                Ok(socket) => {
                    return Ok(SecondGuard {
                        _socket: Some(socket),
                    });
                }
                Err(error) if error.kind() == ErrorKind::AddrInUse => pause(),
                // A sandbox without such sockets: the lock is there.
                Err(error) => {
                    log::debug!(error:%; "no second guard of the database");
                    return Ok(SecondGuard::default());
                }
            }
        }
        match holder(&name) {
            Ok(holder) if is_stranger(&holder) => {
                log::warn!(
                    "another user's process {} has taken the name of the database's guard, @{name}: \
                     only the lock file keeps a second server out",
                    holder.pid.as_raw_nonzero()
                );
                Ok(SecondGuard::default())
            }
            holder => Err(OpenError::InUse {
                path: database.to_owned(),
                holder: holder.map_or_else(
                    |_| "owner unknown; its lock file was removed or replaced".to_owned(),
                    |holder| {
                        let process = holder.pid.as_raw_nonzero();
                        format!("process {process}, whose lock file was removed or replaced")
                    },
                ),
            }),
        }
    }

    fn bind(name: &str) -> io::Result<UnixListener> {
        UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)
    }

    /// The process that holds the socket. Doesn't wait: a stranger may let connections queue.
    fn holder(name: &str) -> io::Result<UCred> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        connect(
            &socket,
            &SocketAddrUnix::new_abstract_name(name.as_bytes())?,
        )?;
        Ok(socket_peercred(&socket)?)
    }

    /// Anybody may take an abstract name. Only a process that could open the database is believed
    /// to own it.
    fn is_stranger(holder: &UCred) -> bool {
        let own = rustix::process::geteuid();
        !holder.uid.is_root() && !own.is_root() && holder.uid != own
    }
}

#[cfg(test)]
mod tests;
