use super::*;
use crate::store::sqlite::lock_file::acquire;

#[test]
fn each_file_that_was_removed_or_replaced_is_noticed() {
    for ending in ["", "-wal", "-shm", ".lock"] {
        for is_replaced in [false, true] {
            let directory = tempfile::tempdir().expect("a directory");
            let database = directory.path().join("relay.db");
            std::fs::write(&database, b"a").expect("a file");
            std::fs::write(path_beside(&database, "-wal"), b"b").expect("a file");
            std::fs::write(path_beside(&database, "-shm"), b"c").expect("a file");
            let lock = acquire(&database).expect("nobody has it");
            let ownership = lock.ownership(&database).expect("all are there");
            ownership.check().expect("all are in place");
            let path = path_beside(&database, ending);
            let aside = path_beside(&database, ".aside");
            std::fs::rename(&path, &aside).expect("it is there");
            if is_replaced {
                std::fs::copy(&aside, &path).expect("a copy");
            }
            let error = ownership.check().expect_err("it is displaced").to_string();
            let named = format!("{} was removed or replaced", path.display());
            assert!(error.contains(&named), "{error}");
            std::fs::rename(&aside, &path).expect("it is there");
            ownership.check().expect("it is back");
        }
    }
}
