//! Injected faults on the real binary, and a judge that compares the acknowledged requests with the
//! arrivals and the database. `cargo test --features delivery --test torture` is the short form;
//! with `RELAY_TORTURE=long` it takes tens of minutes. See README.md beside this file.

#![allow(clippy::too_many_lines, reason = "tables of cases are long")]

mod backups;
mod crashes;
mod disk;
mod files;
mod hangs;
mod images;
mod judge;
mod load;
#[cfg(feature = "postgres")]
mod nodes;
mod order;
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

/// The value for the short form, or the one for the long form.
fn choose<T>(short: T, long: T) -> T {
    let is_long = std::env::var("RELAY_TORTURE").is_ok_and(|form| form == "long");
    if is_long { long } else { short }
}

/// The seed of all random numbers: printed, so that a run can be repeated.
fn seed() -> u64 {
    let seed = match std::env::var("RELAY_TORTURE_SEED") {
        Ok(text) => text.parse().expect("RELAY_TORTURE_SEED is a whole number"),
        Err(_) => rand::random(),
    };
    println!("RELAY_TORTURE_SEED={seed}");
    seed
}

/// Scenes with a load of their own run one after the other, because each would disturb the others.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits, so that a fault has time to take effect.
fn pause(time: Duration) {
    std::thread::sleep(time);
}
