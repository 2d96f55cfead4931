//! Some lists of a part as a part of their own, and parts put one behind the other.
//!
//! Shares of items are of all rows of a part, so neither keeps them: they are
//! [counted](SplitData::count_items) anew where they are wanted.

use slate_types::ListOffsets;

use crate::data::SplitData;
use crate::ragged::{EventVectors, Extras, History, Ragged, Vectors};

impl SplitData {
    /// These lists, in this order; a list may come twice.
    ///
    /// # Shapes
    /// - lists: indices below the number of lists.
    #[must_use]
    pub fn select(&self, lists: &[u32]) -> Self {
        let range = |&list: &u32| self.lists.range(list as usize);
        let lengths = lists.iter().map(|list| range(list).len() as u64);
        let offsets = ListOffsets::from_lengths(lengths).expect("every list has a row");
        let rows: Vec<usize> = lists.iter().flat_map(range).collect();
        let all = self.rows().max(1);
        let (d, c) = (self.dense.len() / all, self.categorical.len() / all);
        let lists: Vec<usize> = lists.iter().map(|&list| list as usize).collect();
        Self {
            dense: wide(&self.dense, &rows, d),
            categorical: wide(&self.categorical, &rows, c),
            grade: at(&self.grade, &rows),
            click: at(&self.click, &rows),
            purchase: at(&self.purchase, &rows),
            weight: at(&self.weight, &rows),
            slot: at(&self.slot, &rows),
            propensity: at(&self.propensity, &rows),
            price: at(&self.price, &rows),
            ad_rate: at(&self.ad_rate, &rows),
            raw_score: at(&self.raw_score, &rows),
            item: at(&self.item, &rows),
            impression: at(&self.impression, &rows),
            list_id: at(&self.list_id, &lists),
            list_ts: at(&self.list_ts, &lists),
            extras: self.extras.select(&rows, &lists),
            lists: offsets,
        }
    }

    /// The lists of this part, and behind them those of `other`, which was made with the same feature map or
    /// one that this one's has grown out of.
    #[must_use]
    pub fn followed_by(&self, other: &Self) -> Self {
        let lengths = |of: &Self| -> Vec<u64> {
            let lists = 0..of.lists.len();
            lists
                .map(|list| of.lists.range(list).len() as u64)
                .collect()
        };
        let lengths = lengths(self).into_iter().chain(lengths(other));
        Self {
            lists: ListOffsets::from_lengths(lengths).expect("every list has a row"),
            dense: joined(&self.dense, &other.dense),
            categorical: joined(&self.categorical, &other.categorical),
            grade: joined(&self.grade, &other.grade),
            click: joined(&self.click, &other.click),
            purchase: joined(&self.purchase, &other.purchase),
            weight: joined(&self.weight, &other.weight),
            slot: joined(&self.slot, &other.slot),
            propensity: joined(&self.propensity, &other.propensity),
            price: joined(&self.price, &other.price),
            ad_rate: joined(&self.ad_rate, &other.ad_rate),
            raw_score: joined(&self.raw_score, &other.raw_score),
            item: joined(&self.item, &other.item),
            impression: joined(&self.impression, &other.impression),
            list_id: joined(&self.list_id, &other.list_id),
            list_ts: joined(&self.list_ts, &other.list_ts),
            extras: self.extras.followed_by(&other.extras),
        }
    }
}

impl Extras {
    fn select(&self, rows: &[usize], lists: &[usize]) -> Self {
        Self {
            multi_valued: self
                .multi_valued
                .iter()
                .map(|own| own.select(rows))
                .collect(),
            vectors: self
                .vectors
                .iter()
                .map(|own| Vectors {
                    table: own.table.clone(),
                    width: own.width,
                    index: at(&own.index, rows),
                })
                .collect(),
            history: self.history.as_ref().map(|own| own.select(lists)),
            item_share: Vec::new(),
        }
    }

