//! Titles and pictures of items to vectors, each content once.
//!
//! A folder of vectors holds a store for titles and one for pictures, where vectors are kept by
//! content, and the tables of the items last seen: `items/item_id.npy`, `items/title.npy`,
//! `items/image.npy`, a row for each item, zeros where there is no vector.

mod encoders;
mod seen;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use slate_embed::{
    EmbedDevice, EmbedError, Identity, Key, Mapped, Picture, Refused, VectorStore, write_ids,
};
use slate_types::{FormatVersion, Progress};

use crate::artefacts::items::{BadRow, Item, ItemColumns, PictureSource, read_items};
use crate::artefacts::manifest::hex;
use crate::artefacts::{OutputLock, Staged, write_file};
use crate::config::{EmbedSection, ImageSection, TitleSection};
use crate::console::Refusal;
use encoders::{Pictures, Titles};
use seen::SeenFiles;

const FORMAT: FormatVersion = FormatVersion(1);
/// Pictures that are decoded at once.
const DECODED_AT_ONCE: usize = 32;
/// Contents that are computed and written at once: what a kill may cost.
const TITLES_AT_ONCE: usize = 4096;
const PICTURES_AT_ONCE: usize = 256;
/// Name of the folder with the tables.
pub(crate) const TABLES: &str = "items";

/// `items/manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmbedManifest {
    pub(crate) format: FormatVersion,
    /// Rows of the tables.
    pub(crate) items: usize,
    /// Rows of the source that are no items, and pictures that could not be read.
    pub(crate) rejects: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) title: Option<Part>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) image: Option<Part>,
    /// SHA-256 over ids and the keys of their contents: the same items give the same.
    pub(crate) contents: String,
}

/// Vectors of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    pub(crate) identity: Identity,
    /// Items that have one.
    pub(crate) with: usize,
    /// Whether each is of length 1.
    #[serde(default)]
    pub(crate) unit: bool,
}

/// What was done.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Embedded {
    #[serde(flatten)]
    pub(crate) manifest: EmbedManifest,
    /// Contents computed this time.
    pub(crate) computed: BTreeMap<&'static str, usize>,
    /// Contents removed from the stores.
    pub(crate) removed: BTreeMap<&'static str, usize>,
    /// Whether the tables were there already.
    pub(crate) unchanged: bool,
    /// Rejects by reason.
    pub(crate) reasons: BTreeMap<String, usize>,
}

/// Where things are and how they are done.
pub(crate) struct Job<'a> {
    pub(crate) section: &'a EmbedSection,
    pub(crate) items: &'a Path,
    /// Folder that paths of pictures are under.
    pub(crate) pictures: &'a Path,
    pub(crate) out: &'a Path,
    pub(crate) device: EmbedDevice,
    /// Begin stores of other encoders anew.
    pub(crate) force: bool,
    /// Remove vectors of contents no item has any more.
    pub(crate) gc: bool,
}

/// A store, and the contents that wait to be computed for it.
struct Shelf<C> {
    store: VectorStore,
    waiting: Vec<(Key, C)>,
    keys: BTreeSet<Key>,
    computed: usize,
}

impl<C> Shelf<C> {
    fn open(folder: &Path, identity: Identity, force: bool) -> Result<Self> {
        let opened = VectorStore::open(folder, identity.clone());
        let store = match opened {
            Err(EmbedError::OtherEncoder { .. } | EmbedError::Store { .. }) if force => {
                VectorStore::begin_anew(folder, identity)?
            }
            opened => opened?,
        };
        Ok(Self {
            store,
            waiting: Vec::new(),
            keys: BTreeSet::new(),
            computed: 0,
        })
    }

    /// Puts a content in line, unless its vector is there or it stands in line already.
    fn offer(&mut self, key: Key, content: C) {
        if self.store.row(&key).is_none() && self.keys.insert(key) {
            self.waiting.push((key, content));
        }
    }

    fn append(&mut self, keys: &[Key], vectors: &[f32]) -> Result<()> {
        self.store.append(keys, vectors)?;
        self.computed += keys.len();
        Ok(())
    }

    fn take(&mut self) -> (Vec<Key>, Vec<C>) {
        self.keys.clear();
        std::mem::take(&mut self.waiting).into_iter().unzip()
    }
}

/// What is known of an item.
#[derive(Debug, Clone, Copy)]
struct Row {
    id: i64,
    title: Option<Key>,
    image: Option<Key>,
}

/// A line of `items/rejects.csv`.
struct Reject {
    item: Option<i64>,
    place: String,
    reason: String,
}

