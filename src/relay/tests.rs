mod certificates;

use super::*;
use crate::config::{Destination, ProxySetting};

/// The table of the stop in docs/architecture.md, as the names of its first column.
fn documented() -> Vec<&'static str> {
    let document = include_str!("../../docs/architecture.md");
    let (_, section) = document.split_once("\n## The stop\n").expect("the section");
    let rows = section.lines().skip_while(|line| !line.starts_with("|---"));
    rows.skip(1)
        .map_while(|row| row.strip_prefix("| ")?.split_once(" |"))
        .map(|(name, _)| name)
        .collect()
}

#[test]
fn the_documents_show_the_order_of_the_stop() {
    let names: Vec<_> = ORDER.iter().map(|step| step.name).collect();
    assert_eq!(names, documented());
}

#[test]
fn an_agent_that_is_asked_after_another_stands_behind_it() {
    for (at, step) in ORDER.iter().enumerate() {
        if let Asked::After(name) = step.asked {
            let before = ORDER[..at].iter();
            assert!(before.map(|step| step.name).any(|other| other == name));
        }
    }
}

#[test]
fn the_stop_ends_before_a_supervisor_kills() {
    let grace = Config::default().server.shutdown_grace;
    let longest: Duration = ORDER
        .iter()
        .map(|step| match step.wait {
            // These waits run from the same moment.
            Wait::AfterGrace(_) => Duration::ZERO,
            Wait::FromTurn(wait) | Wait::Optional(wait) => wait,
        })
        .sum();
    let longest = longest + grace + WRITER_OVERTIME;
    assert!(longest <= Duration::from_secs(16), "{longest:?}");
    // A row is printable: an operator's question is answered by the table.
    assert!(format!("{:?}", ORDER[3]).contains("database writer"));
}

#[test]
fn an_address_that_cant_be_listened_at_is_told_with_what_would_do() {
    let refused = |kind: std::io::ErrorKind| {
        let error = StartError::Listen {
            key: "server.listen",
            address: ([127, 0, 0, 1], 80).into(),
            source: kind.into(),
        };
        error.to_string()
    };
    let taken = refused(std::io::ErrorKind::AddrInUse);
    assert!(
        taken.ends_with("; expected a free address of this machine"),
        "{taken}"
    );
    let denied = refused(std::io::ErrorKind::PermissionDenied);
    assert!(denied.contains("CAP_NET_BIND_SERVICE"), "{denied}");
}

#[test]
fn the_budget_of_descriptors_counts_destinations_and_those_with_a_pool_of_their_own() {
    let mut config = Config::default();
    config.delivery.proxy = Some(ProxySetting::Through("http://p".parse().expect("a URL")));
    for name in 0..20 {
        let mut to = Destination::new("https://x".parse().expect("a URL"));
        match name {
            0 => to.ca_file = Some("ca.pem".into()),
            1 => {
                to.client_cert_file = Some("relay.pem".into());
                to.client_key_file = Some("relay.key".into());
            }
            2 => to.proxy = Some(ProxySetting::Direct),
            3 => to.proxy = Some(ProxySetting::Through("http://q".parse().expect("a URL"))),
            // The proxy of all: nothing of its own.
            4 => to.proxy = config.delivery.proxy.clone(),
            _ => {}
        }
        config.destinations.insert(name.to_string(), to);
    }
    let demand = demand::demand(&config.resolve());
    assert_eq!((demand.workers, demand.readers), (64, 4 + 3));
    assert_eq!((demand.destinations, demand.own_pools), (20, 4));
    assert_eq!(demand.admin_connections, 64);
    assert!((2..=9).contains(&demand.event_loops));
}
