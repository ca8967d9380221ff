use proptest::option;
use proptest::prelude::*;

use super::*;

/// All texts of up to four letters.
fn all_texts() -> Vec<String> {
    let mut texts = vec![String::new()];
    let mut longest = texts.clone();
    for _ in 0..4 {
        let longer = longest
            .iter()
            .flat_map(|text| ["a", "A", "b", "1"].map(|one| text.clone() + one));
        longest = longer.collect();
        texts.extend(longest.iter().cloned());
    }
    texts
}

fn operators() -> impl Strategy<Value = RouteOperators> {
    let part = || option::of("[aA1]{0,2}");
    (
        part(),
        part(),
        part(),
        part(),
        option::weighted(0.1, Just(true)),
    )
        .prop_map(
            |(prefix, suffix, contains, equals_ignore_case, exists)| RouteOperators {
                prefix,
                suffix,
                contains,
                equals_ignore_case,
                exists,
                ..RouteOperators::default()
            },
        )
}

fn excluded() -> impl Strategy<Value = RoutePattern> {
    prop_oneof![
        operators().prop_map(|operators| RoutePattern::Operators(Box::new(operators))),
        "[aA1]{0,2}".prop_map(RoutePattern::Text),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_value_that_is_refused_for_its_not_matches_no_text(
        operators in operators(),
        excluded in excluded(),
    ) {
        let operators = RouteOperators {
            not: Some(OneOrMany(vec![excluded])),
            ..operators
        };
        let pattern = RoutePattern::Operators(Box::new(operators));
        let checked = check_values("key", std::slice::from_ref(&pattern), Values::Any, 1);
        if checked.is_err_and(|(_, problem)| problem.contains("leave open")) {
            let matching = all_texts().into_iter().find(|text| pattern.matches_scalar(text));
            prop_assert_eq!(matching, None, "{}", pattern);
        }
    }
}
