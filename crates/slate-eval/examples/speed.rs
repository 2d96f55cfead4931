//! Times NDCG, and intervals of ten metrics, for experiments that put other programs beside it.
//!
//! `cargo run --release -p slate-eval --example speed -- SCORES GRADES LENGTHS CONVENTION ROUNDS DRAWS`
//!
//! SCORES holds 64-bit floats, GRADES bytes, LENGTHS 32-bit whole numbers (rows of each list), as
//! `numpy.ndarray.tofile` writes them. Prints one line of JSON: the mean NDCG@10, seconds of each
//! round for it, and seconds of one call for ten metrics with that many bootstrap draws (0 leaves that
//! out).

use std::error::Error;
use std::time::Instant;

use slate_eval::{Bootstrap, Convention, MetricName, Sample, evaluate, ndcg};
use slate_types::ListOffsets;

const TEN: [&str; 10] = [
    "ndcg@10",
    "dcg@10",
    "map@10",
    "mrr",
    "precision@5",
    "recall@5",
    "hit@1",
    "ptr@3",
    "auc",
    "logloss",
];

#[allow(
    clippy::print_stdout,
    reason = "an example's answer goes to its standard output"
)]
fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [scores, grades, lengths, convention, rounds, draws] = &arguments[..] else {
        return Err("usage: speed SCORES GRADES LENGTHS CONVENTION ROUNDS DRAWS".into());
    };
    let words = std::fs::read(scores)?;
    let words = words.as_chunks::<8>().0.iter();
    let scores: Vec<f64> = words.map(|word| f64::from_le_bytes(*word)).collect();
    let grades = std::fs::read(grades)?;
    let words = std::fs::read(lengths)?;
    let lengths = words.as_chunks::<4>().0.iter();
    let lists = ListOffsets::from_lengths(lengths.map(|w| u64::from(u32::from_le_bytes(*w))))?;
    let convention: Convention = convention.parse()?;
    let rounds: usize = rounds.parse()?;
    let (mut seconds, mut mean) = (Vec::new(), f64::NAN);
    for _ in 0..rounds {
        let start = Instant::now();
        let values = ndcg(&lists, &scores, &grades, Some(10), &convention)?;
        let (sum, count) = values
            .iter()
            .flatten()
            .fold((0.0, 0), |s, v| (s.0 + v, s.1 + 1));
        seconds.push(start.elapsed().as_secs_f64());
        mean = sum / f64::from(count);
    }
    let labels: Vec<u8> = grades.iter().map(|&grade| u8::from(grade > 0)).collect();
    let probabilities: Vec<f64> = scores.iter().map(|s| 1.0 / (1.0 + (-s).exp())).collect();
    let mut sample = Sample::new(&lists, &scores);
    sample.grades = Some(&grades);
    sample.labels = Some(&labels);
    sample.probabilities = Some(&probabilities);
    let names: Vec<MetricName> = TEN
        .iter()
        .map(|name| name.parse())
        .collect::<Result<_, _>>()?;
    let bootstrap = Bootstrap {
        draws: draws.parse()?,
        ..Bootstrap::default()
    };
    let ten = if bootstrap.draws == 0 {
        f64::NAN
    } else {
        let start = Instant::now();
        evaluate(&sample, &names, &convention, &bootstrap)?;
        start.elapsed().as_secs_f64()
    };
    // NaN is no JSON.
    let ten = if ten.is_nan() {
        "null".to_owned()
    } else {
        ten.to_string()
    };
    println!("{{\"ndcg\": {mean:?}, \"seconds\": {seconds:?}, \"ten_metrics\": {ten}}}");
    Ok(())
}
