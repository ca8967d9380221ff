use proptest::prelude::*;

use super::*;
use crate::model::DeliveryState;
use crate::store::sqlite::tests::schema;

proptest! {
    #[test]
    fn a_scan_finds_each_waiting_destination_once(
        waiting in prop::collection::btree_set(1i64..40, 0..20),
        step in 1usize..9,
    ) {
        let sql = schema();
        sql.execute_batch(
            "INSERT INTO intents (id, random, surface, created_at, label, headers, body)
             VALUES (1, 0, 1, 0, 'a', x'', x'')",
        )
        .expect("an intent");
        for id in 1..40 {
            sql.execute("INSERT INTO destinations (id, name) VALUES (?1, ?1)", [id])
                .expect("a destination");
            // A delivered one doesn't wait.
            let (state, at) = if waiting.contains(&id) {
                (DeliveryState::Queued, Some(5))
            } else {
                (DeliveryState::Delivered, None)
            };
            sql.execute(
                "INSERT INTO deliveries (intent_id, destination_id, state, next_attempt_at,
                                         updated_at)
                 VALUES (1, ?1, ?2, ?3, 5)",
                params![id, state, at],
            )
            .expect("a delivery");
        }
        let (mut cursor, mut seen) = (Some(ScanCursor::START), Vec::new());
        while let Some(after) = cursor {
            let look = DueScan {
                newcomers: &std::collections::HashSet::new(),
                cursor: Some(after),
                at_most: step,
                names: &[],
            };
            let found = scan(&sql, &look).expect("it reads");
            prop_assert!(found.part.waiting.len() <= step);
            prop_assert!(found.part.waiting.iter().all(|(_, at)| at.as_millis() == 5));
            seen.extend(found.part.waiting.iter().map(|(origin, _)| origin.id.0));
            cursor = found.part.next;
        }
        prop_assert_eq!(seen, waiting.into_iter().collect::<Vec<_>>());
    }
}
