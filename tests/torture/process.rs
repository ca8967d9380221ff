//! Events of a process's life: signals, pauses, restarts in a row, and an unread log.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::load::Load;
use crate::shim::{EIO, WAL};
use crate::support::{Answer, Client, KEY, until};
use crate::world::World;

/// `server.shutdown_grace`, as this world's relay.toml has it.
pub const GRACE: Duration = Duration::from_secs(2);
/// The longest that a stop may take beyond its waits, on a busy machine.
pub const TOLERANCE: Duration = Duration::from_secs(1);

/// A client that sends its body a byte at a time, until the server closes.
fn drip(client: &Client) -> JoinHandle<()> {
    let mut connection = client.connect();
    let head = format!(
        "POST /webhooks/github HTTP/1.1\r\nHost: relay\r\nX-API-Key: {KEY}\r\nContent-Length: 30000\r\n\r\n"
    );
    assert!(connection.send(head.as_bytes()), "it takes a request");
    std::thread::spawn(move || {
        while connection.send(b" ") {
            crate::pause(Duration::from_millis(50));
        }
    })
}

/// Puts the server under a load that delays a stop: all attempts hang, and bodies arrive slowly.
fn held_up(world: &mut World, seed: u64) -> (Load, Vec<JoinHandle<()>>) {
    world.answers(|_| Answer::status(200).after(Duration::from_secs(60)));
    world.start();
    let load = world.load(seed, 4, 400);
    world.acknowledged(100);
    until("attempts hang", || {
        (world.journal.hit_times().len() >= 2).then_some(())
    });
    let client = world.client();
    let drips: Vec<_> = (0..3).map(|_| drip(&client)).collect();
    crate::pause(Duration::from_millis(200));
    assert!(!drips.iter().any(JoinHandle::is_finished), "they drip");
    (load, drips)
}

/// Starts again with a healthy receiver, and lets everything arrive.
fn go_on(world: &mut World, load: Load, drips: Vec<JoinHandle<()>>, name: &str) {
    for drip in drips {
        drip.join().expect("it only sends");
    }
    // Hanging attempts have reached the receiver, and their outcome is unknown.
    world.journal.fault();
    world.answers(|_| Answer::status(200));
    world.start();
    load.stop();
    world.drain();
    let ended = world.stop();
    assert!(ended.status.success(), "{}", ended.log);
    let verdict = world.journal.assert_no_violations(name, &world.database());
    assert_eq!((verdict.pending, verdict.dead), (0, 0));
    assert!(verdict.duplicates > 0, "nothing hung");
}

/// Stops the loaded server by a signal; returns the time that it took.
fn stopped_by(signal: &str, name: &str) -> Duration {
    let _alone = crate::alone();
    let seed = crate::seed();
    let mut world = World::new();
    let (load, drips) = held_up(&mut world, seed);
    let begun = Instant::now();
    world.signal(signal);
    let ended = world.ended();
    let took = begun.elapsed();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    for said in ["attempts were still under way", "\"stopped\""] {
        assert!(ended.log.contains(said), "{said}: {}", ended.log);
    }
    go_on(&mut world, load, drips, name);
    println!("{name}: out after {took:?}, with a grace of {GRACE:?}");
    took
}

/// Requests and attempts share one grace, as README.md promises.
#[test]
fn a_stop_ends_within_the_grace_with_hanging_attempts_and_slow_bodies() {
    let took = stopped_by("-TERM", "SIGTERM");
    assert!(took < GRACE + TOLERANCE, "{took:?}");
}

