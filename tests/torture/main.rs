//! Faults on purpose, on the real binary, with a judge that holds what was acknowledged against what
//! arrived and what the database says. `cargo test --features delivery --test torture` is the short
//! form; with `RELAY_TORTURE=long` it takes tens of minutes. See README.md beside this file.

mod crashes;
mod disk;
mod files;
mod hangs;
mod images;
mod judge;
mod load;
mod owners;
mod power;
mod process;
mod shim;
mod soak;
#[path = "../it/support/mod.rs"]
mod support;
mod time;
mod upgrade;
mod world;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The short form, or the long one.
fn choose<T>(short: T, long: T) -> T {
    let is_long = std::env::var("RELAY_TORTURE").is_ok_and(|form| form == "long");
    if is_long { long } else { short }
}

/// Where all that is random comes from: printed, so that a run can be repeated.
fn seed() -> u64 {
    let seed = match std::env::var("RELAY_TORTURE_SEED") {
        Ok(text) => text.parse().expect("RELAY_TORTURE_SEED is a whole number"),
        Err(_) => rand::random(),
    };
    println!("RELAY_TORTURE_SEED={seed}");
    seed
}

/// Scenes with a load of their own run one after the other: each would be another's fault.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits, for faults that want time to do harm.
fn pause(time: Duration) {
    std::thread::sleep(time);
}
