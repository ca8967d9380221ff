//! Routes and order: a filter, an order kept through an outage, a reload in the middle of it, and a
//! backfill to the destination that the reload added.
//!
//! ```text
//! cargo run --features delivery --example routes_and_order
//! ```
//!
//! The binary is the relay, too: it starts itself as `relay serve`, and runs relay's commands
//! beside it, as an operator would.

#[path = "support/receiver.rs"]
mod receiver;
#[path = "support/story.rs"]
mod story;

use std::error::Error;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use receiver::{Answer, Arrival, Receiver};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use story::{KEY, Story, call, must};

fn main() -> ExitCode {
    // The story starts this binary with relay's arguments.
    if std::env::args().len() > 1 {
        return relay::cli::run();
    }
    match tell() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn tell() -> Story {
    let is_down = Arc::new(AtomicBool::new(false));
    let billing = {
        let is_down = Arc::clone(&is_down);
        Receiver::start(move |arrival| {
            // The outage is that of one customer's account.
            let fails = is_down.load(Ordering::Relaxed) && member(arrival, "customer") == "ann";
            Answer::status(if fails { 503 } else { 200 })
        })
    };
    let (audit, crm) = (
        Receiver::start(|_| Answer::status(200)),
        Receiver::start(|_| Answer::status(200)),
    );
    let directory = tempfile::tempdir()?;
    let file = configuration(&audit, &billing);
    let relay = Served::start(directory.path(), &file)?;

    filter(&relay, &billing)?;
    let waiting = hold_back(&relay, &billing, &is_down)?;
    reload(&relay, &file, &crm)?;
    recover(&relay, &billing, &is_down, &waiting)?;
    backfill(&relay, &crm)?;

    relay.stop()?;
    println!("\nAll as told.");
    Ok(())
}

fn configuration(audit: &Receiver, billing: &Receiver) -> String {
    let (audit, billing) = (audit.url("/"), billing.url("/"));
    format!(
        r#"
[server]
listen = "127.0.0.1:0"
[admin]
listen = ""
[database]
min_free_bytes = 0
[api]
keys = ["{KEY}"]

[destinations.audit]
url = "{audit}"

[destinations.billing]
url = "{billing}"
ordering = {{ by = "/customer" }}
retry = {{ base = "200ms", factor = 1, attempts = 100, jitter = 0 }}
breaker = {{ enabled = false }}

[sources.shop]
event_type = {{ json_pointer = "/type" }}
destinations = ["audit"]

[[sources.shop.routes]]
to = ["billing"]
when.type = ["order.*"]
when.body."/amount" = [{{ min = 100 }}]
"#
    )
}

/// Only large orders reach billing; every event reaches audit.
fn filter(relay: &Served, billing: &Receiver) -> Story {
    println!("\nA route is a filter: billing wants orders of 100 and more, audit wants all:");
    let large = relay.event("bob", "order.paid", 250)?;
    let small = relay.event("bob", "order.paid", 20)?;
    let visit = relay.event("bob", "visit", 1_000)?;
    for (id, destinations) in [
        (&large, "audit, billing"),
        (&small, "audit"),
        (&visit, "audit"),
    ] {
        let event = relay.until(id, "delivered")?;
        let names: Vec<_> = deliveries(&event).map(|(name, _)| name).collect();
        must(
            names.join(", ") == destinations,
            &format!("it went to {destinations}"),
        )?;
    }
    must(
        member(&billing.next(), "amount") == "250",
        "billing got the large order and no other",
    )?;
    let said = relay.command(&["match", "shop", &small])?;
    must(
        said.contains("found 20, expected { min = 100 }"),
        "relay match says why it didn't get the small one",
    )
}

/// Ann's orders wait for the first of them, which fails; Bob's go. Returns Ann's.
fn hold_back(
    relay: &Served,
    billing: &Receiver,
    is_down: &AtomicBool,
) -> Result<Vec<String>, Box<dyn Error>> {
    println!("\nBilling has an order by customer. Ann's account fails there (503), Bob's doesn't:");
    is_down.store(true, Ordering::Relaxed);
    let mut waiting = Vec::new();
    for amount in [101, 102, 103] {
        waiting.push(relay.event("ann", "order.paid", amount)?);
    }
    let of_bob = relay.event("bob", "order.paid", 500)?;
    relay.until(&of_bob, "delivered")?;
    relay.until(&waiting[0], "retrying")?;
    let second = relay.look(&waiting[1])?;
    must(
        deliveries(&second).any(|(name, delivery)| {
            name == "billing" && delivery["status"] == "queued" && delivery["attempts"] == 0
        }),
        "Ann's second order waits behind the first, without an attempt",
    )?;
    let mut others = std::iter::from_fn(|| billing.next_within(Duration::ZERO));
    must(
        others.all(|arrival| ["101", "500"].contains(&&*member(&arrival, "amount"))),
        "billing has seen Ann's first order and Bob's",
    )?;
    Ok(waiting)
}

/// A destination and a route are added while the outage lasts.
fn reload(relay: &Served, file: &str, crm: &Receiver) -> Story {
    println!("\nIn the middle of it a destination and a route are added, by relay reload:");
    let url = crm.url("/");
    let added = format!(
        "{file}\n[destinations.crm]\nurl = \"{url}\"\n[[sources.shop.routes]]\nto = [\"crm\"]\n\
         when.body.\"/customer\" = [{{ exists = true }}]\n"
    );
    std::fs::write(relay.directory.join("relay.toml"), added)?;
    relay.command(&["reload"])?;
    let id = relay.event("cid", "order.paid", 700)?;
    relay.until(&id, "delivered")?;
    must(
        member(&crm.next(), "customer") == "cid",
        "the next event reaches the new destination",
    )
}

/// After the outage Ann's orders arrive in the order in which they were accepted.
fn recover(relay: &Served, billing: &Receiver, is_down: &AtomicBool, waiting: &[String]) -> Story {
    println!("\nThe outage ends:");
    is_down.store(false, Ordering::Relaxed);
    for id in waiting {
        relay.until(id, "delivered")?;
    }
    let mut amounts = Vec::new();
    while let Some(arrival) = billing.next_within(Duration::ZERO) {
        if member(&arrival, "customer") == "ann" {
            amounts.push(member(&arrival, "amount"));
        }
    }
    amounts.dedup();
    must(
        amounts == ["101", "102", "103"],
        "Ann's orders arrived in order, the reload notwithstanding",
    )
}

/// The new destination gets the events that came before it was there, once.
fn backfill(relay: &Served, crm: &Receiver) -> Story {
    println!("\nThe new destination gets the events that came before it was there:");
    relay.command(&["replay", "--to", "crm", "--source", "shop"])?;
    let mut amounts: Vec<u32> = Vec::new();
    for _ in 0..7 {
        amounts.push(member(&crm.next(), "amount").parse()?);
    }
    amounts.sort_unstable();
    must(
        amounts == [20, 101, 102, 103, 250, 500, 1_000],
        "all seven of them, from the stored inbox",
    )?;
    relay.command(&["replay", "--to", "crm", "--source", "shop"])?;
    must(
        crm.next_within(Duration::from_millis(300)).is_none(),
        "and a second backfill sends nothing",
    )
}

/// A member of an arrived body, as text.
fn member(arrival: &Arrival, name: &str) -> String {
    let body: Value = serde_json::from_slice(&arrival.body).unwrap_or_default();
    match &body[name] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The deliveries of an event, by destination.
fn deliveries(event: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let all = event["deliveries"].as_array().into_iter().flatten();
    all.map(|one| (one["destination"].as_str().unwrap_or_default(), one))
}

/// `relay serve` in a directory of its own.
struct Served {
    child: Child,
    address: SocketAddr,
    directory: std::path::PathBuf,
}

impl Served {
    fn start(directory: &Path, file: &str) -> Result<Self, Box<dyn Error>> {
        std::fs::write(directory.join("relay.toml"), file)?;
        let mut child = this_binary(directory)?
            .arg("serve")
            .stderr(Stdio::piped())
            .spawn()?;
        let log = BufReader::new(child.stderr.take().ok_or("no log")?);
        let mut lines = log.lines();
        let address = loop {
            let line = lines.next().ok_or("it ended without listening")??;
            if let Some((_, rest)) = line.split_once("listening at http://") {
                let address = rest.split(['"', ' ']).next().unwrap_or_default();
                break address.parse()?;
            }
        };
        // Reads on, so that the log is never full.
        std::thread::spawn(move || lines.for_each(drop));
        println!("relay listens at http://{address}");
        Ok(Self {
            child,
            address,
            directory: directory.to_owned(),
        })
    }

    /// Runs a command of relay's beside the server, and shows its output.
    fn command(&self, args: &[&str]) -> Result<String, Box<dyn Error>> {
        println!("  relay {}", args.join(" "));
        let output = this_binary(&self.directory)?.args(args).output()?;
        let text = String::from_utf8(output.stdout)?;
        for line in text.lines() {
            println!("    {line}");
        }
        if output.status.success() {
            return Ok(text);
        }
        Err(String::from_utf8_lossy(&output.stderr).into())
    }

    /// Sends an event of the shop; returns its id.
    fn event(&self, customer: &str, kind: &str, amount: u32) -> Result<String, Box<dyn Error>> {
        let body = format!(r#"{{"type":"{kind}","customer":"{customer}","amount":{amount}}}"#);
        let key = format!("{kind}-{customer}-{amount}");
        let headers = [
            ("Idempotency-Key", key.as_str()),
            ("Content-Type", "application/json"),
        ];
        let answer = call(self.address, "POST", "/webhooks/shop", &headers, &body)?;
        let id = answer["event_id"].as_str().ok_or("no event id")?;
        println!("  POST /webhooks/shop {body}");
        Ok(id.to_owned())
    }

    fn look(&self, id: &str) -> Result<Value, Box<dyn Error>> {
        let path = format!("/events/{id}");
        call(self.address, "GET", &path, &[("X-API-Key", KEY)], "")
    }

    /// Polls until it has the status, for at most half a minute.
    fn until(&self, id: &str, status: &str) -> Result<Value, Box<dyn Error>> {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let event = self.look(id)?;
            if event["status"] == status {
                return Ok(event);
            }
            if Instant::now() > end {
                return Err(format!("{id} should be {status} by now, and is {event}").into());
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    fn stop(mut self) -> Story {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        must(self.child.wait()?.success(), "the relay stops in order")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It has ended already unless the story went wrong.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn this_binary(directory: &Path) -> Result<Command, Box<dyn Error>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.current_dir(directory);
    Ok(command)
}