#[test]
fn a_hangup_reloads_and_does_not_stop() {
    // Under nohup SIGHUP is ignored by this process and its children, so there is nothing to test.
    let status = std::fs::read_to_string("/proc/self/status").expect("our own status");
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    if mask.expect("a mask") & 1 == 1 {
        println!("SIGHUP is ignored here: run this without nohup");
        return;
    }
    let _alone = crate::alone();
    let seed = crate::seed();
    let mut world = World::new();
    let (load, drips) = held_up(&mut world, seed);
    for _ in 0..20 {
        world.signal("-HUP");
        crate::pause(Duration::from_millis(20));
    }
    let before = world.journal.acknowledged();
    world.acknowledged(before + 50);
    world.signal("-TERM");
    let ended = world.ended();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    for said in [
        "configuration reloaded",
        "attempts were still under way",
        "\"stopped\"",
    ] {
        assert!(ended.log.contains(said), "{said}: {}", ended.log);
    }
    go_on(&mut world, load, drips, "SIGHUP");
}

#[test]
fn a_second_signal_exits_at_once_and_the_next_start_recovers() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let mut world = World::new();
    let (load, drips) = held_up(&mut world, seed);
    world.signal("-TERM");
    crate::pause(Duration::from_millis(300));
    let begun = Instant::now();
    world.signal("-TERM");
    let ended = world.ended();
    let took = begun.elapsed();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
    assert!(ended.log.contains("a second signal"), "{}", ended.log);
    assert!(took < Duration::from_millis(500), "{took:?}");
    go_on(&mut world, load, drips, "second SIGTERM");
    println!("second SIGTERM: out after {took:?}");
}

/// The fatal error is the first reason to stop, so the first signal is the second.
#[test]
fn a_signal_after_a_fatal_error_exits_at_once_and_the_next_start_recovers() {
    let _alone = crate::alone();
    let seed = crate::seed();
    for (round, signal) in ["-TERM", "-INT"].into_iter().enumerate() {
        let mut world = World::new();
        // Slow bodies keep it running for a second after the error.
        let (load, drips) = held_up(&mut world, seed + round as u64);
        world.shim.fail_syncs(EIO, WAL);
        let client = world.client();
        until("it no longer listens", || {
            let reply = client.try_send("GET", "/healthz", &[], b"");
            reply.is_none().then_some(())
        });
        let begun = Instant::now();
        world.signal(signal);
        let ended = world.ended();
        let took = begun.elapsed();
        assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
        for said in ["disk I/O error", "a signal during the stop"] {
            assert!(ended.log.contains(said), "{said}: {}", ended.log);
        }
        world.shim.heal();
        go_on(&mut world, load, drips, "fatal error, then a signal");
        println!("fatal error, then {signal}: out after {took:?}");
        assert!(took < Duration::from_millis(500), "{took:?}");
    }
}

/// Starts a server at log level trace whose log can't be written.
fn start_mute(world: &mut World, how: &str) {
    // Its address can't be read from the log.
    let port = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address: SocketAddr = port.local_addr().expect("an address");
    drop(port);
    let mut command = world.command();
    let child = match how {
        "closed" => {
            let mut shell = Command::new("sh");
            shell
                .args(["-c", "exec \"$0\" serve >&- 2>&-"])
                .arg(command.get_program())
                .current_dir(world.directory.path())
                .env_clear();
            for (name, value) in command.get_envs() {
                shell.env(name, value.expect("none is removed"));
            }
            command = shell;
            command.stdin(Stdio::null())
        }
        "full" => {
            let full = || File::options().write(true).open("/dev/full");
            command
                .arg("serve")
                .stdout(full().expect("/dev/full"))
                .stderr(full().expect("/dev/full"))
        }
        _ => command
            .arg("serve")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped()),
    };
    let mut child = child
        .env("RELAY_HTTP_ADDR", address.to_string())
        .env("RELAY_LOG", "trace")
        .spawn()
        .expect("the binary starts");
    // Otherwise the pipe stays open and unread for as long as the server runs.
    if how != "unread"
        && let Some(log) = child.stderr.take()
    {
        // The reader closes while the server logs.
        let mut lines = BufReader::new(log);
        let mut line = String::new();
        while !line.contains("listening at") {
            line.clear();
            let read = lines.read_line(&mut line).expect("its log is text");
            assert!(read > 0, "it ended without listening");
        }
    }
    drop(child.stdout.take());
    world.adopt(child, address);
    until("it is ready", || {
        assert!(!world.has_ended(), "{how}: it ended");
        let reply = Client::of(address).try_send("GET", "/readyz", &[], b"");
        reply.filter(|reply| reply.status == 200)
    });
}

