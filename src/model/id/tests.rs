use super::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn an_id_survives_the_round_trip_through_text(row in 0..=MAX_ROW, random: u64) {
        let id = IntentId::new(row, random);
        let text = id.to_string();
        prop_assert_eq!(text.parse::<IntentId>(), Ok(id));
        prop_assert_eq!(format!("evt_{text}").parse::<IntentId>(), Ok(id));
        prop_assert_eq!(id.uuid().get_version_num(), 7);
        prop_assert_eq!(id.uuid().get_variant(), uuid::Variant::RFC4122);
    }

    #[test]
    fn parsing_never_panics(text in ".*") {
        let _ = text.parse::<IntentId>();
    }

    #[test]
    fn the_next_row_is_always_higher(last in 0..MAX_ROW, now in i64::MIN..i64::MAX) {
        prop_assert!(IntentId::next_row(last, now) > last);
    }

    #[test]
    fn ids_sort_as_text_in_row_order(a in 0..=MAX_ROW, b in 0..=MAX_ROW, r: u64, s: u64) {
        let (x, y) = (IntentId::new(a, r), IntentId::new(b, s));
        if a != b {
            prop_assert_eq!(a < b, x.to_string() < y.to_string());
        }
    }
}

#[test]
fn the_milliseconds_stand_where_rfc_9562_puts_them() {
    let row = IntentId::next_row(0, 0x0192_3456_789A);
    assert!(
        IntentId::new(row, 7)
            .to_string()
            .starts_with("01923456-789a-7000-8")
    );
}

#[test]
fn texts_and_uuids_of_another_form_are_refused() {
    for text in [
        "",
        "evt_",
        "7d3c1d1e-6f8a-4b8e-9d5a-0c1b2a3d4e5f",
        "019234567890700080000000000000aa",
        "{01923456-7890-7000-8000-0000000000aa}",
    ] {
        assert_eq!(text.parse::<IntentId>(), Err(InvalidId), "{text}");
    }
}
