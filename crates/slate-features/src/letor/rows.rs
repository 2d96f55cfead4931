//! Rows of a LETOR file, query by query.
//!
//! `GRADE [qid:ID] INDEX:VALUE INDEX:VALUE … [# comment]`: grades are whole numbers from 0 to
//! 255, indices whole numbers that grow along the row, values finite. Rows of one query stand
//! together. Empty lines and lines with a comment alone are skipped.

use std::{
    collections::HashSet,
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use flate2::read::MultiGzDecoder;

use super::files::sizes_file;
use crate::FeatureError;

/// The rows of one query.
#[derive(Debug, PartialEq)]
pub(crate) struct Query {
    pub(crate) file: PathBuf,
    /// One row or more.
    pub(crate) rows: Vec<Row>,
}

/// One document of a query.
#[derive(Debug, PartialEq)]
pub(crate) struct Row {
    /// Line of the file, from 1.
    pub(crate) line: u64,
    pub(crate) grade: u8,
    /// Index and value of the features that are named, indices growing.
    pub(crate) features: Vec<(u32, f64)>,
}

/// The queries of a file, from front to back.
pub(crate) struct Queries {
    path: PathBuf,
    lines: Lines,
    /// The line last read, from 1.
    line: u64,
    sizes: Option<Sizes>,
    /// The first row of the next query, already read, with its id.
    next: Option<(Option<String>, Row)>,
    /// Ids of the queries so far, to notice one that comes back.
    seen: HashSet<String>,
    done: bool,
}

/// LightGBM's query sizes.
struct Sizes {
    path: PathBuf,
    rest: std::vec::IntoIter<u64>,
    rows: u64,
}

type Lines = std::io::Lines<Box<dyn BufRead>>;

impl Queries {
    pub(crate) fn open(path: &Path) -> Result<Self, FeatureError> {
        let lines = lines(path)?;
        let sizes = sizes_file(path).map(read_sizes).transpose()?;
        let mut queries = Self {
            path: path.to_path_buf(),
            lines,
            line: 0,
            sizes,
            next: None,
            seen: HashSet::new(),
            done: false,
        };
        queries.next = queries.read_row()?;
        if let Some((id, row)) = &queries.next {
            match (id, &queries.sizes) {
                // Ids in the rows say all that the sizes could.
                (Some(_), _) => queries.sizes = None,
                (None, Some(_)) => {}
                (None, None) => {
                    let problem = "the row has no `qid:` and there is no file of query sizes \
                                   (the data file's name without `.gz`, and `.query`)";
                    return Err(letor(path, row.line, problem));
                }
            }
        }
        Ok(queries)
    }

    /// The next row that is not empty.
    fn read_row(&mut self) -> Result<Option<(Option<String>, Row)>, FeatureError> {
        for line in self.lines.by_ref() {
            let line = line.map_err(FeatureError::io("read", &self.path))?;
            self.line += 1;
            let text = line.split('#').next().unwrap_or_default().trim();
            if !text.is_empty() {
                return parse(text, self.line)
                    .map(Some)
                    .map_err(|problem| letor(&self.path, self.line, problem));
            }
        }
        Ok(None)
    }

    fn next_query(&mut self) -> Result<Option<Query>, FeatureError> {
        let Some((id, first)) = self.next.take() else {
            return self.end();
        };
        let line = first.line;
        if let Some(id) = &id
            && !self.seen.insert(id.clone())
        {
            let problem = format!("query {id} comes back after another query");
            return Err(letor(&self.path, line, problem));
        }
        let size = match &mut self.sizes {
            None => u64::MAX,
            Some(sizes) => sizes.rest.next().ok_or_else(|| {
                let (file, rows) = (sizes.path.display(), sizes.rows);
                letor(
                    &self.path,
                    line,
                    format!("there are more rows than the {rows} of `{file}`"),
                )
            })?,
        };
        let mut rows = vec![first];
        while let Some((next_id, row)) = self.read_row()? {
            if next_id.is_some() != id.is_some() {
                let problem = "some rows have a `qid:` and others do not";
                return Err(letor(&self.path, row.line, problem));
            }
            if next_id != id || rows.len() as u64 == size {
                self.next = Some((next_id, row));
                break;
            }
            rows.push(row);
        }
        if self.sizes.is_some() && (rows.len() as u64) < size {
            return Err(self.too_few_rows());
        }
        Ok(Some(Query {
            file: self.path.clone(),
            rows,
        }))
    }

    /// There is no row left: sizes must be used up too.
    fn end(&mut self) -> Result<Option<Query>, FeatureError> {
        match self.sizes.as_mut().and_then(|sizes| sizes.rest.next()) {
            Some(_) => Err(self.too_few_rows()),
            None => Ok(None),
        }
    }

    fn too_few_rows(&self) -> FeatureError {
        let problem = match &self.sizes {
            Some(sizes) => {
                let (file, rows) = (sizes.path.display(), sizes.rows);
                format!("the rows end here, but the queries of `{file}` have {rows} rows")
            }
            None => "the rows end here".to_owned(),
        };
        letor(&self.path, self.line, problem)
    }
}

impl Iterator for Queries {
    type Item = Result<Query, FeatureError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let query = self.next_query().transpose();
        // After an error nothing more can be said about the file.
        self.done = !matches!(query, Some(Ok(_)));
        query
    }
}

