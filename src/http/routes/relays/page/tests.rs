use proptest::prelude::*;

use super::*;

#[test]
fn page_sizes_are_bounded_and_only_our_tokens_are_read() {
    let page = |query: &str| Page::parse(query).ok().map(|page| (page.size, page.after));
    assert_eq!(page(""), Some((50, None)));
    assert_eq!(page("pageSize=200&x=1"), Some((200, None)));
    assert_eq!(page("pageSize=%35&x"), Some((5, None)));
    let cursor = RelayCursor::of_test(42);
    assert_eq!(cursor.to_string(), "r1-00000000000002a");
    assert_eq!(
        page("pageToken=r1-00000000000002a"),
        Some((50, Some(cursor)))
    );
    for query in [
        "pageSize=0",
        "pageSize=201",
        "pageSize=",
        "pageSize",
        "pageSize=5&pageSize",
        "page%53ize=x",
        "pageSize=%FF",
        "pageToken",
        "pageSize=+5",
        "pageSize=5&pageSize=5",
        "pageSize=99999999999999999999",
        "pageToken=",
        "pageToken=42",
        "pageToken=r1-00000000000002A",
        "pageToken=r1--0000000000002a",
    ] {
        assert_eq!(page(query), None, "{query}");
    }
}

proptest! {
    #[test]
    fn no_query_panics(query in ".*") {
        let _ = Page::parse(&query);
    }
}
