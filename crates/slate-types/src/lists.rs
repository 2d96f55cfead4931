//! Ragged lists over one flat array of rows.
//!
//! List `i` is rows `offsets[i]..offsets[i + 1]`. Offsets begin with 0 and grow strictly: a list
//! without rows does not exist.

use std::ops::Range;

/// Where each list begins and ends: `lists + 1` numbers, `[0, end of list 0, end of list 1, …]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListOffsets(Vec<u64>);

/// Offsets that do not describe lists.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OffsetsError {
    /// There must be at least the leading 0.
    #[error("list offsets are empty, expected at least a leading 0")]
    Empty,
    /// The first number is not 0.
    #[error("list offsets begin with {0}, expected 0")]
    Start(u64),
    /// A list would have no rows or less.
    #[error("list {list} ends at row {end} and begins at row {start}, expected at least one row")]
    NotIncreasing {
        /// Index of the list.
        list: usize,
        /// Its first row.
        start: u64,
        /// The row after its last.
        end: u64,
    },
}

impl ListOffsets {
    /// Takes offsets as they are on disk.
    ///
    /// # Errors
    /// [`OffsetsError`] where they do not start at 0 or do not grow.
    pub fn new(offsets: Vec<u64>) -> Result<Self, OffsetsError> {
        match offsets.first() {
            None => return Err(OffsetsError::Empty),
            Some(0) => {}
            Some(&other) => return Err(OffsetsError::Start(other)),
        }
        for (list, pair) in offsets.windows(2).enumerate() {
            if pair[1] <= pair[0] {
                return Err(OffsetsError::NotIncreasing {
                    list,
                    start: pair[0],
                    end: pair[1],
                });
            }
        }
        Ok(Self(offsets))
    }

    /// Lays lists of these lengths one after the other.
    ///
    /// # Errors
    /// [`OffsetsError::NotIncreasing`] for a length of 0.
    pub fn from_lengths(lengths: impl IntoIterator<Item = u64>) -> Result<Self, OffsetsError> {
        let mut offsets = vec![0];
        let mut end = 0;
        for length in lengths {
            end += length;
            offsets.push(end);
        }
        Self::new(offsets)
    }

    /// Groups equal neighbours of `ids` into lists; rows of one list must stand together.
    pub fn from_runs<T: PartialEq>(ids: &[T]) -> Self {
        let mut offsets = vec![0];
        for row in 1..ids.len() {
            if ids[row] != ids[row - 1] {
                offsets.push(row as u64);
            }
        }
        if !ids.is_empty() {
            offsets.push(ids.len() as u64);
        }
        Self(offsets)
    }

    /// Number of lists.
    pub fn len(&self) -> usize {
        self.0.len() - 1
    }

    /// Whether there is no list.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of rows of all lists together.
    pub fn rows(&self) -> usize {
        self.0[self.0.len() - 1] as usize
    }

    /// The rows of list `list`. Panics past the last list, as an index does.
    pub fn range(&self, list: usize) -> Range<usize> {
        self.0[list] as usize..self.0[list + 1] as usize
    }

    /// The rows of each list, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Range<usize>> + '_ {
        (0..self.len()).map(|list| self.range(list))
    }

    /// The numbers as they go to disk.
    pub fn as_slice(&self) -> &[u64] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_become_lists() {
        let lists = ListOffsets::from_runs(&[5, 5, 9, 5]);
        assert_eq!(lists.as_slice(), [0, 2, 3, 4]);
        assert_eq!(lists.iter().collect::<Vec<_>>(), [0..2, 2..3, 3..4]);
        assert!(ListOffsets::from_runs::<u8>(&[]).is_empty());
    }

    #[test]
    fn bad_offsets_are_named() {
        assert_eq!(ListOffsets::new(vec![]), Err(OffsetsError::Empty));
        assert_eq!(ListOffsets::new(vec![1, 2]), Err(OffsetsError::Start(1)));
        assert_eq!(
            ListOffsets::new(vec![0, 2, 2]),
            Err(OffsetsError::NotIncreasing {
                list: 1,
                start: 2,
                end: 2
            })
        );
    }
}
