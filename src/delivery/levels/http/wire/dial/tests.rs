use rustix::io::Errno;
use ureq::Timeout;
use ureq::unversioned::transport::NextTimeout;
use ureq::unversioned::transport::time::Instant;

use super::*;
use crate::config::Config;
use crate::delivery::levels::http::answer;
use crate::delivery::outcome::Outcome;
use crate::model::FailureKind;

/// The outcome of dialling an address that the system refuses with this error.
fn refused_with(code: Errno, address: &str) -> Outcome {
    let timeout = NextTimeout {
        after: Duration::from_secs(60).into(),
        reason: Timeout::Connect,
        per_read: None,
        per_write: None,
    };
    // No time passes.
    let now: Arc<dyn Fn() -> Instant + Send + Sync> = Arc::new(|| Instant::NotHappening);
    let deadline = Deadline::new(timeout, Instant::NotHappening, &now);
    let address = address.parse().expect("an address");
    let refuse = |_: &SocketAddr, _| Err(IoError::from_raw_os_error(code.raw_os_error()));
    let error = connect_first(&[address], &deadline, refuse).expect_err("it is refused");
    answer::failure(&error, Config::default().resolve().adhoc())
}

/// All ports of this machine are in connections to the destination.
#[test]
fn a_lack_of_ports_is_a_shortage_of_this_machine() {
    let outcome = refused_with(Errno::ADDRNOTAVAIL, "127.0.0.1:9");
    assert!(!outcome.is_made, "{outcome:?}");
    let error = outcome.error.expect("a reason");
    assert!(error.contains("short of ports"), "{error}");
}

#[test]
fn a_refusal_is_an_attempt() {
    let outcome = refused_with(Errno::CONNREFUSED, "127.0.0.1:9");
    assert!(outcome.is_made, "{outcome:?}");
    assert_eq!(outcome.failure, Some(FailureKind::Refused));
}
