use super::*;

fn rows(names: &[&str]) -> Vec<String> {
    let columns = [
        Column::Left("ID"),
        Column::Right("ATTEMPTS"),
        Column::Left("DESTINATION"),
        Column::Left("LAST ERROR"),
    ];
    let rows: Vec<_> = names
        .iter()
        .map(|name| {
            let error = format!("{name} is down");
            ["1".to_owned(), "10".to_owned(), (*name).to_owned(), error]
        })
        .collect();
    lines(&columns, &rows)
}

#[test]
fn columns_are_as_wide_as_their_longest_value() {
    assert_eq!(
        rows(&["orders", "http://127.0.0.1:8080", "ümlaute"]),
        [
            "ID  ATTEMPTS  DESTINATION            LAST ERROR",
            "1         10  orders                 orders is down",
            "1         10  http://127.0.0.1:8080  http://127.0.0.1:8080 is down",
            "1         10  ümlaute                ümlaute is down",
        ]
    );
}

#[test]
fn a_very_long_value_is_shown_whole_and_moves_its_own_row_only() {
    let long = format!("https://{}.example.com", "x".repeat(100));
    let lines = rows(&["orders", &long]);
    let at = |line: &str, text: &str| line.find(text).expect("it is there");
    assert_eq!(at(&lines[0], "LAST"), at(&lines[1], "orders is down"));
    assert_eq!(at(&lines[0], "LAST"), 14 + WIDEST + 2);
    assert_eq!(lines[2], format!("1         10  {long}  {long} is down"));
}

#[test]
fn no_cell_steers_the_terminal() {
    assert_eq!(rows(&["a\u{1b}[2Jb"])[1].matches('\u{1b}').count(), 0);
}
