//! Slate's side of experiment 004: the same network, weights and batches as a PyTorch script.
//!
//! `speed make DIR KIND [LENGTHS]` writes batches and initial weights; `speed MODE DIR [STEPS]` with
//! `losses`, `train`, `infer` or `one` prints a line of JSON. Threads are those of `RAYON_NUM_THREADS`;
//! `DEVICE` names the device, by default the processor; `HIDDEN` and `LISTS` change the width and the
//! lists of a batch that are made.

#![expect(clippy::print_stdout, reason = "an example talks on stdout")]

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};
use slate_model::{
    Batches, DeviceSpec, Ranker, TrainConfig, TrainEvent, TrainOptions, Validation, train,
};
use slate_types::{Batch, FeatureShape, Seed};

type Outcome<T> = Result<T, Box<dyn Error>>;

const DENSE: usize = 136;
const BATCHES: usize = 8;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let argument = |at: usize| arguments.get(at).map(String::as_str);
    let dir = Path::new(argument(2).ok_or("speed MODE DIR …")?);
    match argument(1) {
        Some("make") => make(dir, argument(3).ok_or("a kind")?, argument(4)),
        Some(mode) => {
            let steps = argument(3).map_or(Ok(40), str::parse)?;
            println!("{}", run(dir, mode, steps)?);
            Ok(())
        }
        None => Err("speed MODE DIR …".into()),
    }
}

/// A number from the environment.
fn number(name: &str, default: usize) -> Outcome<usize> {
    Ok(std::env::var(name).map_or(Ok(default), |value| value.parse())?)
}

/// The device of `DEVICE`.
fn device() -> Outcome<DeviceSpec> {
    Ok(std::env::var("DEVICE").map_or(Ok(DeviceSpec::Cpu), |name| name.parse())?)
}

fn config(meta: &Value) -> Outcome<TrainConfig> {
    let kind = meta["kind"].as_str().ok_or("no kind")?;
    let shape = match kind {
        "transformer" => "layers = 2\nheads = 4\nfeed_forward = 256",
        _ => "layers = 1",
    };
    let text = format!(
        "epochs = {}\npatience = 0\nlearning_rate = {:e}\nschedule = \"constant\"\n\
         weight_decay = 0.01\ngradient_clip = 0.0\n[network]\nkind = \"{kind}\"\nhidden = {}\n\
         dropout = 0.0\n{shape}",
        meta["epochs"].as_u64().unwrap_or(1),
        meta["learning_rate"].as_f64().unwrap_or(1e-3),
        meta["hidden"]
    );
    Ok(toml::from_str::<TrainOptions>(&text)?.check()?)
}

fn shape() -> FeatureShape {
    FeatureShape {
        dense: DENSE,
        ..FeatureShape::default()
    }
}

/// Writes batches of lists; `lengths` is a file with one length on each line, or a number.
fn make(dir: &Path, kind: &str, lengths: Option<&str>) -> Outcome<()> {
    fs::create_dir_all(dir.join("init"))?;
    let given: Vec<usize> = match lengths.map(str::parse::<usize>) {
        None => vec![32],
        Some(Ok(length)) => vec![length],
        Some(Err(_)) => fs::read_to_string(lengths.unwrap_or_default())?
            .split_whitespace()
            .map(str::parse)
            .collect::<Result<_, _>>()?,
    };
    let slots = given.iter().copied().max().unwrap_or(0);
    let seed = Seed(1);
    let (mut dense, mut purchase, mut length) = (Vec::new(), Vec::new(), Vec::new());
    let lists = number("LISTS", 64)?;
    for list in 0..lists * BATCHES {
        let own = given[list % given.len()];
        let bought = (seed.derive("bought").index(list as u64).unit() * own as f64) as usize;
        length.push(own as u32);
        for slot in 0..slots {
            let place = (list * slots + slot) as u64;
            purchase.push(f32::from(slot == bought));
            dense.extend((0..DENSE as u64).map(|at| {
                let unit = seed.derive("dense").index(place * DENSE as u64 + at).unit();
                if slot < own {
                    (3.5 * (unit - 0.5)) as f32
                } else {
                    0.0
                }
            }));
        }
    }
    let bytes =
        |values: &[f32]| -> Vec<u8> { values.iter().flat_map(|v| v.to_le_bytes()).collect() };
    fs::write(dir.join("dense.f32"), bytes(&dense))?;
    fs::write(dir.join("purchase.f32"), bytes(&purchase))?;
    let length: Vec<u8> = length
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    fs::write(dir.join("length.u32"), length)?;
    let hidden = number("HIDDEN", 128)?;
    let meta = json!({
        "lists": lists, "slots": slots, "dense": DENSE, "hidden": hidden,
        "layers": if kind == "gru" { 1 } else { 2 }, "heads": 4,
        "feed_forward": 256, "kind": kind, "learning_rate": 3e-4, "weight_decay": 0.01,
        "batches": BATCHES,
    });
    fs::write(dir.join("meta.json"), meta.to_string())?;
    Ranker::untrained(&config(&meta)?, &shape(), Seed(7), DeviceSpec::Cpu)?
        .save(&dir.join("init"))?;
    Ok(())
}

