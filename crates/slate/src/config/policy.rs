//! A policy file: one TOML file for each policy that is shown, compared or backtested.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use slate_allocate::{Exploration, OrderFormula};
use slate_types::FormatVersion;

use super::strict;
use crate::console::Refusal;

/// Version of the policy file.
pub(crate) const POLICY_FORMAT: FormatVersion = FormatVersion(1);

/// Everything a policy file may say.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicyFile {
    /// Version of the file's layout; 1.
    pub(crate) format: FormatVersion,
    /// What reports call it. Default: the file's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// What scores the rows: `logged`, `random`, `popularity`, `score`, `column:NAME`, `scores:FILE`,
    /// `run:DIR`, `table:FILE` of probabilities by item and slot, or `chances:NAME`, a column with the
    /// probability of each placement under the policy.
    pub(crate) ranker: String,
    /// Makes the score a probability, which `[order]` reads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) calibrator: Option<PathBuf>,
    /// The value the lists are ordered by. Default: the score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) order: Option<OrderFormula>,
    /// What is done beside ordering. Default: nothing.
    #[serde(default)]
    pub(crate) explore: Exploration,
}

/// What scores the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// The order that was shown.
    Logged,
    /// Any order, all equally likely.
    Random,
    /// Rewards per view of the item so far.
    Popularity,
    /// A column of the placements.
    Column(String),
    /// A score file of the same placements.
    Scores(PathBuf),
    /// A trained run.
    Run(PathBuf),
    /// Probabilities by item and slot.
    Table(PathBuf),
    /// A column with the probability of each placement under the policy.
    Chances(String),
}

impl PolicyFile {
    /// Reads a file; paths in it count from its folder.
    ///
    /// # Errors
    /// A file that cannot be read, a TOML error, an unknown key (with line and nearest name), settings
    /// out of range.
    pub(crate) fn read(path: &Path) -> Result<(Self, Source)> {
        let read = || -> Result<(Self, Source)> {
            let text = std::fs::read_to_string(path)?;
            let mut file: Self = strict::parse(&text)?;
            file.format.check("policy", POLICY_FORMAT)?;
            file.explore.check()?;
            if let Some(order) = &file.order {
                order.check()?;
            }
            let folder = path.parent().unwrap_or(Path::new(""));
            let source = source(&file.ranker, folder)?;
            let fixed = matches!(
                source,
                Source::Logged | Source::Random | Source::Table(_) | Source::Chances(_)
            );
            let idle = file.order.is_some() || file.explore != Exploration::None;
            if fixed && idle {
                let told = format!("`{}` takes neither [order] nor [explore]", file.ranker);
                return Err(Refusal::new(told).into());
            }
            if file.calibrator.is_some() && file.order.is_none() {
                let told = "`calibrator` makes probabilities for [order], which is not there";
                return Err(Refusal::new(told)
                    .hint("add [order], or leave the calibrator out: it keeps the order of scores")
                    .into());
            }
            if file
                .name
                .as_ref()
                .is_some_and(|name| name.trim().is_empty())
            {
                return Err(Refusal::new("`name` is empty, expected what reports call it").into());
            }
            file.calibrator = file.calibrator.map(|calibrator| folder.join(calibrator));
            if file.name.is_none() {
                let stem = path.file_stem().unwrap_or_default();
                file.name = Some(stem.to_string_lossy().into_owned());
            }
            Ok((file, source))
        };
        read().with_context(|| format!("cannot use the policy `{}`", path.display()))
    }
}

fn source(ranker: &str, folder: &Path) -> Result<Source> {
    Ok(match ranker.split_once(':') {
        None => match ranker {
            "logged" => Source::Logged,
            "random" => Source::Random,
            "popularity" => Source::Popularity,
            "score" => Source::Column("score".to_owned()),
            _ => return Err(unknown(ranker)),
        },
        Some(("column", name)) => Source::Column(name.to_owned()),
        Some(("scores", file)) => Source::Scores(folder.join(file)),
        Some(("run", run)) => Source::Run(folder.join(run)),
        Some(("chances", name)) => Source::Chances(name.to_owned()),
        Some(("table", file)) => Source::Table(folder.join(file)),
        Some(_) => return Err(unknown(ranker)),
    })
}

fn unknown(ranker: &str) -> anyhow::Error {
    Refusal::new(format!(
        "unknown ranker `{ranker}`, expected `logged`, `random`, `popularity`, `score`, `column:NAME`, \
         `scores:FILE`, `run:DIR`, `table:FILE` or `chances:NAME`"
    ))
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(PolicyFile, Source)> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("b.toml");
        std::fs::write(&path, text).unwrap();
        PolicyFile::read(&path)
    }

    #[test]
    fn a_whole_file_is_read() {
        let (file, source) = read(
            "format = 1\nranker = \"column:raw_score\"\n[order]\nprice = 0.5\n\
             [explore]\nkind = \"epsilon\"\nshare = 0.1\n",
        )
        .unwrap();
        assert_eq!(file.name.as_deref(), Some("b"));
        assert_eq!(source, Source::Column("raw_score".to_owned()));
        assert_eq!(file.order.unwrap().price, 0.5);
        assert_eq!(file.explore, Exploration::Epsilon { share: 0.1 });
    }

    #[test]
    fn mistakes_are_named() {
        let told = |text: &str| format!("{:#}", read(text).unwrap_err());
        assert!(told("format = 1\nranker = \"best\"\n").contains("unknown ranker `best`"));
        assert!(
            told("format = 1\nrnaker = \"logged\"\n").contains("unknown field `rnaker` at line 2")
        );
        let text = "format = 1\nranker = \"score\"\n[explore]\nkind = \"epsilon\"\nshare = 2\n";
        assert!(told(text).contains("`share` is 2"), "{}", told(text));
        assert!(told("format = 1\n").contains("missing field `ranker`"));
        let text = "format = 1\nranker = \"logged\"\n[order]\nprice = 1\n";
        assert!(told(text).contains("takes neither"), "{}", told(text));
    }
}
