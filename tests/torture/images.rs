//! Images of a disk after a power failure: everything that was synced, and any part of the rest, in
//! any order, torn anywhere.

use std::collections::BTreeMap;
use std::path::Path;

use rand::RngExt as _;
use rand::rngs::StdRng;

/// Bytes of a sector, the unit that a disk writes as a whole, in any order.
const SECTOR: usize = 512;

/// An operation on the watched directory, as the shim saw it.
#[derive(Clone, Debug)]
pub enum Op {
    Write {
        file: u32,
        offset: usize,
        bytes: Vec<u8>,
    },
    Resize {
        file: u32,
        size: usize,
    },
    Sync {
        file: u32,
    },
    Open {
        file: u32,
        path: String,
    },
    Unlink {
        path: String,
    },
    SyncDirectory,
}

/// Reads the shim's log.
///
/// # Panics
///
/// If it has an operation that relay never makes.
pub fn parse(log: &[u8]) -> Vec<Op> {
    let mut ops = Vec::new();
    let mut rest = log;
    while rest.len() >= 24 {
        let (head, tail) = rest.split_at(24);
        let word = |at: usize| u32::from_ne_bytes(head[at..at + 4].try_into().expect("four bytes"));
        let size = |at: usize| {
            let bytes = head[at..at + 8].try_into().expect("eight bytes");
            usize::try_from(u64::from_ne_bytes(bytes)).expect("a 64-bit machine")
        };
        let (kind, file, offset, length) = (word(0), word(4), size(8), size(16));
        let payload = &tail[..length];
        rest = &tail[length..];
        let path = || String::from_utf8(payload.to_vec()).expect("paths are text");
        ops.push(match kind {
            1 => Op::Write {
                file,
                offset,
                bytes: payload.to_vec(),
            },
            2 | 8 => Op::Resize { file, size: offset },
            3 => Op::Sync { file },
            4 => Op::Open { file, path: path() },
            5 => Op::Unlink { path: path() },
            7 => Op::SyncDirectory,
            other => panic!("a relay doesn't do this: {other} {:?}", path()),
        });
    }
    ops
}

#[derive(Debug, Default)]
struct Contents {
    durable: Vec<u8>,
    /// Operations that may or may not be on the disk.
    pending: Vec<Op>,
}

#[derive(Clone, Debug)]
enum Name {
    Made(String, u32),
    Gone(String),
}

/// A disk that may lose everything that wasn't synced.
#[derive(Debug, Default)]
pub struct Disk {
    files: BTreeMap<u32, Contents>,
    names: BTreeMap<String, u32>,
    pending_names: Vec<Name>,
}

/// How much of the unsynced operations survives.
#[derive(Clone, Copy, Debug)]
pub enum Survival {
    None,
    All,
    /// Each operation survives with this probability, and some of those are torn.
    Some(f64),
}

impl Survival {
    pub fn random(random: &mut StdRng) -> Self {
        match random.random_range(0..6) {
            0 => Self::None,
            1 => Self::All,
            2 => Self::Some(0.1),
            3 => Self::Some(0.9),
            _ => Self::Some(0.5),
        }
    }
}

fn write(into: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if into.len() < end {
        into.resize(end, 0);
    }
    into[offset..end].copy_from_slice(bytes);
}

fn apply(into: &mut Vec<u8>, op: &Op) {
    match op {
        Op::Write { offset, bytes, .. } => write(into, *offset, bytes),
        Op::Resize { size, .. } => into.resize(*size, 0),
        _ => unreachable!("only contents wait for a sync"),
    }
}

/// Applies some of a write's sectors.
fn tear(into: &mut Vec<u8>, offset: usize, bytes: &[u8], random: &mut StdRng) {
    let mut at = 0;
    while at < bytes.len() {
        let end = ((offset + at) / SECTOR + 1) * SECTOR - offset;
        let end = end.min(bytes.len());
        if random.random_bool(0.5) {
            write(into, offset + at, &bytes[at..end]);
        }
        at = end;
    }
}

impl Disk {
    /// A disk with these files, all synced, before the operations.
    pub fn holding(files: BTreeMap<String, Vec<u8>>, ops: &[Op]) -> Self {
        let mut disk = Self::default();
        for (unseen, (path, durable)) in (0..).zip(files) {
            let opened = ops.iter().find_map(|op| match op {
                Op::Open { file, path: opened } if *opened == path => Some(*file),
                _ => None,
            });
            // Ids count from 0.
            let file = opened.unwrap_or(u32::MAX - 1 - unseen);
            let pending = Vec::new();
            disk.files.insert(file, Contents { durable, pending });
            disk.names.insert(path, file);
        }
        disk
    }

