//! What may be typed after `rerank` and `backtest`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::pipeline::backtest::{OutcomeKind, Unit};
use crate::pipeline::columns::Cluster;

/// Placements that were shown.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("placements").required(true).args(["log", "data"]))]
pub(crate) struct ShownArgs {
    /// Placements, Parquet or CSV: a score file, or list_id, slot, item_id and outcomes
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
    /// Folder of a dataset, whose runs can be policies
    #[arg(long, value_name = "DATASET")]
    pub(crate) data: Option<PathBuf>,
    /// Which part of the dataset
    #[arg(long, value_name = "SPLIT", default_value = "test")]
    pub(crate) split: String,
    /// Take more columns from this file, by `impression` or `impression_id`
    #[arg(long, value_name = "FILE")]
    pub(crate) beside: Option<PathBuf>,
    /// Keep lists in which this column has this value; may be repeated
    #[arg(long = "where", value_name = "COLUMN=VALUE")]
    pub(crate) only: Vec<String>,
    /// Where runs compute: auto, cpu, gpu:N, vulkan:N, metal or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub(crate) device: String,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  slate rerank --policy money.toml --log probabilities.parquet --out shown.parquet\n  \
    slate rerank --policy run.toml --data dataset --split test --out shown.csv\n\n\
    A policy:\n\n  \
    format = 1\n  \
    ranker = \"run:july-run\"         # or logged, random, popularity, score, column:NAME, scores:FILE\n  \
    calibrator = \"calibrators/isotonic.json\"\n  \
    [order]                          # ln p + 0.3 ln price + 0.5 ln ad_rate; without it the score\n  \
    price = 0.3\n  \
    ad_rate = 0.5\n  \
    [explore]\n  \
    kind = \"epsilon\"                 # or softmax with a temperature\n  \
    share = 0.05\n\n\
    OUT has each list in the order shown: `slot`, `logged_slot`, the value as `score`, and `propensity`,\n\
    the exact probability of each row in its slot, ready to be logged."
)]
pub(crate) struct RerankArgs {
    /// The policy
    #[arg(long, value_name = "FILE.toml")]
    pub(crate) policy: PathBuf,
    #[command(flatten)]
    pub(crate) shown: ShownArgs,
    /// Score file to write, .parquet or .csv
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:\n  slate backtest --data dataset --a logged.toml --b run.toml --out backtest\n  \
    slate backtest --log shown.parquet --a a.toml --b b.toml --b c.toml --reward revenue --per page --top 3\n  \
    slate backtest --log random.parquet --propensity uniform --a a.toml --b b.toml --by device\n  \
    slate backtest examine --log shown.parquet --out examination.json\n  \
    slate backtest months --a old.toml --b new.toml --logs logs --months 2026-03..2026-06 --out months\n  \
    slate backtest plan --rate 0.02 --change 0.05 --per-day 40000\n  \
    slate backtest online --log arms.parquet --arm experiment_arm\n\n\
    Exit code 1: the log cannot tell which policy is better; the sentence says why, and what would do."
)]
pub(crate) struct BacktestArgs {
    #[command(subcommand)]
    pub(crate) command: Option<BacktestCommand>,
    #[command(flatten)]
    pub(crate) compare: CompareArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BacktestCommand {
    /// Estimate how likely users look at each slot, for logs of one order
    Examine(ExamineArgs),
    /// Simulate an interleaving of two policies: how many lists it would take
    Interleave(InterleaveArgs),
    /// Train two recipes on the past of each month, and compare them on the month
    Months(MonthsArgs),
    /// How long an experiment with arms must run
    Plan(PlanArgs),
    /// Read out an experiment with arms: assignment, rates by arm, differences, days
    Online(OnlineArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// The policy the others are compared with
    // Optional because a subcommand does without; required all the same.
    #[arg(long, value_name = "FILE.toml", required = true)]
    pub(crate) a: Option<PathBuf>,
    /// Another policy; may be repeated
    #[arg(long, value_name = "FILE.toml", required = true)]
    pub(crate) b: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) shown: ShownArgs,
    /// What counts: click, purchase, revenue (price of purchases), fee (price times ad_rate), or a
    /// column [default: purchase where there is one, or else click]
    #[arg(long, value_name = "NAME")]
    pub(crate) reward: Option<String>,
    /// What the value is divided by
    #[arg(long, value_enum, default_value = "list")]
    pub(crate) per: Unit,
    /// Count only the first K slots [default: all]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) top: Option<u32>,
    /// Unit that intervals resample: lists of one user or page depend on each other
    #[arg(long, value_enum, default_value = "list")]
    pub(crate) cluster: Cluster,
    /// Column with the probability of each placement, or uniform: lists were in random order
    #[arg(long, value_name = "COLUMN|uniform", default_value = "propensity")]
    pub(crate) propensity: String,
    /// Column with the probability of each placement given those above it, for rips, list_ips and cascade_dr
    #[arg(long, value_name = "COLUMN")]
    pub(crate) prefix_propensity: Option<String>,
    /// Several loggers: VALUE=COLUMN, the value of --logger that names one and the column with its
    /// probability of each placement, whoever showed it; may be repeated
    #[arg(
        long,
        value_name = "VALUE=COLUMN",
        value_delimiter = ',',
        requires = "logger"
    )]
    pub(crate) balanced: Vec<String>,
    /// Column that says which logger showed a list
    #[arg(long, value_name = "COLUMN", requires = "balanced")]
    pub(crate) logger: Option<String>,
    /// The log shows one order: weigh clicks by what users look at, from `slate backtest examine`
    #[arg(long, value_name = "FILE.json", conflicts_with_all = ["balanced", "prefix_propensity"])]
    pub(crate) examination: Option<PathBuf>,
    /// Estimators, comma separated [default: ips, snips, dm, dr, sndr, dr_os@slope, and rips, snrips,
    /// list_ips where prefixes are known; ips and dm with --examination]: also replay, mips, ips@L, dr@L, switch_dr@L, dr_os@L,
    /// sg_ips@L, sg_dr@L, list_snips, cascade_dr; @slope chooses L
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) estimators: Vec<String>,
    /// The estimator that the verdict rests on [default: dr; ips with --examination, snips with a cascade]
    #[arg(long, value_name = "NAME")]
    pub(crate) main: Option<String>,
    /// Outcome model of dm, dr and their like, fitted on other folds than it forecasts [default:
    /// regression, or cells where lists have one row]
    #[arg(long, value_enum)]
    pub(crate) outcome: Option<OutcomeKind>,
    /// Columns whose values say which items earn the same in a slot, for mips
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub(crate) cells: Vec<String>,
    /// How intervals are made
    #[arg(long, value_enum, default_value = "bca")]
    pub(crate) interval: IntervalArg,
    /// The largest reward a placement can have, on which bernstein intervals rest [default: the largest
    /// seen, which need not be it]
    #[arg(long, value_name = "REWARD", value_parser = reward, allow_negative_numbers = true)]
    pub(crate) largest_reward: Option<f64>,
    /// Also compare in the lists of each value of this column
    #[arg(long, value_name = "COLUMN")]
    pub(crate) by: Option<String>,
    /// Folder for the result (manifest.json), for `slate report`
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

