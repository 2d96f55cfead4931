//! Whether a training can fit the machine at all.

use anyhow::Result;
use slate_model::NetworkConfig;

use crate::console::Refusal;

const GIB: f64 = (1_u64 << 30) as f64;

/// Refuses a network that needs more for the longest list alone than there is. Without this the system
/// would end the program, or refuse it memory in the middle of a step.
pub(super) fn check(
    network: &NetworkConfig,
    longest: usize,
    memory: Option<(u64, u64)>,
) -> Result<()> {
    let least = network.least_bytes(longest);
    let Some((total, _)) = memory.filter(|(total, _)| least > *total) else {
        return Ok(());
    };
    Err(Refusal::new(format!(
        "out of memory: a step over the longest list, of {longest} slots, needs {:.1} GiB and more, and the \
         machine has {:.1}",
        least as f64 / GIB,
        total as f64 / GIB
    ))
    .hint(
        "lower `features.max_list_length`, which cuts long lists (imported ones keep their length), or \
         `train.network.heads` or `layers`, or take a network of another `train.network.kind`",
    )
    .into())
}

#[cfg(test)]
mod tests {
    use slate_model::{NetworkKind, NetworkOptions};

    use super::*;

    #[test]
    fn only_what_cannot_fit_is_refused() {
        let network = |kind| {
            let options = NetworkOptions {
                kind,
                ..NetworkOptions::default()
            };
            options.check().unwrap()
        };
        let transformer = network(NetworkKind::Transformer);
        let memory = |gib: u64| Some((gib << 30, gib << 29));
        // 2 layers of 4 heads: 8 · 20,000² · 4 bytes are 11.9 GiB.
        assert!(check(&transformer, 20_000, memory(13)).is_ok());
        assert!(check(&transformer, 20_000, None).is_ok());
        let refused = check(&transformer, 20_000, memory(11)).unwrap_err();
        let told = format!("{refused:#}");
        assert!(told.contains("20000 slots, needs 12."), "{told}");
        assert!(check(&network(NetworkKind::Mlp), 20_000, memory(1)).is_ok());
        for kind in [NetworkKind::Mlp, NetworkKind::Transformer, NetworkKind::Gru] {
            assert!(check(&network(kind), usize::MAX, memory(1 << 20)).is_err());
        }
        assert!(check(&network(NetworkKind::Linear), usize::MAX, memory(1)).is_ok());
    }
}
