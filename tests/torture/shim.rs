//! Builds shim.c, and controls it by its control page.

use std::fs::File;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const MAGIC: u64 = 0x5245_4c41_5953_4849;

/// Files, as a mask.
pub const WAL: u32 = 1;
pub const DATABASE: u32 = 8;

pub const EIO: i32 = 5;
pub const ENOSPC: i32 = 28;
pub const EDQUOT: i32 = 122;

/// The path of the library, which is built once.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torture/shim.c");
        let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shim.so");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-o"])
            .arg(&library)
            .arg(&source)
            .args(["-ldl", "-lpthread"])
            .status()
            .expect("a C compiler");
        assert!(built.success(), "shim.c compiles");
        library
    })
}

/// The control page of a process under the shim.
pub struct Shim {
    directory: tempfile::TempDir,
    page: File,
}

impl Shim {
    /// A page, and a copy of the library, which programs of any user may use.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let page = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(directory.path().join("control"))
            .expect("a control page");
        page.set_len(4096).expect("a page");
        let open = |path: &Path, mode| {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(path, permissions).expect("its owner may");
        };
        open(directory.path(), 0o755);
        open(&directory.path().join("control"), 0o666);
        std::fs::copy(library(), directory.path().join("shim.so")).expect("room for it");
        let shim = Self { directory, page };
        shim.put(0, &MAGIC.to_ne_bytes());
        shim
    }

    /// Puts a command under the shim, which watches `directory`, and records its operations if
    /// `records`.
    pub fn load(&self, command: &mut Command, directory: &Path, records: bool) {
        command
            .env("LD_PRELOAD", self.directory.path().join("shim.so"))
            .env("RELAY_SHIM_CONTROL", self.directory.path().join("control"))
            .env("RELAY_SHIM_WATCH", directory);
        if records {
            command.env("RELAY_SHIM_LOG", self.log_path());
        }
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// The records.
    pub fn log(&self) -> Vec<u8> {
        let mut log = std::fs::read(self.log_path()).expect("a log");
        // A killed process may have left a part of one more record.
        log.truncate(usize::try_from(self.get(64)).expect("a size"));
        log
    }

    /// The number of records.
    pub fn records(&self) -> u64 {
        self.get(56)
    }

    /// Removes the log, so that another process begins its own.
    pub fn forget_log(&self) {
        let _ = std::fs::remove_file(self.log_path());
        self.put(56, &[0; 16]);
    }

    /// The number of failures that were injected.
    pub fn faults(&self) -> u64 {
        self.get(48)
    }

    /// Shifts the wall clock by `seconds`.
    pub fn wall_offset(&self, seconds: i64) {
        self.put(8, &(seconds * 1_000_000_000).to_ne_bytes());
    }

    /// Makes writes to these files fail: those that extend a file, or all.
    pub fn fail_writes(&self, errno: i32, files: u32, only_growth: bool) {
        self.put(32, &u32::from(only_growth).to_ne_bytes());
        self.put(20, &files.to_ne_bytes());
        self.put(16, &errno.to_ne_bytes());
    }

    /// Lets so many operations through that should fail, before the first one fails.
    pub fn let_through(&self, operations: u64) {
        self.put(40, &operations.to_ne_bytes());
    }

    /// Makes syncs of these files fail.
    pub fn fail_syncs(&self, errno: i32, files: u32) {
        self.put(28, &files.to_ne_bytes());
        self.put(24, &errno.to_ne_bytes());
    }

    /// Makes syncs hang, for longer than any test runs.
    pub fn hang_syncs(&self) {
        self.put(72, &u32::MAX.to_ne_bytes());
    }

    pub fn heal(&self) {
        self.put(72, &0_u32.to_ne_bytes());
        self.fail_writes(0, 0, false);
        self.fail_syncs(0, 0);
        self.kill_at_record(0);
    }

    /// Makes the process kill itself right after this record; 0 for never.
    pub fn kill_at_record(&self, record: u64) {
        self.put(80, &record.to_ne_bytes());
    }

    fn put(&self, at: u64, bytes: &[u8]) {
        self.page.write_all_at(bytes, at).expect("the control page");
    }

    fn get(&self, at: u64) -> u64 {
        let mut bytes = [0; 8];
        self.page
            .read_exact_at(&mut bytes, at)
            .expect("the control page");
        u64::from_ne_bytes(bytes)
    }
}