fn batches(dir: &Path, meta: &Value) -> Outcome<Vec<Batch>> {
    let slots = meta["slots"].as_u64().ok_or("no slots")? as usize;
    let lists = meta["lists"].as_u64().ok_or("no lists")? as usize;
    let numbers = |name: &str| -> Outcome<Vec<f32>> {
        let bytes = fs::read(dir.join(name))?;
        Ok(bytes
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect())
    };
    let (dense, purchase) = (numbers("dense.f32")?, numbers("purchase.f32")?);
    let lengths = fs::read(dir.join("length.u32"))?;
    let lengths: Vec<usize> = lengths
        .chunks_exact(4)
        .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize)
        .collect();
    let batch = |at: usize| {
        let own = &lengths[at * lists..(at + 1) * lists];
        let places = lists * slots;
        let mask = own
            .iter()
            .flat_map(|&length| (0..slots).map(move |slot| slot < length));
        Batch {
            lists,
            slots,
            dense_width: DENSE,
            dense: dense[at * places * DENSE..(at + 1) * places * DENSE].to_vec(),
            mask: mask.collect(),
            click: vec![0.0; places],
            purchase: purchase[at * places..(at + 1) * places].to_vec(),
            grade: vec![0.0; places],
            weight: vec![1.0; places],
            slot: vec![0; places],
            ..Batch::default()
        }
    };
    Ok((0..BATCHES).map(batch).collect())
}

struct Fixed<'a>(&'a [Batch]);

impl Batches for Fixed<'_> {
    fn epoch(&mut self, _: u32, skip: usize) -> Box<dyn Iterator<Item = Batch> + Send + '_> {
        Box::new(self.0.iter().skip(skip).cloned())
    }

    fn lists_per_epoch(&self) -> usize {
        self.0.iter().map(|batch| batch.lists).sum()
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn run(dir: &Path, mode: &str, steps: usize) -> Outcome<Value> {
    let mut meta: Value = serde_json::from_str(&fs::read_to_string(dir.join("meta.json"))?)?;
    let batches = batches(dir, &meta)?;
    match mode {
        "losses" | "train" => {
            let warm_up = 10;
            let wanted = if mode == "losses" {
                10
            } else {
                warm_up + steps
            };
            meta["epochs"] = json!(wanted.div_ceil(BATCHES));
            let (mut losses, mut times) = (Vec::new(), Vec::new());
            let mut last = Instant::now();
            let mut epochs = 0.0;
            train(
                &config(&meta)?,
                &shape(),
                Seed(7),
                device()?,
                &mut Fixed(&batches),
                &mut |_| {
                    epochs += 1.0;
                    let name = "epoch".to_owned();
                    Ok(Validation {
                        metric: epochs,
                        name,
                    })
                },
                &mut |event| {
                    if let TrainEvent::Step { loss, .. } = event {
                        losses.push(*loss);
                        times.push(last.elapsed().as_secs_f64());
                        last = Instant::now();
                    }
                },
            )?;
            if mode == "losses" {
                return Ok(json!(losses[..10]));
            }
            let step = median(times[warm_up..].to_vec());
            Ok(
                json!({ "lists_per_second": batches[0].lists as f64 / step, "ms": step * 1e3, "peak_mib": peak() }),
            )
        }
        "infer" | "one" => {
            let ranker = Ranker::load(&dir.join("init"), device()?)?;
            let ranked: Vec<Batch> = if mode == "infer" {
                batches
            } else {
                batches.iter().map(first_list).collect()
            };
            let mut times = Vec::new();
            for step in 0..steps + 5 {
                let began = Instant::now();
                let scores = ranker.score(&ranked[step % ranked.len()])?;
                times.push(began.elapsed().as_secs_f64());
                assert!(scores.purchase[0].is_finite());
            }
            let call = median(times[5..].to_vec());
            let lists = ranked[0].lists as f64;
            Ok(json!({ "lists_per_second": lists / call, "ms": call * 1e3, "peak_mib": peak() }))
        }
        other => Err(format!("no mode `{other}`").into()),
    }
}

/// The first list of a batch, by itself and without padding.
fn first_list(batch: &Batch) -> Batch {
    let slots = batch.mask[..batch.slots]
        .iter()
        .filter(|real| **real)
        .count();
    Batch {
        lists: 1,
        slots,
        dense_width: batch.dense_width,
        dense: batch.dense[..slots * batch.dense_width].to_vec(),
        mask: vec![true; slots],
        slot: vec![0; slots],
        ..Batch::default()
    }
}

/// Largest resident size so far, where the system tells.
fn peak() -> Option<f64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}
