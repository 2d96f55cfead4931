//! `slate backtest plan`: how long an experiment must run.

use anyhow::Result;
use serde_json::{Value, json};
use slate_eval::experiment::{Arms, power_reached, smallest_difference, units_needed};

use crate::cli::PlanArgs;
use crate::console::{Outcome, Refusal};

pub(super) fn run(args: &PlanArgs) -> Result<Outcome> {
    let share = |what: &str, value: f64| {
        if value > 0.0 && value < 1.0 {
            return Ok(());
        }
        let told = format!("--{what} is {value}, expected a number between 0 and 1");
        Err(anyhow::Error::from(Refusal::new(told)))
    };
    share("share", args.share)?;
    share("level", args.level)?;
    share("power", args.power)?;
    if !(0.0..1.0).contains(&args.explained) {
        let told = format!(
            "--explained is {}, expected a share from 0 to below 1",
            args.explained
        );
        return Err(Refusal::new(told).into());
    }
    for (flag, value) in [("days", args.days), ("per-day", args.per_day)] {
        if let Some(value) = value
            && !(value > 0.0 && value.is_finite())
        {
            let told = format!("--{flag} is {value}, expected a number above 0");
            return Err(Refusal::new(told).into());
        }
    }
    let (mean, of_a) = match (args.rate, args.deviation, args.mean) {
        (Some(rate), _, _) => {
            share("rate", rate)?;
            (rate, (rate * (1.0 - rate)).sqrt())
        }
        (None, Some(deviation), Some(mean)) if deviation > 0.0 && mean != 0.0 => (mean, deviation),
        _ => {
            return Err(Refusal::new("--deviation must be above 0 and --mean not 0").into());
        }
    };
    // What was known before takes its share of the variance away.
    let left = (1.0 - args.explained).sqrt();
    let changed = |change: f64| match args.rate {
        Some(rate) => {
            let rate = rate * (1.0 + change);
            (rate * (1.0 - rate)).max(0.0).sqrt()
        }
        None => of_a,
    };
    let arms = |change: f64| Arms {
        deviation_a: of_a * left,
        deviation_b: changed(change) * left,
        ratio: args.share / (1.0 - args.share),
        level: args.level,
    };
    let mut json = json!({ "level": args.level, "power": args.power, "share": args.share });
    let mut text = String::new();
    if let Some(change) = args.change {
        if change == 0.0
            || args
                .rate
                .is_some_and(|rate| rate * (1.0 + change) >= 1.0 || change < -1.0)
        {
            let told = format!("--change is {change}, which no rate can do");
            return Err(Refusal::new(told).into());
        }
        let first = units_needed(&arms(change), mean * change, args.power)?.ceil();
        let second = (first * args.share / (1.0 - args.share)).ceil();
        text.push_str(&format!(
            "{first:.0} units in the first arm and {second:.0} in the second find a change of {:+.2} % \
             ({:+.6} per unit) in {:.0} % of all experiments, at level {}.\n",
            100.0 * change,
            mean * change,
            100.0 * args.power,
            args.level
        ));
        json["units"] = json!([first, second]);
        if let Some(per_day) = args.per_day {
            let days = ((first + second) / per_day).ceil();
            text.push_str(&format!(
                "At {per_day:.0} units a day that takes {days:.0} days"
            ));
            text.push_str(if days < 14.0 {
                "; run whole weeks all the same, since weekends are other days.\n"
            } else {
                ".\n"
            });
            json["days"] = json!(days);
        }
        if let (Some(days), Some(per_day)) = (args.days, args.per_day) {
            let units = days * per_day * (1.0 - args.share);
            let reached = power_reached(&arms(change), mean * change, units)?;
            text.push_str(&format!(
                "{days:.0} days find it in {:.0} % of all experiments.\n",
                100.0 * reached
            ));
            json["power_reached"] = json!(reached);
        }
    }
    if let (Some(days), Some(per_day), None) = (args.days, args.per_day, args.change) {
        let first = days * per_day * (1.0 - args.share);
        let smallest = smallest_difference(&arms(0.0), first, args.power)?;
        text.push_str(&format!(
            "{days:.0} days at {per_day:.0} units a day find a change of {:.2} % ({smallest:.6} per unit) in \
             {:.0} % of all experiments, at level {}.\n",
            100.0 * smallest / mean,
            100.0 * args.power,
            args.level
        ));
        json["smallest"] = json!({ "difference": smallest, "relative": smallest / mean });
    }
    if let Some(prefers) = args.interleave {
        let (told, more) = interleaving(args, prefers)?;
        text.push_str(&told);
        json["interleaving"] = more;
    }
    Ok(Outcome::done(json, text))
}

/// Lists with a click that tell a preference of this share from none.
fn interleaving(args: &PlanArgs, prefers: f64) -> Result<(String, Value)> {
    if !(prefers > 0.5 && prefers < 1.0) {
        let told = format!("--interleave is {prefers}, expected a share above 0.5 and below 1");
        return Err(Refusal::new(told).into());
    }
    // One sample against 1/2: an arm without variance beside it.
    let arms = Arms {
        deviation_a: (prefers * (1.0 - prefers)).sqrt(),
        deviation_b: 0.0,
        ratio: 1.0,
        level: args.level,
    };
    let lists = units_needed(&arms, prefers - 0.5, args.power)?.ceil();
    let told = format!(
        "Interleaved in one list (team draft), {lists:.0} lists with a preference tell {:.1} % for the better \
         from an even split; it says which is preferred, not what it earns.\n",
        100.0 * prefers
    );
    Ok((told, json!({ "lists": lists, "prefers": prefers })))
}
