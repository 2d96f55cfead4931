//! `slate similar`: the items most like one.

use anyhow::{Context as _, Result};
use serde_json::json;
use slate_embed::{Mapped, Side, nearest};

use super::Context;
use crate::cli::{LikenessBy, QueryArgs, SimilarArgs, SimilarCommand};
use crate::console::{Align, Outcome, Refusal, Table};
use crate::pipeline::embedding::{TABLES, read_manifest};

pub(super) fn run(_: &Context, args: &SimilarArgs) -> Result<Outcome> {
    match &args.command {
        SimilarCommand::Query(args) => query(args),
    }
}

fn query(args: &QueryArgs) -> Result<Outcome> {
    let tables = args.vectors.join(TABLES);
    let manifest = read_manifest(&tables)
        .with_context(|| format!("cannot read the vectors `{}`", args.vectors.display()))?;
    let open = |name: &str, dtype: &str, shape: &[usize]| -> Result<Mapped> {
        let table = Mapped::open(&tables.join(name))?;
        if table.dtype() != dtype || table.shape() != shape {
            return Err(Refusal::new(format!(
                "`{}` holds {} {:?}, expected {dtype} {shape:?}",
                tables.join(name).display(),
                table.dtype(),
                table.shape()
            ))
            .hint("run `slate embed` again")
            .into());
        }
        Ok(table)
    };
    let items = manifest.items;
    let ids = open("item_id.npy", "<i8", &[items])?.ids();
    let row = ids.iter().position(|id| *id == args.item).ok_or_else(|| {
        Refusal::new(format!(
            "there is no item {} among the {} of `{}`",
            args.item,
            ids.len(),
            args.vectors.display()
        ))
    })?;
    let wants = |by: LikenessBy| args.by == LikenessBy::Both || args.by == by;
    let mut named = Vec::new();
    for (by, name, part) in [
        (LikenessBy::Title, "title", &manifest.title),
        (LikenessBy::Image, "image", &manifest.image),
    ] {
        match part {
            Some(part) if wants(by) => {
                let shape = [items, part.identity.dimensions];
                named.push((name, open(&format!("{name}.npy"), "<f4", &shape)?));
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
    let sides: Vec<Side<'_>> = named
        .iter()
        .map(|(_, table)| {
            let (width, table) = (table.shape()[1], table.values());
            Side {
                table,
                query: &table[row * width..(row + 1) * width],
            }
        })
        .collect();
    if sides
        .iter()
        .all(|side| side.query.iter().all(|value| *value == 0.0))
    {
        return Err(Refusal::new(format!("item {} has no vector", args.item))
            .hint(format!(
                "it has no content of that kind, or `{}` says why",
                tables.join("rejects.csv").display()
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
    let by: Vec<&str> = named.iter().map(|(name, _)| *name).collect();
    let json = json!({ "item_id": args.item, "by": by, "nearest": items.collect::<Vec<_>>() });
    Ok(Outcome::done(json, table.render()))
}