    fn followed_by(&self, other: &Self) -> Self {
        let several = self.multi_valued.iter().zip(&other.multi_valued);
        let vectors = self.vectors.iter().zip(&other.vectors);
        Self {
            multi_valued: several
                .map(|(one, two)| Ragged {
                    offsets: joined_offsets(&one.offsets, &two.offsets),
                    values: joined(&one.values, &two.values),
                })
                .collect(),
            vectors: vectors.map(|(one, two)| one.followed_by(two)).collect(),
            history: self
                .history
                .as_ref()
                .zip(other.history.as_ref())
                .map(|(one, two)| History {
                    offsets: joined_offsets(&one.offsets, &two.offsets),
                    item: joined(&one.item, &two.item),
                    kind: joined(&one.kind, &two.kind),
                    age: joined(&one.age, &two.age),
                    vectors: one
                        .vectors
                        .iter()
                        .zip(&two.vectors)
                        .map(|(past, after)| EventVectors {
                            rows: self.vectors[past.table].rows_followed_by(
                                &past.rows,
                                &other.vectors[after.table],
                                &after.rows,
                            ),
                            ..*past
                        })
                        .collect(),
                }),
            item_share: Vec::new(),
        }
    }

    /// The same vectors in tables without those that neither a row nor a history has.
    pub(crate) fn compact(&mut self) {
        for (table, own) in self.vectors.iter_mut().enumerate() {
            let history = self.history.iter_mut().flat_map(|own| &mut own.vectors);
            let past: Vec<&mut Vec<u32>> = history
                .filter(|past| past.table == table)
                .map(|past| &mut past.rows)
                .collect();
            own.compact(past);
        }
    }
}

impl Ragged {
    fn select(&self, rows: &[usize]) -> Self {
        let (offsets, values) = taken(&self.offsets, rows);
        Self {
            offsets,
            values: at(&self.values, &values),
        }
    }
}

impl History {
    fn select(&self, lists: &[usize]) -> Self {
        let (offsets, events) = taken(&self.offsets, lists);
        Self {
            offsets,
            item: at(&self.item, &events),
            kind: at(&self.kind, &events),
            age: at(&self.age, &events),
            vectors: self
                .vectors
                .iter()
                .map(|own| EventVectors {
                    rows: at(&own.rows, &events),
                    ..*own
                })
                .collect(),
        }
    }
}

impl Vectors {
    /// Both tables one behind the other, where they are not the same.
    fn followed_by(&self, other: &Self) -> Self {
        let index = self.rows_followed_by(&self.index, other, &other.index);
        if self.table == other.table {
            return Self {
                index,
                ..self.clone()
            };
        }
        let others = &other.table[self.width..];
        Self {
            table: self.table.iter().chain(others).copied().collect(),
            width: self.width,
            index,
        }
    }

    /// Rows of this table, and behind them rows of another, as rows of [both](Self::followed_by).
    fn rows_followed_by(&self, own: &[u32], other: &Self, others: &[u32]) -> Vec<u32> {
        // Row 0 of both is the unknown item.
        let behind = if self.table == other.table {
            0
        } else {
            (self.table.len() / self.width.max(1)) as u32 - 1
        };
        let moved = |&row: &u32| if row == 0 { 0 } else { row + behind };
        let own = own.iter().copied();
        own.chain(others.iter().map(moved)).collect()
    }

    /// Drops the vectors that no row and none of `others`, more rows of the table, has.
    fn compact(&mut self, others: Vec<&mut Vec<u32>>) {
        let past = others.iter().flat_map(|rows| rows.iter());
        let all = self.index.iter().chain(past).copied();
        let mut used: Vec<u32> = all.filter(|&row| row > 0).collect();
        used.sort_unstable();
        used.dedup();
        let rows = std::iter::once(0).chain(used.iter().copied());
        self.table = rows.flat_map(|row| self.row(row)).copied().collect();
        let others = others.into_iter().flatten();
        for row in self.index.iter_mut().chain(others) {
            *row = used.binary_search(row).map_or(0, |place| place as u32 + 1);
        }
    }
}

fn at<T: Copy>(values: &[T], places: &[usize]) -> Vec<T> {
    places.iter().map(|&place| values[place]).collect()
}

fn wide<T: Copy>(values: &[T], rows: &[usize], width: usize) -> Vec<T> {
    let row = |&row: &usize| &values[row * width..(row + 1) * width];
    rows.iter().flat_map(row).copied().collect()
}

fn joined<T: Copy>(one: &[T], two: &[T]) -> Vec<T> {
    [one, two].concat()
}

