//! Words of documents that mean something else in a scene: addresses, paths, ids.

use std::net::SocketAddr;
use std::path::Path;

/// Words and their replacements; the first ones first.
pub struct Words(Vec<(String, String)>);

impl Words {
    pub fn new(
        directory: &Path,
        public: SocketAddr,
        admin: SocketAddr,
        receiver: SocketAddr,
    ) -> Self {
        let place = |name: &str| directory.join(name).display().to_string();
        let words = [
            ("localhost:8080", public.to_string()),
            ("127.0.0.1:8080", public.to_string()),
            ("127.0.0.1:8081", admin.to_string()),
            ("127.0.0.1:9000", receiver.to_string()),
            ("https://example.com/", format!("http://{receiver}/")),
            ("/tmp/relay", place("tmp/relay")),
            ("/var/backups/relay", place("backups")),
            ("/usr/share/", place("usr/share/")),
            ("/usr/local/", place("usr/local/")),
            ("target/release/relay", place("bin/relay")),
        ];
        Self(words.map(|(word, other)| (word.to_owned(), other)).into())
    }

    /// Gives a word another meaning from here on.
    pub fn set(&mut self, word: &str, other: &str) {
        self.0.retain(|(known, _)| known != word);
        self.0.push((word.to_owned(), other.to_owned()));
    }

    pub fn put_into(&self, text: &str) -> String {
        let words = self.0.iter();
        words.fold(text.to_owned(), |text, (word, other)| {
            text.replace(word, other)
        })
    }
}
