//! The graph of near items beside an export: one file, whose first line says what it is of.

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use slate_embed::{Graph, GraphOptions};
use slate_types::{FormatVersion, Progress};

use crate::artefacts::Staged;
use crate::artefacts::manifest::{self, hex};
use crate::console::Refusal;

const FORMAT: FormatVersion = FormatVersion(1);
/// Name of the file.
pub(crate) const GRAPH_FILE: &str = "graph.hnsw";
/// The vectors it links.
const VECTORS: &str = "candidate.npy";

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    format: FormatVersion,
    /// SHA-256 of the export's manifest, of its vectors, and of what follows this line.
    manifest_sha256: String,
    vectors_sha256: String,
    graph_sha256: String,
    /// What it was built with.
    links: usize,
    beam: usize,
    seed: u64,
}

/// Links the candidates of an export and writes the graph into its folder; how many items it links.
///
/// # Errors
/// A graph that is there already, without `force`.
pub(crate) fn write(
    folder: &Path,
    (table, width): (&[f32], usize),
    options: GraphOptions,
    force: bool,
    progress: &dyn Progress,
) -> Result<usize> {
    let path = folder.join(GRAPH_FILE);
    let staged = Staged::file(&path, force)?;
    let graph = Graph::build(table, width, options, progress)?;
    let mut body = Vec::new();
    graph.write(&mut body)?;
    let head = Head {
        format: FORMAT,
        manifest_sha256: manifest::sha256(&folder.join("manifest.json"))?,
        vectors_sha256: manifest::sha256(&folder.join(VECTORS))?,
        graph_sha256: hex(&Sha256::digest(&body)),
        links: options.links,
        beam: options.beam,
        seed: options.seed.0,
    };
    let cannot = || format!("cannot write `{}`", path.display());
    let mut file = BufWriter::new(File::create(staged.path()).with_context(cannot)?);
    writeln!(file, "{}", serde_json::to_string(&head)?).with_context(cannot)?;
    file.write_all(&body).with_context(cannot)?;
    file.flush().with_context(cannot)?;
    drop(file);
    staged.commit()?;
    Ok(graph.len())
}

/// The graph of an export. The file may be large, the vectors larger: only the former is hashed.
///
/// # Errors
/// No graph, one of another export, and a file that is none.
pub(crate) fn read(folder: &Path) -> Result<Graph> {
    Ok(opened(folder)?.1)
}

/// Holds the graph of an export to its vectors, too.
///
/// # Errors
/// As [`read`].
pub(crate) fn verify(folder: &Path) -> Result<()> {
    let (head, _) = opened(folder)?;
    if head.vectors_sha256 == manifest::sha256(&folder.join(VECTORS))? {
        return Ok(());
    }
    let told = format!(
        "`{}` was made of other vectors",
        folder.join(GRAPH_FILE).display()
    );
    Err(Refusal::new(told).hint(again(folder)).into())
}

fn again(folder: &Path) -> String {
    format!(
        "make it: slate similar index --vectors {} --force",
        folder.display()
    )
}

fn opened(folder: &Path) -> Result<(Head, Graph)> {
    let path = folder.join(GRAPH_FILE);
    let again = again(folder);
    if !path.is_file() {
        let told = format!("`{}` has no graph of near items", folder.display());
        return Err(Refusal::new(told)
            .hint(again.trim_end_matches(" --force"))
            .into());
    }
    let file = File::open(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let mut file = BufReader::with_capacity(1 << 20, file);
    let mut line = String::new();
    let broken =
        || Refusal::new(format!("`{}` is no graph of near items", path.display())).hint(&again);
    // A line that is no text is of another file, and so is one without an end.
    let is_read = file.read_line(&mut line).is_ok();
    let head: Head = match serde_json::from_str(&line) {
        Ok(head) if is_read => head,
        _ => return Err(broken().into()),
    };
    head.format.check("graph of near items", FORMAT)?;
    if head.manifest_sha256 != manifest::sha256(&folder.join("manifest.json"))? {
        let told = format!("`{}` was made of another export", path.display());
        return Err(Refusal::new(told).hint(&again).into());
    }
    let mut body = Vec::new();
    let is_read = file.read_to_end(&mut body);
    is_read.with_context(|| format!("cannot read `{}`", path.display()))?;
    // The library trusts what it reads, so nothing but what was written reaches it.
    if head.graph_sha256 != hex(&Sha256::digest(&body)) {
        return Err(broken().into());
    }
    let graph = Graph::read(&mut body.as_slice()).map_err(|_| broken())?;
    Ok((head, graph))
}
