//! What may be typed after `calibrate` and `evaluate`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Label;
use crate::pipeline::columns::Cluster;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  slate calibrate --scores calibrate.parquet --test test.parquet --out calibrators\n  \
    slate calibrate --scores calibrate.parquet --out calibrators --methods all --by slot\n  \
    slate calibrate --apply calibrators/isotonic.json --scores test.parquet --out calibrated.parquet"
)]
pub(crate) struct CalibrateArgs {
    /// Held-out scores to fit on (with --apply: scores to map)
    #[arg(long, value_name = "FILE")]
    pub(crate) scores: PathBuf,
    /// Folder for the calibrators (with --apply: the score file to write)
    #[arg(long, value_name = "OUT")]
    pub(crate) out: PathBuf,
    /// Scores to compare the calibrators on [default: out-of-fold over --scores, 5 folds by list]
    #[arg(long, value_name = "FILE")]
    pub(crate) test: Option<PathBuf>,
    /// Calibrators to fit, comma separated [default: the config's, or isotonic,sigmoid,exponential];
    /// all: isotonic, isotonic_binned, centred, sigmoid, exponential, exponential_binned, power,
    /// beta, temperature, histogram, spline, venn_abers
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) methods: Vec<String>,
    /// Columns whose values get maps of their own, outermost first, such as slot,category,month;
    /// values with few positives lean on the map of the columns before
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub(crate) by: Vec<String>,
    /// What the scores are
    #[arg(long, value_enum, default_value = "log-odds")]
    pub(crate) scores_are: ScoresAre,
    /// Weigh rows by the column `weight`
    #[arg(long)]
    pub(crate) weighted: bool,
    /// Weigh rows by one over the column `propensity`: a map for items placed at random
    #[arg(long)]
    pub(crate) inverse_propensity: bool,
    /// Least propensity that weights are made of
    #[arg(
        long,
        value_name = "P",
        default_value_t = 0.01,
        requires = "inverse_propensity"
    )]
    pub(crate) propensity_floor: f64,
    /// Share of the rows without the event that --scores holds, where they were sampled: each
    /// counts one over it
    #[arg(long, value_name = "SHARE")]
    pub(crate) negatives_kept: Option<f64>,
    /// The same of --test [default: all are there]
    #[arg(long, value_name = "SHARE", requires = "test")]
    pub(crate) test_negatives_kept: Option<f64>,
    /// Outcome to predict [default: purchase where there is one, or else click]
    #[arg(long, value_enum)]
    pub(crate) label: Option<Label>,
    /// Unit that intervals resample
    #[arg(long, value_enum, default_value = "list")]
    pub(crate) cluster: Cluster,
    /// Apply this calibrator instead of fitting
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "methods", "test", "label", "by", "weighted", "inverse_propensity", "negatives_kept",
        "allow_in_sample",
    ])]
    pub(crate) apply: Option<PathBuf>,
    /// Accept scores the ranker was trained on; the result is then no honest calibration
    #[arg(long)]
    pub(crate) allow_in_sample: bool,
}

/// What scores are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ScoresAre {
    /// Margins or log-odds, as rankers give them
    LogOdds,
    /// Probabilities, which methods that read log-odds turn into those
    Probability,
}

#[derive(Debug, Args)]
#[command(
    group = clap::ArgGroup::new("source").required(true).args(["scores", "qrels", "letor"]),
    after_help = "Examples:\n  slate evaluate --scores test.parquet\n  \
    slate evaluate --scores test.parquet -m ndcg@10,ptr@3,hit@1,mrr --against random.parquet\n  \
    slate evaluate --scores test.parquet -m ptr@3:snips,revenue@3 --cluster user --by slot\n  \
    slate evaluate --qrels qrels.txt --trec-run run.txt -m ndcg@10,map,precision@5 --per-list\n  \
    slate evaluate --letor rank.test --predictions scores.txt -m ndcg@10 --convention lightgbm"
)]
pub(crate) struct EvaluateArgs {
    /// Scores to measure: Parquet or CSV with list_id, score and outcomes
    #[arg(long, value_name = "FILE")]
    pub(crate) scores: Option<PathBuf>,
    /// TREC judgements (`query 0 document grade`); ties, empty lists and gains as trec_eval has
    /// them unless --convention says otherwise
    #[arg(long, value_name = "FILE", requires = "trec_run")]
    pub(crate) qrels: Option<PathBuf>,
    /// TREC run (`query Q0 document rank score tag`) to measure by --qrels
    #[arg(long, value_name = "FILE", requires = "qrels")]
    pub(crate) trec_run: Option<PathBuf>,
    /// Count judged queries that the run does not have as lists in which nothing was found
    #[arg(long, requires = "qrels")]
    pub(crate) complete: bool,
    /// Judged lists in LETOR or LightGBM text (with `qid:`, or a FILE.query of list lengths)
    #[arg(long, value_name = "FILE", requires = "predictions")]
    pub(crate) letor: Option<PathBuf>,
    /// Scores of the rows of --letor, one per line
    #[arg(long, value_name = "FILE", requires = "letor")]
    pub(crate) predictions: Option<PathBuf>,
    /// Metrics, comma separated [default: the config's, or ndcg@10,ptr@3,logloss,auc,pcoc]: ndcg,
    /// dcg, err, map, mrr, precision, recall, hit, ptr, ctr, revenue (each @k; the last three also
    /// :ips and :snips), auc, list_auc, logloss, ne, brier, mcb, dsc, unc, pcoc, slope, intercept,
    /// in_the_large, ece, ace, ece2
    #[arg(long, short = 'm', value_name = "NAMES", value_delimiter = ',')]
    pub(crate) metrics: Vec<String>,
    /// Convention of the ranking metrics: slate, lightgbm, sklearn, trec_eval, ranx, tfr, allrank,
    /// or settings such as gain=exp;ties=mean;empty=skip;per=item [default: slate]
    #[arg(long, value_name = "NAME")]
    pub(crate) convention: Option<String>,
    /// Compare with these scores of the same rows, paired by list; may be repeated
    #[arg(long, value_name = "FILE", conflicts_with_all = ["qrels", "letor"])]
    pub(crate) against: Vec<PathBuf>,
    /// Unit that intervals resample
    #[arg(long, value_enum, default_value = "list")]
    pub(crate) cluster: Cluster,
    /// Also measure each value of this column by itself (or of decile, tenths of the probability)
    #[arg(long, value_name = "COLUMN")]
    pub(crate) by: Option<String>,
    /// Print each metric list by list before the means, as `trec_eval -q` does
    #[arg(long)]
    pub(crate) per_list: bool,
    /// Weigh rows by the column `weight` in metrics over rows
    #[arg(long)]
    pub(crate) weighted: bool,
    /// Also write the result here, for `slate report`
    #[arg(long, value_name = "FILE.json")]
    pub(crate) out: Option<PathBuf>,
    /// Name of these scores in the report [default: their scorer]
    #[arg(long, value_name = "TEXT")]
    pub(crate) name: Option<String>,
    /// Outcome that counts [default: purchase where there is one, or else click, or else grade]
    #[arg(long, value_enum)]
    pub(crate) label: Option<Label>,
}
