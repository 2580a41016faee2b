//! Mistakes, worded for the person who wrote the file: where they are, what is wrong, what to write instead.

use std::num::NonZeroU32;

use toml::Spanned;

use super::Error;
use crate::protocol::hex;

/// Mistakes are told on pages and in logs: of this key, what stands there is not.
pub(super) const PASSWORD: &str = "rest.password";

/// Turns a span into a line and a mistake into an [`Error`].
pub(super) struct Checker<'a> {
    pub(super) text: &'a str,
}

impl Checker<'_> {
    pub(super) fn line(&self, offset: usize) -> usize {
        self.text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
    }

    pub(super) fn error<T>(
        &self,
        key: &str,
        at: &Spanned<T>,
        problem: impl Into<String>,
        fix: &str,
    ) -> Error {
        let (key, fix) = (key.to_owned(), fix.to_owned());
        Error { line: self.line(at.span().start), key, problem: problem.into(), fix }
    }

    pub(super) fn at_least_one(&self, key: &str, value: &Spanned<u32>) -> Result<NonZeroU32, Error> {
        NonZeroU32::new(*value.get_ref())
            .ok_or_else(|| self.error(key, value, "0 is not allowed", "write 1 or more"))
    }

    pub(super) fn bytes_32(
        &self,
        key: &str,
        text: &Spanned<String>,
        problem: &str,
    ) -> Result<[u8; 32], Error> {
        let digits = text.get_ref().strip_prefix("0x").unwrap_or(text.get_ref());
        hex::decode_array("", &format!("0x{digits}"))
            .map_err(|_| self.error(key, text, problem, "write 64 hex digits, with or without 0x"))
    }

    pub(super) fn short_text(&self, key: &str, value: &Spanned<String>) -> Result<String, Error> {
        match value.get_ref().len() {
            1..=255 => Ok(value.get_ref().clone()),
            length => Err(self.error(key, value, format!("{length} bytes long"), "write 1 to 255 bytes")),
        }
    }
}

/// What the TOML reader stumbled over.
pub(super) fn syntax_error(checker: &Checker<'_>, error: &toml::de::Error) -> Error {
    let start = error.span().map_or(0, |span| span.start);
    let line = checker.line(start);
    let message = error.message().lines().collect::<Vec<_>>().join(" ");
    // serde says "unknown field `x`, expected one of …": what is expected is the fix.
    let (problem, fix) = match message.split_once(", expected") {
        Some((problem, expected)) => (problem.to_owned(), format!("expected{}", in_words(expected))),
        None if message.starts_with("duplicate key") => (message, "keep one of them".to_owned()),
        None => (message, "the README lists every key with an example".to_owned()),
    };
    // Where a password may stand, nothing of the text is told: not what stands in the line, nor in the one behind it.
    let near = checker.text.lines().skip(line.saturating_sub(2)).take(2);
    if near.into_iter().any(|near| near.to_ascii_lowercase().contains("password")) {
        let problem = "not understood".to_owned();
        let fix = "write password = \"12 to 128 bytes, in quotation marks\", in one line".to_owned();
        return Error { line, key: PASSWORD.to_owned(), problem, fix };
    }
    let key = key_at(checker.text, line);
    Error { line, key, problem, fix }
}

/// serde names what it expects by Rust's names.
fn in_words(expected: &str) -> String {
    let word = |word: &str| match word {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number that is not negative".to_owned(),
        "i64" => "a whole number".to_owned(),
        "struct" => "a table".to_owned(),
        raw if raw.starts_with("Raw") => String::new(),
        word => word.to_owned(),
    };
    expected.split(' ').map(word).collect::<Vec<_>>().join(" ").trim_end().to_owned()
}

/// The dotted key on a line: its own name behind that of the last table header above it.
fn key_at(text: &str, line: usize) -> String {
    let lines = text.lines().take(line).collect::<Vec<_>>();
    let header = |line: &&str| line.trim_start().starts_with('[');
    let table = lines
        .iter()
        .rev()
        .find(|line| header(line))
        .map_or("", |line| line.trim().trim_start_matches('[').split(']').next().unwrap_or_default());
    let name = match lines.last() {
        Some(last) if !header(last) => {
            last.split('=').next().unwrap_or_default().trim_matches(['{', ' ', '\t'])
        }
        Some(_) | None => "",
    };
    [table, name].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".")
}
