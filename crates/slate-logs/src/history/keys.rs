//! Keys of history, and small numbers for them.

use std::collections::HashMap;

use foldhash::fast::FixedState;

/// What counts are kept for: an id, or two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key(i64, i64);

impl Key {
    /// A key of one id.
    pub(crate) fn one(id: i64) -> Self {
        Self(id, 0)
    }

    /// A key of two ids, in this order.
    pub(crate) fn two(first: i64, second: i64) -> Self {
        Self(first, second)
    }

    /// Which of `passes` takes care of this key, the same on every machine.
    pub(crate) fn pass(self, passes: u32) -> u32 {
        pass_of(mix(mix(self.0 as u64) ^ self.1 as u64), passes)
    }
}

/// Which of `passes` takes care of an id.
pub(crate) fn id_pass(id: i64, passes: u32) -> u32 {
    pass_of(mix(id as u64), passes)
}

fn pass_of(hash: u64, passes: u32) -> u32 {
    ((u128::from(hash) * u128::from(passes)) >> 64) as u32
}

/// The finaliser of `SplitMix64`: every input bit reaches every output bit.
#[inline]
pub(crate) fn mix(id: u64) -> u64 {
    let mut hash = id.wrapping_add(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// A map whose order no output depends on, with a hash that is quick on ids.
pub(crate) type IdMap<K, V> = HashMap<K, V, FixedState>;

/// Numbers keys from 0 in the order in which they come.
#[derive(Default)]
pub(crate) struct Dictionary {
    codes: IdMap<Key, u32>,
}

impl Dictionary {
    /// The number of a key, a new one where it has none.
    pub(crate) fn code(&mut self, key: Key) -> u32 {
        let next = self.codes.len() as u32;
        *self.codes.entry(key).or_insert(next)
    }

    /// The number of a key that has one.
    pub(crate) fn get(&self, key: Key) -> Option<u32> {
        self.codes.get(&key).copied()
    }

    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.codes.len()
    }
}

/// Numbers texts from 0 in the order in which they come.
#[derive(Default)]
pub(crate) struct Texts {
    codes: IdMap<String, i64>,
}

impl Texts {
    /// The number of a text, a new one where it has none.
    pub(crate) fn code(&mut self, text: &str) -> i64 {
        let next = self.codes.len() as i64;
        match self.codes.get(text) {
            Some(&code) => code,
            None => *self.codes.entry(text.to_owned()).or_insert(next),
        }
    }

    /// The number of a text that has one.
    pub(crate) fn get(&self, text: &str) -> Option<i64> {
        self.codes.get(text).copied()
    }
}
