//! Which vectors the training window shows, for those that are standardised.

use crate::{
    Block, FeatureError,
    map::VectorScale,
    spec::{Embedding, FeatureSpec},
    vectors::VectorTable,
};

/// Which vectors the training window shows, of those that are to be standardised.
pub(crate) struct Shown<'a> {
    /// Entries that read the same file have one scale, so that an item is the same numbers as seed and as candidate.
    files: Vec<ShownFile<'a>>,
}

struct ShownFile<'a> {
    entries: Vec<&'a Embedding>,
    table: &'a VectorTable,
    /// Of each row of the table.
    is_shown: Vec<bool>,
}

impl<'a> Shown<'a> {
    pub(crate) fn new(spec: &'a FeatureSpec, tables: &'a [VectorTable]) -> Self {
        let mut files: Vec<ShownFile> = Vec::new();
        let entries = spec.embedding.iter().zip(tables);
        for (entry, table) in entries.filter(|(entry, _)| entry.standardise) {
            let of_entry = |file: &&mut ShownFile| {
                let first = file.entries[0];
                (&first.path, &first.ids) == (&entry.path, &entry.ids)
            };
            match files.iter_mut().find(of_entry) {
                Some(file) => file.entries.push(entry),
                None => files.push(ShownFile {
                    entries: vec![entry],
                    table,
                    is_shown: vec![false; table.len()],
                }),
            }
        }
        Self { files }
    }

    pub(crate) fn columns(&self) -> impl Iterator<Item = &'a str> {
        let entries = self.files.iter().flat_map(|file| &file.entries);
        entries.map(|entry| entry.column.as_str())
    }

    pub(crate) fn observe(&mut self, block: &Block, used: &[bool]) -> Result<(), FeatureError> {
        for file in &mut self.files {
            for entry in &file.entries {
                let ids = block.ids(&entry.column)?;
                for (id, _) in ids.iter().zip(used).filter(|(_, used)| **used) {
                    let row = id.map_or(0, |id| file.table.row(id));
                    file.is_shown[row as usize] = true;
                }
            }
        }
        Ok(())
    }

    /// The scale of an entry, where it asks for one.
    pub(crate) fn scale(&self, entry: &Embedding, notes: &mut Vec<String>) -> Option<VectorScale> {
        let is_entry = |own: &&Embedding| std::ptr::eq(*own, entry);
        let file = self
            .files
            .iter()
            .find(|file| file.entries.iter().any(is_entry))?;
        let shown = (1..file.table.len()).filter(|&row| file.is_shown[row]);
        let scale = file.table.scale(shown);
        if scale.is_none() {
            notes.push(format!(
                "no item of the training window has a vector in `{}`: `{}` is not standardised",
                entry.path.display(),
                entry.name
            ));
        }
        Some(scale.unwrap_or_else(|| VectorScale::none(file.table.width)))
    }
}
