//! A node's begin and end.

use std::time::Duration;

use crate::clock::{Clock, Stopwatch};
use crate::config;
use crate::stop::Stop;
use crate::store::postgres::connection::Connection;
use crate::store::postgres::failure::Failure;
use crate::store::postgres::nodes::lease_clock::boot_millis;
use crate::store::postgres::nodes::membership::{Identity, Membership, Rules, Step};
use crate::store::postgres::nodes::statements::{Made, Own, make};
use crate::store::postgres::own_node::OwnNode;

/// Joins the nodes, and owns buckets. A node of the same name that died has to lapse first; one
/// that lives is refused. Blocks.
pub fn join(
    sql: &mut Connection,
    settings: &config::Node,
    clock: &dyn Clock,
    stop: &Stop,
) -> Result<Membership, Failure> {
    let mut membership = Membership::new(rules(settings));
    let began = Stopwatch::start();
    // Until the lease of a former life has lapsed, and this one was heard for as long.
    let patience = settings.lease + settings.heartbeat * 3;
    loop {
        beat_once(sql, &mut membership, settings, clock)?;
        if membership.identity().is_some() {
            return Ok(membership);
        }
        if began.elapsed() > patience {
            return Err(Failure::unexpected(format!(
                "a living node is named {:?}; expected another node.name for each node",
                settings.own_name()
            )));
        }
        if stop.wait(settings.heartbeat) {
            return Err(Failure::unexpected(
                "it was stopped while it joined".to_owned(),
            ));
        }
    }
}

/// Leaves: the others take over at once.
pub fn leave(
    sql: &mut Connection,
    node: &OwnNode,
    settings: &config::Node,
    clock: &dyn Clock,
) -> Result<(), Failure> {
    node.end();
    let (_, identity) = node.update(|membership| {
        let identity = membership.identity();
        membership.leave();
        identity
    });
    let own = own(settings, clock, identity, true);
    if identity.is_some() {
        make(sql, &Step::Leave, &own)?;
    }
    node.update(Membership::fenced);
    Ok(())
}

pub fn rules(settings: &config::Node) -> Rules {
    Rules::new(millis(settings.lease), millis(settings.heartbeat))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

pub fn own(
    settings: &config::Node,
    clock: &dyn Clock,
    identity: Option<Identity>,
    is_leaving: bool,
) -> Own {
    Own {
        name: settings.own_name(),
        lease_millis: i64::try_from(millis(settings.lease)).unwrap_or(i64::MAX),
        identity,
        is_leaving,
        now: clock.now(),
    }
}

/// Makes the statements of one beat, before the node's threads run.
fn beat_once(
    sql: &mut Connection,
    membership: &mut Membership,
    settings: &config::Node,
    clock: &dyn Clock,
) -> Result<(), Failure> {
    membership.beat();
    while let Some(step) = membership.step(boot_millis()).cloned() {
        let own = own(
            settings,
            clock,
            membership.identity(),
            membership.is_leaving(),
        );
        let sent = boot_millis();
        let Made { answer, .. } = make(sql, &step, &own)?;
        membership.answered(answer, sent, boot_millis());
    }
    Ok(())
}
