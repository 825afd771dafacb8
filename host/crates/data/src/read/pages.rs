//! Looks at the pages of a row group before they are unpacked: a few bytes may say that they become gigabytes.

use std::io::Read;

use aimass_core::Result;
use parquet::arrow::ProjectionMask;
use parquet::basic::Compression;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::reader::ChunkReader;

use crate::source::Chunks;
use crate::{invalid, limits};

/// Bytes of a page's header; more of it is read where that is not enough.
const HEADER: usize = 4 << 10;
/// The most that a header may have: writers put the least and the greatest value into it.
const LARGEST_HEADER: usize = 1 << 20;
/// Values of a page: writers end one at some 20,000 rows.
const VALUES: i64 = 16 << 20;

/// # Errors
/// `invalid_data` if a page is larger than it may be, or its header is none.
pub(super) fn check(chunks: &Chunks, group: &RowGroupMetaData, mask: &ProjectionMask) -> Result<()> {
    let mut all = 0;
    for (leaf, column) in group.columns().iter().enumerate().filter(|(leaf, _)| mask.leaf_included(*leaf)) {
        all += check_column(chunks, column).map_err(|fault| match fault.detail() {
            "" => invalid(format!("the Parquet file is not valid: column number {} has pages that are none", leaf + 1)),
            _ => fault,
        })?;
    }
    // Of every column a page is in memory at a time.
    if all > limits::PAGES {
        let detail = format!(
            "the pages of a row of the Parquet file are {all} bytes together: at most {} MiB can be read",
            limits::PAGES >> 20
        );
        return Err(invalid(detail));
    }
    Ok(())
}

/// The bytes of the largest page and of the dictionary.
fn check_column(chunks: &Chunks, column: &ColumnChunkMetaData) -> Result<usize> {
    let none = || invalid("");
    match column.compression() {
        Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::ZSTD(_) => {}
        other => {
            let detail = format!("the Parquet file is compressed by {other}: this node reads SNAPPY and ZSTD");
            return Err(invalid(detail));
        }
    }
    // `byte_range` panics on what is negative.
    let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
    let (start, length) = (u64::try_from(start).ok(), u64::try_from(column.compressed_size()).ok());
    let (mut at, length) = start.zip(length).ok_or_else(none)?;
    let end = at.checked_add(length).ok_or_else(none)?;
    let mut largest = [0, 0];
    while at < end {
        let Header { bytes, unpacked, packed, values, dictionary } = header(chunks, at, end - at)?;
        if unpacked > limits::PAGE as i64 || values > VALUES {
            return Err(invalid(format!(
                "the Parquet file has a page of {unpacked} bytes and {values} values: at most {} MiB and {VALUES} can be read",
                limits::PAGE >> 20
            )));
        }
        let size = usize::try_from(unpacked).map_err(|_| none())?;
        if let Some(largest) = largest.get_mut(usize::from(dictionary)) {
            *largest = size.max(*largest);
        }
        at = at.checked_add(bytes + u64::try_from(packed).map_err(|_| none())?).ok_or_else(none)?;
    }
    if at == end { Ok(largest.iter().sum()) } else { Err(none()) }
}

struct Header {
    /// Its own.
    bytes: u64,
    unpacked: i64,
    packed: i64,
    values: i64,
    dictionary: bool,
}

fn header(chunks: &Chunks, at: u64, left: u64) -> Result<Header> {
    let mut size = HEADER;
    loop {
        let room = usize::try_from(left).unwrap_or(usize::MAX).min(size);
        let reader = chunks.get_read(at).map_err(|e| chunks.fault(e))?;
        let mut bytes = Vec::with_capacity(room);
        reader.take(room as u64).read_to_end(&mut bytes).map_err(|e| chunks.fault(e))?;
        let mut thrift = Thrift { bytes: &bytes, at: 0 };
        match thrift.page_header() {
            Some((kind, unpacked, packed, values)) => {
                let dictionary = kind == DICTIONARY;
                return Ok(Header { bytes: thrift.at as u64, unpacked, packed, values, dictionary });
            }
            None if room == size && size < LARGEST_HEADER => size *= 4,
            None => return Err(invalid("")),
        }
    }
}

/// Thrift's compact protocol, as far as a page's header needs it.
struct Thrift<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// Structures inside of structures: a page's header has three.
const DEPTH: usize = 8;

impl Thrift<'_> {
    /// The page's type, its sizes and its number of values; none if the bytes end before the header does, or are none.
    fn page_header(&mut self) -> Option<(i64, i64, i64, i64)> {
        let (mut page, mut unpacked, mut packed, mut values, mut field) = (0, None, None, 0, 0);
        while let Some(kind) = self.field(&mut field)? {
            match (field, kind) {
                (1, INT) => page = self.zigzag()?,
                (2, INT) => unpacked = Some(self.zigzag()?),
                (3, INT) => packed = Some(self.zigzag()?),
                // Data of version 1, a dictionary, data of version 2: the number of values is their first field.
                (5 | 7 | 8, STRUCT) => {
                    let mut inner = 0;
                    while let Some(kind) = self.field(&mut inner)? {
                        if (inner, kind) == (1, INT) {
                            values = self.zigzag()?;
                        } else {
                            self.skip(kind, DEPTH)?;
                        }
                    }
                }
                (_, kind) => self.skip(kind, DEPTH)?,
            }
        }
        Some((page, unpacked.filter(|size| *size >= 0)?, packed.filter(|size| *size >= 0)?, values))
    }

    /// The next field's kind; `Some(None)` at the end of a structure.
    fn field(&mut self, number: &mut i64) -> Option<Option<u8>> {
        let head = self.byte()?;
        if head == 0 {
            return Some(None);
        }
        *number = match head >> 4 {
            0 => self.zigzag()?,
            step => number.checked_add(i64::from(step))?,
        };
        Some(Some(head & 0x0f))
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind {
            // Booleans are in the head.
            1 | 2 => {}
            3 => drop(self.byte()?),
            4..=6 => drop(self.varint()?),
            7 => self.pass(8)?,
            8 => {
                let length = usize::try_from(self.varint()?).ok()?;
                self.pass(length)?;
            }
            9 | 10 => {
                let head = self.byte()?;
                let count = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
                for _ in 0..count {
                    // Booleans in a list have a byte each.
                    if matches!(head & 0x0f, 1 | 2) { self.pass(1)? } else { self.skip(head & 0x0f, depth)? }
                }
            }
            STRUCT => {
                let mut field = 0;
                while let Some(kind) = self.field(&mut field)? {
                    self.skip(kind, depth)?;
                }
            }
            _ => return None,
        }
        Some(())
    }

    fn pass(&mut self, bytes: usize) -> Option<()> {
        self.at = self.at.checked_add(bytes).filter(|at| *at <= self.bytes.len())?;
        Some(())
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn zigzag(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }
}

/// A page's type: a dictionary.
const DICTIONARY: i64 = 2;
const INT: u8 = 5;
const STRUCT: u8 = 12;