fn letor(file: &Path, line: u64, problem: impl Into<String>) -> FeatureError {
    FeatureError::Letor {
        file: file.to_path_buf(),
        line,
        problem: problem.into(),
    }
}

fn parse(text: &str, line: u64) -> Result<(Option<String>, Row), String> {
    let mut words = text.split_ascii_whitespace().peekable();
    let grade = words.next().unwrap_or_default();
    let grade = match grade.parse::<f64>() {
        Ok(number) if number.fract() == 0.0 && (0.0..=255.0).contains(&number) => number as u8,
        _ => {
            return Err(format!(
                "the grade is `{grade}`, expected a whole number from 0 to 255"
            ));
        }
    };
    let id = words
        .next_if(|word| word.starts_with("qid:"))
        .map(|word| word["qid:".len()..].to_owned());
    if id.as_ref().is_some_and(String::is_empty) {
        return Err("`qid:` has no id".to_owned());
    }
    let mut features: Vec<(u32, f64)> = Vec::new();
    for word in words {
        let pair = word.split_once(':').and_then(|(index, value)| {
            Some((index.parse::<u32>().ok()?, value.parse::<f64>().ok()?))
        });
        let Some((index, value)) = pair else {
            return Err(format!("`{word}` is no feature, expected `INDEX:VALUE`"));
        };
        if !value.is_finite() {
            return Err(format!(
                "feature {index} is {value}, expected a finite number"
            ));
        }
        if let Some((last, _)) = features.last()
            && index <= *last
        {
            return Err(format!(
                "feature {index} follows feature {last}, expected growing indices"
            ));
        }
        features.push((index, value));
    }
    Ok((
        id,
        Row {
            line,
            grade,
            features,
        },
    ))
}

/// Lines of a file, unpacked where it begins as gzip files do.
fn lines(path: &Path) -> Result<Lines, FeatureError> {
    let file = File::open(path).map_err(FeatureError::io("open", path))?;
    let mut file = BufReader::new(file);
    let packed = file
        .fill_buf()
        .map_err(FeatureError::io("read", path))?
        .starts_with(&[0x1f, 0x8b]);
    let reader: Box<dyn BufRead> = if packed {
        Box::new(BufReader::new(MultiGzDecoder::new(file)))
    } else {
        Box::new(file)
    };
    Ok(reader.lines())
}

