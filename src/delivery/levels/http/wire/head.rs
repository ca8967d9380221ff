//! An answer's head: its status line and headers. ureq's parser takes at most 128 headers and reads
//! them all again with each packet, so it is given a short head with the headers that matter.

use thiserror::Error;

/// Bytes of an answer's headers, without its status line: a decision. Servers send at most 8 to
/// 32 KiB by default; cookies and policies of a gateway add to that.
pub(in crate::delivery::levels::http) const MAX_HEADERS: usize = 64 * 1024;
/// Bytes of a status line, and of all interim answers (1xx) together.
const MAX_LINE: usize = 8 * 1024;
const MAX_INTERIM: usize = 64 * 1024;
/// Bytes that are passed on of a `Location`: a URL, as long as one that a destination may have.
const MAX_LOCATION: usize = 2048;
/// Bytes that are passed on besides: together they fit into half of ureq's buffer.
const MAX_SHORT: usize = 4096;
/// Headers that are passed on; ureq's parser takes 128.
const MAX_COUNT: usize = 100;

/// The headers that matter: the framing of the body, and what is asked of us.
const KEPT: [&[u8]; 5] = [
    b"connection",
    b"content-length",
    b"location",
    b"retry-after",
    b"transfer-encoding",
];

/// More headers than are read.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "response_headers_too_large: it answered {}with more than {} KiB of headers",
    .status.map_or_else(String::new, |status| format!("{status} ")),
    MAX_HEADERS / 1024
)]
pub(in crate::delivery::levels::http) struct HeadTooLarge {
    /// As far as it is known.
    pub status: Option<u16>,
}

/// A head that is being read.
#[derive(Debug, Default)]
pub(super) struct Head {
    bytes: Vec<u8>,
    /// Where the head of the answer begins, after any interim ones.
    start: usize,
    /// Where its headers begin; none while the status line isn't whole.
    headers: Option<usize>,
    /// Where the line begins that is being read, and how far it has been searched for its end.
    line: usize,
    searched: usize,
    end: Option<End>,
}

#[derive(Clone, Copy, Debug)]
enum End {
    /// Where the body begins.
    At(usize),
    /// This isn't HTTP; the parser shall say so.
    NotHttp,
}

impl Head {
    /// Reads on. Nothing more is to be given once it [is over](Self::is_over).
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

    /// Takes the line that ends before `next`.
    fn take_line(&mut self, next: usize) {
        let line = without_end(&self.bytes[self.line..next]);
        match self.headers {
            // Empty lines before a status line are skipped, as parsers do.
            None if line.is_empty() => self.start = next,
            None if !self.may_be_http() => self.end = Some(End::NotHttp),
            None => self.headers = Some(next),
            Some(_) if !line.is_empty() => {}
            Some(_) => {
                // 101 is an end, if a strange one: nobody asked for another protocol.
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

    /// Whether there is a whole one.
    pub fn is_over(&self) -> bool {
        self.end.is_some()
    }

    /// The status, as far as the status line says one.
    pub fn status(&self) -> Option<u16> {
        let line = &self.bytes[self.start..self.headers?];
        status(without_end(line))
    }

    /// Whether what has come begins as an answer does.
    fn may_be_http(&self) -> bool {
        const BEGINNING: &[u8] = b"HTTP/1.";
        let begun = &self.bytes[self.start..];
        // A carriage return may belong to an empty line.
        let begun = begun.strip_prefix(b"\r").unwrap_or(begun);
        let length = begun.len().min(BEGINNING.len());
        begun[..length] == BEGINNING[..length]
    }

    /// The short head, and what has come of the body.
    pub fn finish(self) -> Result<(Vec<u8>, Vec<u8>), HeadTooLarge> {
        let too_large = HeadTooLarge {
            status: self.status(),
        };
        let (Some(End::At(end)), Some(headers)) = (self.end, self.headers) else {
            return Ok((Vec::new(), self.bytes));
        };
        let line = without_end(&self.bytes[self.start..headers]);
        let mut short = match status(line) {
            // The phrase after it is for people, and can be long.
            Some(_) => line[..LEN_STATUS].to_vec(),
            None => line[..line.len().min(64)].to_vec(),
        };
        short.extend_from_slice(b"\r\n");
        let mut count = 0;
        for line in self.bytes[headers..end].split_inclusive(|&byte| byte == b'\n') {
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

/// The bytes of a status line up to its status: `HTTP/1.1 200`.
const LEN_STATUS: usize = 12;

fn status(line: &[u8]) -> Option<u16> {
    let (begun, rest) = line.split_at_checked(LEN_STATUS)?;
    let digits = begun.get(LEN_STATUS - 3..)?;
    let is_line = begun[LEN_STATUS - 4] == b' '
        && digits.iter().all(u8::is_ascii_digit)
        && rest.first().is_none_or(|&byte| byte == b' ');
    let text = std::str::from_utf8(digits).ok()?;
    is_line.then(|| text.parse().ok()).flatten()
}

/// The part of a header that is passed on: all of one that matters, and all of a malformed one, so
/// that the parser refuses it.
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

fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests;
