//! Versions of a model, and which of them is in use.
//!
//! `REGISTRY/MODEL/versions/ID/` holds a version, never changed; `version.json` has the hash of each of its
//! files, and the id ends in a hash of these. `promotions/000001.json`, … say which version came into use
//! one after another: the last one counts. A promotion is made by creating the file of the next number,
//! which only one process can, and only the number after the one that the choice was made against: so two
//! that chose at the same time never both promote. `current` links to the version in use, for other
//! programs; it follows the promotions.

mod check;

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use slate_types::FormatVersion;

use super::listing::{files_below, names, sweep_hidden};
use super::{manifest, sync_all};
use crate::console::Refusal;

/// What a version's folder says of itself.
pub(crate) const VERSION_FILE: &str = "version.json";
/// Link to the version in use.
const CURRENT: &str = "current";
/// Digits of the hash in an id.
const DIGITS: usize = 8;

/// The folder of a model.
#[derive(Debug, Clone)]
pub(crate) struct Registry {
    folder: PathBuf,
    pub(crate) model: String,
}

/// What is known of a version before its files are hashed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct About {
    /// Month whose logs were the newest it was made of.
    pub(crate) month: String,
    /// `full` or `update`.
    pub(crate) trained: String,
    /// The version it was updated from, or that was in use when it was made.
    pub(crate) parent: Option<String>,
    /// Updates since a training from nothing.
    pub(crate) updates: u64,
    /// First moment that it was not trained on, UTC microseconds.
    pub(crate) trained_until: i64,
    /// Time of the last list that anything of it has seen.
    pub(crate) seen_until: i64,
    /// SHA-256 of the manifests of the dataset it was made of.
    pub(crate) dataset: String,
}

/// A version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Version {
    pub(crate) format: FormatVersion,
    pub(crate) kind: String,
    pub(crate) id: String,
    pub(crate) model: String,
    pub(crate) about: About,
    /// Of each file.
    pub(crate) files: BTreeMap<String, Kept>,
}

/// A file of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kept {
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

/// A version coming into use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Promotion {
    pub(crate) format: FormatVersion,
    pub(crate) kind: String,
    /// From 1.
    pub(crate) number: u64,
    pub(crate) version: String,
    /// What was in use before.
    pub(crate) before: Option<String>,
    /// Whether it takes the promotion back that was in force, rather than going on.
    pub(crate) back: bool,
    pub(crate) reason: String,
}

impl Version {
    /// The id that all it says of itself comes to.
    fn own_id(&self) -> Result<String> {
        let told = serde_json::to_string(&(&self.model, &self.about, &self.files))?;
        let hash = manifest::hex(&Sha256::digest(told.as_bytes()));
        Ok(format!("{}-{}", self.about.month, &hash[..DIGITS]))
    }
}

