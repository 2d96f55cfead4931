//! How a job over logs is run: memory, passes, a cluster.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use slate_logs::{ClusterOptions, ClusterReport, EngineOptions};

use super::Context;
use crate::cli::EngineArgs;
use crate::console::Refusal;

/// Seconds that a shard may take where nobody says how many.
const SHARD_TIMEOUT: u64 = 600;

/// What was typed, for a job that writes `out`; a dry run writes nothing.
pub(super) fn options(
    context: &Context,
    args: &EngineArgs,
    out: Option<&Path>,
) -> Result<EngineOptions> {
    let cluster = match args.engine.as_str() {
        "embedded" => None,
        url if url.starts_with("ballista://") => Some(ClusterOptions {
            url: url.to_owned(),
            shards: args.shards,
            timeout: Duration::from_secs(args.shard_timeout.unwrap_or(SHARD_TIMEOUT)),
            folder: shards_of(out.unwrap_or(Path::new("."))),
        }),
        other => {
            return Err(Refusal::new(format!(
                "--engine is `{other}`, expected `embedded` or `ballista://HOST:PORT`"
            ))
            .into());
        }
    };
    let of_clusters = [
        ("--shards", args.shards.is_some()),
        ("--shard-timeout", args.shard_timeout.is_some()),
    ];
    let unused = of_clusters.iter().find(|(_, given)| *given);
    if let (None, Some((flag, _))) = (&cluster, unused) {
        return Err(
            Refusal::new(format!("{flag} is for a cluster, and there is none"))
                .hint("say `--engine ballista://HOST:PORT`, or divide the work with `--passes`")
                .into(),
        );
    }
    Ok(EngineOptions {
        threads: context.threads,
        memory: args.memory.as_deref().map(bytes).transpose()?,
        passes: args.passes,
        cluster,
    })
}

/// Where the shards of an output wait: a hidden neighbour, which outlives a job that is killed.
fn shards_of(out: &Path) -> PathBuf {
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    // Absolute: nodes of the cluster see it from elsewhere.
    let folder = out.with_file_name(format!(".{name}.shards"));
    std::path::absolute(&folder).unwrap_or(folder)
}

/// Removes the shards of an output that is in place, also those of an earlier attempt on a cluster.
pub(super) fn clear(context: &Context, out: &Path) {
    let folder = shards_of(out);
    if let Err(error) = std::fs::remove_dir_all(&folder)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        let folder = folder.display();
        context
            .console
            .warn(&format!("cannot remove `{folder}`: {error}"));
    }
}

/// What the cluster did, for people.
pub(super) fn cluster_line(cluster: &ClusterReport) -> String {
    let mut line = format!("ordered by the cluster in {} shards", cluster.shards);
    if cluster.executors.is_none() {
        line.push_str("; it does not tell its executors, so the rows alone were checked");
    }
    if cluster.kept > 0 {
        line.push_str(&format!(", {} kept from an earlier attempt", cluster.kept));
    }
    if let [first, ..] = cluster.discarded.as_slice() {
        line.push_str(&format!(
            ", {} thrown away and done again: shard {}, because {}",
            cluster.discarded.len(),
            first.shard,
            first.reason
        ));
        if cluster.discarded.len() > 1 {
            line.push_str(", and others (`--json` lists them)");
        }
    }
    line.push('\n');
    line
}

/// A size such as `512MiB`, `2GiB`, `1GB` or plain bytes.
pub(super) fn bytes(text: &str) -> Result<u64> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let unit = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "kib" => 1024.0,
        "mib" | "m" => 1024.0 * 1024.0,
        "gib" | "g" => 1024.0 * 1024.0 * 1024.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        _ => 0.0,
    };
    let size = text[..digits]
        .parse::<f64>()
        .map_or(0.0, |number| number * unit);
    if size < 1.0 {
        return Err(Refusal::new(format!(
            "--memory is `{text}`, expected a size such as 2GiB"
        ))
        .into());
    }
    Ok(size as u64)
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes_are_read() {
        assert_eq!(bytes("2GiB").unwrap(), 2 << 30);
        assert_eq!(bytes("1.5 MiB").unwrap(), 3 << 19);
        assert_eq!(bytes("1000").unwrap(), 1000);
        assert!(bytes("many").unwrap_err().to_string().contains("`many`"));
        assert!(bytes("3 parsecs").is_err());
    }
}
