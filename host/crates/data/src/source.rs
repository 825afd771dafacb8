//! Where a file's bytes come from.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use aimass_core::{Fault, Result};
use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

/// A file that is read at any place. Reading blocks.
pub trait Source: Send + Sync {
    /// How many bytes it has.
    fn size(&self) -> u64;

    /// Reads at `offset` into `out`: some bytes, none only at the end.
    ///
    /// # Errors
    /// What the store says.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<usize>;
}

impl Source for Vec<u8> {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<usize> {
        let there = usize::try_from(offset).ok().and_then(|at| self.get(at..)).unwrap_or_default();
        let length = there.len().min(out.len());
        if let (Some(out), Some(there)) = (out.get_mut(..length), there.get(..length)) {
            out.copy_from_slice(there);
        }
        Ok(length)
    }
}

/// A source as Parquet's library reads it. What the source failed with is kept, for the library makes words of it.
#[derive(Clone)]
pub(crate) struct Chunks {
    source: Arc<dyn Source>,
    failed: Arc<Mutex<Option<Fault>>>,
}

impl Chunks {
    pub(crate) fn new(source: Arc<dyn Source>) -> Self {
        Self { source, failed: Arc::default() }
    }

    /// The fault behind an error: the source's own, or that the file is not valid.
    pub(crate) fn fault(&self, error: impl std::fmt::Display) -> Fault {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner).take();
        failed.unwrap_or_else(|| {
            // The library's words name columns and sizes, and no values.
            let words: String = error.to_string().chars().filter(|c| !c.is_control()).take(300).collect();
            crate::invalid(format!("the Parquet file is not valid: {words}"))
        })
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        self.source.read_at(offset, out).map_err(|fault| {
            let words = fault.to_string();
            *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
            io::Error::other(words)
        })
    }
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.source.size()
    }
}

impl ChunkReader for Chunks {
    type T = Cursor;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Cursor> {
        Ok(Cursor { chunks: self.clone(), at: start })
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        // What a file announces is not there yet.
        if start.checked_add(length as u64).is_none_or(|end| end > self.source.size()) {
            return Err(ParquetError::EOF("it refers to bytes behind its end".to_owned()));
        }
        let mut bytes = vec![0; length];
        let mut cursor = Cursor { chunks: self.clone(), at: start };
        cursor.read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}

/// Reads on from a place.
pub(crate) struct Cursor {
    chunks: Chunks,
    at: u64,
}

impl Cursor {
    /// From the beginning.
    pub(crate) fn new(source: Arc<dyn Source>) -> Self {
        Self { chunks: Chunks::new(source), at: 0 }
    }

    /// Why the last read failed.
    pub(crate) fn fault(&self, error: impl std::fmt::Display) -> Fault {
        self.chunks.fault(error)
    }
}

impl Read for Cursor {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.chunks.read(self.at, out)?;
        self.at += read as u64;
        Ok(read)
    }
}
