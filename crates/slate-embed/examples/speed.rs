//! Slate's side of experiment 008: how fast encoders and search are, without a program around them.
//!
//! `speed titles FOLDER FILE` (a title on each line), `speed pictures FOLDER DIR NAMES` (a name on
//! each line) and `speed search VECTORS.npy` print a line of JSON; loading is not timed, decoding and
//! cutting into tokens are. Threads are those of `RAYON_NUM_THREADS`.

#![expect(clippy::print_stdout, reason = "an example talks on stdout")]

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::Instant;

use rayon::prelude::*;
use slate_embed::{
    EmbedDevice, Mapped, Measure, Picture, PictureEncoder, PictureOptions, Side, TextEncoder,
    TextOptions, nearest,
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let argument = |at: usize| {
        arguments
            .get(at)
            .map(String::as_str)
            .ok_or("an argument is missing")
    };
    let folder = || argument(2).map(|folder| Path::new(folder).to_path_buf());
    match argument(1)? {
        "titles" => {
            let options = TextOptions {
                folder: folder()?,
                pooling: None,
                normalize: None,
                max_tokens: None,
            };
            let encoder = TextEncoder::open(&options, EmbedDevice::Cpu)?;
            let text = fs::read_to_string(argument(3)?)?;
            let titles: Vec<&str> = text.lines().collect();
            encoder.encode(&titles[..titles.len().min(64)], &|_| ())?;
            let began = Instant::now();
            let vectors = encoder.encode(&titles, &|_| ())?;
            say("titles", titles.len(), began, &vectors);
        }
        "pictures" => {
            let options = PictureOptions {
                folder: folder()?,
                normalize: Some(false),
            };
            let encoder = PictureEncoder::open(&options, EmbedDevice::Cpu)?;
            let root = Path::new(argument(3)?);
            let names = fs::read_to_string(argument(4)?)?;
            let files = names.lines().map(|name| fs::read(root.join(name)));
            let files = files.collect::<Result<Vec<_>, _>>()?;
            let decode = |files: &[Vec<u8>]| {
                let pictures = files.par_iter().map(|bytes| Picture::decode(bytes));
                pictures.collect::<Result<Vec<_>, _>>()
            };
            encoder.encode(&decode(&files[..files.len().min(16)])?, &|_| ())?;
            let began = Instant::now();
            let pictures = decode(&files)?;
            let vectors = encoder.encode(&pictures, &|_| ())?;
            say("pictures", files.len(), began, &vectors);
            let began = Instant::now();
            let sized: Vec<f32> = pictures
                .par_iter()
                .flat_map_iter(|picture| encoder.preprocess().apply(picture))
                .collect();
            let sizing = began.elapsed().as_secs_f64();
            println!(
                r#"{{"what": "sizing", "seconds": {sizing}, "numbers": {}}}"#,
                sized.len()
            );
        }
        "search" => {
            let table = Mapped::open(&folder()?)?;
            let (table, width) = (table.values(), table.shape()[1]);
            let mut times = Vec::new();
            let mut last = 0;
            for query in 0..20 {
                let began = Instant::now();
                let query = &table[query * 1000 * width..][..width];
                last = nearest(
                    &[Side {
                        table,
                        query,
                        measure: Measure::Unit,
                    }],
                    20,
                )[19]
                    .row;
                times.push(began.elapsed().as_secs_f64() * 1e3);
            }
            times.sort_by(f64::total_cmp);
            println!(
                r#"{{"what": "search", "ms": {}, "last": {last}}}"#,
                times[10]
            );
        }
        other => return Err(format!("no mode `{other}`").into()),
    }
    Ok(())
}

fn say(what: &str, count: usize, began: Instant, vectors: &[f32]) {
    let seconds = began.elapsed().as_secs_f64();
    let rate = count as f64 / seconds;
    let sum: f32 = vectors.iter().sum();
    println!(
        r#"{{"what": "{what}", "count": {count}, "seconds": {seconds}, "per_second": {rate}, "sum": {sum}}}"#
    );
}
