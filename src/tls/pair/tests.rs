use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, Issuer, KeyPair};
use tempfile::TempDir;

use super::*;
use crate::tls::certificate::{SEQUENCE, VERSION, only, take};

/// A certificate that an authority signed, with its key.
struct Scene {
    directory: TempDir,
    leaf: rcgen::Certificate,
    authority: String,
    key: String,
}

impl Scene {
    fn new() -> Self {
        let params = |name: &str| CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let [key, other] = [(); 2].map(|()| KeyPair::generate().expect("a key"));
        let of_authority = params("ca.example");
        let authority = of_authority.self_signed(&other);
        let issuer = Issuer::from_params(&of_authority, &other);
        let leaf = params("a.example").signed_by(&key, &issuer);
        Self {
            directory: tempfile::tempdir().expect("a directory"),
            leaf: leaf.expect("a certificate"),
            authority: authority.expect("a certificate").pem(),
            key: key.serialize_pem(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The setting and the problem of a pair of files; none if it is fine.
    fn problem(&self, certificate: &[u8], key: &[u8]) -> Option<(&'static str, String)> {
        std::fs::write(self.path("it.pem"), certificate).expect("written");
        std::fs::write(self.path("it.key"), key).expect("written");
        self.problem_of("it.pem", "it.key")
    }

    fn problem_of(&self, certificate: &str, key: &str) -> Option<(&'static str, String)> {
        let pair = read_pair(&PairFiles {
            certificate: &self.path(certificate),
            key: &self.path(key),
            certificate_setting: "cert_file",
            key_setting: "key_file",
        });
        pair.err()
    }
}

/// A key with a passphrase, as far as it is looked at.
fn encrypted(label: &str, header: &str) -> Vec<u8> {
    format!("-----BEGIN {label}-----\n{header}MIIB\n-----END {label}-----\n").into_bytes()
}

/// The same certificate without the field of its version, in PEM.
fn of_version_1(der: &[u8]) -> String {
    let sequence = |content: &[u8]| {
        let length = content.len();
        let [high, low] = u16::try_from(length).expect("a short one").to_be_bytes();
        let head = match length {
            0..0x80 => vec![SEQUENCE, low],
            0x80..0x100 => vec![SEQUENCE, 0x81, low],
            _ => vec![SEQUENCE, 0x82, high, low],
        };
        [&head, content].concat()
    };
    let all = only(der, SEQUENCE).expect("a certificate");
    let (body, signature) = take(all, SEQUENCE).expect("its fields");
    let (_, fields) = take(body, VERSION).expect("its version");
    let der = sequence(&[&sequence(fields), signature].concat());
    let text = STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

#[test]
fn files_that_are_no_pair_are_refused_with_the_setting_and_the_reason() {
    let scene = Scene::new();
    let (leaf, key) = (scene.leaf.pem(), scene.key.as_bytes());
    let reversed = scene.authority.clone() + &leaf;
    let pkcs8 = encrypted("ENCRYPTED PRIVATE KEY", "");
    let older = encrypted(
        "EC PRIVATE KEY",
        "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n",
    );
    let half = &leaf.as_bytes()[..leaf.len() / 2];
    let garbled = leaf.replace("MII", "MIJ");
    let first_version = of_version_1(scene.leaf.der());
    for (certificate, private, setting, says) in [
        (
            &b""[..],
            key,
            "cert_file",
            "expected a PEM file of certificates",
        ),
        (
            scene.leaf.der().as_ref(),
            key,
            "cert_file",
            "expected a PEM file of certificates",
        ),
        (key, key, "cert_file", "expected a PEM file of certificates"),
        (half, key, "cert_file", ""),
        (
            garbled.as_bytes(),
            key,
            "cert_file",
            "one of them can't be read",
        ),
        (
            first_version.as_bytes(),
            key,
            "cert_file",
            "expected a certificate of version 3",
        ),
        (
            reversed.as_bytes(),
            key,
            "cert_file",
            "the certificate of the key first",
        ),
        (
            scene.authority.as_bytes(),
            key,
            "key_file",
            "it belongs to another certificate",
        ),
        (
            leaf.as_bytes(),
            &b""[..],
            "key_file",
            "expected a PEM file of a private key",
        ),
        (
            leaf.as_bytes(),
            leaf.as_bytes(),
            "key_file",
            "expected a PEM file of a private key",
        ),
        (
            leaf.as_bytes(),
            &pkcs8[..],
            "key_file",
            "without a passphrase",
        ),
        (
            leaf.as_bytes(),
            &older[..],
            "key_file",
            "without a passphrase",
        ),
        (leaf.as_bytes(), &key[..key.len() / 2], "key_file", ""),
    ] {
        let found = scene.problem(certificate, private).expect(says);
        assert_eq!(found.0, setting, "{found:?}");
        assert!(found.1.contains(says), "{found:?} and not {says}");
        let name = if setting == "cert_file" {
            "it.pem"
        } else {
            "it.key"
        };
        assert!(found.1.contains(name), "{found:?}");
    }
    std::fs::create_dir(scene.path("directory")).expect("made");
    std::os::unix::fs::symlink("nowhere", scene.path("link")).expect("made");
    for name in ["directory", "missing", "link"] {
        let found = scene.problem_of(name, "it.key").expect(name);
        assert!(
            found.0 == "cert_file" && found.1.contains(name),
            "{found:?}"
        );
        std::fs::write(scene.path("it.pem"), &leaf).expect("written");
        let found = scene.problem_of("it.pem", name).expect(name);
        assert!(found.0 == "key_file" && found.1.contains(name), "{found:?}");
    }
}

#[test]
fn a_pair_is_read_whatever_stands_around_it() {
    let scene = Scene::new();
    let chain = scene.leaf.pem() + &scene.authority;
    let with_dos_lines = chain.replace('\n', "\r\n");
    // As programs put it there, in Latin-1.
    let with_names = [&b"friendlyName: Z\xfcrich\n"[..], chain.as_bytes()].concat();
    let both = scene.key.clone() + &chain;
    for certificate in [
        chain.as_bytes(),
        with_dos_lines.as_bytes(),
        &with_names[..],
        both.as_bytes(),
    ] {
        let problem = scene.problem(certificate, scene.key.as_bytes());
        assert_eq!(problem, None);
    }
    std::fs::write(scene.path("both"), both).expect("written");
    std::os::unix::fs::symlink("both", scene.path("link")).expect("made");
    assert_eq!(scene.problem_of("link", "link"), None);
}

#[test]
fn a_pair_that_has_expired_is_read_all_the_same() {
    let scene = Scene::new();
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec!["a.example".to_owned()]).expect("a name");
    params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let expired = params.self_signed(&key).expect("a certificate").pem();
    let problem = scene.problem(expired.as_bytes(), key.serialize_pem().as_bytes());
    assert_eq!(problem, None);
}
