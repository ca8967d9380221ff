//! A webhook receiver to try a relay with: prints requests, and answers as its options say.
//!
//! ```text
//! cargo run --release --example receiver -- --listen 127.0.0.1:9000 --status 200 --fail-first 2
//! ```

#[path = "support/receiver.rs"]
mod receiver;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use clap::Parser;
use receiver::{Answer, Receiver};

/// Prints the webhooks that arrive, and answers as its options say.
#[derive(Parser)]
struct Flags {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:9000")]
    listen: SocketAddr,
    /// The status to answer
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(200..=599))]
    status: u16,
    /// Answer 503 to this many requests before that
    #[arg(long, default_value_t = 0)]
    fail_first: u32,
    /// Send Retry-After: SECONDS with every failure
    #[arg(long, value_name = "SECONDS")]
    retry_after: Option<u32>,
    /// Wait before answering
    #[arg(long, default_value_t = 0)]
    delay_ms: u64,
    /// Print this many bytes of a body
    #[arg(long, default_value_t = 300)]
    show: usize,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let flags = Flags::parse();
    let (status, retry_after, fail_first) = (flags.status, flags.retry_after, flags.fail_first);
    let delay = Duration::from_millis(flags.delay_ms);
    let seen = AtomicU32::new(0);
    let receiver = Receiver::start_at(flags.listen, move |_| {
        let fails = seen.fetch_add(1, Ordering::Relaxed) < fail_first;
        let mut answer = Answer::status(if fails { 503 } else { status }).after(delay);
        if let Some(seconds) = retry_after
            && answer.status >= 300
        {
            answer = answer.header("retry-after", &seconds.to_string());
        }
        answer
    })
    .map_err(|error| format!("{}: {error}", flags.listen))?;
    println!("listening at {}", receiver.url("/"));
    for number in 1.. {
        // Waits forever, an hour at a time.
        let arrival = loop {
            if let Some(arrival) = receiver.next_within(Duration::from_secs(3600)) {
                break arrival;
            }
        };
        println!("\n#{number} POST {}", arrival.path);
        for (name, value) in &arrival.headers {
            println!("  {name}: {}", String::from_utf8_lossy(value.as_bytes()));
        }
        let shown = &arrival.body[..arrival.body.len().min(flags.show)];
        let more = if shown.len() < arrival.body.len() {
            " …"
        } else {
            ""
        };
        println!(
            "  ({} bytes) {}{more}",
            arrival.body.len(),
            String::from_utf8_lossy(shown)
        );
    }
    Ok(())
}
