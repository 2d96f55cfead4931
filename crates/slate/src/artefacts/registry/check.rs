//! What is wrong with a registry, and what can go.

use std::collections::BTreeSet;
use std::fs;

use anyhow::Result;

use super::{CURRENT, Registry, VERSION_FILE};
use crate::artefacts::listing::{files_below, names};
use crate::artefacts::manifest;
use crate::console::Refusal;

impl Registry {
    /// Everything that is wrong, in words: files that are not what they were, promotions of versions that
    /// are gone, a link that does not follow.
    ///
    /// # Errors
    /// A disk that cannot be read.
    pub(crate) fn verify(&self) -> Result<Vec<String>> {
        let mut problems = Vec::new();
        let ids = names(&self.path(""))?;
        for id in ids.iter().filter(|id| !id.starts_with('.')) {
            if let Err(error) = self.verify_version(id) {
                problems.push(format!("{error:#}"));
            }
        }
        let promotions = match self.promotions() {
            Ok(promotions) => promotions,
            Err(error) => {
                problems.push(format!("{error:#}"));
                return Ok(problems);
            }
        };
        for (at, promotion) in promotions.iter().enumerate() {
            let number = at as u64 + 1;
            if promotion.number != number {
                problems.push(format!("promotion {number} is missing"));
                break;
            }
        }
        // Earlier ones may be gone, as `gc` leaves only some.
        if let Some(last) = promotions.last() {
            if !ids.contains(&last.version) {
                problems.push(format!(
                    "`{}` is in use by promotion {}, but is not there",
                    last.version, last.number
                ));
            }
            let link = fs::read_link(self.folder().join(CURRENT)).unwrap_or_default();
            if !link.ends_with(&last.version) {
                problems.push(format!(
                    "`{CURRENT}` leads to `{}`, but `{}` is in use",
                    link.display(),
                    last.version
                ));
            }
        }
        Ok(problems)
    }

    /// Holds every file of a version to its hash, and its id to all of them.
    ///
    /// # Errors
    /// The first file that is missing, another one, or one too many.
    pub(crate) fn verify_version(&self, id: &str) -> Result<()> {
        let damaged = |what: String| {
            anyhow::Error::from(Refusal::new(what).hint(
                "versions are never changed: bring the files back from a copy, make it again with `slate retrain \
                 --month MONTH --from promote`, or take another with `slate registry rollback` or `promote`",
            ))
        };
        let folder = self.path(id);
        let version = self.version(id)?;
        if version.id != id {
            let told = format!("`{}` tells of `{}`", folder.display(), version.id);
            return Err(damaged(told));
        }
        if version.id != version.own_id()? {
            let told = format!(
                "`{}` was changed: its id is not that of what it says",
                folder.join(VERSION_FILE).display()
            );
            return Err(damaged(told));
        }
        for (name, kept) in &version.files {
            let file = folder.join(name);
            if !file.is_file() {
                return Err(damaged(format!("`{}` is missing", file.display())));
            }
            if manifest::sha256(&file)? != kept.sha256 {
                let told = format!("`{}` is not the file it was", file.display());
                return Err(damaged(told));
            }
        }
        let more = files_below(&folder)?.into_iter();
        let mut more =
            more.filter(|name| name != VERSION_FILE && !version.files.contains_key(name));
        match more.next() {
            Some(name) => {
                let told = format!(
                    "`{}` is no file of the version",
                    folder.join(name).display()
                );
                Err(damaged(told))
            }
            None => Ok(()),
        }
    }

    /// Versions that no one needs: neither in use, nor among the last `keep` that were, nor what these were
    /// made from.
    ///
    /// # Errors
    /// As [`Registry::promotions`] and [`Registry::versions`].
    pub(crate) fn unneeded(&self, keep: usize) -> Result<Vec<String>> {
        let promotions = self.promotions()?;
        let versions = self.versions()?;
        let mut needed: BTreeSet<&str> = BTreeSet::new();
        for promotion in promotions.iter().rev() {
            if needed.len() >= keep.max(1) {
                break;
            }
            needed.insert(&promotion.version);
        }
        let parents: Vec<&str> = versions
            .iter()
            .filter(|version| needed.contains(version.id.as_str()))
            .filter_map(|version| version.about.parent.as_deref())
            .collect();
        needed.extend(parents);
        let newest = versions.last().map(|version| version.id.clone());
        let gone = versions.iter().map(|version| version.id.clone());
        Ok(gone
            // The newest may be waiting for someone to promote it.
            .filter(|id| !needed.contains(id.as_str()) && Some(id) != newest.as_ref())
            .collect())
    }

    /// Removes a version.
    ///
    /// # Errors
    /// A disk that cannot be written.
    pub(crate) fn remove(&self, id: &str) -> Result<()> {
        // Out of sight first, so that no one finds half of it.
        let aside = self.path(&format!(".{id}.gone"));
        fs::rename(self.path(id), &aside)?;
        Ok(fs::remove_dir_all(aside)?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::add;
    use super::*;

    #[test]
    fn one_flipped_byte_anywhere_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::new(dir.path(), "ranker").unwrap();
        let version = add(&registry, "2026-01", "weights");
        registry.promote(&version.id, 0, "first").unwrap();
        assert!(registry.verify().unwrap().is_empty());
        let folder = registry.path(&version.id);
        let promotion = registry.folder().join("promotions/000001.json");
        for file in [
            folder.join("model.safetensors"),
            folder.join(VERSION_FILE),
            promotion,
        ] {
            let whole = fs::read(&file).unwrap();
            for at in 0..whole.len() {
                let mut flipped = whole.clone();
                flipped[at] ^= 1;
                fs::write(&file, &flipped).unwrap();
                // Blanks between the words of a JSON file may be any.
                let is_blank = |byte: u8| matches!(byte, b' ' | b'\n' | b'!' | 0x0b);
                let is_open = file.ends_with(VERSION_FILE);
                let same = is_open && is_blank(whole[at]) && is_blank(flipped[at]);
                let found = same || !registry.verify().unwrap().is_empty();
                assert!(found, "{} {at}", file.display());
            }
            fs::write(&file, &whole).unwrap();
        }
        fs::write(folder.join("more"), "").unwrap();
        assert_eq!(registry.verify().unwrap().len(), 1);
    }

    #[test]
    fn what_was_in_use_last_stays() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::new(dir.path(), "ranker").unwrap();
        let ids: Vec<String> = (1..=5)
            .map(|month| add(&registry, &format!("2026-0{month}"), &month.to_string()).id)
            .collect();
        for (after, id) in ids[..4].iter().enumerate() {
            registry.promote(id, after as u64, "next").unwrap();
        }
        assert_eq!(registry.unneeded(2).unwrap(), ids[..2]);
        registry.remove(&ids[0]).unwrap();
        assert_eq!(registry.versions().unwrap().len(), 4);
        assert!(registry.verify().unwrap().is_empty());
    }
}
