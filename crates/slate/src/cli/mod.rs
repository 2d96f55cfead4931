//! The command line: what may be typed, and nothing about what it does.

#![expect(
    clippy::doc_markdown,
    reason = "these comments are help texts, read in a terminal"
)]

mod backtest;
mod embedding;
mod judging;
mod retrain;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use self::backtest::{
    BacktestArgs, BacktestCommand, CompareArgs, CurveArg, ExamineArgs, InterleaveArgs, IntervalArg,
    MonthsArgs, OnlineArgs, PlanArgs, RerankArgs, ShownArgs,
};
pub(crate) use self::embedding::{
    EmbedArgs, ExportArgs, IndexArgs, LikenessBy, QueryArgs, SimilarArgs, SimilarCommand,
};
pub(crate) use self::judging::{CalibrateArgs, EvaluateArgs, ScoresAre};
pub(crate) use self::retrain::{
    BackfillArgs, LogArgs, LogFormat, RegistryArgs, RegistryCommand, RetrainArgs, RetrainCommand,
};

/// Trains, calibrates and backtests ranking models for the pages of a marketplace.
#[derive(Debug, Parser)]
#[command(name = "slate", version, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 done, 1 a check failed, 2 wrong use or bad input.\n\
    Start with `slate demo`: the whole chain on a simulated marketplace in under a minute."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags that every command takes.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Configuration file (TOML, first key `format = 1`)
    #[arg(
        long,
        short = 'c',
        global = true,
        value_name = "FILE",
        help_heading = "Common"
    )]
    pub(crate) config: Option<PathBuf>,
    /// Override one key of the configuration; may be repeated
    #[arg(
        long,
        global = true,
        value_name = "KEY.PATH=VALUE",
        help_heading = "Common"
    )]
    pub(crate) set: Vec<String>,
    /// Start of every random choice [default: the config's `seed`, or 1]
    #[arg(long, global = true, value_name = "N", help_heading = "Common")]
    pub(crate) seed: Option<u64>,
    /// Threads to use [default: all cores]
    #[arg(long, global = true, value_name = "N", help_heading = "Common")]
    pub(crate) threads: Option<usize>,
    /// Print one JSON object on stdout and nothing else there
    #[arg(long, global = true, help_heading = "Common")]
    pub(crate) json: bool,
    /// Say nothing on stderr but errors
    #[arg(long, short = 'q', global = true, help_heading = "Common")]
    pub(crate) quiet: bool,
    /// Replace an output that exists; a folder only if slate wrote it
    #[arg(long, global = true, help_heading = "Common")]
    pub(crate) force: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the whole chain on a simulated marketplace, ending in report.html
    Demo(DemoArgs),
    /// Write the logs of a seeded marketplace whose true probabilities are known
    Simulate(SimulateArgs),
    /// Turn a public data set into canonical logs, or into a dataset where it has features already
    Import(ImportArgs),
    /// Check configurations, logs, datasets, runs and score files; name every problem
    Validate(ValidateArgs),
    /// Attribute events to placements, add history, and write a dataset of numbers
    Features(FeaturesArgs),
    /// Turn titles and pictures of items into vectors; only what is new is computed
    Embed(EmbedArgs),
    /// Find the items most like one, by their vectors
    Similar(SimilarArgs),
    /// Attribute a log's events to its placements: labels alone, with a balanced join report
    Label(LabelArgs),
    /// Follow one page through the job: events, labels and features, each with its reason
    Trace(TraceArgs),
    /// Train a page ranker on a dataset: a network, or gradient-boosted trees
    Train(TrainArgs),
    /// Train many configurations on one dataset and say which validates best
    Sweep(SweepArgs),
    /// Make a run of a network that was trained in PyTorch
    ImportTorch(ImportTorchArgs),
    /// List the losses a ranker can be trained with; hold their gradients to finite differences
    Losses(LossesArgs),
    /// Score one split of a dataset with a trained run or a baseline
    Score(ScoreArgs),
    /// Fit calibrators on held-out scores and compare them, or apply one
    Calibrate(CalibrateArgs),
    /// Measure scores: NDCG, PTR, log loss, AUC, PCOC, with intervals
    Evaluate(EvaluateArgs),
    /// Write the lists a policy would show, with the probability of each placement
    Rerank(RerankArgs),
    /// Compare policies on a log: what each would have earned, and whether the log can tell
    Backtest(Box<BacktestArgs>),
    /// Retrain for a month: update, hold to the model in use, promote or keep
    Retrain(RetrainArgs),
    /// Retrain for one month after the other
    Backfill(BackfillArgs),
    /// Versions of a model, and which of them is in use
    Registry(RegistryArgs),
    /// Put the folders of a chain into one self-contained HTML file
    Report(ReportArgs),
    /// Say what this machine has and what this build can do
    Doctor,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate demo\n  slate demo --out /tmp/demo --seed 7 --json")]
