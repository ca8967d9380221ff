use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::clock::FakeClock;
use crate::store::sqlite::tests::{event, open_at, writing};
use crate::store::types::{BulkFilter, StateSet};

#[test]
fn an_export_ends_with_the_events_before_its_begin() {
    let directory = tempfile::tempdir().expect("a directory");
    let clock = Arc::new(FakeClock::at(Timestamp::from_millis(1_700_000_000_000)));
    let store = open_at(&directory, &clock);
    store.write_blocking(event("before")).expect("accepted");
    clock.advance(Duration::from_secs(1));
    let begun = Timestamp::from_millis(1_700_000_001_000);
    store.write_blocking(event("beside")).expect("accepted");
    let all = NewBulk::export(BulkFilter::of(StateSet::ANY));
    let operator = writing(&directory);
    let find = |begun| operator.find_to_export(&all, None, begun).expect("a read");
    let (found, next) = find(begun);
    assert_eq!((found.len(), next.is_none()), (1, true));
    let later = Timestamp::from_millis(1_700_000_002_000);
    assert_eq!(find(later).0.len(), 2);
    store.stop();
}