/// Offsets of these entries, and the places of their values.
fn taken(offsets: &[u64], entries: &[usize]) -> (Vec<u64>, Vec<usize>) {
    let (mut own, mut places) = (vec![0], Vec::new());
    for &entry in entries {
        places.extend(offsets[entry] as usize..offsets[entry + 1] as usize);
        own.push(places.len() as u64);
    }
    (own, places)
}

fn joined_offsets(one: &[u64], two: &[u64]) -> Vec<u64> {
    let end = one.last().copied().unwrap_or(0);
    let ends = two.iter().skip(1).map(|offset| end + offset);
    one.iter().copied().chain(ends).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Lists of these lengths; every number is its own, ragged ones of all lengths from 0 to 2.
    fn data(lengths: &[u64]) -> SplitData {
        let lists = ListOffsets::from_lengths(lengths.iter().copied()).unwrap();
        let (n, rows) = (lists.len(), lists.rows());
        let offsets = |count: usize| -> Vec<u64> {
            let ends = (0..count).scan(0, |end, entry| {
                *end += entry as u64 * 7 % 3;
                Some(*end)
            });
            std::iter::once(0).chain(ends).collect()
        };
        let several = offsets(rows);
        let events = offsets(n);
        let (values, count) = (several[rows], events[n]);
        let row = |at: usize| at as f64 + 0.5;
        SplitData {
            dense: (0..2 * rows).map(|at| at as f32).collect(),
            categorical: (0..3 * rows).map(|at| at as u32).collect(),
            grade: (0..rows).map(|at| (at % 5) as u8).collect(),
            click: (0..rows).map(|at| (at % 2) as u8).collect(),
            purchase: (0..rows).map(|at| (at % 3 % 2) as u8).collect(),
            weight: (0..rows).map(|at| at as f32 + 1.0).collect(),
            slot: (0..rows).map(|at| at as u32 + 3).collect(),
            propensity: (0..rows).map(row).collect(),
            price: (0..rows).map(|at| row(at) * 2.0).collect(),
            ad_rate: (0..rows).map(|at| row(at) * 3.0).collect(),
            raw_score: (0..rows).map(|at| row(at) * 4.0).collect(),
            item: (0..rows).map(|at| at as i64 % 4).collect(),
            impression: (0..rows).map(|at| at as i64 + 9).collect(),
            list_id: (0..n).map(|at| at as i64 * 11).collect(),
            list_ts: (0..n).map(|at| at as i64 * 13).collect(),
            extras: Extras {
                multi_valued: vec![Ragged {
                    offsets: several,
                    values: (0..values as u32).collect(),
                }],
                vectors: vec![Vectors {
                    table: (0..2 * 6).map(|at| at as f32).collect(),
                    width: 2,
                    index: (0..rows).map(|at| at as u32 * 5 % 6).collect(),
                }],
                history: Some(History {
                    offsets: events,
                    item: (0..count as u32).collect(),
                    kind: (0..count).map(|at| (at % 3) as u8).collect(),
                    age: (0..count).map(|at| at as f32).collect(),
                    vectors: vec![EventVectors {
                        table: 0,
                        prior: 1.0,
                        rows: (0..count as u32).map(|at| at * 5 % 6).collect(),
                    }],
                }),
                item_share: Vec::new(),
            },
            lists,
        }
    }

    /// The vector of each row.
    fn vectors(data: &SplitData) -> Vec<Vec<f32>> {
        let own = &data.extras.vectors[0];
        (0..data.rows()).map(|row| own.of(row).to_vec()).collect()
    }

    /// The mean vector of each list's history.
    fn means(data: &SplitData) -> Vec<[f32; 2]> {
        let mean = |list: usize| {
            let mut mean = [0.0; 2];
            data.extras.history_means(list, &mut mean);
            mean
        };
        (0..data.lists.len()).map(mean).collect()
    }

    proptest! {
        #[test]
        fn parts_cut_anywhere_and_joined_are_the_whole(
            lengths in proptest::collection::vec(1_u64..5, 0..12),
            cut in 0_usize..13,
        ) {
            let whole = data(&lengths);
            let lists: Vec<u32> = (0..lengths.len() as u32).collect();
            let (one, two) = lists.split_at(cut.min(lists.len()));
            let joined = whole.select(one).followed_by(&whole.select(two));
            prop_assert_eq!(joined, whole);
        }

        #[test]
        fn a_selected_list_has_what_it_had(
            lengths in proptest::collection::vec(1_u64..5, 1..12),
            order in proptest::collection::vec(0_usize..100, 1..9),
        ) {
            let whole = data(&lengths);
            let order: Vec<u32> = order.iter().map(|at| (at % lengths.len()) as u32).collect();
            let some = whole.select(&order);
            for (place, &list) in order.iter().enumerate() {
                let (from, to) = (whole.lists.range(list as usize), some.lists.range(place));
                prop_assert_eq!(whole.list_id[list as usize], some.list_id[place]);
                prop_assert_eq!(whole.list_ts[list as usize], some.list_ts[place]);
                let events = |data: &SplitData, list: usize| {
                    let own = data.extras.history.clone().unwrap();
                    let range = own.offsets[list] as usize..own.offsets[list + 1] as usize;
                    (own.item[range.clone()].to_vec(), own.kind[range.clone()].to_vec(), own.age[range].to_vec())
                };
                prop_assert_eq!(events(&whole, list as usize), events(&some, place));
                prop_assert_eq!(means(&whole)[list as usize], means(&some)[place]);
                prop_assert_eq!(from.len(), to.len());
                for (from, to) in from.zip(to) {
                    prop_assert_eq!(&whole.dense[2 * from..2 * from + 2], &some.dense[2 * to..2 * to + 2]);
                    prop_assert_eq!(whole.categorical[3 * from + 2], some.categorical[3 * to + 2]);
                    prop_assert_eq!(whole.raw_score[from], some.raw_score[to]);
                    prop_assert_eq!(whole.item[from], some.item[to]);
                    let several = |data: &SplitData, row: usize| data.extras.multi_valued[0].of(row).to_vec();
                    prop_assert_eq!(several(&whole, from), several(&some, to));
                    prop_assert_eq!(whole.extras.vectors[0].of(from), some.extras.vectors[0].of(to));
                }
            }
        }
    }

    #[test]
    fn other_tables_of_vectors_are_joined_and_unused_rows_dropped() {
        let (one, mut two) = (data(&[2, 3]), data(&[3]));
        two.extras.vectors[0].table = (0..2 * 6)
            .map(|at| if at < 2 { 0.0 } else { 90.0 + at as f32 })
            .collect();
        let expected = [vectors(&one), vectors(&two)].concat();
        let mut joined = one.followed_by(&two);
        // The unknown item has one row for both, that of the first.
        assert_eq!(vectors(&joined)[5], vectors(&one)[0]);
        assert_eq!(vectors(&joined)[..5], expected[..5]);
        assert_eq!(vectors(&joined)[6..], expected[6..]);
        let before = vectors(&joined);
        assert_eq!(joined.extras.vectors[0].table.len(), 2 * 11);
        joined.extras.compact();
        assert_eq!(vectors(&joined), before);
        // Rows 0 to 4 of the first (5, 4, 3, 2 and none) and two of the second.
        assert_eq!(joined.extras.vectors[0].table.len(), 2 * (1 + 4 + 2));
    }

    #[test]
    fn histories_keep_their_vectors_in_joined_and_smaller_tables() {
        let (one, mut two) = (data(&[2, 1, 1]), data(&[1, 1, 2]));
        let other = two.extras.vectors[0]
            .table
            .iter()
            .map(|number| number * 10.0);
        two.extras.vectors[0].table = other
            .enumerate()
            .map(|(at, x)| if at < 2 { 0.0 } else { x })
            .collect();
        let expected = [means(&one), means(&two)].concat();
        assert!(expected[2] != [0.0; 2] && expected[5] != [0.0; 2] && expected[2] != expected[5]);
        let mut joined = one.followed_by(&two);
        assert_eq!(means(&joined), expected);
        // No row has a vector: those of the histories stay.
        joined.extras.vectors[0].index.fill(0);
        joined.extras.compact();
        assert_eq!(means(&joined), expected);
        assert!(joined.extras.vectors[0].table.len() < 2 * 11);
    }
}
