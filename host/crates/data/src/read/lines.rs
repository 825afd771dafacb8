//! Lines of a file, none of them longer than the limit.

use std::io::Read;
use std::sync::Arc;

use aimass_core::Result;

use crate::source::Cursor;
use crate::{Source, invalid, limits};

/// Bytes that are read from the source at once.
const CHUNK: usize = 64 << 10;

pub(super) struct Lines {
    source: Cursor,
    size: u64,
    buffer: Vec<u8>,
    /// What is left of the buffer.
    from: usize,
    ended: bool,
    taken: u64,
}

impl Lines {
    pub(super) fn new(source: Arc<dyn Source>) -> Self {
        let size = source.size();
        Self { source: Cursor::new(source), size, buffer: Vec::new(), from: 0, ended: false, taken: 0 }
    }

    /// The next line that is not blank, without its end.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>> {
        loop {
            let Some((start, end)) = self.find()? else { return Ok(None) };
            let line = self.buffer.get(start..end).unwrap_or_default();
            if !line.iter().all(u8::is_ascii_whitespace) {
                return Ok(self.buffer.get(start..end));
            }
        }
    }

    /// Bytes read, and all.
    pub(super) fn place(&self) -> (u64, u64) {
        (self.taken - (self.buffer.len() - self.from) as u64, self.size)
    }

    fn find(&mut self) -> Result<Option<(usize, usize)>> {
        let mut searched = self.from;
        loop {
            if let Some(at) = memchr::memchr(b'\n', self.buffer.get(searched..).unwrap_or_default()) {
                let (start, end) = (self.from, searched + at);
                self.from = end + 1;
                return Ok(Some((start, end)));
            }
            if self.ended {
                let (start, end) = (self.from, self.buffer.len());
                self.from = end;
                return Ok((start < end).then_some((start, end)));
            }
            // The beginning of a line moves to the front, so that the buffer is no longer than a line and a chunk.
            self.buffer.drain(..self.from);
            self.from = 0;
            searched = self.buffer.len();
            if searched > limits::RECORD {
                return Err(invalid(format!("a line of the NDJSON file is longer than {} MiB", limits::RECORD >> 20)));
            }
            self.buffer.resize(searched + CHUNK, 0);
            let room = self.buffer.get_mut(searched..).unwrap_or_default();
            let read = self.source.read(room).map_err(|e| self.source.fault(e))?;
            self.buffer.truncate(searched + read);
            self.taken += read as u64;
            self.ended = read == 0;
        }
    }
}
