//! The console's style sheet, script and icon. Their names hold a digest of their content, so that
//! a browser keeps them until an upgrade brings others.

use std::sync::LazyLock;

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, HeaderValue};
use sha2::{Digest as _, Sha256};

use crate::http::response::{Response, with_type};

/// A file of the console.
pub(super) struct Asset {
    /// Its path, with a digest of its content.
    pub path: String,
    content_type: &'static str,
    content: &'static str,
}

impl Asset {
    fn new(name: &str, ending: &str, content_type: &'static str, content: &'static str) -> Self {
        let digest = hex::encode(&Sha256::digest(content)[..8]);
        Self {
            path: format!("/assets/{name}-{digest}.{ending}"),
            content_type,
            content,
        }
    }

    pub fn respond(&self) -> Response {
        let mut response = with_type(StatusCode::OK, self.content_type, self.content);
        response.headers_mut().insert(
            CACHE_CONTROL,
            HeaderValue::from_static("public, max-age=31536000, immutable"),
        );
        response
    }
}

pub(super) static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    let content = include_str!("style.css");
    Asset::new("style", "css", "text/css; charset=utf-8", content)
});

pub(super) static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    let content = include_str!("script.js");
    Asset::new("script", "js", "text/javascript; charset=utf-8", content)
});

pub(super) static ICON: LazyLock<Asset> = LazyLock::new(|| {
    let content = include_str!("icon.svg");
    Asset::new("icon", "svg", "image/svg+xml", content)
});

/// The file at a path.
pub(super) fn find(path: &str) -> Option<&'static Asset> {
    let all = [&STYLE, &SCRIPT, &ICON];
    all.into_iter()
        .map(|asset| &**asset)
        .find(|asset| asset.path == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_small_and_every_file_is_found_by_its_path() {
        assert!(SCRIPT.content.len() < 3 * 1024, "{}", SCRIPT.content.len());
        for asset in [&STYLE, &SCRIPT, &ICON] {
            let found = find(&asset.path).expect("it is there");
            assert_eq!(found.content_type, asset.content_type);
        }
        assert!(find("/assets/style.css").is_none());
    }
}
