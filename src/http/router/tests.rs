use proptest::prelude::*;

use super::*;

#[test]
fn the_paths_of_the_contract_are_routed_and_no_others() {
    assert_eq!(Route::find("/v1/relays"), Some(Route::Relays));
    assert_eq!(Route::find("/v1/relays/x"), Some(Route::Relay("x")));
    assert_eq!(
        Route::find("/webhooks/git%68ub"),
        Some(Route::Webhook("github".into()))
    );
    assert_eq!(
        Route::find("/webhooks/github/"),
        Some(Route::Webhook("github".into()))
    );
    assert_eq!(Route::find("/events/evt_1"), Some(Route::Event("evt_1")));
    for path in [
        "",
        "/",
        "*",
        "/v1",
        "/v1/relays/",
        "/v1/relays/x/y",
        "/webhooks",
        "/webhooks/",
        "/webhooks//",
        "/webhooks/a//",
        "/webhooks/a/b",
        "/health/",
        "/Health",
    ] {
        assert_eq!(Route::find(path), None, "{path}");
    }
}

#[test]
fn a_segment_is_decoded_only_if_all_of_it_is_utf_8() {
    for (segment, decoded) in [
        ("github", "github"),
        ("git%68ub", "github"),
        ("%C3%A9", "é"),
        ("%FF%61", "%FF%61"),
        ("100%", "100%"),
        ("%4", "%4"),
        ("%+4a", "%+4a"),
        ("a+b", "a+b"),
    ] {
        assert_eq!(percent_decoded(segment), decoded);
    }
}

proptest! {
    #[test]
    fn any_path_is_routed_without_a_panic(path in ".*") {
        let _ = Route::find(&path);
        let _ = error_format(&path);
    }
}