struct Work<'a> {
    job: &'a Job<'a>,
    titles: Option<(Titles, Shelf<String>)>,
    pictures: Option<(Pictures, Shelf<Vec<u8>>)>,
    rows: Vec<Row>,
    seen: BTreeSet<i64>,
    rejects: Vec<Reject>,
    /// Pictures that cannot be read, and why.
    broken: BTreeMap<Key, String>,
    files: SeenFiles,
    bar: &'a dyn Progress,
}

/// Computes what is new and writes the tables.
///
/// # Errors
/// An encoder that cannot be read, items that cannot, a store of another encoder, a full disk; what
/// was computed until then is kept.
pub(crate) fn embed(job: &Job<'_>, bar: &dyn Progress) -> Result<Embedded> {
    let titles = Titles::open(job.section, job.device)?;
    let pictures = Pictures::open(job.section, job.device)?;
    if titles.is_none() && pictures.is_none() {
        return Err(Refusal::new("no encoder is named")
            .hint(
                "pass --encoder hashed, or --title FOLDER and --image FOLDER with pretrained weights, \
                 or write [embed.title] and [embed.image]",
            )
            .into());
    }
    let columns = ItemColumns {
        id: job.section.id.clone(),
        title: match &job.section.title {
            Some(title) => title.columns.clone(),
            None => Vec::new(),
        },
        image: job.section.image.as_ref().map(|image| image.column.clone()),
    };
    let tables = job.out.join(TABLES);
    fs::create_dir_all(job.out)
        .with_context(|| format!("cannot create `{}`", job.out.display()))?;
    let _lock = OutputLock::take(job.out)?;
    refuse_foreign(&tables, job, titles.is_some(), pictures.is_some())?;
    // Before anything is begun anew: items that cannot be read cost no vectors.
    let first = read_items(job.items, &columns, &mut |_, _| Err(Enough.into()));
    first.or_else(|error| error.downcast::<Enough>().map(|_| ()))?;
    let titles = titles
        .map(|titles| -> Result<_> {
            let shelf = Shelf::open(&job.out.join("title"), titles.identity(), job.force)?;
            Ok((titles, shelf))
        })
        .transpose()?;
    let pictures = pictures
        .map(|pictures| -> Result<_> {
            let shelf = Shelf::open(&job.out.join("image"), pictures.identity(), job.force)?;
            Ok((pictures, shelf))
        })
        .transpose()?;
    let mut work = Work {
        job,
        titles,
        pictures,
        rows: Vec::new(),
        seen: BTreeSet::new(),
        rejects: Vec::new(),
        broken: BTreeMap::new(),
        files: SeenFiles::open(job.out),
        bar,
    };
    bar.begin("embed", None, "contents");
    read_items(job.items, &columns, &mut |items, bad| work.take(items, bad))?;
    work.compute_titles()?;
    work.compute_pictures()?;
    bar.end();
    work.finish()
}

/// The first rows were read.
#[derive(Debug, thiserror::Error)]
#[error("the first rows were read")]
struct Enough;

/// Tables that are not slate's are not replaced, nor is what this run would leave out of them.
fn refuse_foreign(tables: &Path, job: &Job<'_>, titles: bool, pictures: bool) -> Result<()> {
    let inside = |path: &Path| {
        Some(
            path.canonicalize()
                .ok()?
                .starts_with(tables.canonicalize().ok()?),
        )
    };
    if inside(job.items) == Some(true) {
        return Err(Refusal::new(format!(
            "the items are in `{}`, which is written anew",
            tables.display()
        ))
        .hint("choose another --out")
        .into());
    }
    let is_empty = fs::read_dir(tables).map_or(true, |mut entries| entries.next().is_none());
    if is_empty {
        return Ok(());
    }
    let found = read_manifest(tables).map_err(|error| {
        let told = format!(
            "`{}` holds no tables of vectors: {error:#}",
            tables.display()
        );
        Refusal::new(told).hint("choose another --out")
    })?;
    let dropped = [
        ("title", found.title.is_some() && !titles),
        ("image", found.image.is_some() && !pictures),
    ];
    match dropped.iter().find(|(_, dropped)| *dropped && !job.force) {
        Some((name, _)) => Err(Refusal::new(format!(
            "`{}` has vectors of `{name}`, and no encoder of it is named",
            tables.display()
        ))
        .hint(format!(
            "name it as well, --{name} FOLDER; --force leaves them out"
        ))
        .into()),
        None => Ok(()),
    }
}

