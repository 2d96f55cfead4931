//! Score files: Parquet and CSV.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema, TimeUnit};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use slate_types::FormatVersion;

use super::{INTEGERS, NUMBERS, SCORES_FORMAT, ScoreTable, csv_file};
use crate::artefacts::guarded;
use crate::console::Refusal;

impl ScoreTable {
    /// Reads a `.csv` file as CSV and any other as Parquet.
    ///
    /// # Errors
    /// A file that cannot be read, a missing required column, a value of the wrong type, and what
    /// [`ScoreTable::new`] refuses.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        Self::read_as(path, Needs::Score)
    }

    /// The same for placements that nobody scored: where there is no `score` all are 0.
    ///
    /// # Errors
    /// As [`ScoreTable::read`].
    pub(crate) fn read_shown(path: &Path) -> Result<Self> {
        Self::read_as(path, Needs::Lists)
    }

    /// Columns that stand beside placements: each row its own list, where no `list_id` says more.
    ///
    /// # Errors
    /// As [`ScoreTable::read`].
    pub(crate) fn read_beside(path: &Path) -> Result<Self> {
        Self::read_as(path, Needs::Nothing)
    }

    fn read_as(path: &Path, needs: Needs) -> Result<Self> {
        let csv = path
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("csv"));
        let read = if csv {
            csv_file::read(path, needs)
        } else {
            guarded(|| read_parquet(path, needs))
        };
        let what = match needs {
            Needs::Score => "scores",
            Needs::Lists => "placements",
            Needs::Nothing => "columns",
        };
        read.with_context(|| format!("cannot read the {what} `{}`", path.display()))
    }

    /// Writes Parquet, or CSV where the name ends in `.csv`, to a path that is not there yet.
    ///
    /// # Errors
    /// Any failure of the file system.
    pub(crate) fn write(&self, file: &Path, csv: bool) -> Result<()> {
        let batch = self.batch()?;
        if csv {
            csv_file::write(&batch, file)
        } else {
            self.write_parquet(&batch, file)
        }
    }

    fn batch(&self) -> Result<RecordBatch> {
        let mut fields: Vec<Field> = Vec::new();
        let mut arrays: Vec<ArrayRef> = Vec::new();
        let mut add = |name: &str, array: ArrayRef| {
            fields.push(Field::new(
                name,
                array.data_type().clone(),
                array.null_count() > 0,
            ));
            arrays.push(array);
        };
        add("list_id", Arc::new(Int64Array::from(self.list_id.clone())));
        for name in INTEGERS {
            if let Some(values) = self.integers.get(name) {
                add(name, Arc::new(Int64Array::from(values.clone())));
            }
        }
        add("score", Arc::new(Float64Array::from(self.score.clone())));
        for name in NUMBERS {
            if let Some(values) = self.numbers.get(name) {
                let known = values.iter().map(|v| (!v.is_nan()).then_some(*v));
                add(name, Arc::new(known.collect::<Float64Array>()));
            }
        }
        if let Some(split) = &self.split {
            add("split", Arc::new(StringArray::from_iter_values(split)));
        }
        for (name, array) in &self.others {
            add(name, Arc::clone(array));
        }
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
    }

    fn write_parquet(&self, batch: &RecordBatch, path: &Path) -> Result<()> {
        let footer = vec![
            KeyValue::new("slate.format".to_owned(), SCORES_FORMAT.0.to_string()),
            KeyValue::new("slate.scorer".to_owned(), self.scorer.clone()),
        ];
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
            .set_key_value_metadata(Some(footer))
            .build();
        let file = File::create(path)?;
        let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties))?;
        writer.write(batch)?;
        writer.close()?;
        Ok(())
    }
}

/// Names of the columns of a Parquet file.
///
/// # Errors
/// A file that cannot be read.
pub(crate) fn columns_of(path: &Path) -> Result<Vec<String>> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?;
    let fields = builder.schema().fields().iter();
    Ok(fields.map(|field| field.name().clone()).collect())
}

