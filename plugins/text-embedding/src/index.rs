//! An index over the text of a `vocab.txt`: one token a line, the line's number its id. The build script makes it.

/// Where each token stands, and a hash table of their ids.
#[derive(Debug)]
pub(crate) struct Index {
    /// Where each line begins, in bytes; one more for the end.
    pub(crate) starts: Vec<u32>,
    /// Open addressing with steps of 1: an id and one, or 0. Its size is a power of two.
    pub(crate) slots: Vec<u16>,
    /// Bytes of the longest token.
    pub(crate) longest: usize,
}

impl Index {
    /// # Errors
    /// There are more tokens than a slot can name.
    pub(crate) fn of(text: &str) -> Result<Self, String> {
        let lines: Vec<&str> = text.lines().collect();
        if lines.len() >= usize::from(u16::MAX) || text.contains('\r') {
            return Err(format!("no vocabulary with lines of one token: {} lines", lines.len()));
        }
        let size = (lines.len() * 2).next_power_of_two().max(2);
        let mut index = Self { starts: vec![0], slots: vec![0; size], longest: 0 };
        let mut end = 0;
        for (id, line) in lines.iter().enumerate() {
            let mut at = slot(line.bytes(), size);
            while index.slots[at] != 0 {
                at = (at + 1) % size;
            }
            index.slots[at] = id as u16 + 1;
            end += line.len() as u32 + 1;
            index.starts.push(end);
            index.longest = index.longest.max(line.len());
        }
        Ok(index)
    }
}

/// Where a token is looked for first, in a table of this size: FNV-1a, 32 bits, for nothing is quicker on words of a
/// few bytes. Source: Fowler, Noll, Vo; the constants are those of draft-eastlake-fnv.
pub(crate) fn slot(token: impl Iterator<Item = u8>, size: usize) -> usize {
    let hash = token.fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (hash ^ (hash >> 15)) as usize & (size - 1) // the upper bits are the better mixed ones
}