impl Work<'_> {
    fn take(&mut self, items: Vec<Item>, bad: Vec<BadRow>) -> Result<()> {
        self.rejects.extend(bad.into_iter().map(|bad| Reject {
            item: None,
            place: format!("{}:{}", bad.file.display(), bad.row),
            reason: bad.reason,
        }));
        for item in items {
            if !self.seen.insert(item.id) {
                self.reject(
                    item.id,
                    "item",
                    "the item stands twice; the first one counts".to_owned(),
                );
                continue;
            }
            let row = Row {
                id: item.id,
                title: self.title(item.title),
                image: self.picture(item.id, item.image),
            };
            self.rows.push(row);
        }
        let waits = |waiting: Option<usize>, most: usize| waiting.is_some_and(|n| n >= most);
        if waits(
            self.titles.as_ref().map(|(_, shelf)| shelf.waiting.len()),
            TITLES_AT_ONCE,
        ) {
            self.compute_titles()?;
        }
        if waits(
            self.pictures.as_ref().map(|(_, shelf)| shelf.waiting.len()),
            PICTURES_AT_ONCE,
        ) {
            self.compute_pictures()?;
        }
        Ok(())
    }

    fn reject(&mut self, item: i64, place: &str, reason: String) {
        self.rejects.push(Reject {
            item: Some(item),
            place: place.to_owned(),
            reason,
        });
    }

    fn title(&mut self, title: String) -> Option<Key> {
        let (_, shelf) = self.titles.as_mut()?;
        if title.is_empty() {
            return None;
        }
        let key = Key::of(title.as_bytes());
        shelf.offer(key, title);
        Some(key)
    }

    fn picture(&mut self, item: i64, source: Option<PictureSource>) -> Option<Key> {
        let (key, bytes) = match source? {
            PictureSource::Bytes(bytes) => (Key::of(&bytes), bytes),
            PictureSource::Path(path) => {
                let path = self.job.pictures.join(path);
                let found = fs::metadata(&path).ok();
                let known = found.as_ref().and_then(|own| self.files.known(&path, own));
                let (_, shelf) = self.pictures.as_ref()?;
                if let Some(key) = known.filter(|key| shelf.store.row(key).is_some()) {
                    return Some(key);
                }
                match fs::read(&path) {
                    Ok(bytes) => {
                        let key = Key::of(&bytes);
                        if let Some(found) = &found {
                            self.files.note(&path, found, key);
                        }
                        (key, bytes)
                    }
                    Err(error) => {
                        let reason = format!("cannot be read: {}", error.kind());
                        self.reject(item, "image", reason);
                        return None;
                    }
                }
            }
        };
        let (_, shelf) = self.pictures.as_mut()?;
        if !self.broken.contains_key(&key) {
            shelf.offer(key, bytes);
        }
        Some(key)
    }

    fn compute_titles(&mut self) -> Result<()> {
        let Some((titles, shelf)) = &mut self.titles else {
            return Ok(());
        };
        let (keys, contents) = shelf.take();
        let vectors = titles.encode(&contents, self.bar)?;
        shelf.append(&keys, &vectors)
    }

    fn compute_pictures(&mut self) -> Result<()> {
        let Some((encoder, shelf)) = &mut self.pictures else {
            return Ok(());
        };
        let (keys, contents) = shelf.take();
        // A few at a time, so that decoded pictures do not fill the memory.
        let (mut good, mut vectors) = (Vec::new(), Vec::new());
        for (keys, contents) in keys
            .chunks(DECODED_AT_ONCE)
            .zip(contents.chunks(DECODED_AT_ONCE))
        {
            let decoded: Vec<Result<Picture, Refused>> = contents
                .par_iter()
                .map(|bytes| Picture::decode(bytes))
                .collect();
            let mut pictures = Vec::new();
            for (key, decoded) in keys.iter().zip(decoded) {
                match decoded {
                    Ok(picture) => {
                        good.push(*key);
                        pictures.push(picture);
                    }
                    Err(refused) => {
                        self.broken.insert(*key, refused.to_string());
                    }
                }
            }
            vectors.extend(encoder.encode(&pictures, self.bar)?);
        }
        shelf.append(&good, &vectors)
    }

    /// Writes the tables, unless they are there, and removes what no item has any more.
    fn finish(mut self) -> Result<Embedded> {
        for at in 0..self.rows.len() {
            let Row { id, image, .. } = self.rows[at];
            if let Some(reason) = image.and_then(|key| self.broken.get(&key)) {
                let reason = reason.clone();
                self.reject(id, "image", reason);
                self.rows[at].image = None;
            }
        }
        let mut removed = BTreeMap::new();
        if self.job.gc {
            let of = |part: fn(&Row) -> Option<Key>| -> BTreeSet<Key> {
                self.rows.iter().filter_map(part).collect()
            };
            let (titles, images) = (of(|row| row.title), of(|row| row.image));
            if let Some((_, shelf)) = &mut self.titles {
                removed.insert("title", shelf.store.keep(&|key| titles.contains(key))?);
            }
            if let Some((_, shelf)) = &mut self.pictures {
                removed.insert("image", shelf.store.keep(&|key| images.contains(key))?);
            }
        }
        let titles = self.titles.as_ref().map(|(_, shelf)| shelf);
        let pictures = self.pictures.as_ref().map(|(_, shelf)| shelf);
        let with = |part: fn(&Row) -> Option<Key>| self.rows.iter().filter_map(part).count();
        let manifest = EmbedManifest {
            format: FORMAT,
            items: self.rows.len(),
            rejects: self.rejects.len(),
            title: titles.map(|shelf| Part {
                identity: shelf.store.identity().clone(),
                with: with(|row| row.title),
                unit: self
                    .job
                    .section
                    .title
                    .as_ref()
                    .is_some_and(TitleSection::is_unit),
            }),
            image: pictures.map(|shelf| Part {
                identity: shelf.store.identity().clone(),
                with: with(|row| row.image),
                unit: self
                    .job
                    .section
                    .image
                    .as_ref()
                    .is_some_and(ImageSection::is_unit),
            }),
            contents: contents_hash(&self.rows, &self.rejects),
        };
        let tables = self.job.out.join(TABLES);
        let unchanged = read_manifest(&tables).is_ok_and(|found| found == manifest)
            && are_whole(&tables, &manifest);
        if !unchanged {
            let staged = Staged::folder(&tables, true)?;
            let at = |name: &str| staged.path().join(name);
            let ids: Vec<i64> = self.rows.iter().map(|row| row.id).collect();
            write_ids(&ids, &at("item_id.npy"))?;
            if let Some(shelf) = titles {
                let rows = self.rows.iter().map(|row| shelf.store.row(&row.title?));
                shelf
                    .store
                    .export(&rows.collect::<Vec<_>>(), &at("title.npy"))?;
            }
            if let Some(shelf) = pictures {
                let rows = self.rows.iter().map(|row| shelf.store.row(&row.image?));
                shelf
                    .store
                    .export(&rows.collect::<Vec<_>>(), &at("image.npy"))?;
            }
            write_rejects(&self.rejects, &at("rejects.csv"))?;
            let text = serde_json::to_string_pretty(&manifest)? + "\n";
            write_file(&at("manifest.json"), text.as_bytes(), false)?;
            staged.commit()?;
        }
        self.files.save()?;
        let mut computed = BTreeMap::new();
        computed.extend(titles.map(|shelf| ("title", shelf.computed)));
        computed.extend(pictures.map(|shelf| ("image", shelf.computed)));
        let mut reasons = BTreeMap::new();
        for reject in &self.rejects {
            // What a decoder said is in the file, beside its picture.
            let reason = reject.reason.split(": ").next().unwrap_or_default();
            *reasons.entry(reason.to_owned()).or_insert(0) += 1;
        }
        Ok(Embedded {
            manifest,
            computed,
            removed,
            unchanged,
            reasons,
        })
    }
}

