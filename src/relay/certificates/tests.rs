use super::*;
use crate::config::Config;
use crate::model::Level;

/// A listener's files in a directory of their own.
struct Files {
    directory: tempfile::TempDir,
    config: Resolved,
}

impl Files {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut config = Config::default();
        config.server.tls = Some(Tls {
            cert_file: directory.path().join("listener.pem"),
            key_file: directory.path().join("listener.key"),
        });
        let config = config.resolve();
        Self { directory, config }
    }

    /// Writes a new pair that expires in this year; returns its certificate and its key.
    fn write(&self, year: i32) -> (String, String) {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::new(vec!["a.example".to_owned()]);
        let params = params.as_mut().expect("a name");
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let certificate = params.self_signed(&key).expect("a certificate").pem();
        let pair = (certificate, key.serialize_pem());
        self.put("listener.pem", &pair.0);
        self.put("listener.key", &pair.1);
        pair
    }

    fn put(&self, name: &str, text: &str) {
        std::fs::write(self.directory.path().join(name), text).expect("writing it");
    }
}

/// The year in which the certificate in use expires.
fn year(certificates: &Certificates) -> String {
    let identity = certificates.server().and_then(|tls| tls.identity());
    let end = identity.expect("a certificate").facts.not_after;
    end.to_string()[..4].to_owned()
}

#[test]
fn a_look_uses_a_pair_that_is_whole_and_keeps_the_one_before_otherwise() {
    let files = Files::new();
    files.write(2101);
    let metrics = Arc::new(Metrics::new(Level::Off));
    let notices = Notices::default();
    let prepared = Prepared::read(&files.config).expect("a pair");
    let certificates = Certificates::new(prepared, &metrics, &notices);
    assert_eq!(year(&certificates), "2101");
    // The same files: the very same settings go on, with the sessions that they know.
    let before = certificates.server().and_then(|tls| tls.identity());
    certificates.look(&files.config);
    let after = certificates.server().and_then(|tls| tls.identity());
    assert!(Arc::ptr_eq(&before.expect("one"), &after.expect("one")));

    let (chain, key) = files.write(2102);
    files.put("listener.key", &key[..60]);
    certificates.look(&files.config);
    assert_eq!(year(&certificates), "2101");
    files.put("listener.key", &key);
    files.put("listener.pem", &chain[..60]);
    certificates.look(&files.config);
    assert_eq!(year(&certificates), "2101");
    files.put("listener.pem", &chain);
    certificates.look(&files.config);
    assert_eq!(year(&certificates), "2102");
    let found = notices.noticed().certificates;
    assert_eq!(&found["server.tls"].0.not_after.to_string()[..4], "2102");
    let shown = metrics.render();
    let line = "relay_certificate_expiry_timestamp_seconds{listener=\"server\"} 4165516800";
    assert!(shown.contains(line), "{shown}");
}

#[test]
fn a_look_is_due_an_hour_after_the_start_and_each_hour_after_it() {
    let files = Files::new();
    files.write(2101);
    let prepared = Prepared::read(&files.config).expect("a pair");
    let metrics = Arc::new(Metrics::new(Level::Off));
    let certificates = Certificates::new(prepared, &metrics, &Notices::default());
    let minute = |minutes: u64| Duration::from_secs(minutes * 60);
    for (at, is_due) in [
        (7, false),
        (8, false),
        (66, false),
        (67, true),
        (68, false),
        (127, true),
    ] {
        assert_eq!(certificates.is_due(minute(at)), is_due, "{at} minutes");
    }
    let none = Prepared {
        has_acme: false,
        server: None,
        admin: None,
    };
    let without = Certificates::new(none, &metrics, &Notices::default());
    assert!(!without.is_due(minute(1)) && !without.is_due(minute(1000)));
}