/// A reward from 0 up.
fn reward(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(reward) if reward >= 0.0 && reward.is_finite() => Ok(reward),
        _ => Err("expected a finite number from 0 up".to_owned()),
    }
}

/// How intervals are made, as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum IntervalArg {
    /// Bias-corrected and accelerated bootstrap
    Bca,
    /// Middle of a bootstrap
    Percentile,
    /// Student's t over clusters, no resamples
    Delta,
    /// Empirical Bernstein: holds at any size and is wide; for --main ips@L over lists
    Bernstein,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  slate backtest examine --log shown.parquet --out examination.json\n  \
    slate backtest examine --log expedia.parquet --random traffic_class=random\n  \
    slate backtest examine --log shown.parquet --appeal price,item_rating --take regression --out examination.json\n\n\
    Curves where they can be had: from lists in random order (--random), from items that stood in several\n\
    slots (harvested), by EM of the position-based model, and by EM with an appeal that numbers tell\n\
    (--appeal). The file holds the first of them, or the one --take names."
)]
pub(crate) struct ExamineArgs {
    #[command(flatten)]
    pub(crate) shown: ShownArgs,
    /// What users do with what they look at: click, purchase or a column of 0 and 1 [default: click]
    #[arg(long, value_name = "NAME", default_value = "click")]
    pub(crate) reward: String,
    /// Lists that were shown in random order have this value in this column
    #[arg(long, value_name = "COLUMN=VALUE")]
    pub(crate) random: Option<String>,
    /// Slots to look at
    #[arg(long, value_name = "K", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) top: u32,
    /// Columns that together say what was shown: of equal appeal wherever it stood. An item whose
    /// appeal depends on the page needs the page's query or seed beside it
    #[arg(
        long,
        value_name = "COLUMNS",
        value_delimiter = ',',
        default_value = "item_id"
    )]
    pub(crate) same: Vec<String>,
    /// Columns whose numbers say how appealing a placement is, wherever it stands: adds a curve by
    /// regression EM, for items that stood in one slot only. What the logger knew beside them, it takes for
    /// attention; its own score is no help where it made the order
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub(crate) appeal: Vec<String>,
    /// Unit that intervals resample
    #[arg(long, value_enum, default_value = "list")]
    pub(crate) cluster: Cluster,
    /// The curve that the file holds [default: the first there is]
    #[arg(long, value_enum)]
    pub(crate) take: Option<CurveArg>,
    /// File for the curve and its resamples, for --examination
    #[arg(long, value_name = "FILE.json")]
    pub(crate) out: Option<PathBuf>,
}