fn contents_hash(rows: &[Row], rejects: &[Reject]) -> String {
    let mut hash = Sha256::new();
    for row in rows {
        hash.update(row.id.to_le_bytes());
        for key in [row.title, row.image] {
            hash.update(key.map_or([0; 16], |key| key.0));
        }
    }
    for reject in rejects {
        hash.update(format!(
            "{:?} {:?} {:?}",
            reject.item, reject.place, reject.reason
        ));
    }
    hex(&hash.finalize())
}

/// Whether all tables that a manifest tells of are there, in their sizes.
fn are_whole(tables: &Path, manifest: &EmbedManifest) -> bool {
    let is = |name: &str, shape: &[usize]| {
        Mapped::open(&tables.join(name)).is_ok_and(|table| table.shape() == shape)
    };
    let part = |name: &str, part: &Option<Part>| {
        let dimensions = part.as_ref().map(|part| part.identity.dimensions);
        dimensions.is_none_or(|dimensions| is(name, &[manifest.items, dimensions]))
    };
    is("item_id.npy", &[manifest.items])
        && part("title.npy", &manifest.title)
        && part("image.npy", &manifest.image)
        && tables.join("rejects.csv").is_file()
}

fn write_rejects(rejects: &[Reject], path: &Path) -> Result<()> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["item_id", "where", "reason"])?;
    for reject in rejects {
        let id = reject.item.map_or(String::new(), |id| id.to_string());
        writer.write_record([&id, &reject.place, &reject.reason])?;
    }
    write_file(
        path,
        &writer.into_inner().context("a table of rejects")?,
        false,
    )
}

/// The manifest of a folder of tables.
///
/// # Errors
/// A folder without one, and one of another version.
pub(crate) fn read_manifest(tables: &Path) -> Result<EmbedManifest> {
    let path = tables.join("manifest.json");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let manifest: EmbedManifest = serde_json::from_str(&text)
        .with_context(|| format!("`{}` is no manifest of vectors", path.display()))?;
    manifest.format.check("manifest of vectors", FORMAT)?;
    Ok(manifest)
}
