//! `slate similar`: the items most like one, and the vectors that say so.

use std::path::Path;

use anyhow::{Context as _, Result};
use chrono::{DateTime, Datelike as _, NaiveDate, NaiveTime};
use serde_json::json;
use slate_embed::{GraphOptions, Mapped, Measure, Side, nearest};

use super::Context;
use crate::artefacts::Staged;
use crate::cli::{ExportArgs, IndexArgs, LikenessBy, QueryArgs, SimilarArgs, SimilarCommand};
use crate::console::{Align, Outcome, Refusal, Table};
use crate::pipeline::catalogue;
use crate::pipeline::catalogue::graph::{self, GRAPH_FILE};
use crate::pipeline::embedding::{TABLES, read_manifest};

pub(super) fn run(context: &Context, args: &SimilarArgs) -> Result<Outcome> {
    match &args.command {
        SimilarCommand::Query(args) => query(args),
        SimilarCommand::Export(args) => export(context, args),
        SimilarCommand::Index(args) => index(context, args),
    }
}

fn index(context: &Context, args: &IndexArgs) -> Result<Outcome> {
    let export = catalogue::read(&args.vectors)?;
    let manifest = need_export(export.as_ref(), &args.vectors)?;
    let (_, kinds) = exported(&args.vectors, manifest)?;
    let options = GraphOptions {
        links: args.links.into(),
        beam: args.beam.into(),
        seed: context.seed,
    };
    let table = (kinds[0].table.values(), manifest.width);
    let items = graph::write(
        &args.vectors,
        table,
        options,
        context.force,
        &context.console.bar(),
    )
    .with_context(|| format!("cannot link the items of `{}`", args.vectors.display()))?;
    let text = format!(
        "{items} items are linked in {}\n",
        args.vectors.join(GRAPH_FILE).display()
    );
    Ok(Outcome::done(
        json!({ "items": items, "out": args.vectors }),
        text,
    ))
}

/// Refuses a folder that is no export.
fn need_export<'a>(
    manifest: Option<&'a catalogue::Manifest>,
    folder: &Path,
) -> Result<&'a catalogue::Manifest> {
    manifest.ok_or_else(|| {
        let told = format!("`{}` is no export of item vectors", folder.display());
        let hint = "graphs are of the folders that `slate similar export` writes";
        Refusal::new(told).hint(hint).into()
    })
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
            measure: if self.unit {
                Measure::Unit
            } else {
                Measure::Cosine
            },
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
        if folder.join(GRAPH_FILE).exists() {
            graph::verify(folder)?;
        }
        if let Some(taste) = manifest.taste {
            let shape = [manifest.items, taste.kinds * taste.width];
            open(folder, "taste.npy", "<f4", &shape)?;
        }
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

/// Who asks, known by what they chose before.
struct Visitor {
    /// Of the items they chose.
    rows: Vec<usize>,
    /// `[items, width]`, items in the space of tastes.
    table: Mapped,
    /// Their own place there, times what a product with it counts beside a cosine.
    query: Vec<f32>,
}

impl Visitor {
    fn new(
        folder: &Path,
        manifest: Option<&catalogue::Manifest>,
        rows: Vec<usize>,
    ) -> Result<Self> {
        let Some((taste, items)) = manifest.and_then(|own| Some((own.taste?, own.items))) else {
            let told = format!("`{}` has no vectors of tastes", folder.display());
            return Err(Refusal::new(told)
                .hint(
                    "leave --chosen out, or export those of a run with `train.network.towers.visitor` and \
                     `[train.in_batch]`",
                )
                .into());
        };
        let wide = taste.kinds * taste.width;
        let table = open(folder, "taste.npy", "<f4", &[items, wide])?;
        let mut query = vec![0.0_f32; wide];
        for (kind, sum) in query.chunks_exact_mut(taste.width).enumerate() {
            let mut count = taste.prior_events as f32;
            for &row in &rows {
                let start = row * wide + kind * taste.width;
                let vector = &table.values()[start..start + taste.width];
                // Zeros stand for no content of that kind.
                if vector.iter().any(|number| *number != 0.0) {
                    sum.iter_mut()
                        .zip(vector)
                        .for_each(|(sum, own)| *sum += own);
                    count += 1.0;
                }
            }
            let factor = taste.weight as f32 / count.max(1.0);
            for number in sum {
                *number *= factor;
            }
        }
        Ok(Self { rows, table, query })
    }

    fn side(&self) -> Side<'_> {
        Side {
            table: self.table.values(),
            query: &self.query,
            measure: Measure::Product,
        }
    }
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
    let export = catalogue::read(&args.vectors)?;
    let (ids, kinds) = match &export {
        Some(_) if args.by != LikenessBy::Both => {
            return Err(Refusal::new(format!(
                "`{}` has vectors of a trained network, one for all that is known of an item",
                args.vectors.display()
            ))
            .hint("leave --by out, or name the folder of `slate embed`")
            .into());
        }
        Some(manifest) => exported(&args.vectors, manifest)?,
        None => embedded(args)?,
    };
    let row_of = |item: i64| {
        ids.iter().position(|id| *id == item).ok_or_else(|| {
            Refusal::new(format!(
                "there is no item {item} among the {} of `{}`",
                ids.len(),
                args.vectors.display()
            ))
        })
    };
    let row = row_of(args.item)?;
    let rows: Result<Vec<usize>, Refusal> = args.chosen.iter().map(|id| row_of(*id)).collect();
    let visitor = match rows? {
        rows if rows.is_empty() => None,
        rows => Some(Visitor::new(&args.vectors, export.as_ref(), rows)?),
    };
    let mut sides: Vec<Side<'_>> = kinds.iter().map(|kind| kind.side(row)).collect();
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
    let seen = visitor.as_ref().map_or(0, |visitor| visitor.rows.len());
    if let Some(visitor) = &visitor {
        sides.push(visitor.side());
    }
    // Nobody is shown what they chose, nor the item itself.
    let most = args.k.saturating_add(1 + seen);
    let mut found = match args.beam {
        None => nearest(&sides, most),
        Some(beam) => {
            need_export(export.as_ref(), &args.vectors)?;
            let graph = graph::read(&args.vectors)?;
            graph.nearest(sides[0].table, sides[0].query, most, beam as usize)?
        }
    };
    let is_seen = |row: usize| visitor.iter().any(|own| own.rows.contains(&row));
    found.retain(|found| found.row != row && !is_seen(found.row));
    found.truncate(args.k);
    let mut table = Table::new(&[
        ("rank", Align::Right),
        ("item", Align::Right),
        (
            if visitor.is_some() { "score" } else { "cosine" },
            Align::Right,
        ),
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
    let mut json = json!({ "item_id": args.item, "by": by, "nearest": items.collect::<Vec<_>>() });
    if visitor.is_some() {
        json["chosen"] = json!(args.chosen);
    }
    Ok(Outcome::done(json, table.render()))
}
