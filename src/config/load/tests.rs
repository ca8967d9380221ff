use proptest::prelude::*;

use super::*;

#[test]
fn a_file_that_cant_be_parsed_still_names_its_database() {
    for (text, path) in [
        ("[database]\npath = 'a.db'\n[sources", Some("a.db")),
        ("database.path = \"a.db\" # here\n= 1", Some("a.db")),
        (
            " [ database ] # here\n readers = 2\n  path='a.db'\nx",
            Some("a.db"),
        ),
        ("[sources.path]\npath = 'a.db'\n[", None),
        ("path = 'a.db'\n[", None),
        ("[database]\n# path = 'a.db'\n[", None),
        ("[database]\npath = 'a.db", None),
        ("[database]\npath = 1\n[", None),
        ("[[database]]\npath = 'a.db'\n", None),
    ] {
        assert_eq!(database_path_in(text), path.map(PathBuf::from), "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(
        text in "(\\[database\\]\n|path *=|['\"=\\[\\]\n]|database\\.path|\\PC){0,30}"
    ) {
        let _ = database_path_in(&text);
    }
}
