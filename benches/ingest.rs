//! Durable `POST /webhooks/{source}` a second beside a hyper handler that does nothing, in one run,
//! interleaved. The ratio is what counts: times belong to the machine and its neighbours.
//!
//! ```text
//! cargo bench --bench ingest
//! ```

mod support;

use relay::Relay;
use relay::model::Level;
use support::{Load, load, median, no_op, rounds, runtime, sample, spread};

fn main() {
    let client = runtime(1);
    let idle = runtime(2);
    let (no_op, _) = no_op(&idle);
    let directory = support::directory();
    let mut config = support::config(directory.path(), no_op);
    config.delivery.level = Some(Level::Off);
    let relay = Relay::start(config).expect("the relay starts");

    println!(
        "{} samples of {:?} each, interleaved; medians, and (least–most) of the ratio\n",
        rounds(),
        sample()
    );
    println!(
        "{:>5} | {:>9} {:>9} {:>9} | {:>9} {:>9} {:>9} | durable ÷ no-op",
        "conns", "no-op/s", "p50", "p99", "durable/s", "p50", "p99"
    );
    for connections in [1, 16, 64, 256] {
        // The first of each is for caches and pools to fill.
        load(&client, no_op, connections, sample() / 4);
        load(&client, relay.address(), connections, sample() / 4);
        let samples: Vec<(Load, Load)> = (0..rounds())
            .map(|_| {
                (
                    load(&client, no_op, connections, sample()),
                    load(&client, relay.address(), connections, sample()),
                )
            })
            .collect();
        let of =
            |figure: &dyn Fn(&(Load, Load)) -> f64| median(samples.iter().map(figure).collect());
        let micros = |seconds: f64| format!("{:.0} µs", seconds * 1e6);
        let ratios: Vec<f64> = samples
            .iter()
            .map(|(no_op, durable)| durable.per_second / no_op.per_second)
            .collect();
        let (least, most) = spread(&ratios);
        println!(
            "{connections:>5} | {:>9.0} {:>9} {:>9} | {:>9.0} {:>9} {:>9} | {:.2} ({least:.2}–{most:.2})",
            of(&|s| s.0.per_second),
            micros(of(&|s| s.0.p50.as_secs_f64())),
            micros(of(&|s| s.0.p99.as_secs_f64())),
            of(&|s| s.1.per_second),
            micros(of(&|s| s.1.p50.as_secs_f64())),
            micros(of(&|s| s.1.p99.as_secs_f64())),
            median(ratios.clone()),
        );
    }
    relay.stop().expect("the relay stops");
}
