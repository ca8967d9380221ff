//! An answer's head: its status line and headers. ureq's parser takes at most 128 headers and
//! parses all of them again with each packet, so it gets a short head with the relevant headers.

use std::borrow::Cow;

use thiserror::Error;

/// Bytes of an answer's headers, without its status line: a decision. Servers send at most 8 to
/// 32 KiB by default; cookies and policies of a gateway add to that.
pub(in crate::delivery::levels::http) const MAX_HEADERS: usize = 64 * 1024;
/// Bytes of a status line, and of all interim answers (1xx) together.
const MAX_LINE: usize = 8 * 1024;
const MAX_INTERIM: usize = 64 * 1024;
/// Bytes of a `Location` that are passed on: the longest URL that a destination may have.
const MAX_LOCATION: usize = 2048;
/// Bytes of the other headers that are passed on: together they fit into half of ureq's buffer.
const MAX_SHORT: usize = 4096;
/// Headers that are passed on; ureq's parser takes 128.
const MAX_COUNT: usize = 100;

/// The relevant headers: the framing of the body, and requests to the sender.
const KEPT: [&[u8]; 5] = [
    b"connection",
    b"content-length",
    b"location",
    b"retry-after",
    b"transfer-encoding",
];

/// The answer has more headers than are read.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "response_headers_too_large: it answered {}with more than {} KiB of headers",
    .status.map_or_else(String::new, |status| format!("{status} ")),
    MAX_HEADERS / 1024
)]
pub(in crate::delivery::levels::http) struct HeadTooLarge {
    /// None if the status line wasn't read.
    pub status: Option<u16>,
}

/// A head as far as it is read.
#[derive(Debug, Default)]
pub(super) struct Head {
    bytes: Vec<u8>,
    /// The offset of the answer's head, after any interim answers.
    start: usize,
    /// The offset of its headers; none while the status line is incomplete.
    headers: Option<usize>,
    /// The offset of the line being read.
    line: usize,
    /// The offset up to which that line was searched for its end.
    searched: usize,
    /// Whether a header goes on in a further line.
    is_folded: bool,
    end: Option<End>,
}

#[derive(Clone, Copy, Debug)]
enum End {
    /// The offset of the body.
    At(usize),
    /// This isn't HTTP; ureq's parser reports it.
    NotHttp,
}

