//! Reading a file field by field.

use std::io::Read;

use super::Error;
use crate::protocol::pack::Reader;

/// A file, and how far it was read.
#[derive(Debug)]
pub(super) struct Source<R> {
    inner: R,
    read: u64,
}

impl<R: Read> Source<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, read: 0 }
    }

    /// Bytes read so far.
    pub(super) fn position(&self) -> u64 {
        self.read
    }

    /// The next `count` bytes; takes memory for what is there only.
    pub(super) fn bytes(&mut self, field: &'static str, count: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let mut taken = self.inner.by_ref().take(count as u64);
        taken.read_to_end(&mut bytes).map_err(|source| Error::Io { field, source })?;
        self.read += bytes.len() as u64;
        if bytes.len() < count {
            let left = bytes.len();
            return Err(crate::protocol::Error::UnexpectedEnd { field, need: count, left }.into());
        }
        Ok(bytes)
    }

    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Error> {
        let bytes = self.bytes(field, N)?;
        Ok(Reader::new(&bytes).array(field)?)
    }

    pub(super) fn u8(&mut self, field: &'static str) -> Result<u8, Error> {
        Ok(self.array::<1>(field)?[0])
    }

    pub(super) fn u16(&mut self, field: &'static str) -> Result<u16, Error> {
        Ok(u16::from_le_bytes(self.array(field)?))
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32, Error> {
        Ok(u32::from_le_bytes(self.array(field)?))
    }

    pub(super) fn u64(&mut self, field: &'static str) -> Result<u64, Error> {
        Ok(u64::from_le_bytes(self.array(field)?))
    }

    /// Nothing may follow.
    pub(super) fn finish(&mut self, field: &'static str) -> Result<(), Error> {
        let mut more = [0];
        match self.inner.read(&mut more).map_err(|source| Error::Io { field, source })? {
            0 => Ok(()),
            _ => Err(Error::Inconsistent(format!("{field}: bytes are left over after the end"))),
        }
    }
}
