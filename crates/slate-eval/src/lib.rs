//! Numbers that judge a ranker: how well it orders, how well its probabilities are kept, and how
//! far either could be off by chance; what another order would have earned ([`off_policy`]),
//! experiments that find out ([`experiment`]), and whether columns are still what they were ([`drift`]).
//!
//! Input: lists of rows ([`slate_types::ListOffsets`]), one finite score per row (larger is
//! shown earlier) and, as the metric needs, grades (0, 1, 2, …), labels (0 or 1), probabilities
//! (0 to 1) and weights (0 or more). Output: a [`Metric`] with value, interval, count and the
//! convention it was computed under. NaN and mismatched lengths are errors that name the row.
//!
//! | name | what | better | unit |
//! |---|---|---|---|
//! | `ndcg`, `ndcg@k`, `dcg`, `dcg@k` | [`ndcg()`], [`dcg()`] by grade | larger | list |
//! | `err`, `err@k` | [`err()`] by grade | larger | list |
//! | `map`, `map@k` | [`average_precision()`] | larger | list |
//! | `mrr`, `mrr@k` | [`mrr()`]: 1 ÷ rank of the first positive | larger | list |
//! | `precision@k`, `recall@k` | [`precision()`], [`recall()`] | larger | list |
//! | `hit@k` | [`hit()`]: a positive among the first k | larger | list |
//! | `ptr@k`, `ctr@k`, `revenue@k` | [`ptr()`]: purchases, clicks, money among the first k ÷ items, lists or pages | larger | item, list or page |
//! | `list_auc` | [`list_auc()`]: AUC within each list | larger | list |
//! | `auc` | [`auc()`] over all rows | larger | row |
//! | `logloss`, `ne` | [`log_loss()`] in nats, and [over the base rate's](normalised_entropy) | smaller | row |
//! | `brier` | [`brier()`] | smaller | row |
//! | `mcb`, `dsc`, `unc` | [its three parts](Corp) | smaller, larger, – | row |
//! | `pcoc` | [`pcoc()`]: predicted ÷ observed | near 1 | row |
//! | `slope`, `intercept`, `in_the_large` | [`calibration_line()`] | near 1, 0, 0 | row |
//! | `ece`, `ace`, `ece2` | [`calibration_error()`] | smaller | row |
//!
//! `ptr@k`, `ctr@k` and `revenue@k` have the forms `:ips` and `:snips`, see [`Via`].
//!
//! But for these, all is *replay*: logged labels, re-ordered by the new score. A label exists only where
//! the logger showed the row, so replay favours the logger.
//!
//! ```
//! use slate_eval::{Bootstrap, Convention, Sample, evaluate};
//! use slate_types::ListOffsets;
//!
//! let lists = ListOffsets::from_lengths([3, 2])?;
//! let mut sample = Sample::new(&lists, &[0.9, 0.5, 0.1, 0.2, 0.8]);
//! sample.grades = Some(&[4, 0, 1, 1, 0]);
//! let names = ["ndcg@10".parse()?];
//! let metrics = evaluate(&sample, &names, &Convention::default(), &Bootstrap::default())?;
//! assert!(metrics[0].value > 0.7 && metrics[0].value < 1.0);
//! assert_eq!(metrics[0].convention, "gain=exp;ties=mean;empty=skip");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod auc;
mod bins;
mod bootstrap;
mod check;
mod compare;
mod convention;
mod corp;
pub mod drift;
mod earned;
mod err;
mod error;
mod evaluate;
pub mod experiment;
mod line;
mod metric;
mod ndcg;
pub mod off_policy;
mod proper;
mod ranking;
mod reliability;
mod sample;
mod sign_flip;
mod statistic;
mod student;
mod tails;
mod top;

pub use auc::{auc, list_auc};
pub use bootstrap::Bootstrap;
pub use compare::{Difference, adjust, compare};
pub use convention::{Convention, Empty, Gain, Per, Recalled, Short, Ties};
pub use corp::{BandPoint, Corp, Decomposition, Proper, Step};
pub use earned::{TopCount, Via, WeightSummary, ptr, weight_summary};
pub use err::err;
pub use error::EvalError;
pub use evaluate::{evaluate, per_list};
pub use line::{CalibrationLine, calibration_line};
pub use metric::{Metric, MetricName};
pub use ndcg::{dcg, ndcg};
pub use proper::{LOG_LOSS_CLIP, brier, log_loss, normalised_entropy, pcoc};
pub use reliability::{Bin, ECE_BINS, Gap, calibration_error, ece_equal_mass, reliability};
pub use sample::Sample;
pub use sign_flip::sign_flip;
pub use student::{PairedT, holm, paired_t};
pub use top::{average_precision, hit, mrr, precision, recall};
