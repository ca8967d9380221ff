use std::thread;

use crate::clock::Timestamp;
use crate::store::postgres::acts::bulk::create::create;
use crate::store::postgres::acts::bulk::operation::create_operation;
use crate::store::postgres::tests::support::{database, until};
use crate::store::types::{BulkFilter, BulkPart, NewBulk, OperationCreation};

#[test]
fn a_nonce_that_another_node_takes_meanwhile_is_a_conflict_unless_the_same_is_asked_for() {
    let now = Timestamp::from_millis(1);
    let (first, nonce) = (NewBulk::discard(BulkFilter::waiting()), "n");
    let named = |new: &NewBulk| NewBulk {
        nonce: Some(nonce.to_owned()),
        ..new.clone()
    };
    let empty = BulkPart {
        destination: None,
        total: Some(0),
        is_empty: true,
    };
    let of_source = NewBulk::discard(BulkFilter {
        source: Some("s".to_owned()),
        ..BulkFilter::waiting()
    });
    for (second, is_conflict) in [(named(&first), false), (named(&of_source), true)] {
        let Some((database, mut other_node)) = database() else {
            return;
        };
        // The second request has looked for the nonce, and waits while it counts.
        let hold = "BEGIN; LOCK TABLE relay.destinations";
        other_node.batch(hold).expect("good SQL");
        let created = thread::scope(|scope| {
            let creating =
                scope.spawn(|| create_operation(&mut database.connection(), (&second, nonce), now));
            until(&mut database.connection(), "wait_event_type = 'Lock'");
            let parts = [empty];
            create(&mut other_node, (&named(&first), nonce), &parts, now).expect("created");
            other_node.batch("COMMIT").expect("good SQL");
            creating.join().expect("no panic").expect("an answer")
        });
        let created = created.expect("nothing was deleted");
        let was_conflict = matches!(created, OperationCreation::Conflict);
        assert_eq!(was_conflict, is_conflict, "{created:?}");
    }
}
