//! Reading and writing the binary form of TIP-21: little-endian numbers, length prefixes, no padding.
//!
//! The reader never allocates more than the bytes left in its input.

use primitive_types::U256;

use super::Error;

/// A cursor over borrowed bytes. Every read names its field, so that errors do.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes not read yet.
    pub fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Offset of the next byte.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The next `count` bytes, borrowed.
    ///
    /// # Errors
    /// [`Error::UnexpectedEnd`] when fewer are left.
    pub fn bytes(&mut self, field: &'static str, count: usize) -> Result<&'a [u8], Error> {
        let left = self.left();
        if count > left {
            return Err(Error::UnexpectedEnd { field, need: count, left });
        }
        let slice = &self.bytes[self.at..self.at + count];
        self.at += count;
        Ok(slice)
    }

    /// The next `N` bytes as an array.
    ///
    /// # Errors
    /// [`Error::UnexpectedEnd`] when fewer are left.
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Error> {
        let mut out = [0; N];
        out.copy_from_slice(self.bytes(field, N)?);
        Ok(out)
    }

    /// One byte.
    ///
    /// # Errors
    /// [`Error::UnexpectedEnd`].
    pub fn u8(&mut self, field: &'static str) -> Result<u8, Error> {
        Ok(self.array::<1>(field)?[0])
    }

    /// Two bytes, little-endian.
    ///
    /// # Errors
    /// [`Error::UnexpectedEnd`].
    pub fn u16(&mut self, field: &'static str) -> Result<u16, Error> {
        Ok(u16::from_le_bytes(self.array(field)?))
    }

    /// Four bytes, little-endian.
    ///
    /// # Errors
    /// [`Error::UnexpectedEnd`].
    pub fn u32(&mut self, field: &'static str) -> Result<u32, Error> {
        Ok(u32::from_le_bytes(self.array(field)?))
    }

    /// Eight bytes, little-endian.
    ///
    /// # Errors
    /// [`Error::UnexpectedEnd`].
    pub fn u64(&mut self, field: &'static str) -> Result<u64, Error> {
        Ok(u64::from_le_bytes(self.array(field)?))
    }

    /// 32 bytes, little-endian.
    ///
    /// # Errors
    /// [`Error::UnexpectedEnd`].
    pub fn u256(&mut self, field: &'static str) -> Result<U256, Error> {
        Ok(U256::from_little_endian(&self.array::<32>(field)?))
    }

    /// A number that must be `value`: a type or version byte.
    ///
    /// # Errors
    /// [`Error::UnknownKind`] for any other, [`Error::UnexpectedEnd`].
    pub fn expect_u8(&mut self, field: &'static str, value: u8) -> Result<(), Error> {
        let found = self.u8(field)?;
        if found != value {
            return Err(Error::UnknownKind { field, kind: u32::from(found) });
        }
        Ok(())
    }

    /// Ends the word.
    ///
    /// # Errors
    /// [`Error::TrailingBytes`] when something is left.
    pub fn finish(self, field: &'static str) -> Result<(), Error> {
        match self.left() {
            0 => Ok(()),
            count => Err(Error::TrailingBytes { field, count }),
        }
    }
}

/// Refuses a count outside `min..=max`.
///
/// # Errors
/// [`Error::OutOfRange`].
pub fn check_range(field: &'static str, value: u64, min: u64, max: u64) -> Result<(), Error> {
    if value < min || value > max {
        return Err(Error::OutOfRange { field, value, min, max });
    }
    Ok(())
}

/// Refuses a list that is not strictly ascending, which also means: no entry twice (TIP-21).
///
/// # Errors
/// [`Error::NotSorted`].
pub fn check_ascending<T: Ord>(field: &'static str, list: &[T]) -> Result<(), Error> {
    if list.windows(2).all(|pair| pair[0] < pair[1]) { Ok(()) } else { Err(Error::NotSorted { field }) }
}

/// Appends little-endian fields to a buffer.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// An empty buffer with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    /// Appends bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Appends one byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes(&[value])
    }

    /// Appends two bytes.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Appends four bytes.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Appends eight bytes.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Appends 32 bytes.
    pub fn u256(&mut self, value: &U256) -> &mut Self {
        self.bytes(&value.to_little_endian())
    }

    /// Appends a one-byte count. The caller's type keeps the count within a byte.
    ///
    /// # Panics
    /// When `count` is over 255: a bug of the caller, never of input.
    pub fn count_u8(&mut self, count: usize) -> &mut Self {
        self.u8(u8::try_from(count).expect("the type bounds its count to a byte"))
    }

    /// Appends a two-byte count.
    ///
    /// # Panics
    /// When `count` is over 65,535: a bug of the caller, never of input.
    pub fn count_u16(&mut self, count: usize) -> &mut Self {
        self.u16(u16::try_from(count).expect("the type bounds its count to two bytes"))
    }

    /// Appends a four-byte count.
    ///
    /// # Panics
    /// When `count` is over 2³²-1: a bug of the caller, never of input.
    pub fn count_u32(&mut self, count: usize) -> &mut Self {
        self.u32(u32::try_from(count).expect("the type bounds its count to four bytes"))
    }

    /// The bytes written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::{Reader, Writer, check_ascending};
    use crate::protocol::Error;

    #[test]
    fn reads_what_was_written() {
        let mut writer = Writer::default();
        writer.u8(1).u16(0x0302).u32(0x0706_0504).u64(8).bytes(b"xy");
        let bytes = writer.into_bytes();
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.u8("a").unwrap(), 1);
        assert_eq!(reader.u16("b").unwrap(), 0x0302);
        assert_eq!(reader.u32("c").unwrap(), 0x0706_0504);
        assert_eq!(reader.u64("d").unwrap(), 8);
        assert_eq!(reader.bytes("e", 2).unwrap(), b"xy");
        reader.finish("word").unwrap();
    }

    #[test]
    fn names_the_field_that_is_cut_off() {
        let error = Reader::new(&[1, 2]).u32("nonce").unwrap_err();
        assert_eq!(error, Error::UnexpectedEnd { field: "nonce", need: 4, left: 2 });
        assert_eq!(error.to_string(), "nonce: 4 more bytes needed, 2 left");
    }

    #[test]
    fn refuses_equal_and_descending_neighbours() {
        check_ascending("parents", &[1, 2, 3]).unwrap();
        check_ascending("parents", &[1, 1]).unwrap_err();
        check_ascending("parents", &[2, 1]).unwrap_err();
    }
}
