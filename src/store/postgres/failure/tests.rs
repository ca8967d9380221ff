use super::{Class, Failure, class_of_code};
use crate::store::error::StoreError;

#[test]
fn each_code_has_its_class() {
    let table = [
        (
            Class::Lost,
            "08000 08003 08006 08P01 57P01 57P02 57P03 57P05 25P03 26000",
        ),
        (Class::ReadOnly, "25006"),
        (Class::Conflict, "40001 40P01 40003 55P03"),
        (Class::TooSlow, "57014"),
        (Class::Full, "53100 53200 53400"),
        (Class::Crowded, "53000 53300"),
        (Class::Duplicate, "23505"),
        (
            Class::Refused,
            "23502 23514 22021 22003 21000 42601 40002 XX000 25P02 54000",
        ),
        (Class::Denied, "28000 28P01 3D000 42501 57P04"),
        (Class::Unlike, "42P01 42703 3F000"),
        (Class::Corrupt, "XX001 XX002 58030 58P01"),
    ];
    for (class, codes) in table {
        for code in codes.split(' ') {
            assert_eq!(class_of_code(code), class, "{code}");
        }
    }
}

#[test]
fn a_lost_connection_is_an_outage_and_a_missing_row_a_bug() {
    let lost = Failure::closed();
    assert!(lost.ends_connection());
    assert!(matches!(StoreError::from(lost), StoreError::Unreachable(_)));
    let missing = Failure::unexpected("no row".to_owned());
    assert!(!missing.ends_connection());
    assert!(matches!(
        StoreError::from(missing),
        StoreError::Unexpected(_)
    ));
}
