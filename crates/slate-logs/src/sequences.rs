//! What the person did last before each list: the sequence a history encoder reads.
//!
//! One row for each list, in the order of the lists: items, types and times of the last events of the
//! page's user, or of its session where no user is known, strictly before the page, oldest first.
//! Each pass takes the people of its share of hashes and leaves its rows in a file; the files are
//! merged in the end.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, Int64Builder, ListBuilder, UInt8Builder};
use arrow::datatypes::{DataType, Field, Schema};

use crate::LogError;
use crate::attribution::Event;
use crate::history::{IdMap, Key};
use crate::pairs::person;
use crate::rows::Rows;
use crate::writer::{Purpose, TableWriter};

/// Version of the layout of `sequences.parquet`, in its footer as `slate.format`.
const FORMAT: u32 = 1;
/// Lists handed to the writer at once.
const LISTS: usize = 4096;

/// One event of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Step {
    person: Key,
    ts: i64,
    id: i64,
    item: i64,
    kind: u8,
}

/// The past of the people of one pass.
pub(crate) struct Past {
    steps: Vec<Step>,
    people: IdMap<Key, (u32, u32)>,
    length: usize,
    pass: u32,
    passes: u32,
}

fn key(person: (bool, i64)) -> Key {
    Key::two(person.1, i64::from(person.0))
}

/// The person a row's page was shown to.
fn viewer(rows: &Rows, at: usize) -> Option<Key> {
    let user = rows.user.get(at).map(|user| (true, user));
    let person = user.or_else(|| rows.session.get(at).map(|session| (false, session)));
    person.map(key)
}

impl Past {
    /// Of the people of one pass; sequences of at most `length`.
    pub(crate) fn new(length: usize, pass: u32, passes: u32) -> Self {
        Self {
            steps: Vec::new(),
            people: IdMap::default(),
            length,
            pass,
            passes,
        }
    }

    /// Takes an event, in any order.
    pub(crate) fn add(&mut self, event: &Event) {
        let Some(person) = person(event).map(key) else {
            return;
        };
        if person.pass(self.passes) == self.pass {
            self.steps.push(Step {
                person,
                ts: event.ts,
                id: event.id,
                item: event.item,
                kind: event.kind,
            });
        }
    }

    /// Ends taking events.
    pub(crate) fn sort(&mut self) {
        self.steps.sort_unstable();
        let mut first = 0;
        for steps in self.steps.chunk_by(|a, b| a.person == b.person) {
            let end = first + steps.len() as u32;
            self.people.insert(steps[0].person, (first, end));
            first = end;
        }
    }

    fn before(&self, person: Key, now: i64) -> &[Step] {
        let Some(&(first, end)) = self.people.get(&person) else {
            return &[];
        };
        let steps = &self.steps[first as usize..end as usize];
        let known = steps.partition_point(|step| step.ts < now);
        &steps[known.saturating_sub(self.length)..known]
    }
}

/// The sequences of one pass being written.
pub(crate) struct PassWriter {
    path: PathBuf,
    file: BufWriter<File>,
    last_list: Option<i64>,
    pass: u32,
    passes: u32,
}

impl PassWriter {
    pub(crate) fn create(work: &Path, pass: u32, passes: u32) -> Result<Self, LogError> {
        let path = work.join(format!("sequences-{pass}"));
        let file = File::create(&path).map_err(|source| LogError::Io {
            action: "create",
            path: path.clone(),
            source,
        })?;
        Ok(Self {
            path,
            file: BufWriter::with_capacity(1 << 18, file),
            last_list: None,
            pass,
            passes,
        })
    }

    /// Takes the next rows, in their order.
    pub(crate) fn add(&mut self, rows: &Rows, past: &Past) -> Result<(), LogError> {
        let mut bytes = Vec::new();
        for at in 0..rows.len() {
            let list = rows.list[at];
            if self.last_list == Some(list) {
                continue;
            }
            self.last_list = Some(list);
            let Some(person) = viewer(rows, at) else {
                continue;
            };
            if person.pass(self.passes) != self.pass {
                continue;
            }
            let steps = past.before(person, rows.ts[at]);
            bytes.extend((steps.len() as u32).to_le_bytes());
            for step in steps {
                bytes.extend(step.item.to_le_bytes());
                bytes.extend(step.ts.to_le_bytes());
                bytes.push(step.kind);
            }
        }
        self.file.write_all(&bytes).map_err(|source| LogError::Io {
            action: "write",
            path: self.path.clone(),
            source,
        })
    }

