//! Which shard a placement belongs to: by the user of its page, or by the page's time where there is
//! none. Both sides of the wire compute it.

/// Modulus and multiplier of a linear congruence that spreads ids in steps of anything over the shards
/// (G. S. Fishman and L. R. Moore, 1986). No product leaves 64 bits.
const PRIME: i64 = 2_147_483_647;
const MULTIPLIER: i64 = 950_706_376;

/// The shard of a placement as SQL, over `slot_kept` as `s`.
pub(crate) fn sql(shards: u32) -> String {
    // Both columns are the page's, so the engine can filter pages before it joins them.
    let key = format!("(coalesce(s.page_user_id, s.page_ts) % {PRIME} + {PRIME}) % {PRIME}");
    format!("{key} * {MULTIPLIER} % {PRIME} % {shards}")
}

/// The shard of a placement by the user and the time of its page.
pub(crate) fn of(user: Option<i64>, ts: i64, shards: u32) -> u32 {
    let key = user.unwrap_or(ts);
    (key.rem_euclid(PRIME) * MULTIPLIER % PRIME % i64::from(shards)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_in_any_steps_spread_over_the_shards() {
        for step in [1, 2, 64, 1000, 1 << 20, 1_000_000_007] {
            let mut counts = [0_u32; 16];
            for user in 0..16_000 {
                counts[of(Some(user * step), 0, 16) as usize] += 1;
            }
            assert!(
                counts.iter().all(|&count| (800..1200).contains(&count)),
                "{step}: {counts:?}"
            );
        }
    }

    #[test]
    fn every_id_has_a_shard() {
        for id in [i64::MIN, -1, 0, 1, i64::MAX] {
            assert!(of(Some(id), 0, 7) < 7);
            assert_eq!(of(None, id, 7), of(Some(id), 0, 7));
        }
    }
}
