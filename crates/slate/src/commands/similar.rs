//! `slate similar`: the items most like one, and the vectors that say so.

use std::path::Path;

use anyhow::{Context as _, Result};
use chrono::{DateTime, Datelike as _, NaiveDate, NaiveTime};
use serde_json::json;
use slate_embed::{Mapped, Side, nearest};

use super::Context;
use crate::artefacts::Staged;
use crate::cli::{ExportArgs, LikenessBy, QueryArgs, SimilarArgs, SimilarCommand};
use crate::console::{Align, Outcome, Refusal, Table};
use crate::pipeline::catalogue;
use crate::pipeline::embedding::{TABLES, read_manifest};

pub(super) fn run(context: &Context, args: &SimilarArgs) -> Result<Outcome> {
    match &args.command {
        SimilarCommand::Query(args) => query(args),
        SimilarCommand::Export(args) => export(context, args),
    }
}

fn export(context: &Context, args: &ExportArgs) -> Result<Outcome> {
    let config = &context.config;
    let features = config.need(config.file.features.as_ref(), "features")?;
    let embed = config.file.embed.clone().unwrap_or_default();
    refuse_own(args)?;
    let as_of = args.as_of.as_deref().map(moment).transpose()?;
    let device = args.device.parse()?;
    let staged = Staged::folder(&args.out, context.force)?;
    let job = catalogue::Job {
        run: &args.run,
        items: &args.items,
        features,
        scores: args.scores.as_deref(),
        embed: &embed,
        attribution: config.file.attribution.clone().unwrap_or_default(),
        as_of,
        device,
        threads: context.threads,
        seed: context.seed,
        command: &context.command,
        progress: &context.console.bar(),
    };
    let manifest = catalogue::export(&job, staged.path()).with_context(|| {
        format!(
            "cannot export vectors of the items `{}`",
            args.items.display()
        )
    })?;
    staged.commit()?;
    let mut text = format!(
        "vectors of {} items, {} numbers each, are in {}\n",
        manifest.items,
        manifest.width,
        args.out.display()
    );
    if manifest.rejects > 0 {
        text.push_str(&format!(
            "left out: {} rows that are no items or repeat one\n",
            manifest.rejects
        ));
    }
    for (reason, rows) in &manifest.set_aside {
        text.push_str(&format!(
            "known by their vectors alone: {rows} items whose {reason}\n"
        ));
    }
    for (name, count) in &manifest.without {
        text.push_str(&format!("without a vector of `{name}`: {count} items\n"));
    }
    let mut json = serde_json::to_value(&manifest)?;
    json["out"] = json!(args.out);
    Ok(Outcome::done(json, text))
}

/// Replacing the output must not remove what it is made of.
fn refuse_own(args: &ExportArgs) -> Result<()> {
    let Ok(out) = args.out.canonicalize() else {
        return Ok(());
    };
    for (flag, path) in [("--items", &args.items), ("--run", &args.run)] {
        let path = path.canonicalize();
        if path.is_ok_and(|path| path.starts_with(&out)) {
            return Err(
                Refusal::new(format!("{flag} is in --out, which would be replaced"))
                    .hint("name another --out")
                    .into(),
            );
        }
    }
    Ok(())
}

/// A date, its start in UTC, or an RFC 3339 time, in microseconds.
fn moment(text: &str) -> Result<i64> {
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
    let day = day.map(|day| day.and_time(NaiveTime::MIN).and_utc());
    let time = DateTime::parse_from_rfc3339(text)
        .ok()
        .map(|time| time.to_utc());
    let moment = day.or(time).ok_or_else(|| {
        Refusal::new(format!(
            "--as-of is `{text}`, expected a date like 2026-07-01 or 2026-07-01T06:30:00Z"
        ))
    })?;
    if !(2000..2100).contains(&moment.year()) {
        let told = format!("--as-of is `{text}`, expected a time from 2000 to 2099");
        return Err(Refusal::new(told).into());
    }
    Ok(moment.timestamp_micros())
}

/// Vectors of items of one kind, by row.
struct Kind {
    name: &'static str,
    table: Mapped,
    /// Where the vectors of queries are, where not in `table`.
    queries: Option<Mapped>,
    unit: bool,
}

impl Kind {
    fn side(&self, row: usize) -> Side<'_> {
        let width = self.table.shape()[1];
        let queries = self.queries.as_ref().unwrap_or(&self.table);
        Side {
            table: self.table.values(),
            query: &queries.values()[row * width..(row + 1) * width],
            unit: self.unit,
        }
    }
}

