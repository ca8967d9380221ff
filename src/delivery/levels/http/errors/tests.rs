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
