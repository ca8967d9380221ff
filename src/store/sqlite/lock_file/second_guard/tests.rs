use super::*;

#[cfg(target_os = "linux")]
#[test]
fn a_guard_keeps_a_second_one_out_by_whatever_name_the_database_has() {
    let directory = tempfile::tempdir().expect("a directory");
    let database = directory.path().join("relay.db");
    std::fs::write(&database, "").expect("a file");
    let other = directory.path().join("other.db");
    std::fs::hard_link(&database, &other).expect("a link");
    let guard = acquire(&database, || {}).expect("nobody has it");
    for name in [&database, &other] {
        let mut pauses = 0;
        let refused = acquire(name, || pauses += 1).expect_err("it is taken");
        let OpenError::InUse { holder, .. } = refused else {
            panic!("{refused}");
        };
        let process = format!("process {}, whose lock file", std::process::id());
        assert!(holder.starts_with(&process), "{holder}");
        assert_eq!(pauses, 10);
    }
    drop(guard);
    acquire(&other, || {}).expect("nobody has it");
}

#[cfg(target_os = "linux")]
#[test]
fn a_guard_that_is_released_meanwhile_is_taken() {
    let directory = tempfile::tempdir().expect("a directory");
    let database = directory.path().join("relay.db");
    std::fs::write(&database, "").expect("a file");
    let mut first = Some(acquire(&database, || {}).expect("nobody has it"));
    acquire(&database, || first = None).expect("it is free by then");
}