pub(crate) struct DemoArgs {
    /// Folder for everything the demo writes
    #[arg(long, value_name = "DIR", default_value = "slate-demo")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate simulate --out logs\n  \
    slate simulate --out logs --pages 100000 --months 6 --policy random --set simulate.curve=kinked")]
pub(crate) struct SimulateArgs {
    /// Folder for the logs
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Pages to show
    #[arg(long, value_name = "N")]
    pub(crate) pages: Option<u64>,
    /// Months they are spread over
    #[arg(long, value_name = "M")]
    pub(crate) months: Option<u32>,
    /// Who chooses the order: random, popularity or ranker
    #[arg(long, value_name = "NAME")]
    pub(crate) policy: Option<String>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  slate import outbrain sample_train_dat.csv.gz --out logs\n  \
    slate import open-bandit obd/ --out logs\n  slate import letor lightgbm_rank/ --out dataset"
)]
pub(crate) struct ImportArgs {
    /// open-bandit, outbrain, expedia, diginetica, rees46 or letor
    #[arg(value_name = "FORMAT")]
    pub(crate) format: String,
    /// File or folder of the data set
    #[arg(value_name = "SRC")]
    pub(crate) source: PathBuf,
    /// Folder for the logs (for letor: the dataset)
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// letor: share of the training queries set aside for validation, where there is no file for it
    /// [default: 0.15]
    #[arg(long, value_name = "SHARE", help_heading = "letor")]
    pub(crate) valid: Option<f64>,
    /// letor: share of the training queries set aside for calibration [default: 0.15]
    #[arg(long, value_name = "SHARE", help_heading = "letor")]
    pub(crate) calibrate: Option<f64>,
    /// letor: share of the training queries set aside for testing, where there is no file for it
    /// [default: 0.2]
    #[arg(long, value_name = "SHARE", help_heading = "letor")]
    pub(crate) test: Option<f64>,
    /// letor: smallest grade that counts as a click [default: 1]
    #[arg(long, value_name = "GRADE", help_heading = "letor")]
    pub(crate) click_grade: Option<u8>,
    /// letor: smallest grade that counts as a purchase [default: 3]
    #[arg(long, value_name = "GRADE", help_heading = "letor")]
    pub(crate) purchase_grade: Option<u8>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate validate configs/demo.toml logs/ dataset/")]
pub(crate) struct ValidateArgs {
    /// Configurations (.toml), logs, datasets, runs, score files, calibrators
    #[arg(value_name = "PATH", required = true)]
    pub(crate) paths: Vec<PathBuf>,
}

/// How a job over logs is run.
#[derive(Debug, Args)]
pub(crate) struct EngineArgs {
    /// Most memory the job may take, for instance 2GiB
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
    /// Divide events and keys into this many passes [default: as many as --memory asks for]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) passes: Option<u32>,
    /// What puts the placements in order: embedded, or ballista://HOST:PORT for a cluster
    #[arg(long, value_name = "ENGINE", default_value = "embedded")]
    pub(crate) engine: String,
    /// Jobs for the cluster [default: one for 2 million placements, at least 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) shards: Option<u32>,
    /// Seconds after which the cluster is asked anew for a shard [default: 600]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) shard_timeout: Option<u64>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  slate features --config configs/demo.toml --logs logs --out dataset\n  \
    slate features -c my.toml --logs logs --out dataset --as-of 2026-05-01 --memory 2GiB\n  \
    slate features -c my.toml --logs may --out may-data --feature-map run/feature_map.json --extend\n  \
    slate features -c my.toml --logs logs --out for-others --format parquet,npz,letor\n  \
    slate features -c my.toml --logs s3://bucket/logs --out dataset\n  \
    slate features -c my.toml --logs logs --dry-run --memory 512MiB\n  \
    slate features -c my.toml --logs logs --out dataset --engine ballista://scheduler:50050"
)]
pub(crate) struct FeaturesArgs {
    /// Folder or URL of the logs; tables elsewhere are named under [logs] of the configuration
    #[arg(long, value_name = "DIR|URL")]
    pub(crate) logs: Option<String>,
    /// Folder for the dataset
    #[arg(long, value_name = "DATASET", required_unless_present = "dry_run")]
    pub(crate) out: Option<PathBuf>,
    /// Labels as known at this time (a date or RFC 3339) [default: the last time in the log]
    #[arg(long, value_name = "DATE")]
    pub(crate) as_of: Option<String>,
    /// Apply this feature map unchanged instead of fitting one
    #[arg(long, value_name = "FILE")]
    pub(crate) feature_map: Option<PathBuf>,
    /// Give new values ids after those the feature map has; what it has stays
    #[arg(long, requires = "feature_map")]
    pub(crate) extend: bool,
    /// Fit means, deviations, priors and bin edges anew as well
    #[arg(long, requires = "extend")]
    pub(crate) refit_statistics: bool,
    /// What to write; training and scoring read npy
    #[arg(
        long,
        value_name = "FORMAT",
        value_enum,
        value_delimiter = ',',
        default_value = "npy"
    )]
    pub(crate) format: Vec<DatasetFormat>,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    /// Say what would be done, in which passes and how much memory, and write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Formats of a dataset, as they are typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum DatasetFormat {
    /// NumPy arrays
    Npy,
    /// The same arrays, one file for each part
    Npz,
    /// Rows with named columns
    Parquet,
    /// LibSVM text with query ids, and sidecars
    Letor,
}

