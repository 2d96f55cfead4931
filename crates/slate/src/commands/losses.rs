//! `slate losses`: what a ranker can be trained with, and whether the gradients are right.

use anyhow::Result;
use serde_json::json;
use slate_model::{CASES, LARGEST_ERROR, LossKind, check_losses};

use super::Context;
use crate::cli::LossesArgs;
use crate::console::{Align, ExitStatus, Outcome, Table};

pub(super) fn run(context: &Context, args: &LossesArgs) -> Result<Outcome> {
    if args.check {
        check(context)
    } else {
        Ok(list())
    }
}

fn list() -> Outcome {
    let mut table = Table::new(&[
        ("loss", Align::Left),
        ("labels", Align::Left),
        ("parameters", Align::Left),
        ("what it is", Align::Left),
    ]);
    let mut json = Vec::new();
    for kind in LossKind::ALL {
        let (labels, parameters, about) = describe(kind);
        table.row([kind.name(), labels, parameters, about]);
        json.push(json!({
            "loss": kind.name(), "labels": labels, "parameters": parameters, "about": about,
        }));
    }
    let text = format!(
        "{}\nIn a config: [train] losses = [{{ head = \"purchase\", loss = \"softmax\", weight = 1.0 }}]\n",
        table.render()
    );
    Outcome::done(json!({ "losses": json }), text)
}

/// Labels, parameters with their defaults, and a line about a loss.
fn describe(kind: LossKind) -> (&'static str, &'static str, &'static str) {
    match kind {
        LossKind::Bce => (
            "0 or 1",
            "",
            "cross-entropy of each slot; scores are log-odds",
        ),
        LossKind::Ordinal => (
            "grade",
            "levels 4",
            "one binary question for each grade; the score is the expected grade",
        ),
        LossKind::Softmax => ("any", "", "cross-entropy over the list (ListNet, top one)"),
        LossKind::CalibratedSoftmax => (
            "any",
            "virtual_label 0.1",
            "softmax against one more slot of score 0",
        ),
        LossKind::RankNet => (
            "any",
            "pair_weights {}",
            "logistic loss of pairs, weighed by grade",
        ),
        LossKind::ListMle => ("any", "", "likelihood of the labels' order"),
        LossKind::ApproxNdcg => ("any", "temperature 0.1", "NDCG of smooth ranks"),
        LossKind::LambdaLoss => (
            "any",
            "mu 10, sigma 1",
            "NDCG-Loss2++; LambdaRank where mu is 0",
        ),
        LossKind::NeuralNdcg => ("any", "temperature 1, rounds 50", "NDCG of a smooth sort"),
        LossKind::RegressionCompatible => (
            "0 or 1",
            "alpha 0.5",
            "cross-entropy of slots and of their shares; scores are log-odds",
        ),
        LossKind::Jrc => (
            "0 or 1",
            "alpha 0.5",
            "joint ranking and calibration, two scores a slot; log-odds",
        ),
        _ => ("", "", ""),
    }
}

fn check(context: &Context) -> Result<Outcome> {
    let checks = check_losses(context.seed)?;
    let mut header = vec![("loss", Align::Left), ("worst", Align::Right)];
    header.extend(CASES.map(|case| (case, Align::Right)));
    header.push(("", Align::Left));
    let mut table = Table::new(&header);
    let number = |error: f64| {
        if error == 0.0 {
            "0".to_owned()
        } else {
            format!("{error:.0e}")
        }
    };
    for check in &checks {
        let mut cells = vec![check.loss.to_owned(), number(check.worst)];
        cells.extend(check.errors.iter().map(|&error| number(error)));
        cells.push(if check.passed { "ok" } else { "FAILED" }.to_owned());
        table.row(cells);
    }
    let passed = checks.iter().all(|check| check.passed);
    let text = format!(
        "{}\nWorst relative error of the gradient against central differences, {} at most. Padding has\n\
         numbers and must have gradient 0; huge scores must stay finite.\n",
        table.render(),
        number(LARGEST_ERROR)
    );
    let json = json!({ "checks": checks, "cases": CASES, "passed": passed });
    let mut outcome = Outcome::done(json, text);
    if !passed {
        outcome.status = ExitStatus::CheckFailed;
    }
    Ok(outcome)
}
