use super::*;
use crate::config::Config;
use crate::delivery::levels::http::answer;
use crate::model::FailureKind;

fn outcome(code: Errno) -> (bool, Option<FailureKind>) {
    let error = NotMade::wrap(IoError::from_raw_os_error(code.raw_os_error()));
    let outcome = answer::failure(&error, Config::default().resolve().adhoc());
    (outcome.is_made, outcome.failure)
}

#[test]
fn a_shortage_of_this_machine_is_not_an_attempt() {
    for code in [
        Errno::AGAIN,
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOMEM,
        Errno::NOBUFS,
    ] {
        assert_eq!(
            outcome(code),
            (false, Some(FailureKind::Internal)),
            "{code}"
        );
    }
    for (code, failure) in [
        (Errno::ADDRNOTAVAIL, FailureKind::Internal),
        (Errno::CONNREFUSED, FailureKind::Refused),
        (Errno::CONNRESET, FailureKind::Reset),
        (Errno::TIMEDOUT, FailureKind::Timeout),
    ] {
        assert_eq!(outcome(code), (true, Some(failure)), "{code}");
    }
}

/// Without IPv6, say: it would be put off for ever.
#[test]
fn the_lack_of_an_address_of_that_family_is_no_shortage() {
    let refused = || IoError::from_raw_os_error(Errno::ADDRNOTAVAIL.raw_os_error());
    let short = NotMade::of_dial(refused(), || true).expect("there is a route");
    assert_eq!(short.what, "ports");
    NotMade::of_dial(refused(), || false).expect_err("there is none");
}