#[test]
fn a_log_that_cannot_be_written_stops_no_delivery() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let events = crate::choose(100, 2_000);
    for how in ["closed", "broken pipe", "full", "unread"] {
        let mut world = World::new();
        world.answers(|arrival| {
            // Failures are logged, too.
            let fails = arrival.header("relay-attempt") == "1";
            Answer::status(if fails { 500 } else { 200 })
        });
        world.more = "breaker = { enabled = false }\n".to_owned();
        start_mute(&mut world, how);
        let load = world.load(seed, 4, 400);
        world.acknowledged(events);
        load.stop();
        world.drain();
        assert!(!world.has_ended(), "{how}");
        let begun = Instant::now();
        let ended = world.stop();
        let took = begun.elapsed();
        assert_eq!(ended.status.code(), Some(0), "{how}");
        assert!(took < GRACE + TOLERANCE, "{how}: {took:?}");
        println!("log {how}: stopped after {took:?}");
        let name = format!("log {how}");
        let verdict = world.journal.assert_no_violations(&name, &world.database());
        assert_eq!((verdict.pending, verdict.dead), (0, 0));
    }
}

#[test]
fn a_process_goes_on_after_a_sigstop() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let pauses = crate::choose(2, 3);
    let length = crate::choose(Duration::from_secs(2), Duration::from_secs(60));
    let mut world = World::new();
    world.answers(|_| Answer::status(200).after(Duration::from_millis(5)));
    world.start();
    let process = world.process();
    let load = world.load(seed, 6, 400);
    let mut slowest = Duration::ZERO;
    for _ in 0..pauses {
        let before = world.journal.acknowledged();
        world.acknowledged(before + 100);
        world.signal("-STOP");
        crate::pause(length);
        // Answers that came during the pause may count as timeouts.
        world.journal.fault();
        let before = world.journal.acknowledged();
        world.signal("-CONT");
        let begun = Instant::now();
        world.acknowledged(before + 20);
        slowest = slowest.max(begun.elapsed());
    }
    load.stop();
    world.drain();
    assert!(!world.has_ended());
    assert_eq!(world.process(), process);
    let ended = world.stop();
    assert!(ended.status.success(), "{}", ended.log);
    let verdict = world
        .journal
        .assert_no_violations("SIGSTOP", &world.database());
    println!("SIGSTOP: {pauses} times {length:?}, going on within {slowest:?}");
    assert_eq!((verdict.pending, verdict.dead), (0, 0));
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
}

#[test]
fn restarts_in_quick_succession_lose_nothing() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let cycles = crate::choose(10, 50);
    let mut world = World::new();
    let mut slowest = world.start();
    let load = world.load(seed, 6, 400);
    let mut slowest_stop = Duration::ZERO;
    for cycle in 0..cycles {
        crate::pause(Duration::from_millis(100));
        if cycle % 2 == 0 {
            world.kill();
        } else {
            let begun = Instant::now();
            let ended = world.stop();
            assert!(ended.status.success(), "{}", ended.log);
            slowest_stop = slowest_stop.max(begun.elapsed());
        }
        slowest = slowest.max(world.start());
    }
    load.stop();
    world.drain();
    world.stop();
    let verdict = world
        .journal
        .assert_no_violations("restarts", &world.database());
    println!(
        "restarts: {cycles} cycles, ready again within {slowest:?}, stopped within {slowest_stop:?}"
    );
    assert_eq!((verdict.pending, verdict.dead), (0, 0));
    assert!(verdict.acknowledged > 10 * cycles, "hardly any load");
}