impl Registry {
    /// The folder of a model below a registry; neither needs to be there.
    ///
    /// # Errors
    /// A name that is no plain file name.
    pub(crate) fn new(root: &Path, model: &str) -> Result<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if model.is_empty() || model.starts_with('.') || !model.chars().all(plain) {
            let told = format!("`{model}` is no name of a model");
            return Err(Refusal::new(told)
                .hint("take letters, digits, `-`, `_` and `.`, for instance page-ranker")
                .into());
        }
        Ok(Self {
            folder: root.join(model),
            model: model.to_owned(),
        })
    }

    /// The names of the models below a registry.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub(crate) fn models(root: &Path) -> Result<Vec<String>> {
        let mut models = names(root)?;
        models.retain(|name| root.join(name).join("versions").is_dir());
        Ok(models)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where leases of its writers are.
    pub(crate) fn leases(&self) -> PathBuf {
        self.folder.join("leases")
    }

    fn versions_folder(&self) -> PathBuf {
        self.folder.join("versions")
    }

    fn promotions_folder(&self) -> PathBuf {
        self.folder.join("promotions")
    }

    pub(crate) fn path(&self, id: &str) -> PathBuf {
        self.versions_folder().join(id)
    }

    /// All versions, by id, which begins with the month.
    ///
    /// # Errors
    /// A version that cannot be read.
    pub(crate) fn versions(&self) -> Result<Vec<Version>> {
        let mut ids = names(&self.versions_folder())?;
        ids.retain(|id| !id.starts_with('.'));
        ids.iter().map(|id| self.version(id)).collect()
    }

    /// A version by its id, or by a beginning that no other has.
    ///
    /// # Errors
    /// No such version or several, a file that cannot be read.
    pub(crate) fn version(&self, id: &str) -> Result<Version> {
        let id = self.whole_id(id)?;
        let file = self.path(&id).join(VERSION_FILE);
        let value = manifest::read_json(&file)?;
        anyhow::ensure!(
            manifest::kind(&value)? == "version",
            "`{}` is no version of a model",
            file.display()
        );
        serde_json::from_value(value).with_context(|| format!("cannot read `{}`", file.display()))
    }

    fn whole_id(&self, given: &str) -> Result<String> {
        let ids = names(&self.versions_folder())?;
        if ids.iter().any(|id| id == given) {
            return Ok(given.to_owned());
        }
        let like: Vec<&String> = ids.iter().filter(|id| id.starts_with(given)).collect();
        match like[..] {
            [one] => Ok(one.clone()),
            [] => {
                let told = format!("`{}` has no version `{given}`", self.model);
                Err(Refusal::new(told)
                    .hint("`slate registry list` names them")
                    .into())
            }
            [one, two, ..] => {
                let told = format!("`{given}` is the beginning of `{one}` and `{two}`");
                Err(Refusal::new(told).hint("give more of the id").into())
            }
        }
    }

    /// All promotions, the first one first.
    ///
    /// # Errors
    /// A promotion that cannot be read.
    pub(crate) fn promotions(&self) -> Result<Vec<Promotion>> {
        let folder = self.promotions_folder();
        let mut promotions: Vec<Promotion> = Vec::new();
        for name in names(&folder)? {
            if name.starts_with('.') {
                continue;
            }
            let file = folder.join(&name);
            let value = manifest::read_sealed(
                &file,
                "bring the file back from a copy; where there is none remove it, and bring the version into use \
                 again that `current` links to: `slate registry promote VERSION`",
            )?;
            let told = || format!("`{}` is no promotion", file.display());
            anyhow::ensure!(manifest::kind(&value)? == "promotion", told());
            promotions.push(serde_json::from_value(value).with_context(told)?);
        }
        promotions.sort_by_key(|promotion| promotion.number);
        Ok(promotions)
    }

    /// The last promotion: what is in use.
    ///
    /// # Errors
    /// As [`Registry::promotions`].
    pub(crate) fn current(&self) -> Result<Option<Promotion>> {
        Ok(self.promotions()?.pop())
    }

    /// Adds the files of a folder as a version. One with the same files is there once.
    ///
    /// # Errors
    /// A disk that cannot be written.
    pub(crate) fn add(&self, files: &Path, about: About, mark: &str) -> Result<Version> {
        let mut kept = BTreeMap::new();
        for name in files_below(files)? {
            let path = files.join(&name);
            let sha256 = manifest::sha256(&path)?;
            let bytes = path.metadata()?.len();
            kept.insert(name, Kept { bytes, sha256 });
        }
        let mut version = Version {
            format: manifest::FORMAT,
            kind: "version".to_owned(),
            id: String::new(),
            model: self.model.clone(),
            about,
            files: kept,
        };
        version.id = version.own_id()?;
        let folder = self.versions_folder();
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create `{}`", folder.display()))?;
        let partial = folder.join(format!(".{}.{mark}.partial", version.id));
        if partial.exists() {
            fs::remove_dir_all(&partial)?;
        }
        fs::create_dir(&partial)
            .with_context(|| format!("cannot create `{}`", partial.display()))?;
        for name in version.files.keys() {
            let target = partial.join(name);
            let copy = fs::create_dir_all(target.parent().unwrap_or(&partial))
                .and_then(|()| fs::copy(files.join(name), &target));
            copy.with_context(|| format!("cannot copy `{name}` into the registry"))?;
        }
        let value = serde_json::to_value(&version)?;
        manifest::write_json(&partial.join(VERSION_FILE), &value)?;
        sync_all(&partial)?;
        let path = self.path(&version.id);
        if let Err(error) = fs::rename(&partial, &path) {
            if self.verify_version(&version.id).is_ok() {
                fs::remove_dir_all(&partial)?;
            } else {
                // Damaged since: made of the same, this one is what it was.
                let aside = folder.join(format!(".{}.{mark}.damaged", version.id));
                fs::rename(&path, &aside)
                    .and_then(|()| fs::rename(&partial, &path))
                    .map_err(|_| error)
                    .with_context(|| format!("cannot put `{}` in place", path.display()))?;
                fs::remove_dir_all(&aside)?;
            }
        }
        sync_folder(&folder);
        Ok(version)
    }

    /// Removes what kills have left. Only for who holds the lease.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub(crate) fn sweep(&self) -> Result<()> {
        let folders = [self.versions_folder(), self.promotions_folder()];
        let mut folders = folders.iter().chain([&self.folder]);
        folders.try_for_each(|folder| sweep_hidden(folder))
    }

    /// Brings a version into use, as the promotion after number `after`, 0 for the first.
    ///
    /// Where that one is there and is of the same version, nothing is left to do.
    ///
    /// # Errors
    /// A damaged version, a promotion that was made meanwhile, a disk that cannot be written.
    pub(crate) fn promote(&self, id: &str, after: u64, reason: &str) -> Result<Promotion> {
        self.append(id, after, reason, false)
    }

    /// Takes the promotion back that is in force: what was in use before it is in use again. A second time
    /// it takes back the one before that.
    ///
    /// # Errors
    /// Nothing to go back to, and as [`Registry::promote`].
    pub(crate) fn roll_back(&self, reason: &str) -> Result<Promotion> {
        let promotions = self.promotions()?;
        let after = promotions.last().map_or(0, |last| last.number);
        let [.., before, _] = standing(&promotions)[..] else {
            let told = "nothing was in use before, so there is nothing to go back to";
            return Err(Refusal::new(told)
                .hint("`slate registry promote VERSION` brings any version into use")
                .into());
        };
        self.append(before, after, reason, true)
    }

    fn append(&self, id: &str, after: u64, reason: &str, back: bool) -> Result<Promotion> {
        let id = self.whole_id(id)?;
        self.verify_version(&id)?;
        let before = self.promotions()?;
        let before = before.iter().find(|promotion| promotion.number == after);
        let promotion = Promotion {
            format: manifest::FORMAT,
            kind: "promotion".to_owned(),
            number: after + 1,
            version: id,
            before: before.map(|promotion| promotion.version.clone()),
            back,
            reason: reason.to_owned(),
        };
        let folder = self.promotions_folder();
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create `{}`", folder.display()))?;
        let path = folder.join(format!("{:06}.json", promotion.number));
        let beside = folder.join(format!(".{:06}.{}", promotion.number, std::process::id()));
        let text = manifest::sealed(serde_json::to_value(&promotion)?);
        manifest::write_text(&beside, &text)?;
        // As a whole or not at all, and never over one that is there.
        let made = fs::hard_link(&beside, &path);
        fs::remove_file(&beside)?;
        match made {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let now = self.promotions()?;
                let there = now.iter().find(|own| own.number == promotion.number);
                if there.is_none_or(|there| there.version != promotion.version) {
                    return Err(Refusal::new(format!(
                        "another version of `{}` came into use meanwhile: `{}`",
                        self.model,
                        there.map_or("unknown", |there| &there.version)
                    ))
                    .hint("this choice was made against the one before; run the same command again")
                    .into());
                }
            }
            Err(error) => {
                return Err(error).with_context(|| format!("cannot create `{}`", path.display()));
            }
        }
        sync_folder(&folder);
        self.point()?;
        Ok(promotion)
    }

    /// Makes `current` link to the version in use. Whoever makes it last has looked last, so a process
    /// that was asleep in between does not leave it wrong.
    ///
    /// # Errors
    /// A disk that cannot be written.
    pub(crate) fn point(&self) -> Result<()> {
        loop {
            let Some(last) = self.current()? else {
                return Ok(());
            };
            let wanted = Path::new("versions").join(&last.version);
            let link = self.folder.join(CURRENT);
            if fs::read_link(&link).is_ok_and(|there| there == wanted) {
                return Ok(());
            }
            let beside = self
                .folder
                .join(format!(".{CURRENT}.{}", std::process::id()));
            let _ = fs::remove_file(&beside);
            #[cfg(unix)]
            std::os::unix::fs::symlink(&wanted, &beside)
                .and_then(|()| fs::rename(&beside, &link))
                .with_context(|| format!("cannot write the link `{}`", link.display()))?;
            #[cfg(not(unix))]
            {
                fs::write(&link, wanted.display().to_string())?;
                return Ok(());
            }
        }
    }
}

