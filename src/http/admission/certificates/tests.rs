use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::clock::{FakeClock, Timestamp};

#[test]
fn a_host_is_asked_once_a_minute_and_sixteen_certificates_are_kept() {
    let clock = Arc::new(FakeClock::at(Timestamp::from_millis(0)));
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let certificate = rcgen::generate_simple_self_signed(Vec::new()).expect("a certificate");
    let pem = certificate.cert.pem().into_bytes();
    let fetch: FetchCertificate = Arc::new(move |url| {
        count.fetch_add(1, Ordering::Relaxed);
        let text = if url.contains("text") {
            b"no certificate".to_vec()
        } else {
            pem.clone()
        };
        (!url.contains("none")).then_some(text)
    });
    let certificates = Certificates::new(fetch, Arc::<FakeClock>::clone(&clock));
    certificates.fetch("https://a.example/none");
    certificates.fetch("https://a.example/1");
    assert_eq!(
        asked.load(Ordering::Relaxed),
        1,
        "a failed fetch counts, too"
    );
    assert!(certificates.get("https://a.example/1").is_none());
    certificates.fetch("https://c.example/text");
    assert!(certificates.get("https://c.example/text").is_none());
    certificates.fetch("https://b.example/1");
    assert!(
        certificates.get("https://b.example/1").is_some(),
        "another host"
    );
    for number in 0..MAX_KEPT {
        clock.advance(FETCH_EVERY);
        certificates.fetch(&format!("https://a.example/{number}"));
    }
    assert_eq!(certificates.state().kept.len(), MAX_KEPT);
    assert!(
        certificates.get("https://b.example/1").is_none(),
        "the oldest one"
    );
    assert!(certificates.get("https://a.example/15").is_some());
}
