//! `slate backtest interleave`: how many lists an interleaving of two policies would take.

use anyhow::Result;
use serde_json::json;

use super::super::Context;
use crate::cli::InterleaveArgs;
use crate::console::{Align, Outcome, Table};
use crate::pipeline::backtest::interleave::{self, Asked, Simulated};
use crate::pipeline::policy::Policy;

pub(super) fn run(context: &Context, args: &InterleaveArgs) -> Result<Outcome> {
    let (a, b) = (Policy::read(&args.a)?, Policy::read(&args.b)?);
    let shown = super::shown(&args.shown)?;
    let asked = Asked {
        reward: args.reward.as_deref(),
        depth: args.depth as usize,
        outcome: args.outcome,
        level: context.config.file.evaluate.level,
        power: args.power,
        seed: context.seed,
        device: args.shown.device.parse()?,
    };
    let found = interleave::simulate(&shown, [&a, &b], &asked, &context.console.bar())?;
    let text = text(&found, [&a.name, &b.name], args);
    Ok(Outcome::done(json!(found), text))
}

fn text(found: &Simulated, [a, b]: [&String; 2], args: &InterleaveArgs) -> String {
    let mut table = Table::new(&[
        ("way", Align::Left),
        ("lists decided", Align::Right),
        (&format!("prefer {b}"), Align::Right),
        ("lists needed", Align::Right),
    ]);
    let lists = |lists: Option<f64>| lists.map_or("–".to_owned(), |lists| format!("{lists:.0}"));
    for merging in &found.mergings {
        table.row([
            merging.name.to_owned(),
            format!("{:.1} %", 100.0 * merging.decided),
            format!("{:.1} %", 100.0 * merging.second),
            lists(merging.lists),
        ]);
    }
    table.row([
        "two arms".to_owned(),
        String::new(),
        String::new(),
        lists(found.arms),
    ]);
    format!(
        "By the outcome model `{a}` earns {:.4} per list and `{b}` {:.4} in the first {} slots. Lists that tell them \
         apart in {:.0} % of all experiments:\n\n{}",
        found.expected[0],
        found.expected[1],
        args.depth,
        100.0 * args.power,
        table.render()
    )
}