/// The versions whose promotions stand, the one in use last: a promotion that was taken back is left out
/// with the one that took it back.
fn standing(promotions: &[Promotion]) -> Vec<&str> {
    let mut standing: Vec<&str> = Vec::new();
    for promotion in promotions {
        let before = promotion.before.as_deref();
        if let Some(before) = before.filter(|before| standing.last() != Some(before)) {
            standing.push(before);
        }
        if promotion.back {
            standing.pop();
        }
        // One that is missing before it leaves another one on top.
        if standing.last() != Some(&promotion.version.as_str()) {
            standing.push(&promotion.version);
        }
    }
    standing
}

/// Makes what was renamed into a folder safe on disk.
fn sync_folder(folder: &Path) {
    let _ = fs::File::open(folder).and_then(|folder| folder.sync_all());
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn about(month: &str, parent: Option<&str>) -> About {
        About {
            month: month.to_owned(),
            trained: "full".to_owned(),
            parent: parent.map(str::to_owned),
            updates: 0,
            trained_until: 0,
            seen_until: 0,
            dataset: String::new(),
        }
    }

    pub(super) fn add(registry: &Registry, month: &str, weights: &str) -> Version {
        let files = tempfile::tempdir().unwrap();
        fs::write(files.path().join("model.safetensors"), weights).unwrap();
        registry
            .add(files.path(), about(month, None), "test")
            .unwrap()
    }

    #[test]
    fn the_last_promotion_counts_and_the_link_follows() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::new(dir.path(), "ranker").unwrap();
        assert_eq!(registry.current().unwrap(), None);
        let one = add(&registry, "2026-01", "1");
        assert_eq!(
            add(&registry, "2026-01", "1"),
            one,
            "the same files are one version"
        );
        let two = add(&registry, "2026-02", "2");
        registry.promote(&one.id, 0, "first").unwrap();
        let second = registry.promote(&two.id[..9], 1, "better").unwrap();
        assert_eq!(second.before.as_ref(), Some(&one.id));
        let weights = registry.folder().join("current/model.safetensors");
        assert_eq!(fs::read_to_string(&weights).unwrap(), "2");
        registry.promote(&one.id, 2, "back").unwrap();
        assert_eq!(fs::read_to_string(&weights).unwrap(), "1");
        assert_eq!(registry.versions().unwrap().len(), 2);
        assert_eq!(Registry::models(dir.path()).unwrap(), ["ranker"]);
    }

    #[test]
    fn each_rollback_goes_one_further_back() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::new(dir.path(), "ranker").unwrap();
        let months = ["2026-01", "2026-02", "2026-03", "2026-04"];
        let ids = months.map(|month| add(&registry, month, month).id);
        let in_use = || registry.current().unwrap().unwrap().version;
        for (after, id) in ids[..3].iter().enumerate() {
            registry.promote(id, after as u64, "next").unwrap();
        }
        registry.roll_back("worse").unwrap();
        assert_eq!(in_use(), ids[1]);
        registry.roll_back("worse too").unwrap();
        assert_eq!(in_use(), ids[0]);
        let told = registry.roll_back("more").unwrap_err().to_string();
        assert!(told.contains("nothing to go back to"), "{told}");
        // What came after goes back to what stood before it.
        registry.promote(&ids[3], 5, "next").unwrap();
        registry.roll_back("worse").unwrap();
        assert_eq!(in_use(), ids[0]);
    }

    #[test]
    fn of_two_that_chose_at_the_same_time_one_promotes() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::new(dir.path(), "ranker").unwrap();
        let (one, two) = (
            add(&registry, "2026-01", "1"),
            add(&registry, "2026-01", "2"),
        );
        let first = registry.promote(&one.id, 0, "a").unwrap();
        let refused = registry.promote(&two.id, 0, "b").unwrap_err().to_string();
        assert!(refused.contains("came into use meanwhile"), "{refused}");
        // The same choice made twice is one promotion.
        assert_eq!(registry.promote(&one.id, 0, "a").unwrap(), first);
        assert_eq!(registry.promotions().unwrap(), [first]);
    }

    #[test]
    fn names_that_leave_the_folder_are_refused() {
        for name in ["", "..", "a/b", ".hidden"] {
            assert!(Registry::new(Path::new("r"), name).is_err(), "{name}");
        }
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::new(dir.path(), "ranker").unwrap();
        add(&registry, "2026-01", "1");
        add(&registry, "2026-01", "2");
        let told = registry.version("2026-01").unwrap_err().to_string();
        assert!(told.contains("is the beginning of"), "{told}");
        let told = registry.version("2026-02").unwrap_err().to_string();
        assert!(told.contains("has no version"), "{told}");
    }
}
