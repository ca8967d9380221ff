use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn a_step_exceeds_the_bound_only_with_a_single_change(
        changes in prop::collection::vec(1usize..40, 1..50),
    ) {
        let mut at = 0;
        while at < changes.len() {
            let rest = &changes[at..];
            let count = RowBudget::of(20).spend_on(rest, |rows| *rows);
            prop_assert!(count > 0, "each step gets on");
            let rows: usize = rest[..count].iter().sum();
            prop_assert!(count == 1 || rows <= 20);
            let next = rest.get(count).copied().unwrap_or(20);
            prop_assert!(rows + next > 20 || at + count == changes.len(), "it is filled");
            at += count;
        }
    }
}

#[test]
fn nothing_overtakes_a_change_that_does_not_fit() {
    let mut budget = RowBudget::of(20);
    assert!(budget.spend(15));
    assert!(!budget.spend(10));
    assert!(!budget.spend(1));
}
