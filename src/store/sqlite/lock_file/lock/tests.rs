use super::*;

fn directory() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let database = directory.path().join("relay.db");
    (directory, database)
}

fn in_use(acquired: Result<Lock, OpenError>) -> String {
    match acquired.err().expect("it is refused") {
        OpenError::InUse { holder, .. } => holder,
        other => panic!("{other}"),
    }
}

#[test]
fn a_command_that_tests_the_lock_does_not_refuse_a_starting_server() {
    let (_directory, database) = directory();
    drop(acquire(&database).expect("nobody has it"));
    let mut asked = Some(open_to_read(&database).expect("a lock file"));
    let file = asked.as_ref().expect("it is there");
    file.try_lock_shared().expect("nobody has it");
    // The command holds its shared lock at the first attempt, and has released it by the second.
    let mut pauses = 0;
    let lock = try_acquire(&database, || {
        pauses += 1;
        asked = None;
    });
    lock.expect("it is acquired");
    assert_eq!(pauses, 1);
}

#[test]
fn a_lock_that_stays_held_is_refused_after_all_tries() {
    let (_directory, database) = directory();
    let lock = acquire(&database).expect("nobody has it");
    let mut pauses = 0;
    let second = try_acquire(&database, || pauses += 1);
    assert_eq!(in_use(second), format!("process {}", std::process::id()));
    assert_eq!(pauses, TRIES);
    drop(lock);
    acquire(&database).expect("nobody has it");
}

#[test]
fn a_lock_on_a_removed_file_does_not_count() {
    let (_directory, database) = directory();
    let path = path_beside(&database, ".lock");
    let mut first = Some(acquire(&database).expect("nobody has it"));
    // It waits for the lock of a file that is removed before the lock is free.
    let second = try_acquire(&database, || {
        std::fs::remove_file(&path).expect("it is there");
        first = None;
    });
    let second = second.expect("it is acquired");
    assert!(path.is_file(), "it made a new one");
    assert_eq!(
        in_use(acquire(&database)),
        format!("process {}", std::process::id())
    );
    drop(second);
}

#[test]
fn a_file_that_is_replaced_at_each_try_is_refused() {
    let (_directory, database) = directory();
    let path = path_beside(&database, ".lock");
    let holder = std::cell::RefCell::new(Vec::new());
    let take_away = || {
        std::fs::remove_file(&path).expect("it is there");
        holder
            .borrow_mut()
            .push(acquire(&database).expect("it is new"));
    };
    let first = acquire(&database).expect("nobody has it");
    holder.borrow_mut().push(first);
    assert!(!in_use(try_acquire(&database, take_away)).is_empty());
}

#[test]
fn a_server_of_another_pid_namespace_is_noticed() {
    let (_directory, database) = directory();
    assert!(!is_held(&database), "there is no lock file");
    let lock = acquire(&database).expect("nobody has it");
    assert!(is_held(&database));
    // Linux assigns no process id this large: it stands for one of another PID namespace.
    lock.file.write_all_at(b"2147483647\n", 0).expect("room");
    assert!(is_held(&database));
    let holder = in_use(try_acquire(&database, || {}));
    assert!(holder.contains("another container"), "{holder}");
    drop(lock);
    assert!(!is_held(&database));
    // The test leaves no lock behind.
    acquire(&database).expect("nobody has it");
}