/// A curve, as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CurveArg {
    /// From lists in random order
    Random,
    /// From items that stood in several slots
    Harvested,
    /// By expectation-maximisation
    Em,
    /// The same with appeal by the numbers of --appeal
    Regression,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  slate backtest interleave --log shown.parquet --a a.toml --b b.toml --reward click --depth 6\n\n\
    Both policies answer the same page in one list, and a click is a vote. Clicks are drawn from a model that is\n\
    fitted to the log, each list 20 times over. What it finds is preference; money takes arms."
)]
pub(crate) struct InterleaveArgs {
    /// A policy
    #[arg(long, value_name = "FILE.toml")]
    pub(crate) a: PathBuf,
    /// Another policy
    #[arg(long, value_name = "FILE.toml")]
    pub(crate) b: PathBuf,
    #[command(flatten)]
    pub(crate) shown: ShownArgs,
    /// What votes: click, purchase or a column of 0 and 1 [default: purchase where there is one, or else
    /// click]
    #[arg(long, value_name = "NAME")]
    pub(crate) reward: Option<String>,
    /// Slots of the merged list
    #[arg(long, value_name = "K", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) depth: u32,
    /// The model that clicks are drawn from
    #[arg(long, value_enum, default_value = "regression")]
    pub(crate) outcome: OutcomeKind,
    /// Chance of finding the preference
    #[arg(long, value_name = "POWER", default_value_t = 0.8)]
    pub(crate) power: f64,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  slate backtest months --a old.toml --b new.toml --logs logs --months 2026-03..2026-06 --out months\n  \
    slate backtest months --a a.toml --b b.toml --logs logs --months 2026-06 --out june --cache stages\n  \
    slate backtest --log months/both.parquet --beside shown/labels.parquet --where traffic_class=random \\
      --propensity uniform --a months/old.policy.toml --b months/new.policy.toml\n\n\
    A recipe is a configuration with [features], [split] as shares, and [train] or [trees]. For each month it\n\
    is trained and calibrated (by the first of [calibrate] methods) with the labels known when the month began,\n\
    then scores the month; both must attribute alike. After a kill the same command goes on; recipes that agree share their stages."
)]
pub(crate) struct MonthsArgs {
    /// Configuration the other is compared with
    #[arg(long, value_name = "RECIPE.toml")]
    pub(crate) a: PathBuf,
    /// Another configuration
    #[arg(long, value_name = "RECIPE.toml")]
    pub(crate) b: PathBuf,
    /// Folder or URL of the logs
    #[arg(long, value_name = "DIR|URL")]
    pub(crate) logs: String,
    /// Months to score, such as 2026-03..2026-06
    #[arg(long, value_name = "FIRST..LAST")]
    pub(crate) months: String,
    /// Folder for the comparison and the scores of both
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Keep datasets and runs here, for later comparisons; not of logs on a web server, which does not say
    /// what changed [default: beside OUT, removed at the end]
    #[arg(long, value_name = "DIR")]
    pub(crate) cache: Option<PathBuf>,
    /// Metrics, comma separated; the first decides [default: the config's, or
    /// ndcg@10,ptr@3,logloss,auc,pcoc]
    #[arg(long, short = 'm', value_name = "NAMES", value_delimiter = ',')]
    pub(crate) metrics: Vec<String>,
    /// Unit that intervals resample
    #[arg(long, value_enum, default_value = "list")]
    pub(crate) cluster: Cluster,
    /// Where to compute: auto, cpu, gpu:N, vulkan:N, metal or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub(crate) device: String,
}

