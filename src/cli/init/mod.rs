//! `relay init`: writes a commented relay.toml with fresh keys.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;

use crate::cli::error::CommandError;
use crate::compiled_level::COMPILED_LEVEL;
use crate::config::Config;
use crate::model::Level;

/// The file, with a place for each key.
const TEMPLATE: &str = include_str!("relay.toml");
/// It holds secrets.
const MODE: u32 = 0o600;
/// Random bytes of a key: nobody guesses 256 bits, and Standard Webhooks asks for 192 at least.
const KEY_BYTES: usize = 32;

#[derive(Args)]
pub(super) struct Init {
    /// The file to write [default: relay.toml]
    #[arg(value_name = "FILE", conflicts_with = "config")]
    file: Option<PathBuf>,
    /// The same, as the other commands have it
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Init {
    pub fn run(&self) -> Result<(), CommandError> {
        let named = self.file.as_deref().or(self.config.as_deref());
        let path = named.unwrap_or(Path::new(Config::FILE));
        let shown = path.display();
        write(path, &text()).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => format!(
                "{shown}: is there already, and was left as it is: expected the name of a new file"
            ),
            _ => format!("{shown}: {error}"),
        })?;
        let option = match named {
            Some(path) => format!(" --config {}", path.display()),
            None => String::new(),
        };
        say!("wrote {shown}, with keys of its own and for your eyes only (mode 0600)");
        say!("  put the URL of your service into [destinations.orders], then:");
        say!("  relay check{option}");
        say!("  relay serve{option}");
        Ok(())
    }
}

/// The file's text, with fresh keys.
fn text() -> String {
    // Level http can't sign, and refuses the secrets of a destination.
    let signs = if COMPILED_LEVEL == Level::Http {
        "# "
    } else {
        ""
    };
    TEMPLATE
        .replace("{api_key}", &hex::encode(random()))
        .replace("{signs}", signs)
        .replace("{destination_secret}", &signing_secret())
        .replace("{source_secret}", &signing_secret())
}

fn random() -> [u8; KEY_BYTES] {
    rand::random()
}

/// A secret of Standard Webhooks.
fn signing_secret() -> String {
    format!("whsec_{}", STANDARD.encode(random()))
}

/// Writes a new file. One that is half written is removed: a later start would take it for whole.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    // Exclusive: neither a file nor a link that somebody put there is followed.
    let mut file = options.write(true).create_new(true).mode(MODE).open(path)?;
    let parent = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    // The umask may have taken rights of the owner's away.
    let written = file
        .set_permissions(Permissions::from_mode(MODE))
        .and_then(|()| file.write_all(text.as_bytes()))
        .and_then(|()| give_to_owner_of(parent, &file))
        .and_then(|()| file.sync_all())
        .and_then(|()| File::open(parent)?.sync_all());
    if written.is_err() {
        // The first error is the one to report.
        let _ = std::fs::remove_file(path);
    }
    written
}

/// A file that root makes belongs to the owner of its directory: the service that reads it seldom
/// runs as root.
fn give_to_owner_of(directory: &Path, file: &File) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let owner = std::fs::metadata(directory)?;
    fchown(file, Some(owner.uid()), Some(owner.gid()))
}