fn read_parquet(path: &Path, needs: Needs) -> Result<ScoreTable> {
    // The types that writers of Arrow add to a file are not needed here, and reading damaged ones
    // panics.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(File::open(path)?, options)
        .context("this is not a whole Parquet file")?;
    let footer = builder
        .metadata()
        .file_metadata()
        .key_value_metadata()
        .cloned()
        .unwrap_or_default();
    let value = |key: &str| {
        footer
            .iter()
            .find(|pair| pair.key == key)
            .and_then(|pair| pair.value.clone())
    };
    if let Some(format) = value("slate.format") {
        let format = format
            .parse()
            .context("`slate.format` in the footer is no number")?;
        FormatVersion(format).check("score file", SCORES_FORMAT)?;
    }
    let schema = builder.schema().clone();
    let batches = builder.build()?.collect::<Result<Vec<_>, _>>()?;
    let batch = arrow::compute::concat_batches(&schema, &batches)?;

    let column = |name: &str, to: DataType| -> Result<Option<ArrayRef>> {
        let Some(array) = batch.column_by_name(name) else {
            return Ok(None);
        };
        let given = array.data_type();
        let time = matches!(given, DataType::Timestamp(..));
        let fits = given.is_numeric() || *given == DataType::Boolean || time && name == "ts";
        if !fits {
            return Err(
                Refusal::new(format!("column `{name}` is {given}, expected numbers")).into(),
            );
        }
        let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
        let array = if time { &cast(array, &micros)? } else { array };
        Ok(Some(cast(array, &to)?))
    };
    let integers = |name: &str| -> Result<Option<Vec<i64>>> {
        if let Some(given) = batch.column_by_name(name).map(Array::data_type)
            && !given.is_integer()
            && !(matches!(given, DataType::Timestamp(..)) && name == "ts")
        {
            return Err(Refusal::new(format!(
                "column `{name}` is {given}, expected whole numbers"
            ))
            .into());
        }
        let Some(array) = column(name, DataType::Int64)? else {
            return Ok(None);
        };
        if array.null_count() > 0 {
            return Err(Refusal::new(format!(
                "column `{name}` has {} nulls, expected none",
                array.null_count()
            ))
            .into());
        }
        Ok(Some(array.as_primitive::<Int64Type>().values().to_vec()))
    };
    let numbers = |name: &str| -> Result<Option<Vec<f64>>> {
        let Some(array) = column(name, DataType::Float64)? else {
            return Ok(None);
        };
        let array = array.as_primitive::<Float64Type>().clone();
        Ok(Some(array.iter().map(|v| v.unwrap_or(f64::NAN)).collect()))
    };
    let split = match batch.column_by_name("split") {
        None => None,
        Some(array) => {
            let text = cast(array, &DataType::Utf8)?;
            let text = text.as_string::<i32>();
            Some(text.iter().map(|v| v.unwrap_or("").to_owned()).collect())
        }
    };
    let found: Vec<String> = schema.fields().iter().map(|f| f.name().clone()).collect();
    let scorer = value("slate.scorer").unwrap_or_default();
    let mut table = assemble(
        &found,
        batch.num_rows(),
        needs,
        integers,
        numbers,
        split,
        &scorer,
    )?;
    for (name, array) in found.into_iter().zip(batch.columns()) {
        if !known(&name) {
            table.others.push((name, Arc::clone(array)));
        }
    }
    Ok(table)
}

/// Whether a column has a meaning of its own.
pub(super) fn known(name: &str) -> bool {
    ["list_id", "score", "split"].contains(&name)
        || INTEGERS.contains(&name)
        || NUMBERS.contains(&name)
}

/// What a file cannot do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    Score,
    Lists,
    Nothing,
}