#[derive(Debug, Args)]
#[command(
    group = clap::ArgGroup::new("spread").required(true).args(["rate", "deviation"]),
    group = clap::ArgGroup::new("size").required(true).multiple(true).args(["change", "days"]),
    after_help = "Examples:\n  slate backtest plan --rate 0.02 --change 0.05 --per-day 40000\n  \
    slate backtest plan --deviation 31.5 --mean 4.2 --change 0.03 --per-day 9000 --share 0.1\n  \
    slate backtest plan --rate 0.02 --days 14 --per-day 40000\n  \
    slate backtest plan --rate 0.02 --change 0.05 --interleave 0.53\n\n\
    Without --change it says which change --days would find; without --days how many days it takes."
)]
pub(crate) struct PlanArgs {
    /// Share of units with the outcome, such as purchases per page
    #[arg(long, value_name = "P")]
    pub(crate) rate: Option<f64>,
    /// Standard deviation of what a unit earns
    #[arg(long, value_name = "SD", requires = "mean")]
    pub(crate) deviation: Option<f64>,
    /// What a unit earns on average
    #[arg(long, value_name = "MEAN")]
    pub(crate) mean: Option<f64>,
    /// The change to find, as a share of the rate or mean
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub(crate) change: Option<f64>,
    /// Days the experiment runs
    #[arg(long, value_name = "N", requires = "per_day")]
    pub(crate) days: Option<f64>,
    /// Units a day, both arms together
    #[arg(long, value_name = "N")]
    pub(crate) per_day: Option<f64>,
    /// Share of the units that get the new policy
    #[arg(long, value_name = "SHARE", default_value_t = 0.5)]
    pub(crate) share: f64,
    /// 1 - chance of a difference where there is none
    #[arg(long, value_name = "LEVEL", default_value_t = 0.95)]
    pub(crate) level: f64,
    /// Chance of finding the change
    #[arg(long, value_name = "POWER", default_value_t = 0.8)]
    pub(crate) power: f64,
    /// Share of the variance that what was known before explains (squared correlation), with CUPED
    #[arg(long, value_name = "R2", default_value_t = 0.0)]
    pub(crate) explained: f64,
    /// Also plan an interleaving, in which this share of the lists with a click prefers the better
    #[arg(long, value_name = "SHARE")]
    pub(crate) interleave: Option<f64>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  slate backtest online --log arms.parquet --arm experiment_arm\n  \
    slate backtest online --log arms.parquet --arm arm --planned a=0.9,b=0.1 --by device\n  \
    slate backtest online --log arms.parquet --arm arm --before spend_last_month --daily 0.05\n\n\
    Exit code 1: arms do not have the shares that were planned, or no difference is found."
)]
pub(crate) struct OnlineArgs {
    /// Placements with the arm of each, Parquet or CSV
    #[arg(long, value_name = "FILE")]
    pub(crate) log: PathBuf,
    /// Take more columns from this file, by `impression` or `impression_id`
    #[arg(long, value_name = "FILE")]
    pub(crate) beside: Option<PathBuf>,
    /// Keep lists in which this column has this value; may be repeated
    #[arg(long = "where", value_name = "COLUMN=VALUE")]
    pub(crate) only: Vec<String>,
    /// Column that names the arm
    #[arg(long, value_name = "COLUMN", default_value = "experiment_arm")]
    pub(crate) arm: String,
    /// The arm the others are compared with [default: the first by name]
    #[arg(long, value_name = "ARM")]
    pub(crate) control: Option<String>,
    /// Shares the arms were planned with, such as a=0.9,b=0.1 [default: equal]
    #[arg(long, value_name = "ARM=SHARE", value_delimiter = ',')]
    pub(crate) planned: Vec<String>,
    /// Unit that was assigned to an arm, and that intervals are over
    #[arg(long, value_enum, default_value = "user")]
    pub(crate) cluster: Cluster,
    /// Also compare in the lists of each value of this column
    #[arg(long, value_name = "COLUMN")]
    pub(crate) by: Option<String>,
    /// Column with what was known of each unit before, such as last month's spending (CUPED)
    #[arg(long, value_name = "COLUMN")]
    pub(crate) before: Option<String>,
    /// The experiment is read every day: widen intervals so that they hold at all times, best where the
    /// change hoped for is this share of the control
    #[arg(long, value_name = "SHARE")]
    pub(crate) daily: Option<f64>,
    /// File for the result
    #[arg(long, value_name = "FILE.json")]
    pub(crate) out: Option<PathBuf>,
}
