//! Importers, on small invented files.

#![expect(
    clippy::unwrap_used,
    reason = "these are tests; clippy only knows so inside of `#[test]`"
)]

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use arrow::array::{Array, RecordBatch};
use arrow::util::display::array_value_to_string;
use flate2::Compression;
use flate2::write::GzEncoder;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use slate_logs::import::{Format, ImportError, ImportSummary, import};
use slate_logs::{
    AttributionOptions, EngineOptions, ExampleColumns, ExampleFiles, ExamplesSummary, LogSource,
    examples,
};
use slate_types::log::TABLES;
use slate_types::{Hint, Silent};
use tempfile::TempDir;

mod diginetica;
mod published;
mod rees46;

/// A source folder and the log made from it.
struct Case {
    dir: TempDir,
}

impl Case {
    /// Writes these files, the names may hold folders.
    fn new(files: &[(&str, &str)]) -> Self {
        let case = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        std::fs::create_dir_all(case.src()).unwrap();
        for (name, text) in files {
            let path = case.src().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        case
    }

    fn src(&self) -> PathBuf {
        self.dir.path().join("src")
    }

    /// Imports into a fresh folder `name`.
    fn import_as(&self, format: Format, name: &str) -> Result<ImportSummary, ImportError> {
        import_fresh(format, &self.src(), &self.dir.path().join(name))
    }

    fn import(&self, format: Format) -> ImportSummary {
        self.import_as(format, "log").unwrap()
    }

    /// Rows of a table of the log, the named columns of each joined by blanks; null is `-`.
    fn rows(&self, table: &str, columns: &str) -> Vec<String> {
        rows(&self.dir.path().join("log"), table, columns)
    }

    fn manifest(&self) -> serde_json::Value {
        let text = std::fs::read_to_string(self.dir.path().join("log/manifest.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// The error of an import, its message and its causes.
    fn error(&self, format: Format) -> String {
        let error = self.import_as(format, "log").unwrap_err();
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        format!("{error}{}", cause.unwrap_or_default())
            .replace(&format!("{}/", self.src().display()), "")
    }
}

fn import_fresh(format: Format, src: &Path, out: &Path) -> Result<ImportSummary, ImportError> {
    std::fs::create_dir(out).unwrap();
    import(format, src, out, &Silent)
}

fn batches(path: &Path) -> Vec<RecordBatch> {
    let file = File::open(path).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .unwrap()
        .build()
        .unwrap();
    reader.map(Result::unwrap).collect()
}

fn rows(log: &Path, table: &str, columns: &str) -> Vec<String> {
    let mut rows = Vec::new();
    for batch in batches(&log.join(format!("{table}.parquet"))) {
        for row in 0..batch.num_rows() {
            let cells: Vec<_> = columns
                .split(' ')
                .map(|name| {
                    let column = batch.column_by_name(name).expect(name);
                    if column.is_null(row) {
                        "-".to_owned()
                    } else {
                        array_value_to_string(column, row).unwrap()
                    }
                })
                .collect();
            rows.push(cells.join(" "));
        }
    }
    rows
}

/// Attributes the events of a log and writes its examples beside it.
fn attribute(log: &Path, view_through: bool) -> ExamplesSummary {
    let options = AttributionOptions {
        view_through,
        ..AttributionOptions::default()
    };
    examples(
        &LogSource::open(log).unwrap(),
        &options.check().unwrap(),
        &EngineOptions::default(),
        &ExampleColumns::All,
        ExampleFiles {
            examples: &log.with_file_name("examples.parquet"),
            rejects: &log.with_file_name("unusable.parquet"),
            sequences: &log.with_file_name("sequences.parquet"),
        },
        &Silent,
    )
    .unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

const DISPLAYS: &str = "\
uuid,display_id,ad_id,document_id,timestamp_view,platform,geo_location,clicked,day
u-b,7,100,900,2016-06-14 04:00:01.500,2.0,CA>ON,0,14
u-b,7,101,900,2016-06-14 04:00:01.500,2.0,CA>ON,1,14
u-a,8,100,901,2016-06-14 04:00:02.000,1.0,,1,14
u-a,8,seven,901,2016-06-14 04:00:02.000,1.0,,0,14
u-b,7,102
u-b,7,100,900,2016-06-14 04:00:01.500,2.0,CA>ON,0,14
u-b,8,103,901,2016-06-14 04:00:02.000,1.0,,0,14
u-a,9,103,901,1465876802000,\\N,US>CA>803,0,14
";

#[test]
fn outbrain_displays_become_lists() {
    let case = Case::new(&[("displays.csv", DISPLAYS)]);
    let summary = case.import(Format::Outbrain);
    assert_eq!(
        case.rows(
            "page_impression",
            "page_id ts user_id site device seed_item_id traffic_class"
        ),
        [
            "7 2016-06-14T04:00:01.500Z 1 CA mobile 900 -",
            "8 2016-06-14T04:00:02Z 2 - desktop 901 -",
            "9 2016-06-14T04:00:02Z 2 US - 901 -",
        ]
    );
    assert_eq!(
        case.rows(
            "slot_impression",
            "impression_id page_id list_id slot item_id propensity geo"
        ),
        [
            "1 7 7 0 100 - CA>ON",
            "2 7 7 1 101 - CA>ON",
            "3 8 8 0 100 - -",
            "4 9 9 0 103 - US>CA>803"
        ]
    );
    assert_eq!(
        case.rows("event", "event_id ts type item_id user_id impression_id"),
        [
            "1 2016-06-14T04:00:02.500Z click 101 1 2",
            "2 2016-06-14T04:00:03Z click 100 2 3",
        ]
    );
    assert_eq!(case.rows("item", "item_id"), ["100", "101", "103"]);
    assert_eq!(
        case.rows("ids", "column id text"),
        ["user_id 1 u-b", "user_id 2 u-a"]
    );
    assert_eq!(
        case.rows("rejects", "file line column value"),
        [
            "displays.csv 5 ad_id seven",
            "displays.csv 6  3 columns",
            "displays.csv 7 ad_id 100",
            "displays.csv 8 display_id 8",
        ]
    );
    assert_eq!(summary.rejects, 4);
    assert_eq!(summary.rows("slot_impression"), 4);
    assert!(
        summary
            .notes
            .iter()
            .any(|note| note.contains("slot is the order of rows"))
    );
}

#[test]
fn the_manifest_fingerprints_the_source() {
    let case = Case::new(&[("displays.csv", DISPLAYS)]);
    case.import(Format::Outbrain);
    let manifest = case.manifest();
    assert_eq!(manifest["format"], 1);
    assert_eq!(manifest["kind"], "log");
    assert_eq!(manifest["source"], "outbrain");
    assert_eq!(manifest["tables"]["slot_impression"], 4);
    assert_eq!(manifest["rejects"], 4);
    assert_eq!(manifest["files"][0]["name"], "displays.csv");
    assert_eq!(manifest["files"][0]["bytes"], DISPLAYS.len());
    let digest = <sha2::Sha256 as sha2::Digest>::digest(DISPLAYS.as_bytes());
    let hex = manifest["files"][0]["sha256"].as_str().unwrap();
    let bytes: Vec<_> = (0..32)
        .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
        .collect();
    assert_eq!(bytes[..], digest[..]);
}

#[test]
fn plain_and_gzip_sources_give_the_same_tables() {
    let case = Case::new(&[("displays.csv", DISPLAYS)]);
    case.import_as(Format::Outbrain, "log").unwrap();
    case.import_as(Format::Outbrain, "again").unwrap();
    let packed = gzip(DISPLAYS.replace('\n', "\r\n").as_bytes());
    std::fs::remove_file(case.src().join("displays.csv")).unwrap();
    // The name does not say that it is gzip; the bytes do.
    std::fs::write(case.src().join("displays.csv"), packed).unwrap();
    case.import_as(Format::Outbrain, "packed").unwrap();
    for table in [
        "page_impression",
        "slot_impression",
        "event",
        "item",
        "ids",
        "rejects",
    ] {
        let bytes = |log: &str| {
            std::fs::read(case.dir.path().join(log).join(format!("{table}.parquet"))).unwrap()
        };
        assert!(bytes("log") == bytes("again"), "{table}");
        assert!(bytes("log") == bytes("packed"), "{table}");
    }
}

#[test]
fn written_tables_follow_the_schema() {
    let case = Case::new(&[("displays.csv", DISPLAYS)]);
    case.import(Format::Outbrain);
    for table in &TABLES[..4] {
        let path = case.dir.path().join(format!("log/{}.parquet", table.name));
        let schema = batches(&path)[0].schema();
        let written: Vec<_> = schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        let expected: Vec<_> = table.columns.iter().map(|column| column.name).collect();
        assert_eq!(written[..expected.len()], expected, "{}", table.name);
        for column in table.columns {
            let field = schema.field_with_name(column.name).unwrap();
            assert_eq!(field.is_nullable(), !column.required, "{}", column.name);
        }
    }
}

#[test]
fn sources_that_cannot_be_imported_say_why() {
    let error = |files: &[(&str, &str)]| Case::new(files).error(Format::Outbrain);
    assert!(error(&[]).ends_with("holds no file `*.csv` or `*.csv.gz`"));
    assert!(
        error(&[("a.csv", DISPLAYS), ("b.csv", DISPLAYS)])
            .ends_with("holds more than one file `*.csv` or `*.csv.gz`: `a.csv`, `b.csv`")
    );
    assert!(error(&[("a.csv", "")]).starts_with("`a.csv` has no header, expected a header and"));
    let header = DISPLAYS.lines().next().unwrap();
    assert!(error(&[("a.csv", header)]).starts_with("`a.csv` has no rows, expected a header and"));
    assert_eq!(
        error(&[("a.csv", "uuid,display_id,adId\n1,2,3\n")]),
        "`a.csv` has no column `ad_id` in line 1, expected the columns `uuid`, `display_id`, \
         `ad_id`, `document_id`, `timestamp_view`, `platform`, `geo_location`, `clicked`, \
         given `uuid`, `display_id`, `adId`"
    );
    let seconds = DISPLAYS.replace("2016-06-14 04:00:0", "1970-01-01 00:00:0");
    assert_eq!(
        error(&[("a.csv", &seconds)]),
        "7 of 8 rows of `a.csv` cannot be used; the first is line 2, column `timestamp_view`: \
         `1970-01-01 00:00:01.500`, expected a time from 2000 to 2099, or milliseconds"
    );

    let case = Case::new(&[]);
    let missing = import(
        Format::Outbrain,
        &case.src().join("x"),
        case.dir.path(),
        &Silent,
    );
    assert!(
        missing
            .unwrap_err()
            .to_string()
            .starts_with("no such file or folder `")
    );
}

#[test]
fn a_renamed_column_is_hinted_at() {
    let case = Case::new(&[("a.csv", "uuid,display_id,adId\n1,2,3\n")]);
    let error = case.import_as(Format::Outbrain, "log").unwrap_err();
    assert_eq!(error.hint().as_deref(), Some("rename `adId` to `ad_id`"));
}

#[test]
fn a_file_that_is_cut_off_is_refused() {
    let case = Case::new(&[]);
    let packed = gzip(DISPLAYS.as_bytes());
    std::fs::write(case.src().join("a.csv.gz"), &packed[..packed.len() - 12]).unwrap();
    let error = case.import_as(Format::Outbrain, "log").unwrap_err();
    assert!(
        error.to_string().contains("a.csv.gz` after line"),
        "{error}"
    );
    assert_eq!(
        error.hint().as_deref(),
        Some("the file is cut off; fetch it again")
    );
}

const ITEM_CONTEXT: &str = "\
,item_id,item_feature_0,item_feature_1,item_feature_2,item_feature_3
0,0,-0.5,aa,bb,cc
1,1,0.25,aa,bb,dd
2,2,0.25,aa,bb,dd
";
/// The same under other hashes, but for item 2, whose first category left the others'.
const BTS_CONTEXT: &str = "\
,item_id,item_feature_0,item_feature_1,item_feature_2,item_feature_3
0,0,-0.5,ba,bb,bc
1,1,0.25,ba,bb,bd
2,2,0.25,bx,bb,bd
";
const BANDIT_HEADER: &str = ",timestamp,item_id,position,click,propensity_score,user_feature_0,\
    user_feature_1,user_feature_2,user_feature_3,user-item_affinity_0,user-item_affinity_1\n";

#[test]
fn open_bandit_rows_become_lists_of_one() {
    let random = format!(
        "{BANDIT_HEADER}\
         0,2019-11-24 00:00:01.000001+00:00,1,3,0,0.5,p,q,r,s,0.0,2.5\n\
         1,2019-11-24 00:00:02+00:00,0,1,1,0.5,p,q,r,t,1.0,0.0\n\
         2,2019-11-24 00:00:03+00:00,5,1,0,0.5,p,q,r,t,1.0,0.0\n\
         3,2019-11-24 00:00:03+00:00,0,4,0,0.5,p,q,r,t,1.0,0.0\n"
    );
    let bts = format!(
        "{BANDIT_HEADER}\
         0,2019-11-25 00:00:00+00:00,0,2,0,0.000001,p,q,r,s,0.0,2.5\n\
         1,2019-11-25 00:00:00+00:00,0,2,0,0,p,q,r,s,0.0,2.5\n"
    );
    let case = Case::new(&[
        ("random/men/men.csv", &random),
        ("random/men/item_context.csv", ITEM_CONTEXT),
        ("bts/men/men.csv", &bts),
        ("bts/men/item_context.csv", BTS_CONTEXT),
    ]);
    let summary = case.import(Format::OpenBandit);
    assert_eq!(
        case.rows("page_impression", "page_id ts site traffic_class user_id"),
        [
            "1 2019-11-24T00:00:01.000001Z men random -",
            "2 2019-11-24T00:00:02Z men random -",
            "3 2019-11-25T00:00:00Z men prod -",
        ]
    );
    assert_eq!(
        case.rows(
            "slot_impression",
            "impression_id page_id list_id slot item_id policy_id propensity affinity \
             user_feature_0 user_feature_3"
        ),
        [
            "1 1 1 2 1001 random 0.5 2.5 p s",
            "2 2 2 0 1000 random 0.5 1.0 p t",
            "3 3 3 1 1000 bts 1e-6 0.0 p s",
        ]
    );
    assert_eq!(
        case.rows("event", "ts type item_id impression_id"),
        ["2019-11-24T00:00:02.000001Z click 1000 2"]
    );
    assert_eq!(
        case.rows("item", "item_id feature_0 feature_1 feature_3"),
        ["1000 -0.5 aa cc", "1001 0.25 aa dd", "1002 0.25 aa dd"]
    );
    assert_eq!(
        case.rows("ids", "column id text"),
        [
            "item_id 1000 men/0",
            "item_id 1001 men/1",
            "item_id 1002 men/2"
        ]
    );
    assert_eq!(
        case.rows("rejects", "file line column value"),
        [
            "random/men/men.csv 4 item_id 5",
            "random/men/men.csv 5 position 4",
            "bts/men/item_context.csv 4 item_id 2",
            "bts/men/men.csv 3 propensity_score 0",
        ]
    );
    assert_eq!(summary.rejects, 4);
}

#[test]
fn open_bandit_needs_its_item_context() {
    let case = Case::new(&[("random/men/men.csv", BANDIT_HEADER)]);
    let error = case.error(Format::OpenBandit);
    assert!(
        error.ends_with("holds no file `item_context.csv` or `item_context.csv.gz`"),
        "{error}"
    );
}

#[test]
fn expedia_searches_become_lists() {
    let header = "srch_id,date_time,site_id,prop_country_id,prop_id,prop_starrating,position,\
                  price_usd,random_bool,click_bool,gross_bookings_usd,booking_bool,comp8_rate\n";
    let case = Case::new(&[(
        "train.csv",
        &format!(
            "{header}\
             1,2013-04-04T08:32:14.99999991618,12,219,50,3.5,2,104.77,1,1,114.29,1,NULL\n\
             1,2013-04-04T08:32:14.99999991618,12,219,51,NULL,6,60,1,0,NULL,0,-1\n\
             4,2012-12-31 08:59:22,5,99,50,3.5,1,139.005,0,0,NULL,0,0\n\
             4,2012-12-31 08:59:22,5,99,52,3.5,1,139,0,0,NULL,0,0\n\
             4,2012-12-31 08:59:22,5,99,52,3.5,2,-139,0,0,NULL,0,0\n\
             4,2012-12-31 08:59:22,5,99,52,3.5,3,139,1,0,NULL,0,0\n"
        ),
    )]);
    let summary = case.import(Format::Expedia);
    assert_eq!(
        case.rows("page_impression", "page_id ts site traffic_class"),
        [
            "1 2013-04-04T08:32:15Z 12 random",
            "4 2012-12-31T08:59:22Z 5 prod"
        ]
    );
    assert_eq!(
        case.rows(
            "slot_impression",
            "impression_id list_id slot item_id price prop_country_id prop_starrating comp8_rate"
        ),
        [
            "1 1 1 50 10477 219 3.5 -",
            "2 1 5 51 6000 219 - -1.0",
            "3 4 0 50 13901 99 3.5 0.0"
        ]
    );
    assert_eq!(
        case.rows("event", "ts type item_id impression_id sale_total"),
        [
            "2013-04-04T08:32:16Z click 50 1 -",
            "2013-04-04T08:32:17Z purchase 50 1 11429"
        ]
    );
    assert_eq!(case.rows("item", "item_id"), ["50", "51"]);
    assert_eq!(
        case.rows("rejects", "line column value"),
        ["5 position 1", "6 price_usd -139", "7 srch_id 4"]
    );
    assert_eq!(summary.rejects, 3);
}
