//! Which texts the model is asked about together, and how far they are filled up.
//!
//! The platform prepares a model for every shape that it meets, which costs a quarter of a second and memory each, so
//! the shapes are few: seven. Filling up changes nothing, since the mask leaves it out; it costs time, so the lengths
//! double. Measured with tract on one core: eight texts at once take 0.78 of the time of one after the other at 32
//! tokens, and no less than it from 64 on.

/// Where sentence-transformers cuts this model's texts.
pub(crate) const MOST_TOKENS: usize = 256;

/// What texts are filled up to, and how many of that length go together.
const SHAPES: [(usize, usize); 5] = [(16, 8), (32, 8), (64, 1), (128, 1), (MOST_TOKENS, 1)];

/// Some texts of one length.
#[derive(Debug, PartialEq)]
pub(crate) struct Batch {
    /// The texts, by position; at most `rows`.
    pub(crate) texts: Vec<usize>,
    pub(crate) rows: usize,
    pub(crate) length: usize,
}

/// All texts in batches. None may have more than [`MOST_TOKENS`].
pub(crate) fn batches(token_lists: &[Vec<i64>]) -> Vec<Batch> {
    let mut batches = vec![];
    let mut shortest = 0;
    for (length, most) in SHAPES {
        let fits = |&i: &usize| (shortest..=length).contains(&token_lists[i].len());
        let texts: Vec<usize> = (0..token_lists.len()).filter(fits).collect();
        for chunk in texts.chunks(most) {
            // A batch costs as much as six texts alone, however many of its rows are used.
            if chunk.len() * 4 > most * 3 {
                batches.push(Batch { texts: chunk.to_vec(), rows: most, length });
            } else {
                batches.extend(chunk.iter().map(|&text| Batch { texts: vec![text], rows: 1, length }));
            }
        }
        shortest = length + 1;
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shapes(lengths: &[usize]) -> Vec<(Vec<usize>, usize, usize)> {
        let lists: Vec<Vec<i64>> = lengths.iter().map(|&n| vec![0; n]).collect();
        batches(&lists).into_iter().map(|b| (b.texts, b.rows, b.length)).collect()
    }

    #[test]
    fn a_text_alone_is_filled_up_to_the_next_length() {
        for (tokens, length) in [(2, 16), (16, 16), (17, 32), (64, 64), (65, 128), (256, 256)] {
            assert_eq!(shapes(&[tokens]), [(vec![0], 1, length)]);
        }
    }

    #[test]
    fn short_texts_go_together_where_that_is_cheaper() {
        assert_eq!(shapes(&[5; 7]), [((0..7).collect(), 8, 16)]);
        assert_eq!(shapes(&[5; 6]).len(), 6);
        assert_eq!(shapes(&[5; 17]).iter().map(|s| s.1).collect::<Vec<_>>(), [8, 8, 1]);
        assert_eq!(shapes(&[100; 9]).len(), 9);
    }

    #[test]
    fn every_text_is_in_one_batch() {
        let lengths: Vec<usize> = (0..300).map(|i| i * 37 % 255 + 2).collect();
        let mut all: Vec<usize> = shapes(&lengths).into_iter().flat_map(|s| s.0).collect();
        all.sort_unstable();
        assert_eq!(all, (0..300).collect::<Vec<_>>());
    }
}