pub(super) fn assemble(
    found: &[String],
    rows: usize,
    needs: Needs,
    integers: impl Fn(&str) -> Result<Option<Vec<i64>>>,
    numbers: impl Fn(&str) -> Result<Option<Vec<f64>>>,
    split: Option<Vec<String>>,
    scorer: &str,
) -> Result<ScoreTable> {
    if let Some(name) =
        (1..found.len()).find_map(|at| found[..at].contains(&found[at]).then_some(&found[at]))
    {
        let told = format!("column `{name}` is there twice, expected each name once");
        return Err(Refusal::new(told).into());
    }
    let missing = |name: &str| {
        Refusal::new(format!("required column `{name}` is missing"))
            .hint(format!("the file has: {}", found.join(", ")))
    };
    let list_id = match (integers("list_id")?, needs) {
        (Some(list_id), Needs::Score | Needs::Lists) => list_id,
        (None, Needs::Score | Needs::Lists) => return Err(missing("list_id").into()),
        (_, Needs::Nothing) => (0..rows as i64).collect(),
    };
    let score = match (numbers("score")?, needs) {
        (Some(score), _) => score,
        (None, Needs::Score) => return Err(missing("score").into()),
        (None, _) => vec![0.0; list_id.len()],
    };
    let mut table = ScoreTable::new(list_id, score, scorer)?;
    for name in INTEGERS {
        if let Some(values) = integers(name)? {
            table.set_integers(name, values);
        }
    }
    for name in NUMBERS {
        if let Some(values) = numbers(name)? {
            in_range(name, &values)?;
            table.set(name, values);
        }
    }
    table.split = split;
    Ok(table)
}