impl From<DatasetFormat> for slate_features::Format {
    fn from(format: DatasetFormat) -> Self {
        match format {
            DatasetFormat::Npy => Self::Npy,
            DatasetFormat::Npz => Self::Npz,
            DatasetFormat::Parquet => Self::Parquet,
            DatasetFormat::Letor => Self::Letor,
        }
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate label --logs logs --out labels\n  \
    slate label -c my.toml --logs logs --out labels --as-of 2026-05-01\n  \
    slate label --logs logs --out shown --with price,propensity,traffic_class,user_id\n  \
    slate label --logs logs --dry-run --memory 512MiB\n  \
    duckdb -c \"select avg(click) from 'labels/labels.parquet' where matured\"")]
pub(crate) struct LabelArgs {
    /// Folder or URL of the logs; tables elsewhere are named under [logs] of the configuration
    #[arg(long, value_name = "DIR|URL")]
    pub(crate) logs: Option<String>,
    /// Folder for labels.parquet and join.json
    #[arg(long, value_name = "LABELS", required_unless_present = "dry_run")]
    pub(crate) out: Option<PathBuf>,
    /// Also write these columns of the log, comma separated, such as price,propensity,traffic_class
    #[arg(long = "with", value_name = "COLUMNS", value_delimiter = ',')]
    pub(crate) with: Vec<String>,
    /// Labels as known at this time (a date or RFC 3339) [default: the last time in the log]
    #[arg(long, value_name = "DATE")]
    pub(crate) as_of: Option<String>,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    /// Say what would be done, in which passes and how much memory, and write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  slate trace 4711 --config configs/demo.toml --logs logs\n  \
    slate trace 4711 -c my.toml --logs logs --feature-map run/feature_map.json --slot 2\n  \
    slate trace 4711 -c my.toml --logs logs --json | jq '.events[] | .reason'\n\n\
    It runs the whole job, since history needs the whole log, in the temporary folder ($TMPDIR)."
)]
pub(crate) struct TraceArgs {
    /// The page, by its `page_id`
    #[arg(value_name = "PAGE_ID", allow_negative_numbers = true)]
    pub(crate) page_id: i64,
    /// Folder or URL of the logs; tables elsewhere are named under [logs] of the configuration
    #[arg(long, value_name = "DIR|URL")]
    pub(crate) logs: Option<String>,
    /// Labels as known at this time (a date or RFC 3339) [default: the last time in the log]
    #[arg(long, value_name = "DATE")]
    pub(crate) as_of: Option<String>,
    /// Apply this feature map instead of fitting one
    #[arg(long, value_name = "FILE")]
    pub(crate) feature_map: Option<PathBuf>,
    /// Show this slot alone
    #[arg(long, value_name = "N")]
    pub(crate) slot: Option<i64>,
    /// Most memory the job may take, for instance 2GiB
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
    /// Divide events and keys into this many passes [default: as many as --memory asks for]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) passes: Option<u32>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  slate train --config configs/demo.toml --data dataset --out run\n  \
    slate train -c my.toml --data dataset --out run --set train.epochs=3 --set train.network.kind=mlp\n  \
    slate train -c my.toml --data dataset --out run --resume\n  \
    slate train -c my.toml --data dataset --out trees --ranker trees\n  \
    slate train -c my.toml --data july --out july-run --update-from june-run --set train.epochs=2\n  \
    tensorboard --logdir .run.training\n\n\
    While it trains, checkpoints, metrics.jsonl and TensorBoard events are in the hidden folder\n\
    .RUN.training beside RUN. Ctrl-C saves a checkpoint; with --resume training goes on from the last\n\
    one and ends with the same weights as if it had never stopped. Beside --resume, --force means no\n\
    more than that a run in the way is replaced in the end. Trees ([trees]) grow on the processor and\n\
    have no checkpoints: after a kill the same command grows the same trees from the beginning.\n\n\
    --update-from begins with the weights of a run. The dataset's feature map is the run's, or the run's\n\
    extended (`slate features --feature-map RUN/feature_map.json --extend`): old ids keep their rows, new\n\
    ones begin as the mean of those known. The run's own validation counts as epoch 0."
)]
pub(crate) struct TrainArgs {
    /// Folder of the dataset
    #[arg(long, value_name = "DATASET")]
    pub(crate) data: PathBuf,
    /// Folder for the run
    #[arg(long, value_name = "RUN")]
    pub(crate) out: PathBuf,
    /// What to train [default: network where the configuration has [train], or else trees]
    #[arg(long, value_name = "RANKER", value_enum)]
    pub(crate) ranker: Option<RankerKind>,
    /// Go on from the last checkpoint of this training; begin where there is none, and do nothing
    /// where it is done
    #[arg(long)]
    pub(crate) resume: bool,
    /// Begin with the weights of this run instead of with nothing
    #[arg(long, value_name = "RUN")]
    pub(crate) update_from: Option<PathBuf>,
    /// Optimiser steps between checkpoints [default: as often as 2 % of the running time allows]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) checkpoint_steps: Option<u64>,
    /// Checkpoints to keep [default: 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) keep: Option<u32>,
    /// Where to compute: auto, cpu, gpu:N, vulkan:N, metal or cuda:N; `slate doctor` lists those here
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub(crate) device: String,
    /// Share every batch out to this many threads of the processor [default: all of them], or to this
    /// many cards from --device on [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) replicas: Option<u32>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  slate sweep -c my.toml --data dataset --out sweep\n  \
    slate sweep -c my.toml --data dataset --out sweep --resume\n  \
    slate sweep -c my.toml --data dataset --out sweep --ranker trees --set sweep.seeds=3\n\n\
    The section [sweep] of the configuration says what varies:\n\n  \
    [sweep]\n  \
    search = \"random\"            # or \"grid\": every combination of lists\n  \
    points = 20\n  \
    seeds = 3                    # trainings of each point\n  \
    [sweep.over]\n  \
    \"train.learning_rate\" = { from = 1e-4, to = 1e-2, scale = \"log\" }\n  \
    \"train.network.hidden\" = [32, 64]\n\n\
    While it goes on all is in the hidden folder .SWEEP.sweep; after a kill or Ctrl-C --resume goes on."
)]
pub(crate) struct SweepArgs {
    /// Folder of the dataset
    #[arg(long, value_name = "DATASET")]
    pub(crate) data: PathBuf,
    /// Folder for the runs and the table of points
    #[arg(long, value_name = "SWEEP")]
    pub(crate) out: PathBuf,
    /// What to train [default: network where the configuration has [train], or else trees]
    #[arg(long, value_name = "RANKER", value_enum)]
    pub(crate) ranker: Option<RankerKind>,
    /// Go on with a sweep that was not finished
    #[arg(long)]
    pub(crate) resume: bool,
    /// Where to compute: auto, cpu, gpu:N, vulkan:N, metal or cuda:N; `slate doctor` lists those here
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub(crate) device: String,
}

