//! Values of a categorical column: whole numbers or text, whatever the column's type.
//!
//! The whole number 12, the float 12.0 and the text "12" are one value, so a log that changes the
//! type of an id column keeps its ids. Whole numbers come before text, in their own order.

use std::{borrow::Cow, collections::HashMap};

use foldhash::fast::FixedState;

use crate::{Block, FeatureError, block::Column};
use arrow::array::Array;

/// Beyond this an f64 no longer holds every whole number.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// One value of a categorical column.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Value<'a> {
    Integer(i64),
    Text(Cow<'a, str>),
}

impl Value<'_> {
    /// The bucket from 0 to `buckets - 1`, the same on every machine and in every version.
    pub(crate) fn bucket(&self, buckets: u32) -> u32 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut add = |bytes: &[u8]| {
            for &byte in bytes {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        };
        match self {
            Self::Integer(number) => add(number.to_string().as_bytes()),
            Self::Text(text) => add(text.as_bytes()),
        }
        ((hash ^ (hash >> 32)) % u64::from(buckets)) as u32
    }
}

/// Text in the one form that has an integer twin: what printing an i64 gives.
pub(crate) fn from_text(text: &str) -> Value<'_> {
    match text.parse::<i64>() {
        Ok(number) if number.to_string() == text => Value::Integer(number),
        _ => Value::Text(Cow::Borrowed(text)),
    }
}

/// Calls `use_value` with each row and its value, none for null.
pub(crate) fn for_each<'a>(
    block: &'a Block,
    name: &str,
    mut use_value: impl FnMut(usize, Option<Value<'a>>),
) -> Result<(), FeatureError> {
    match block.column(name)? {
        Column::Integers(array) => {
            for (row, number) in array.iter().enumerate() {
                use_value(row, number.map(Value::Integer));
            }
        }
        Column::Texts(array) => {
            for row in 0..array.len() {
                use_value(
                    row,
                    array.is_valid(row).then(|| from_text(array.value(row))),
                );
            }
        }
        Column::Numbers(array) => {
            for (row, number) in array.iter().enumerate() {
                let value = match number {
                    None => None,
                    Some(x) if !x.is_finite() => {
                        return Err(block.bad_value(name, row, x, "a finite number"));
                    }
                    Some(x) if x.fract() == 0.0 && x.abs() <= EXACT => {
                        Some(Value::Integer(x as i64))
                    }
                    Some(x) => Some(Value::Text(Cow::Owned(x.to_string()))),
                };
                use_value(row, value);
            }
        }
    }
    Ok(())
}

/// The same for the combinations of `name` with other columns. With none it is [`for_each`].
pub(crate) fn for_each_crossed<'a>(
    block: &'a Block,
    name: &str,
    with: &[String],
    mut use_value: impl FnMut(usize, Option<Value<'a>>),
) -> Result<(), FeatureError> {
    if with.is_empty() {
        return for_each(block, name, use_value);
    }
    let mut texts = vec![String::new(); block.rows()];
    let mut known = vec![false; block.rows()];
    for (part, column) in std::iter::once(name)
        .chain(with.iter().map(String::as_str))
        .enumerate()
    {
        for_each(block, column, |row, value| {
            let text = &mut texts[row];
            if part > 0 {
                text.push('|');
            }
            known[row] |= value.is_some();
            match value {
                None => text.push_str("\\0"),
                Some(Value::Integer(number)) => text.push_str(&number.to_string()),
                Some(Value::Text(value)) => {
                    for c in value.chars() {
                        if matches!(c, '|' | '\\') {
                            text.push('\\');
                        }
                        text.push(c);
                    }
                }
            }
        })?;
    }
    for (row, text) in texts.into_iter().enumerate() {
        use_value(row, known[row].then_some(Value::Text(Cow::Owned(text))));
    }
    Ok(())
}

/// How often each value was seen.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    integers: HashMap<i64, u64, FixedState>,
    texts: HashMap<String, u64, FixedState>,
}

impl Counts {
    pub(crate) fn add(&mut self, value: Value<'_>) {
        match value {
            Value::Integer(number) => *self.integers.entry(number).or_default() += 1,
            // Looking up first spares a copy of the text for values that are known already.
            Value::Text(text) => match self.texts.get_mut(text.as_ref()) {
                Some(count) => *count += 1,
                None => {
                    self.texts.insert(text.into_owned(), 1);
                }
            },
        }
    }

    /// Values seen at least `min_count` times, the most frequent first and equals in growing
    /// order; `max_ids` at most.
    pub(crate) fn vocabulary(self, min_count: u64, max_ids: Option<u32>) -> Vec<String> {
        let integers = self
            .integers
            .into_iter()
            .map(|(number, n)| (Value::Integer(number), n));
        let texts = self
            .texts
            .into_iter()
            .map(|(text, n)| (Value::Text(Cow::Owned(text)), n));
        let mut values: Vec<(Value<'static>, u64)> = integers
            .chain(texts)
            .filter(|(_, count)| *count >= min_count)
            .collect();
        values.sort_unstable_by(|(a, m), (b, n)| n.cmp(m).then_with(|| a.cmp(b)));
        values.truncate(max_ids.map_or(usize::MAX, |most| most as usize));
        values
            .into_iter()
            .map(|(value, _)| match value {
                Value::Integer(number) => number.to_string(),
                Value::Text(text) => text.into_owned(),
            })
            .collect()
    }
}

/// Ids of a vocabulary, ready to look up.
#[derive(Debug, Default)]
pub(crate) struct Ids {
    integers: HashMap<i64, u32, FixedState>,
    texts: HashMap<String, u32, FixedState>,
}

impl Ids {
    pub(crate) fn new(values: &[String]) -> Self {
        let mut ids = Self::default();
        for (text, id) in values.iter().zip(1..) {
            match from_text(text) {
                Value::Integer(number) => ids.integers.insert(number, id),
                Value::Text(text) => ids.texts.insert(text.into_owned(), id),
            };
        }
        ids
    }

    /// 0 for a value that is not in the vocabulary.
    pub(crate) fn id(&self, value: &Value<'_>) -> u32 {
        let id = match value {
            Value::Integer(number) => self.integers.get(number),
            Value::Text(text) => self.texts.get(text.as_ref()),
        };
        id.copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequent_values_come_first_and_ties_in_order() {
        let mut counts = Counts::default();
        for text in ["b", "10", "9", "a", "b", "c", "a", "rare"] {
            counts.add(from_text(text));
        }
        counts.add(Value::Integer(9));
        counts.add(Value::Integer(10));
        counts.add(from_text("c"));
        assert_eq!(counts.vocabulary(2, None), ["9", "10", "a", "b", "c"]);
    }

    #[test]
    fn text_and_number_are_one_value_only_where_they_print_alike() {
        let ids = Ids::new(&["12".to_owned(), "007".to_owned()]);
        assert_eq!(ids.id(&Value::Integer(12)), 1);
        assert_eq!(ids.id(&from_text("007")), 2);
        assert_eq!(ids.id(&Value::Integer(7)), 0);
        assert_eq!(ids.id(&from_text("+12")), 0);
    }

    /// From a program of five lines in Python: FNV-1a of the UTF-8 bytes, `h ^ h >> 32`, modulo.
    #[test]
    fn buckets_are_those_of_the_written_formula() {
        assert_eq!(from_text("shoes").bucket(1000), 651);
        assert_eq!(Value::Integer(-5).bucket(1000), 968);
    }
}
