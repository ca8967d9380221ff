use super::*;

fn file(directory: &Path) -> ConfigFile {
    ConfigFile::new(Some(&directory.join("relay.toml"))).expect("a path")
}

/// Reads a file of these contents in turn, each written during a pause; none removes it.
fn settled(contents: &[Option<&str>]) -> Result<String, ConfigError> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("relay.toml");
    let write = |content: Option<&str>| match content {
        Some(text) => std::fs::write(&path, text).expect("writing"),
        None => drop(std::fs::remove_file(&path)),
    };
    let mut contents = contents.iter();
    contents.next().copied().into_iter().for_each(write);
    file(directory.path()).settled(|| contents.next().copied().into_iter().for_each(write))
}

#[test]
fn two_readings_have_to_agree() {
    let text = settled(&[Some("a = 1"), Some("a = 1\nb"), Some("a = 1\nb = 2")]);
    assert_eq!(text.expect("a text"), "a = 1\nb = 2");
    // The same bytes, written anew in between, have another time.
    let text = settled(&[Some("a = 1"), None, Some("a = 1")]);
    assert_eq!(text.expect("a text"), "a = 1");
}

#[test]
fn a_file_that_keeps_changing_is_given_up() {
    let texts: Vec<_> = (0..50).map(|number| format!("a = {number}")).collect();
    let contents: Vec<_> = texts.iter().map(|text| Some(text.as_str())).collect();
    let error = settled(&contents).expect_err("it never settles");
    assert!(matches!(error, ConfigError::Unsettled { .. }), "{error}");
}

#[test]
fn a_directory_or_a_pipe_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("relay.toml");
    let refused = || {
        let error = file(directory.path()).settled(|| ()).expect_err("no file");
        assert!(matches!(error, ConfigError::Read { .. }), "{error}");
        assert!(
            error
                .to_string()
                .ends_with("relay.toml: expected a regular file"),
            "{error}"
        );
    };
    std::fs::create_dir(&path).expect("a directory");
    refused();
    std::fs::remove_dir(&path).expect("it is there");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.expect("a pipe").success());
    refused();
}

#[test]
fn a_file_without_a_setting_is_refused() {
    for text in [
        "",
        " \n\t\n",
        "# only\n  # comments\n",
        "[server]\n",
        "[sources.s]\n[[sources.s.routes]]\n",
    ] {
        let error = settled(&[Some(text)]).expect_err("nothing is set");
        assert!(matches!(error, ConfigError::Blank { .. }), "{error}");
    }
    let error = settled(&[None]).expect_err("there is none");
    assert!(matches!(error, ConfigError::Read { .. }), "{error}");
    // An editor that empties the file before it writes it.
    assert_eq!(
        settled(&[Some(""), Some("a = 1")]).expect("a text"),
        "a = 1"
    );
}

#[test]
fn a_pipe_that_a_setting_names_is_refused_and_one_with_the_configuration_is_read() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("relay.toml");
    let pipe = directory.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("a pipe").success());
    let text = format!("[api]\nkeys_file = {pipe:?}\n");
    std::fs::write(&path, text).expect("writing");
    let refused = file(directory.path()).reload();
    let refused = refused.map(|_| ()).expect_err("it is no file").to_string();
    let expected = format!("api.keys_file: {pipe:?}: expected a regular file");
    assert!(refused.ends_with(&expected), "{refused}");

    let writer = std::thread::spawn({
        let pipe = pipe.clone();
        move || std::fs::write(pipe, "[api]\nkeys = ['through-a-pipe']\n")
    });
    let config = ConfigFile::new(Some(&pipe)).expect("a path").load();
    let config = config.map(|loaded| loaded.config).expect("a configuration");
    assert_eq!(config.api.keys[0].reveal(), "through-a-pipe");
    writer.join().expect("it ends").expect("writing");
    let endless = ConfigFile::new(Some(Path::new("/dev/zero"))).expect("a path");
    let refused = endless.load().map(|_| ()).expect_err("it has no end");
    let expected = "/dev/zero: expected a file of at most 16 MiB";
    assert!(refused.to_string().contains(expected), "{refused}");
}