fn read_sizes(path: PathBuf) -> Result<Sizes, FeatureError> {
    let mut sizes = Vec::new();
    for (line, number) in lines(&path)?.zip(1..) {
        let line = line.map_err(FeatureError::io("read", &path))?;
        match line.trim() {
            "" => {}
            text => match text.parse::<u64>() {
                Ok(size) if size > 0 => sizes.push(size),
                _ => {
                    let problem = format!("`{text}` is no query size, expected a number from 1");
                    return Err(letor(&path, number, problem));
                }
            },
        }
    }
    let rows = sizes
        .iter()
        .fold(0_u64, |sum, &size| sum.saturating_add(size));
    Ok(Sizes {
        path,
        rest: sizes.into_iter(),
        rows,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// Lengths of the queries, or the error's message after the file's name.
    fn lengths(data: &str, sizes: Option<&str>) -> Result<Vec<usize>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rank.train");
        std::fs::write(&path, data).unwrap();
        if let Some(sizes) = sizes {
            std::fs::write(folder.path().join("rank.train.query"), sizes).unwrap();
        }
        Queries::open(&path)
            .and_then(|queries| queries.map(|query| Ok(query?.rows.len())).collect())
            .map_err(|error: FeatureError| {
                error
                    .to_string()
                    .replace(&format!("{}/", folder.path().display()), "")
            })
    }

    #[test]
    fn ids_or_sizes_make_queries() {
        let with_ids = "0 qid:1 1:0.5\n1 qid:1\n\n# a comment\n2 qid:x 3:1 # doc 5\n";
        assert_eq!(lengths(with_ids, None).unwrap(), [2, 1]);
        assert_eq!(lengths(with_ids, Some("1\n")).unwrap(), [2, 1], "ids win");
        assert_eq!(
            lengths("0 1:1\n1.0 1:1\n2 1:1\n", Some("1\n2\n")).unwrap(),
            [1, 2]
        );
        assert_eq!(lengths("", None).unwrap(), [0_usize; 0]);
    }

    #[test]
    fn problems_are_named_by_line() {
        for (data, sizes, expected) in [
            (
                "0 1:1\n",
                None,
                "line 1 of `rank.train`: the row has no `qid:`",
            ),
            (
                "0 qid:1 1:1\n0 1:1\n",
                None,
                "line 2 of `rank.train`: some rows have a `qid:`",
            ),
            (
                "0 qid:1\n0 qid:2\n0 qid:1\n",
                None,
                "line 3 of `rank.train`: query 1 comes back",
            ),
            (
                "x qid:1\n",
                None,
                "the grade is `x`, expected a whole number",
            ),
            ("-1 qid:1\n", None, "the grade is `-1`"),
            ("0 qid:1 2:1 1:1\n", None, "feature 1 follows feature 2"),
            (
                "0 qid:1 1:nan\n",
                None,
                "feature 1 is NaN, expected a finite number",
            ),
            ("0 qid:1 1=5\n", None, "`1=5` is no feature"),
            (
                "0 1:1\n0 1:1\n",
                Some("1"),
                "line 2 of `rank.train`: there are more rows than the 1",
            ),
            (
                "0 1:1\n0 1:1\n",
                Some("1\n2\n"),
                "line 2 of `rank.train`: the rows end here",
            ),
            (
                "0 1:1\n",
                Some("1\n0\n"),
                "line 2 of `rank.train.query`: `0` is no query size",
            ),
        ] {
            let message = lengths(data, sizes).unwrap_err();
            assert!(message.contains(expected), "{data:?}: {message}");
        }
    }

    #[test]
    fn packed_files_are_read_alike() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("train.txt.gz");
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packed.write_all(b"3 qid:1 7:0.25\n").unwrap();
        std::fs::write(&path, packed.finish().unwrap()).unwrap();
        let queries: Vec<Query> = Queries::open(&path).unwrap().map(Result::unwrap).collect();
        assert_eq!(
            queries[0].rows,
            [Row {
                line: 1,
                grade: 3,
                features: vec![(7, 0.25)]
            }]
        );
    }
}
