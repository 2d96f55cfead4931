//! Times fits and maps of one method, for experiments that put other programs beside it.
//!
//! `cargo run --release -p slate-calibrate --example speed -- METHOD SCORES LABELS ROUNDS OUT`
//!
//! SCORES and LABELS are files of 64-bit floats, as `numpy.ndarray.tofile` writes them. OUT gets the
//! probabilities of the scores in that form. Prints one line of JSON: seconds of each round for the
//! fit, for the map, and for sorting the scores alone (rayon's `par_sort_unstable` over pairs of
//! score and label).

use std::error::Error;
use std::time::Instant;

use rayon::prelude::*;
use slate_calibrate::{Method, fit};
use slate_types::Scores;

fn floats(path: &str) -> Result<Vec<f64>, Box<dyn Error>> {
    let bytes = std::fs::read(path)?;
    let words = bytes.as_chunks::<8>().0.iter();
    Ok(words.map(|word| f64::from_le_bytes(*word)).collect())
}

#[allow(
    clippy::print_stdout,
    reason = "an example's answer goes to its standard output"
)]
fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [method, scores, labels, rounds, out] = &arguments[..] else {
        return Err("usage: speed METHOD SCORES LABELS ROUNDS OUT".into());
    };
    let method = Method::from_name(method).ok_or("unknown method")?;
    let (scores, labels) = (Scores(floats(scores)?), floats(labels)?);
    let [mut fits, mut maps, mut sorts] = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..rounds.parse()? {
        let start = Instant::now();
        let map = fit(method, &scores.0, &labels, None)?;
        fits.push(start.elapsed().as_secs_f64());
        let start = Instant::now();
        let probabilities = map.apply_all(&scores)?;
        maps.push(start.elapsed().as_secs_f64());
        let bytes: Vec<u8> = probabilities
            .as_slice()
            .iter()
            .flat_map(|p| p.to_le_bytes())
            .collect();
        std::fs::write(out, bytes)?;
        let start = Instant::now();
        let mut pairs: Vec<(f64, f64)> = scores.0.iter().copied().zip(labels.clone()).collect();
        pairs.par_sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        sorts.push(start.elapsed().as_secs_f64());
        std::hint::black_box(pairs);
    }
    println!("{{\"fit\": {fits:?}, \"map\": {maps:?}, \"sort\": {sorts:?}}}");
    Ok(())
}
