//! `slate doctor`: what this machine has and what this build can do.

use serde_json::json;

use super::Context;
use crate::console::{Align, Outcome, Table};
use crate::machine;

pub(super) fn run(context: &Context) -> Outcome {
    let memory = machine::memory();
    let gib = |bytes: u64| format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30));
    let devices = slate_model::DeviceSpec::found();
    let engines: &[&str] = if cfg!(feature = "cluster") {
        &["embedded", "ballista"]
    } else {
        &["embedded"]
    };
    let temp = std::env::temp_dir();
    let writable = tempfile_works(&temp);
    let mut table = Table::new(&[("what", Align::Left), ("here", Align::Left)]);
    table.row(["slate".to_owned(), env!("CARGO_PKG_VERSION").to_owned()]);
    table.row([
        "platform".to_owned(),
        format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
    ]);
    table.row(["threads".to_owned(), context.threads.to_string()]);
    table.row([
        "memory".to_owned(),
        memory.map_or("unknown".to_owned(), |(total, free)| {
            format!("{} ({} available)", gib(total), gib(free))
        }),
    ]);
    let auto = slate_model::DeviceSpec::Auto.find().ok();
    for (place, device) in devices.iter().enumerate() {
        let taken = auto.as_ref().is_some_and(|auto| auto.name == device.name);
        let mark = if taken { " (auto)" } else { "" };
        let what = if place == 0 { "devices" } else { "" };
        let here = format!("{} is {}{mark}", device.name, device.label);
        table.row([what.to_owned(), here]);
    }
    table.row(["engines".to_owned(), engines.join(", ")]);
    table.row([
        "log formats".to_owned(),
        "parquet, csv, json lines; import: open-bandit, outbrain, expedia, diginetica, rees46, letor".to_owned(),
    ]);
    table.row([
        "temporary folder".to_owned(),
        format!(
            "{} ({})",
            temp.display(),
            if writable { "writable" } else { "NOT writable" }
        ),
    ]);
    let json = json!({
        "slate": env!("CARGO_PKG_VERSION"),
        "os": std::env::consts::OS,
        "arch": std::env::consts::ARCH,
        "threads": context.threads,
        "memory": memory.map(|(total, available)| json!({ "total": total, "available": available })),
        "devices": devices,
        "engines": engines,
        "temporary_folder": { "path": temp, "writable": writable },
    });
    let mut outcome = Outcome::done(json, table.render());
    if !writable {
        outcome.status = crate::console::ExitStatus::CheckFailed;
    }
    outcome
}

fn tempfile_works(folder: &std::path::Path) -> bool {
    let probe = folder.join(format!(".slate-doctor-{}", std::process::id()));
    let works = std::fs::write(&probe, b"probe").is_ok();
    let _ = std::fs::remove_file(&probe);
    works
}