    pub(crate) fn finish(self) -> Result<PassReader, LogError> {
        let path = self.path;
        let fail = |action, source| LogError::Io {
            action,
            path: path.clone(),
            source,
        };
        self.file
            .into_inner()
            .map_err(|error| fail("write", error.into_error()))?;
        let file = File::open(&path).map_err(|source| fail("open", source))?;
        Ok(PassReader {
            file: BufReader::with_capacity(1 << 18, file),
            path,
        })
    }
}

/// The sequences of one pass.
pub(crate) struct PassReader {
    path: PathBuf,
    file: BufReader<File>,
}

impl PassReader {
    fn read<const N: usize>(&mut self) -> Result<[u8; N], LogError> {
        let mut bytes = [0; N];
        self.file
            .read_exact(&mut bytes)
            .map_err(|source| LogError::Io {
                action: "read",
                path: self.path.clone(),
                source,
            })?;
        Ok(bytes)
    }
}

impl Drop for PassReader {
    fn drop(&mut self) {
        // The work folder goes in the end anyway.
        let _ = fs::remove_file(&self.path);
    }
}

/// Merges the passes into one table, list by list.
pub(crate) struct Merger {
    readers: Vec<PassReader>,
    writer: TableWriter,
    last_list: Option<i64>,
    lists: Vec<i64>,
    items: ListBuilder<Int64Builder>,
    kinds: ListBuilder<UInt8Builder>,
    times: ListBuilder<Int64Builder>,
}

impl Merger {
    pub(crate) fn create(out: &Path, readers: Vec<PassReader>) -> Result<Self, LogError> {
        let list = |name: &str, of: DataType| {
            let item = Field::new_list_field(of, true);
            Field::new(name, DataType::List(Arc::new(item)), false)
        };
        let schema = Schema::new(vec![
            Field::new("list_id", DataType::Int64, false),
            list("item_id", DataType::Int64),
            list("type", DataType::UInt8),
            list("ts", DataType::Int64),
        ]);
        let format = [("slate.format", FORMAT.to_string())];
        let schema = Arc::new(schema);
        let columns = schema.fields().len();
        Ok(Self {
            readers,
            writer: TableWriter::create(out, &schema, &format, Purpose::Scratch, columns)?,
            last_list: None,
            lists: Vec::new(),
            items: ListBuilder::default(),
            kinds: ListBuilder::default(),
            times: ListBuilder::default(),
        })
    }

    /// Takes the next rows, in their order.
    pub(crate) fn add(&mut self, rows: &Rows) -> Result<(), LogError> {
        let passes = self.readers.len() as u32;
        for at in 0..rows.len() {
            let list = rows.list[at];
            if self.last_list == Some(list) {
                continue;
            }
            self.last_list = Some(list);
            self.lists.push(list);
            if let Some(person) = viewer(rows, at) {
                let reader = &mut self.readers[person.pass(passes) as usize];
                for _ in 0..u32::from_le_bytes(reader.read()?) {
                    self.items
                        .values()
                        .append_value(i64::from_le_bytes(reader.read()?));
                    self.times
                        .values()
                        .append_value(i64::from_le_bytes(reader.read()?));
                    let [kind] = reader.read()?;
                    self.kinds.values().append_value(kind);
                }
            }
            self.items.append(true);
            self.kinds.append(true);
            self.times.append(true);
            if self.lists.len() == LISTS {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), LogError> {
        if self.lists.is_empty() {
            return Ok(());
        }
        let columns: [ArrayRef; 4] = [
            Arc::new(Int64Array::from(std::mem::take(&mut self.lists))),
            Arc::new(self.items.finish()),
            Arc::new(self.kinds.finish()),
            Arc::new(self.times.finish()),
        ];
        self.writer.write(self.writer.conform(&columns)?)?;
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<(), LogError> {
        self.flush()?;
        self.writer.finish()
    }
}
