//! `slate embed`: titles and pictures of items to vectors.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::json;

use super::Context;
use crate::cli::EmbedArgs;
use crate::config::{EmbedSection, HASHED, ImageSection, TitleSection};
use crate::console::{Align, Outcome, Refusal, Table};
use crate::pipeline::embedding::{Embedded, Job, TABLES, embed};

pub(super) fn run(context: &Context, args: &EmbedArgs) -> Result<Outcome> {
    let mut section = context.config.file.embed.clone().unwrap_or_default();
    name_encoders(&mut section, args)?;
    let beside = if args.items.is_dir() {
        &args.items
    } else {
        args.items.parent().unwrap_or(Path::new("."))
    };
    let job = Job {
        section: &section,
        items: &args.items,
        pictures: args.pictures.as_deref().unwrap_or(beside),
        out: &args.out,
        device: args.device.parse()?,
        force: context.force,
        gc: args.gc,
    };
    let embedded = embed(&job, &context.console.bar())
        .with_context(|| format!("cannot embed the items `{}`", args.items.display()))?;
    let mut json = serde_json::to_value(&embedded)?;
    json["out"] = json!(args.out);
    Ok(Outcome::done(json, told(&embedded, &args.out)))
}

/// What was typed goes before what the configuration says.
fn name_encoders(section: &mut EmbedSection, args: &EmbedArgs) -> Result<()> {
    if let Some(name) = &args.encoder {
        if name != HASHED {
            return Err(Refusal::new(format!("unknown encoder `{name}`, expected `{HASHED}`"))
                .hint("pretrained encoders are named by their folders: --title FOLDER, --image FOLDER")
                .into());
        }
        section.title.get_or_insert_default();
        section.image.get_or_insert_default();
    }
    if let Some(name) = args.title.as_ref().or(args.encoder.as_ref()) {
        section
            .title
            .get_or_insert_with(TitleSection::default)
            .encoder
            .clone_from(name);
    }
    if let Some(name) = args.image.as_ref().or(args.encoder.as_ref()) {
        section
            .image
            .get_or_insert_with(ImageSection::default)
            .encoder
            .clone_from(name);
    }
    Ok(())
}

fn told(embedded: &Embedded, out: &Path) -> String {
    let manifest = &embedded.manifest;
    let mut table = Table::new(&[
        ("vectors of", Align::Left),
        ("encoder", Align::Left),
        ("dimensions", Align::Right),
        ("items with one", Align::Right),
        ("computed now", Align::Right),
        ("removed", Align::Right),
    ]);
    for (name, part) in [("title", &manifest.title), ("image", &manifest.image)] {
        if let Some(part) = part {
            let count = |of: Option<&usize>| of.map_or("-".to_owned(), usize::to_string);
            table.row([
                name.to_owned(),
                part.identity.encoder.clone(),
                part.identity.dimensions.to_string(),
                part.with.to_string(),
                count(embedded.computed.get(name)),
                count(embedded.removed.get(name)),
            ]);
        }
    }
    let mut text = table.render();
    for (reason, count) in &embedded.reasons {
        text.push_str(&format!("kept aside: {count} × {reason}\n"));
    }
    let tables = out.join(TABLES);
    let state = if embedded.unchanged {
        "are as they were"
    } else {
        "written"
    };
    text.push_str(&format!(
        "tables of {} items {state} in {}\n",
        manifest.items,
        tables.display()
    ));
    text
}