/// Refuses values a column cannot have; NaN stands for null and passes.
fn in_range(name: &str, values: &[f64]) -> Result<()> {
    let (sound, expected): (fn(f64) -> bool, _) = match name {
        "probability" | "probability_low" | "probability_high" | "propensity" => {
            (|v| (0.0..=1.0).contains(&v), "a number from 0 to 1")
        }
        "click" | "purchase" => (|v| v == 0.0 || v == 1.0, "0 or 1"),
        "grade" => (
            |v| (0.0..=30.0).contains(&v) && v.fract() == 0.0,
            "a whole number from 0 to 30",
        ),
        "weight" | "price" | "ad_rate" => {
            (|v| v >= 0.0 && v.is_finite(), "a finite number from 0 up")
        }
        _ => (f64::is_finite, "a finite number"),
    };
    match values.iter().position(|&v| !v.is_nan() && !sound(v)) {
        Some(row) => Err(Refusal::new(format!(
            "`{name}` at row {row} is {}, expected {expected}",
            values[row]
        ))
        .into()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> ScoreTable {
        let mut table = ScoreTable::new(vec![7, 7, 9], vec![0.5, -1.25, 3.0], "run:x").unwrap();
        table.set("purchase", vec![0.0, 1.0, 0.0]);
        table.set("price", vec![100.0, f64::NAN, 300.0]);
        table.set_integers("item_id", vec![1, 2, 3]);
        table.split = Some(vec!["test".to_owned(); 3]);
        table
    }

    #[test]
    fn both_formats_keep_every_value() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["s.parquet", "s.csv"] {
            let path = dir.path().join(name);
            table().write(&path, name.ends_with("csv")).unwrap();
            let back = ScoreTable::read(&path).unwrap();
            assert_eq!(back.score, [0.5, -1.25, 3.0]);
            assert_eq!(back.lists.as_slice(), [0, 2, 3]);
            assert_eq!(back.get_integers("item_id").unwrap(), [1, 2, 3]);
            assert!(back.get("price").unwrap()[1].is_nan());
            assert_eq!(back.split.as_ref().unwrap()[0], "test");
            assert!(back.get("ad_rate").is_none());
        }
    }

    #[test]
    fn bad_tables_are_refused_by_row() {
        let text = |list: Vec<i64>, score: Vec<f64>| {
            ScoreTable::new(list, score, "").unwrap_err().to_string()
        };
        assert!(text(vec![], vec![]).contains("no scores"));
        assert!(text(vec![1, 1], vec![0.0, f64::NAN]).contains("row 1 is NaN"));
        assert!(text(vec![1, 2, 1], vec![0.0; 3]).contains("list 1 stands at row 0 and again"));
        let error = table().need("price").unwrap_err().to_string();
        assert_eq!(
            error,
            "`price` at row 1 is missing, expected a finite number"
        );
        assert!(
            table()
                .need("ad_rate")
                .unwrap_err()
                .to_string()
                .contains("no column `ad_rate`")
        );
    }

    #[test]
    fn values_out_of_range_are_named_by_row() {
        for (name, value) in [
            ("probability", 1.5),
            ("propensity", -0.1),
            ("purchase", 2.0),
            ("grade", 1.5),
            ("weight", -1.0),
            ("price", f64::INFINITY),
        ] {
            let error = in_range(name, &[f64::NAN, 1.0, value])
                .unwrap_err()
                .to_string();
            assert!(
                error.starts_with(&format!("`{name}` at row 2 is {value}")),
                "{error}"
            );
            in_range(name, &[0.0, 1.0, f64::NAN]).unwrap();
        }
    }

    #[test]
    fn a_bad_csv_cell_is_named_by_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.csv");
        std::fs::write(&path, "list_id,score\n1,0.5\n1,high\n").unwrap();
        let error = format!("{:#}", ScoreTable::read(&path).unwrap_err());
        assert!(
            error.contains("`score` at line 3 is `high`, expected a number"),
            "{error}"
        );
        std::fs::write(&path, "list,score\n1,0.5\n").unwrap();
        let error = format!("{:#}", ScoreTable::read(&path).unwrap_err());
        assert!(
            error.contains("required column `list_id` is missing"),
            "{error}"
        );
    }

    /// Damaged files are errors or other tables, never a panic: 150 of each kind here, and more for as
    /// long as `SLATE_FUZZ_SECONDS` says.
    #[test]
    fn damaged_files_do_not_panic() {
        let seconds = std::env::var("SLATE_FUZZ_SECONDS");
        let seconds: u64 = seconds.map_or(0, |seconds| seconds.parse().unwrap());
        let began = std::time::Instant::now();
        let mut first = 0;
        loop {
            damage(first..first + 150);
            first += 150;
            if began.elapsed().as_secs() >= seconds {
                break;
            }
        }
        println!("{first} damaged files of each kind");
    }

    /// A calibrator's file of each method, as it is written.
    fn calibrators() -> Vec<String> {
        let scores: Vec<f64> = (0..400)
            .map(|row| f64::from(row % 97) / 30.0 - 2.0)
            .collect();
        let labels: Vec<f64> = (0..400)
            .map(|row| f64::from(u8::from(row % 97 > row % 53)))
            .collect();
        let fitted = slate_calibrate::Method::ALL.iter().map(|method| {
            let map = slate_calibrate::fit(*method, &scores, &labels, None).unwrap();
            slate_calibrate::CalibratorFile::new(map).to_json()
        });
        fitted.collect()
    }

    fn damage(rounds: std::ops::Range<u64>) {
        let dir = tempfile::tempdir().unwrap();
        let (seed, count) = (slate_types::Seed(150), rounds.end - rounds.start);
        let others = calibrators();
        let calibrator = r#"{"format": 2, "kind": "calibrator", "method": "venn_abers",
            "below": [0.1, 0.2], "steps": [[0.5, 0.1, 0.2, 0.2, 0.4], [1.5, 0.2, 0.4, 0.3, 1.0]],
            "by": ["slot"], "segments": [{"key": ["1"], "rows": 3, "positives": 1, "share": 0.5,
            "map": {"method": "sigmoid", "slope": 1.0, "intercept": -2.5}}],
            "fitted_on": {"rows": 9, "positives": 2, "weight": 9.0}}"#;
        slate_calibrate::CalibratorFile::from_json(calibrator).unwrap();
        let (mut read, mut refused) = (0, 0);
        for name in ["s.parquet", "s.csv", "c.json", "qrels", "run", "letor"] {
            let whole: Vec<u8> = match name {
                "c.json" => calibrator.into(),
                "qrels" => b"q1 0 d1 2\nq1 0 d2 0\nq2 0 d1 1\n".to_vec(),
                "run" => b"q1 Q0 d2 1 2.5 me\nq1 Q0 d1 2 1.5 me\nq2 Q0 d1 1 0.5 me\n".to_vec(),
                "letor" => b"2 qid:1 1:0.5\n0 qid:1 1:0.25\n1 qid:2 1:3\n".to_vec(),
                table_file => {
                    let path = dir.path().join(table_file);
                    table().write(&path, table_file.ends_with("csv")).unwrap();
                    std::fs::read(path).unwrap()
                }
            };
            for round in rounds.clone() {
                let sound = match name {
                    // The maps of all methods in turn, and that of segments.
                    "c.json" => others
                        .get(round as usize % (others.len() + 1))
                        .map(String::as_bytes),
                    _ => None,
                };
                let sound = sound.unwrap_or(&whole);
                let bytes = damaged(sound, seed.derive(name).index(round));
                let path = dir.path().join(format!("damaged-{name}"));
                std::fs::write(&path, &bytes).unwrap();
                let good = |file: &str, text: &str| {
                    let path = dir.path().join(file);
                    std::fs::write(&path, text).unwrap();
                    path
                };
                let sound = match name {
                    "c.json" => {
                        let text = String::from_utf8_lossy(&bytes);
                        slate_calibrate::CalibratorFile::from_json(&text).is_ok()
                    }
                    "qrels" => {
                        let run = good("good-run", "q1 Q0 d1 1 1.5 me\nq2 Q0 d9 1 0.5 me\n");
                        super::super::trec::read(&path, &run, round % 2 == 0).is_ok()
                    }
                    "run" => {
                        let qrels = good("good-qrels", "q1 0 d1 1\nq2 0 d1 2\n");
                        super::super::trec::read(&qrels, &path, round % 2 == 0).is_ok()
                    }
                    "letor" => {
                        let scores = good("good-scores", "0.5\n0.25\n0.75\n");
                        super::super::letor::read(&path, &scores).is_ok()
                    }
                    _ => ScoreTable::read(&path).is_ok(),
                };
                read += u64::from(sound);
                refused += u64::from(!sound);
            }
        }
        assert_eq!(read + refused, 6 * count);
        assert!(
            read > 0 && refused > count,
            "{read} read, {refused} refused"
        );
    }

    /// A few bytes changed, cut out, repeated or exchanged.
    fn damaged(sound: &[u8], seed: slate_types::Seed) -> Vec<u8> {
        let mut bytes = sound.to_vec();
        let draw = |what: &str, below: usize| (seed.derive(what).unit() * below as f64) as usize;
        for change in 0..=draw("changes", 4) {
            if bytes.is_empty() {
                break;
            }
            let draw = |what: &str, below: usize| {
                (seed.index(change as u64).derive(what).unit() * below as f64) as usize
            };
            let at = draw("at", bytes.len());
            let end = (at + 1 + draw("length", 12)).min(bytes.len());
            match draw("kind", 6) {
                0 => bytes[at] = draw("byte", 256) as u8,
                1 => bytes[at] ^= 1 << draw("bit", 8),
                2 => drop(bytes.drain(at..end)),
                3 => {
                    let piece = bytes[at..end].to_vec();
                    let to = draw("to", bytes.len());
                    bytes.splice(to..to, piece);
                }
                4 => bytes.truncate(at),
                _ => {
                    let digits = [
                        &b"-1"[..],
                        b"1e309",
                        b"NaN",
                        b"null",
                        b"[]",
                        b"18446744073709551616",
                    ];
                    let piece = digits[draw("digits", digits.len())];
                    bytes.splice(at..end, piece.iter().copied());
                }
            }
        }
        bytes
    }
}