impl Head {
    /// Takes in more bytes; none once the head [is over](Self::is_over).
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), HeadTooLarge> {
        self.bytes.extend_from_slice(bytes);
        while self.end.is_none() {
            let rest = &self.bytes[self.searched..];
            let Some(at) = rest.iter().position(|&byte| byte == b'\n') else {
                self.searched = self.bytes.len();
                break;
            };
            let next = self.searched + at + 1;
            self.take_line(next);
            self.searched = next;
            self.line = next;
        }
        if self.headers.is_none() && self.end.is_none() && !self.may_be_http() {
            self.end = Some(End::NotHttp);
        }
        let reached = match self.end {
            Some(End::NotHttp) => return Ok(()),
            Some(End::At(end)) => end,
            None => self.bytes.len(),
        };
        let is_too_large = self.start > MAX_INTERIM
            || match self.headers {
                Some(headers) => reached - headers > MAX_HEADERS,
                None => reached - self.start > MAX_LINE,
            };
        if is_too_large {
            return Err(HeadTooLarge {
                status: self.status(),
            });
        }
        Ok(())
    }

    /// Takes in the line that ends before `next`.
    fn take_line(&mut self, next: usize) {
        let line = without_end(&self.bytes[self.line..next]);
        match self.headers {
            // Empty lines before a status line are skipped, as parsers do.
            None if line.is_empty() => self.start = next,
            None if !self.may_be_http() => self.end = Some(End::NotHttp),
            None => self.headers = Some(next),
            Some(_) if !line.is_empty() => self.is_folded |= is_continuation(line),
            Some(_) => {
                // 101 counts as the answer: the request asked for no other protocol.
                let is_interim = self
                    .status()
                    .is_some_and(|status| (100..200).contains(&status) && status != 101);
                if is_interim {
                    self.start = next;
                    self.headers = None;
                } else {
                    self.end = Some(End::At(next));
                }
            }
        }
    }

    /// Whether the head is complete.
    pub fn is_over(&self) -> bool {
        self.end.is_some()
    }

    /// The status, if the status line has a valid one.
    pub fn status(&self) -> Option<u16> {
        let line = &self.bytes[self.start..self.headers?];
        status(without_end(line))
    }

    /// Whether the bytes so far begin as an HTTP answer does.
    fn may_be_http(&self) -> bool {
        const BEGINNING: &[u8] = b"HTTP/1.";
        let begun = &self.bytes[self.start..];
        // A carriage return may belong to an empty line.
        let begun = begun.strip_prefix(b"\r").unwrap_or(begun);
        let length = begun.len().min(BEGINNING.len());
        begun[..length] == BEGINNING[..length]
    }

    /// The value of `Date`, which isn't passed on; none if it isn't there, or not as text.
    pub fn date(&self) -> Option<String> {
        let (Some(End::At(end)), Some(headers)) = (self.end, self.headers) else {
            return None;
        };
        let mut lines = self.bytes[headers..end].split(|&byte| byte == b'\n');
        lines.find_map(|line| {
            let (name, value) = std::str::from_utf8(without_end(line))
                .ok()?
                .split_once(':')?;
            name.eq_ignore_ascii_case("date")
                .then(|| value.trim().to_owned())
        })
    }

    /// The short head, and the bytes of the body that were read with it.
    pub fn finish(self) -> Result<(Vec<u8>, Vec<u8>), HeadTooLarge> {
        let too_large = HeadTooLarge {
            status: self.status(),
        };
        let (Some(End::At(end)), Some(headers)) = (self.end, self.headers) else {
            return Ok((Vec::new(), self.bytes));
        };
        let line = without_end(&self.bytes[self.start..headers]);
        let mut short = match status(line) {
            // The reason phrase is for people, and can be long.
            Some(_) => line[..STATUS_LEN].to_vec(),
            None => line[..line.len().min(64)].to_vec(),
        };
        short.extend_from_slice(b"\r\n");
        let mut count = 0;
        let headers = &self.bytes[headers..end];
        let headers = if self.is_folded {
            Cow::Owned(unfolded(headers))
        } else {
            Cow::Borrowed(headers)
        };
        for line in headers.split_inclusive(|&byte| byte == b'\n') {
            let line = without_end(line);
            if let Some(line) = kept(line) {
                count += 1;
                short.extend_from_slice(line);
                short.extend_from_slice(b"\r\n");
            }
        }
        short.extend_from_slice(b"\r\n");
        if short.len() > MAX_SHORT + MAX_LOCATION || count > MAX_COUNT {
            return Err(too_large);
        }
        Ok((short, self.bytes[end..].to_vec()))
    }
}

/// Length of a status line up to its status: `HTTP/1.1 200`.
const STATUS_LEN: usize = 12;

fn status(line: &[u8]) -> Option<u16> {
    let (begun, rest) = line.split_at_checked(STATUS_LEN)?;
    let digits = begun.get(STATUS_LEN - 3..)?;
    let is_line = begun[STATUS_LEN - 4] == b' '
        && digits.iter().all(u8::is_ascii_digit)
        && rest.first().is_none_or(|&byte| byte == b' ');
    let text = std::str::from_utf8(digits).ok()?;
    is_line.then(|| text.parse().ok()).flatten()
}

/// The part of a header that is passed on: all of a relevant one, and all of a malformed one, so
/// that ureq's parser refuses it.
fn kept(line: &[u8]) -> Option<&[u8]> {
    let Some(colon) = line.iter().position(|&byte| byte == b':') else {
        return (!line.is_empty()).then_some(line);
    };
    let name = &line[..colon];
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    if name.is_empty() || !name.iter().all(is_token) {
        return Some(line);
    }
    if !KEPT.iter().any(|kept| kept.eq_ignore_ascii_case(name)) {
        return None;
    }
    if name.eq_ignore_ascii_case(b"location") {
        return Some(&line[..line.len().min(MAX_LOCATION)]);
    }
    Some(line)
}

/// Whether a line continues the header before it (RFC 9112, 5.2).
fn is_continuation(line: &[u8]) -> bool {
    matches!(line.first(), Some(b' ' | b'\t'))
}

/// The headers, each in a line of its own. A continuation of none stays as it is.
fn unfolded(headers: &[u8]) -> Vec<u8> {
    let mut joined: Vec<u8> = Vec::with_capacity(headers.len());
    for line in headers.split_inclusive(|&byte| byte == b'\n') {
        let line = without_end(line);
        if is_continuation(line) && !joined.is_empty() {
            joined.truncate(without_end(&joined).len());
            joined.push(b' ');
            joined.extend_from_slice(line.trim_ascii());
        } else {
            joined.extend_from_slice(line);
        }
        joined.extend_from_slice(b"\r\n");
    }
    joined
}

fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests;