/// What `slate train` trains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RankerKind {
    /// A network, as [train] says
    Network,
    /// Gradient-boosted trees, as [trees] says
    Trees,
}

impl RankerKind {
    /// As it is typed.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Trees => "trees",
        }
    }
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  slate import-torch -c my.toml --weights ranker.safetensors --data dataset --out run\n\n\
    [train.network] and the losses of the configuration say what the network is; the weights are a\n\
    safetensors file of its state dict, f32, under the names in scripts/slate_torch.py."
)]
pub(crate) struct ImportTorchArgs {
    /// State dict, a safetensors file
    #[arg(long, value_name = "FILE")]
    pub(crate) weights: PathBuf,
    /// Dataset with the feature map the network was trained with; its valid split is scored once
    #[arg(long, value_name = "DATASET")]
    pub(crate) data: PathBuf,
    /// Folder for the run
    #[arg(long, value_name = "RUN")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate losses\n  slate losses --check --seed 7")]
pub(crate) struct LossesArgs {
    /// Evaluate every loss on full, masked, all-zero, tied, one-slot and padded lists, and compare
    /// its gradient with finite differences; exit code 1 where they differ by more than 1e-4
    #[arg(long)]
    pub(crate) check: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  slate score --run run --data dataset --split test --out test.parquet\n  \
    slate score --run run --run trees --data dataset --split test --out both.parquet\n  \
    slate score --run run --data dataset --without title,seed_title --out untitled.parquet\n  \
    slate score --baseline random --data dataset --split test --out random.parquet\n  \
    slate score --baseline feature:item_click_rate_30d --data dataset --split test --out popular.csv"
)]
pub(crate) struct ScoreArgs {
    /// Folder of a trained run. Several are an ensemble: the mean of their scores, each brought to
    /// mean 0 and deviation 1 inside every list. It orders a list, and is no log-odds
    #[arg(
        long,
        value_name = "RUN",
        required_unless_present = "baseline",
        conflicts_with = "baseline"
    )]
    pub(crate) run: Vec<PathBuf>,
    /// random (all scores equal, so that metrics with ties=mean are those of the average order),
    /// logged, oracle:TRUTH.parquet, or feature:NAME of a dense feature
    #[arg(long, value_name = "NAME")]
    pub(crate) baseline: Option<String>,
    /// Folder of the dataset
    #[arg(long, value_name = "DATASET")]
    pub(crate) data: PathBuf,
    /// Which part of it: train, valid, calibrate or test
    #[arg(long, value_name = "SPLIT", default_value = "test")]
    pub(crate) split: String,
    /// Inputs left out, by their names under [features]: numbers are what missing ones become, and what says
    /// that they are missing says so; ids are unknown, vectors 0. Other inputs made of the same columns stay
    /// unless they are named too. What `slate evaluate --against` finds then is
    /// what they are worth to this run
    #[arg(
        long,
        value_name = "INPUTS",
        value_delimiter = ',',
        conflicts_with = "baseline"
    )]
    pub(crate) without: Vec<String>,
    /// Score file to write, .parquet or .csv
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Take more columns from this file, by `impression` or `impression_id`: what `slate label --with`
    /// wrote, for --cluster user or --by in the commands that follow
    #[arg(long, value_name = "FILE")]
    pub(crate) beside: Option<PathBuf>,
    /// Where to compute: auto, cpu, gpu:N, vulkan:N, metal or cuda:N; `slate doctor` lists those here
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub(crate) device: String,
}

/// Which outcome counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Label {
    Purchase,
    Click,
    Grade,
}

impl Label {
    /// The column of a score file.
    pub(crate) fn column(self) -> &'static str {
        match self {
            Self::Purchase => "purchase",
            Self::Click => "click",
            Self::Grade => "grade",
        }
    }
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  slate report logs dataset run calibrators model.json random.json --out report.html\n  \
    slate report slate-demo --out again.html"
)]
pub(crate) struct ReportArgs {
    /// Folders and files of a chain, in any order: logs, datasets, runs, calibrators, evaluations,
    /// or a folder that holds them
    #[arg(value_name = "PATH", required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// The HTML file to write
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Title of the page
    #[arg(long, value_name = "TEXT", default_value = "Slate report")]
    pub(crate) title: String,
}
