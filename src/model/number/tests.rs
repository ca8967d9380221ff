use std::cmp::Ordering;

use proptest::prelude::*;

use super::Number;

fn number(text: &str) -> Number {
    #[derive(serde::Deserialize)]
    struct File {
        number: Number,
    }
    let file: File = toml::from_str(&format!("number = {text}")).expect(text);
    file.number
}

#[test]
fn numbers_compare_as_decimals_however_they_are_written() {
    for (configured, found, expected) in [
        ("1000", "1e3", Ordering::Equal),
        ("1000", "1E+3", Ordering::Equal),
        ("1000", "10000e-1", Ordering::Equal),
        ("1000", "1000.000", Ordering::Equal),
        ("1000", "0.01e5", Ordering::Equal),
        ("1000.0", "1000", Ordering::Equal),
        ("0.1", "0.1", Ordering::Equal),
        ("0.1", "0.10000000000000001", Ordering::Greater),
        ("9007199254740993", "9007199254740992", Ordering::Less),
        ("9007199254740993", "9007199254740993", Ordering::Equal),
        ("9007199254740993", "9007199254740993.0", Ordering::Equal),
        (
            "9223372036854775807",
            "9223372036854775808",
            Ordering::Greater,
        ),
        ("0", "-0", Ordering::Equal),
        ("0", "0.000", Ordering::Equal),
        ("0", "0e99999999999999999999", Ordering::Equal),
        ("0", "1e-99999999999999999999", Ordering::Greater),
        ("0", "-1e-400", Ordering::Less),
        ("-1", "-2", Ordering::Less),
        ("-1", "1", Ordering::Greater),
        ("1e300", "1e99999999999999999999", Ordering::Greater),
        ("-1e300", "-1e99999999999999999999", Ordering::Less),
        ("1e300", "1e299", Ordering::Less),
        ("2", "19e-1", Ordering::Less),
    ] {
        assert_eq!(
            number(configured).compare(found),
            Some(expected),
            "{found} beside {configured}"
        );
    }
    for text in ["", "-", "e3", "1e", "1e+", "x", "1x", ".5", "NaN"] {
        assert_eq!(number("1").compare(text), None, "{text}");
    }
}

#[test]
fn an_infinite_number_is_refused() {
    for text in ["inf", "-inf", "nan"] {
        #[derive(Debug, serde::Deserialize)]
        struct File {
            #[expect(dead_code, reason = "it can't be read")]
            number: Number,
        }
        let error = toml::from_str::<File>(&format!("number = {text}")).expect_err(text);
        assert!(error.to_string().contains("a finite number"), "{error}");
    }
}

/// A decimal in one of its spellings: `mantissa` × 10^`exponent`.
fn spelled(mantissa: i64, exponent: i32, shift: i32) -> String {
    let zeros = "0".repeat(usize::try_from(shift.max(0)).expect("above zero"));
    if mantissa == 0 {
        // TOML refuses a leading zero, so a zero gets no more of them.
        format!("0e{exponent}")
    } else if shift >= 0 {
        format!("{mantissa}{zeros}e{}", exponent - shift)
    } else {
        format!("{mantissa}.{}E{exponent:+}", "0".repeat(2))
    }
}

proptest! {
    #[test]
    fn every_spelling_compares_as_its_value(
        (one, two) in (-2000_i64..2000, -2000_i64..2000),
        (exponent, other) in (-4_i32..5, -4_i32..5),
        (shift, other_shift) in (-1_i32..4, -1_i32..4),
    ) {
        let value = |mantissa: i64, exponent: i32| {
            i128::from(mantissa) * 10_i128.pow(u32::try_from(exponent + 4).expect("above zero"))
        };
        let configured = number(&spelled(two, other, other_shift));
        let found = spelled(one, exponent, shift);
        prop_assert_eq!(
            configured.compare(&found),
            Some(value(one, exponent).cmp(&value(two, other)))
        );
    }
}