/// An array of a folder, held to the type and shape it should have.
fn open(folder: &Path, name: &str, dtype: &str, shape: &[usize]) -> Result<Mapped> {
    let again = "run `slate embed` or `slate similar export` again";
    let table = Mapped::open(&folder.join(name))
        .map_err(|error| Refusal::new(error.to_string()).hint(again))?;
    if table.dtype() != dtype || table.shape() != shape {
        return Err(Refusal::new(format!(
            "`{}` holds {} {:?}, expected {dtype} {shape:?}",
            folder.join(name).display(),
            table.dtype(),
            table.shape()
        ))
        .hint(again)
        .into());
    }
    Ok(table)
}

/// Every problem of an export.
///
/// # Errors
/// Arrays that are missing, cut or of another shape than the manifest says.
pub(super) fn validate(folder: &Path) -> Result<Vec<String>> {
    if let Some(manifest) = catalogue::read(folder)? {
        exported(folder, &manifest)?;
    }
    Ok(Vec::new())
}

/// Ids and vectors of an export.
fn exported(folder: &Path, manifest: &catalogue::Manifest) -> Result<(Vec<i64>, Vec<Kind>)> {
    let ids = open(folder, "item_id.npy", "<i8", &[manifest.items])?.ids();
    let shape = [manifest.items, manifest.width];
    let kind = Kind {
        name: "towers",
        table: open(folder, "candidate.npy", "<f4", &shape)?,
        queries: Some(open(folder, "seed.npy", "<f4", &shape)?),
        unit: true,
    };
    Ok((ids, vec![kind]))
}

/// Ids and vectors of encoders.
fn embedded(args: &QueryArgs) -> Result<(Vec<i64>, Vec<Kind>)> {
    let tables = args.vectors.join(TABLES);
    let manifest = read_manifest(&tables)
        .with_context(|| format!("cannot read the vectors `{}`", args.vectors.display()))?;
    let ids = open(&tables, "item_id.npy", "<i8", &[manifest.items])?.ids();
    let wants = |by: LikenessBy| args.by == LikenessBy::Both || args.by == by;
    let mut kinds = Vec::new();
    for (by, name, part) in [
        (LikenessBy::Title, "title", &manifest.title),
        (LikenessBy::Image, "image", &manifest.image),
    ] {
        match part {
            Some(part) if wants(by) => {
                let shape = [manifest.items, part.identity.dimensions];
                kinds.push(Kind {
                    name,
                    table: open(&tables, &format!("{name}.npy"), "<f4", &shape)?,
                    queries: None,
                    unit: part.unit,
                });
            }
            None if args.by == by => {
                return Err(Refusal::new(format!("there are no vectors of `{name}`"))
                    .hint(format!(
                        "compute them: slate embed --{name} FOLDER, or `hashed`"
                    ))
                    .into());
            }
            _ => {}
        }
    }
    Ok((ids, kinds))
}

fn query(args: &QueryArgs) -> Result<Outcome> {
    let (ids, kinds) = match catalogue::read(&args.vectors)? {
        Some(_) if args.by != LikenessBy::Both => {
            return Err(Refusal::new(format!(
                "`{}` has vectors of a trained network, one for all that is known of an item",
                args.vectors.display()
            ))
            .hint("leave --by out, or name the folder of `slate embed`")
            .into());
        }
        Some(manifest) => exported(&args.vectors, &manifest)?,
        None => embedded(args)?,
    };
    let row = ids.iter().position(|id| *id == args.item).ok_or_else(|| {
        Refusal::new(format!(
            "there is no item {} among the {} of `{}`",
            args.item,
            ids.len(),
            args.vectors.display()
        ))
    })?;
    let sides: Vec<Side<'_>> = kinds.iter().map(|kind| kind.side(row)).collect();
    if sides
        .iter()
        .all(|side| side.query.iter().all(|value| *value == 0.0))
    {
        return Err(Refusal::new(format!("item {} has no vector", args.item))
            .hint(format!(
                "it has no content of that kind, or `{}` says why",
                args.vectors.join(TABLES).join("rejects.csv").display()
            ))
            .into());
    }
    let mut found = nearest(&sides, args.k.saturating_add(1));
    found.retain(|found| found.row != row);
    found.truncate(args.k);
    let mut table = Table::new(&[
        ("rank", Align::Right),
        ("item", Align::Right),
        ("cosine", Align::Right),
    ]);
    for (rank, found) in found.iter().enumerate() {
        table.row([
            (rank + 1).to_string(),
            ids[found.row].to_string(),
            format!("{:.4}", found.score),
        ]);
    }
    let items = found
        .iter()
        .map(|found| json!({ "item_id": ids[found.row], "score": found.score }));
    let by: Vec<&str> = kinds.iter().map(|kind| kind.name).collect();
    let json = json!({ "item_id": args.item, "by": by, "nearest": items.collect::<Vec<_>>() });
    Ok(Outcome::done(json, table.render()))
}
