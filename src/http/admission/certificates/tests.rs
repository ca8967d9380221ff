use super::*;
use crate::clock::{FakeClock, Timestamp};

fn certificates() -> (Certificates, Arc<FakeClock>) {
    let clock = Arc::new(FakeClock::at(Timestamp::from_millis(0)));
    let certificate = rcgen::generate_simple_self_signed(Vec::new()).expect("a certificate");
    let pem = certificate.cert.pem().into_bytes();
    let fetch: FetchCertificate = Arc::new(move |url| {
        let text = if url.contains("text") {
            b"no certificate".to_vec()
        } else {
            pem.clone()
        };
        (!url.contains("none")).then_some(text)
    });
    let certificates = Certificates::new(fetch, Arc::<FakeClock>::clone(&clock));
    (certificates, clock)
}

fn url(number: usize) -> String {
    format!("https://a.example/{number}")
}

#[test]
fn a_url_is_asked_once_a_minute_and_another_one_meanwhile() {
    let (certificates, clock) = certificates();
    assert!(certificates.take_fetch("a", &url(1)));
    assert!(!certificates.take_fetch("a", &url(1)));
    assert!(!certificates.take_fetch("b", &url(1)), "for any source");
    assert!(certificates.take_fetch("a", &url(2)));
    clock.advance(FETCH_EVERY);
    assert!(certificates.take_fetch("a", &url(1)));
}

#[test]
fn fetches_are_bounded_for_a_source_and_in_all() {
    let (certificates, clock) = certificates();
    let taken = |source: &str| {
        let mut numbers = 0..1000;
        let taken = numbers.by_ref().take_while(|number| {
            let url = format!("https://{source}.example/{number}");
            certificates.take_fetch(source, &url)
        });
        taken.count()
    };
    assert_eq!(taken("a"), MAX_FETCHES_OF_SOURCE);
    assert_eq!(
        taken("b"),
        MAX_FETCHES_OF_SOURCE,
        "another source has its own"
    );
    let others = ["c", "d", "e"].map(taken);
    assert_eq!(
        others.iter().sum::<usize>(),
        MAX_FETCHES - 2 * MAX_FETCHES_OF_SOURCE
    );
    clock.advance(FETCH_EVERY);
    assert_eq!(taken("e"), MAX_FETCHES_OF_SOURCE);
    assert!(certificates.state().fetches.len() <= MAX_FETCHES);
}

#[test]
fn certificates_that_verified_a_request_outlast_others() {
    let (certificates, _clock) = certificates();
    certificates.fetch(&url(0));
    certificates.prove(&url(0));
    (1..100).for_each(|number| certificates.fetch(&url(number)));
    assert!(certificates.get(&url(0)).is_some());
    assert!(
        certificates.get(&url(99)).is_some(),
        "there is room for a new one"
    );
    assert!(certificates.get(&url(1)).is_none(), "the oldest one");
    assert_eq!(certificates.state().unproven.len(), MAX_UNPROVEN);
    for number in 100..100 + MAX_PROVEN {
        certificates.fetch(&url(number));
        certificates.prove(&url(number));
    }
    assert!(certificates.get(&url(0)).is_none(), "the oldest one");
    assert_eq!(certificates.state().proven.len(), MAX_PROVEN);
}

#[test]
fn only_a_certificate_is_kept() {
    let (certificates, _clock) = certificates();
    for url in ["https://a.example/text", "https://a.example/none"] {
        certificates.fetch(url);
        certificates.prove(url);
        assert!(certificates.get(url).is_none(), "{url}");
    }
}
