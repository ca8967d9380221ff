use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path)
        .expect("it is there")
        .permissions()
        .mode()
        & 0o777
}

#[test]
fn only_the_owner_can_read_the_state_and_a_file_is_replaced_as_a_whole() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let state = StateDirectory::of(&directory.path().join("relay.db"));
    assert!(state.path().ends_with("relay.db.acme"));
    assert_eq!(state.read(ACCOUNT).expect("no error"), None);
    state.make().expect("a directory");
    fs::set_permissions(state.path(), Permissions::from_mode(0o755)).expect("its mode");
    state.make().expect("it is there");
    assert_eq!(mode(state.path()), 0o700);
    let left = state.path().join("account.json.partial");
    fs::write(&left, "left by a crash").expect("writing it");
    fs::set_permissions(&left, Permissions::from_mode(0o644)).expect("its mode");
    state.write(ACCOUNT, "one").expect("writing it");
    state.write(ACCOUNT, "another").expect("writing it");
    assert_eq!(
        state.read(ACCOUNT).expect("it is there").as_deref(),
        Some("another")
    );
    assert_eq!(mode(&state.path().join(ACCOUNT)), 0o600);
    assert!(!left.exists());
    state.remove(ACCOUNT).expect("it is there");
    state.remove(ACCOUNT).expect("it is gone");
}

#[test]
fn a_certificate_that_is_damaged_counts_as_none() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let database = directory.path().join("relay.db");
    let state = StateDirectory::of(&database);
    assert!(stored_certificate(&database).is_none());
    state.make().expect("a directory");
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate").pem();
    let whole = key.serialize_pem() + &certificate;
    state.write(CERTIFICATE, &whole).expect("writing it");
    assert!(stored_certificate(&database).is_some());
    state
        .write(CERTIFICATE, &whole[..whole.len() / 2])
        .expect("writing it");
    assert!(stored_certificate(&database).is_none());
}
