//! Text files as editors on other systems leave them: byte-order marks, UTF-16, CRLF.

use super::Error;

/// Reads a file as text: UTF-8, or UTF-16 as Windows' Notepad writes it (with or without a byte-order mark).
/// The mark is dropped; line ends stay as they are, as TOML knows both.
///
/// # Errors
/// The first line that is neither.
pub fn decode(bytes: &[u8]) -> Result<String, Error> {
    match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => utf8(rest),
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        // Without a mark: the first letter of any sensible file is ASCII, so its other byte is zero.
        [first, 0, ..] if *first != 0 => utf16(bytes, u16::from_le_bytes),
        [0, second, ..] if *second != 0 => utf16(bytes, u16::from_be_bytes),
        _ => utf8(bytes),
    }
}

fn utf8(bytes: &[u8]) -> Result<String, Error> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|error| {
        let line = bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        not_text(line)
    })
}

fn utf16(bytes: &[u8], number: fn([u8; 2]) -> u16) -> Result<String, Error> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let mut text = String::with_capacity(pairs.len());
    for letter in char::decode_utf16(pairs.iter().copied().map(number)) {
        let line = || text.matches('\n').count() + 1;
        text.push(letter.map_err(|_| not_text(line()))?);
    }
    if rest.is_empty() { Ok(text) } else { Err(not_text(text.matches('\n').count() + 1)) }
}

fn not_text(line: usize) -> Error {
    Error {
        line,
        key: String::new(),
        problem: "not text (neither UTF-8 nor UTF-16)".to_owned(),
        fix: "save the file as UTF-8".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn every_way_an_editor_may_save_it_reads_the_same() {
        let text = "# Übung\r\n[rest]\n";
        let units = text.encode_utf16().collect::<Vec<_>>();
        let little = units.iter().flat_map(|unit| unit.to_le_bytes()).collect::<Vec<_>>();
        let big = units.iter().flat_map(|unit| unit.to_be_bytes()).collect::<Vec<_>>();
        let mark = |mark: &[u8], bytes: &[u8]| [mark, bytes].concat();
        for bytes in [
            text.as_bytes().to_vec(),
            mark(&[0xef, 0xbb, 0xbf], text.as_bytes()),
            mark(&[0xff, 0xfe], &little),
            mark(&[0xfe, 0xff], &big),
            little,
            big,
        ] {
            assert_eq!(decode(&bytes).unwrap(), text, "{bytes:02x?}");
        }
        assert_eq!(decode(b"").unwrap(), "");
    }

    #[test]
    fn what_is_no_text_is_named_by_its_line() {
        assert_eq!(decode(b"a\nb\xff\n").unwrap_err().line, 2);
        assert_eq!(decode(&[0xff, 0xfe, b'\n', 0, 0x00, 0xd8]).unwrap_err().line, 2);
        assert_eq!(decode(&[0xff, 0xfe, b'a', 0, b'b']).unwrap_err().line, 1);
    }
}