    /// Applies an operation.
    pub fn apply(&mut self, op: &Op) {
        match op {
            Op::Write { file, .. } | Op::Resize { file, .. } => {
                let contents = self.files.entry(*file).or_default();
                contents.pending.push(op.clone());
            }
            Op::Sync { file } => {
                let contents = self.files.entry(*file).or_default();
                for op in contents.pending.drain(..) {
                    apply(&mut contents.durable, &op);
                }
            }
            Op::Open { file, path } => {
                let is_known = self.names.get(path) == Some(file)
                    || self.pending_names.iter().any(
                        |name| matches!(name, Name::Made(made, id) if made == path && id == file),
                    );
                if !is_known {
                    self.files.entry(*file).or_default();
                    self.pending_names.push(Name::Made(path.clone(), *file));
                }
            }
            Op::Unlink { path } => self.pending_names.push(Name::Gone(path.clone())),
            Op::SyncDirectory => {
                for name in std::mem::take(&mut self.pending_names) {
                    settle(&mut self.names, name);
                }
            }
        }
    }

    /// Writes an image of the disk after a power failure at this moment.
    pub fn write_to(&self, directory: &Path, survival: Survival, random: &mut StdRng) {
        let mut names = self.names.clone();
        for name in &self.pending_names {
            if survives(survival, random) {
                settle(&mut names, name.clone());
            }
        }
        for (path, file) in names {
            // The WAL's index is rebuilt from the WAL, and written through shared memory only.
            if path.ends_with("-shm") {
                continue;
            }
            let contents = &self.files[&file];
            let mut bytes = contents.durable.clone();
            for op in &contents.pending {
                if !survives(survival, random) {
                    continue;
                }
                match op {
                    Op::Write {
                        offset,
                        bytes: part,
                        ..
                    } if matches!(survival, Survival::Some(_)) && random.random_bool(0.3) => {
                        tear(&mut bytes, *offset, part, random);
                    }
                    _ => apply(&mut bytes, op),
                }
            }
            std::fs::write(directory.join(path), bytes).expect("room for an image");
        }
    }
}

fn survives(survival: Survival, random: &mut StdRng) -> bool {
    match survival {
        Survival::None => false,
        Survival::All => true,
        Survival::Some(part) => random.random_bool(part),
    }
}

fn settle(names: &mut BTreeMap<String, u32>, name: Name) {
    match name {
        Name::Made(path, file) => {
            names.insert(path, file);
        }
        Name::Gone(path) => {
            names.remove(&path);
        }
    }
}

#[test]
fn an_image_has_all_that_was_synced_and_nothing_that_was_not_written() {
    use rand::SeedableRng as _;
    let mut random = StdRng::seed_from_u64(1);
    let mut disk = Disk::default();
    let open = Op::Open {
        file: 0,
        path: "a".to_owned(),
    };
    let put = |offset, byte| Op::Write {
        file: 0,
        offset,
        bytes: vec![byte; 1024],
    };
    let image = |disk: &Disk, survival, random: &mut StdRng| {
        let directory = tempfile::tempdir().expect("a directory");
        disk.write_to(directory.path(), survival, random);
        std::fs::read(directory.path().join("a")).ok()
    };
    disk.apply(&open);
    disk.apply(&put(0, 1));
    assert_eq!(image(&disk, Survival::None, &mut random), None);
    disk.apply(&Op::SyncDirectory);
    assert_eq!(image(&disk, Survival::None, &mut random), Some(Vec::new()));
    disk.apply(&Op::Sync { file: 0 });
    assert_eq!(
        image(&disk, Survival::None, &mut random),
        Some(vec![1; 1024])
    );
    disk.apply(&put(512, 2));
    let whole = [vec![1; 512], vec![2; 1024]].concat();
    assert_eq!(image(&disk, Survival::All, &mut random), Some(whole));
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..200 {
        let bytes = image(&disk, Survival::Some(0.5), &mut random).expect("it is there");
        assert_eq!(bytes[..512], [1; 512]);
        seen.insert((bytes.get(512).copied(), bytes.get(1024).copied()));
    }
    assert!(seen.len() >= 4, "lost, torn and whole: {seen:?}");
}
