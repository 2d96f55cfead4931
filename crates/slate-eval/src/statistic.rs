//! A metric reduced to what a resample of clusters needs: sums per cluster, or rows sorted once.

use crate::auc::{self, RankedRows};
use crate::corp::Corp;
use crate::earned::{Logged, earned};
use crate::line::{self, Bend, Fit};
use crate::proper::{brier_of, entropy, log_loss_of, why_nothing};
use crate::ranking::Order;
use crate::reliability::{BinnedRows, ECE_BINS, Gap};
use crate::{Convention, EvalError, MetricName, Per, Sample, Via, err, ndcg, top};

/// One metric of one sample, ready to be computed for any multiplicity of each cluster.
pub(crate) struct Statistic {
    pub(crate) name: MetricName,
    /// Lists, items, pages or rows that count.
    pub(crate) n: u64,
    pub(crate) form: Form,
}

pub(crate) enum Form {
    /// Sum of the first parts ÷ sum of the second; one pair per cluster.
    Ratio(Vec<[f64; 2]>),
    /// Log loss ÷ the entropy of the base rate: sums of loss, label and weight per cluster.
    Entropy(Vec<[f64; 3]>),
    /// What each cluster moves the value by, to first order.
    Linear {
        value: f64,
        influence: Vec<f64>,
    },
    Auc(RankedRows),
    Bins(BinnedRows),
    /// There is none, and why.
    Nothing(&'static str),
}

/// The largest grade that ERR knows, unless the sample has larger ones.
const ERR_GRADE: u8 = 4;

/// Rows above which resamples move AUC to first order.
const MANY_ROWS: usize = 1 << 17;

impl Statistic {
    /// Reduces a checked sample.
    pub(crate) fn new(
        name: MetricName,
        sample: &Sample<'_>,
        convention: Convention,
    ) -> Result<Self, EvalError> {
        let missing = |column| EvalError::Missing {
            metric: name.to_string(),
            column,
        };
        let labels = || sample.labels.ok_or_else(|| missing("labels"));
        let grades = || sample.grades.ok_or_else(|| missing("grades"));
        let probabilities = || sample.probabilities.ok_or_else(|| missing("probabilities"));
        let singles: Vec<f64>;
        let mut scores = sample.scores;
        if convention.single && !name.reads_probabilities() {
            singles = scores.iter().map(|s| f64::from(*s as f32)).collect();
            scores = &singles;
        }
        let text = name.to_string();
        let order = |k: Option<usize>| {
            let order = Order::new(sample.lists, scores, sample.tie_order, &text, k, convention)?;
            Ok::<_, EvalError>(Order {
                unranked: sample.unranked,
                ..order
            })
        };
        let mean = |values: Vec<Option<f64>>| {
            let parts = values.into_iter();
            let parts = parts.map(|value| value.map_or([0.0, 0.0], |value| [value, 1.0]));
            Form::Ratio(clustered(sample, parts))
        };
        let bend = |bend| -> Result<Form, EvalError> {
            let fit = Fit::new(
                probabilities()?,
                labels()?,
                sample.weights,
                &sample.cluster_of_row(),
                sample.cluster_count(),
                bend,
            );
            Ok(fit.map_or(Form::Nothing(line::WHY), |fit| Form::Linear {
                value: fit.value,
                influence: fit.influence,
            }))
        };
        let bins = |gap| -> Result<Form, EvalError> {
            let clusters = sample.cluster_of_row();
            BinnedRows::new(
                probabilities()?,
                labels()?,
                sample.weights,
                &clusters,
                ECE_BINS,
                gap,
            )
            .map(Form::Bins)
        };
        let form = match name {
            MetricName::Ndcg { k } => {
                mean(ndcg::of_order(&order(k)?, grades()?, k, convention, true)?)
            }
            MetricName::Dcg { k } => {
                mean(ndcg::of_order(&order(k)?, grades()?, k, convention, false)?)
            }
            MetricName::Err { k } => {
                let grades = grades()?;
                let most = largest_grade(grades);
                mean(err::of_order(&order(k)?, grades, k, most, convention)?)
            }
            MetricName::Map { k } => mean(top::average_precision_of(
                &order(k)?,
                labels()?,
                k,
                convention,
            )?),
            MetricName::Mrr { k } => mean(top::mrr_of(&order(k)?, labels()?, k, convention)?),
            MetricName::Precision { k } => mean(top::precision_of(
                &order(Some(k))?,
                labels()?,
                k,
                convention,
            )?),
            MetricName::Recall { k } => {
                mean(top::recall_of(&order(Some(k))?, labels()?, k, convention)?)
            }
            MetricName::Hit { k } => mean(top::hit_of(&order(Some(k))?, labels()?, k, convention)?),
            MetricName::Ptr { k, via }
            | MetricName::Ctr { k, via }
            | MetricName::Revenue { k, via } => {
                let outcomes = match name {
                    MetricName::Ctr { .. } => sample.clicks.ok_or_else(|| missing("clicks"))?,
                    _ => labels()?,
                };
                let amounts = match name {
                    MetricName::Revenue { .. } => {
                        Some(sample.worth.ok_or_else(|| missing("worth"))?)
                    }
                    _ => None,
                };
                let worth = |row: usize| {
                    f64::from(outcomes[row]) * amounts.map_or(1.0, |amounts| amounts[row])
                };
                let order = order(Some(k))?;
                through(sample, &order, (k, via), convention, &worth, &missing)?
            }
            MetricName::Auc => {
                let clusters = sample.cluster_of_row();
                let rows = RankedRows::new(sample.scores, labels()?, sample.weights, &clusters);
                // Counting many rows anew in each draw would take longer than all else.
                let linear =
                    (clusters.len() > MANY_ROWS).then(|| rows.linear(sample.cluster_count()));
                match linear.flatten() {
                    Some((value, influence)) => Form::Linear { value, influence },
                    None => Form::Auc(rows),
                }
            }
            MetricName::ListAuc => mean(auc::list_auc(sample.lists, sample.scores, labels()?)?),
            MetricName::LogLoss => sums(sample, probabilities()?, labels()?, |p, y| {
                [log_loss_of(p, y), 1.0]
            }),
            MetricName::Ne => Form::Entropy(
                row_sums(sample, |row| {
                    let (p, y) = (sample.probabilities?[row], sample.labels?[row]);
                    Some([log_loss_of(p, y), f64::from(y), 1.0])
                })
                .ok_or_else(|| {
                    missing(if sample.labels.is_none() {
                        "labels"
                    } else {
                        "probabilities"
                    })
                })?,
            ),
            MetricName::Brier => sums(sample, probabilities()?, labels()?, |p, y| {
                [brier_of(p, y), 1.0]
            }),
            MetricName::Miscalibration | MetricName::Discrimination | MetricName::Uncertainty => {
                let (probabilities, labels) = (probabilities()?, labels()?);
                let corp = Corp::new(probabilities, labels, sample.weights)?;
                let base = corp.base_rate();
                // To first order a resample moves the fits' scores as if the fits stayed as they
                // are: each is the best of its kind.
                sums(sample, probabilities, labels, |p, y| {
                    let fitted = || brier_of(corp.recalibrated(p), y);
                    let part = match name {
                        MetricName::Miscalibration => brier_of(p, y) - fitted(),
                        MetricName::Discrimination => brier_of(base, y) - fitted(),
                        _ => brier_of(base, y),
                    };
                    [part, 1.0]
                })
            }
            MetricName::Pcoc => sums(sample, probabilities()?, labels()?, |p, y| {
                [p, f64::from(y)]
            }),
            MetricName::Slope => bend(Bend::Slope)?,
            MetricName::Intercept => bend(Bend::Intercept)?,
            MetricName::InTheLarge => bend(Bend::InTheLarge)?,
            MetricName::Ece => bins(Gap::Expected)?,
            MetricName::Ace => bins(Gap::Adaptive)?,
            MetricName::Ece2 => bins(Gap::DebiasedSquare)?,
        };
        let n = match &form {
            Form::Ratio(parts) if !name.is_over_rows() => {
                let counted = parts.iter().map(|parts| parts[1]).sum::<f64>();
                match name {
                    MetricName::Ptr { k, .. }
                    | MetricName::Ctr { k, .. }
                    | MetricName::Revenue { k, .. } => units(sample, k, convention.per),
                    _ => counted.round() as u64,
                }
            }
            _ => match sample.weights {
                Some(weights) => weights.iter().filter(|weight| **weight > 0.0).count() as u64,
                None => sample.lists.rows() as u64,
            },
        };
        Ok(Self { name, n, form })
    }

    /// The metric over all clusters once.
    pub(crate) fn value(&self, sample: &Sample<'_>) -> Result<f64, EvalError> {
        self.resampled(|_| 1.0).ok_or_else(|| {
            let why = match (self.name, &self.form) {
                (_, Form::Nothing(why)) => why,
                (MetricName::Ndcg { .. } | MetricName::Err { .. }, _) => {
                    "no list has a row with a grade above 0"
                }
                (MetricName::Auc, _) => {
                    return auc::nothing(sample.labels.unwrap_or_default(), sample.weights);
                }
                (MetricName::ListAuc, _) => "no list has both a row with label 1 and one with 0",
                (MetricName::Pcoc, _) => why_nothing("pcoc"),
                (MetricName::Ne, _) => "labels are all equal, or all weights are 0",
                (
                    MetricName::Ptr { via, .. }
                    | MetricName::Ctr { via, .. }
                    | MetricName::Revenue { via, .. },
                    _,
                ) if via != Via::Replay => "no row stands where it was shown",
                (name, _) if name.is_over_rows() => why_nothing("brier"),
                _ => "no list has a row with label 1",
            };
            EvalError::NothingToMeasure {
                metric: self.name.to_string(),
                why,
            }
        })
    }

    /// The metric with each cluster counted `count(cluster)` times; `None` where it does not exist.
    pub(crate) fn resampled(&self, count: impl Fn(usize) -> f64) -> Option<f64> {
        match &self.form {
            Form::Ratio(clusters) => {
                let (mut above, mut below) = (0.0, 0.0);
                for (cluster, parts) in clusters.iter().enumerate() {
                    let times = count(cluster);
                    above += times * parts[0];
                    below += times * parts[1];
                }
                (below > 0.0).then_some(above / below)
            }
            Form::Entropy(clusters) => {
                let mut sums = [0.0; 3];
                for (cluster, parts) in clusters.iter().enumerate() {
                    let times = count(cluster);
                    for (sum, part) in sums.iter_mut().zip(parts) {
                        *sum += times * part;
                    }
                }
                let [loss, positive, weight] = sums;
                let entropy = entropy(positive / weight);
                (entropy > 0.0).then(|| loss / weight / entropy)
            }
            Form::Linear { value, influence } => {
                let moved = influence.iter().enumerate();
                Some(value + moved.map(|(i, by)| (count(i) - 1.0) * by).sum::<f64>())
            }
            Form::Auc(rows) => rows.value(count),
            Form::Bins(rows) => rows.value(count),
            Form::Nothing(_) => None,
        }
    }

    /// Clusters that can move the metric, of `clusters`.
    pub(crate) fn contributing(&self, clusters: usize) -> usize {
        match &self.form {
            Form::Ratio(parts) => parts.iter().filter(|parts| **parts != [0.0, 0.0]).count(),
            _ => clusters,
        }
    }
}

/// The largest grade that ERR is told of.
pub(crate) fn largest_grade(grades: &[u8]) -> u8 {
    grades.iter().copied().max().unwrap_or(0).max(ERR_GRADE)
}

/// Sums what lists have over the lists of each cluster.
fn clustered<const N: usize>(
    sample: &Sample<'_>,
    lists: impl Iterator<Item = [f64; N]>,
) -> Vec<[f64; N]> {
    if sample.clusters.is_none() {
        return lists.collect();
    }
    let mut clusters = vec![[0.0; N]; sample.cluster_count()];
    for (list, parts) in lists.enumerate() {
        let sums = &mut clusters[sample.cluster(list) as usize];
        for (sum, part) in sums.iter_mut().zip(parts) {
            *sum += part;
        }
    }
    clusters
}

/// Weighted sums over the rows of each cluster.
fn row_sums<const N: usize>(
    sample: &Sample<'_>,
    parts: impl Fn(usize) -> Option<[f64; N]>,
) -> Option<Vec<[f64; N]>> {
    let mut lists = Vec::with_capacity(sample.lists.len());
    for rows in sample.lists.iter() {
        let mut sums = [0.0; N];
        for row in rows {
            let weight = sample.weight(row);
            for (sum, part) in sums.iter_mut().zip(parts(row)?) {
                *sum += weight * part;
            }
        }
        lists.push(sums);
    }
    Some(clustered(sample, lists.into_iter()))
}

/// A ratio of weighted sums over rows.
fn sums(
    sample: &Sample<'_>,
    probabilities: &[f64],
    labels: &[u8],
    parts: impl Fn(f64, u8) -> [f64; 2],
) -> Form {
    let of_row = |row: usize| Some(parts(probabilities[row], labels[row]));
    Form::Ratio(row_sums(sample, of_row).unwrap_or_default())
}

/// What the first k ranks earn, per item, list or page.
fn through(
    sample: &Sample<'_>,
    order: &Order<'_>,
    (k, via): (usize, Via),
    convention: Convention,
    worth: &(dyn Fn(usize) -> f64 + Sync),
    missing: &dyn Fn(&'static str) -> EvalError,
) -> Result<Form, EvalError> {
    let logged = match via {
        Via::Replay => None,
        Via::Ips | Via::Snips => Some(Logged {
            slots: sample.slots.ok_or_else(|| missing("slots"))?,
            propensities: sample.propensities.ok_or_else(|| missing("propensities"))?,
        }),
    };
    let lists = earned(order, k, convention, worth, logged);
    let shares: Vec<f64> = match convention.per {
        Per::Item => lists.iter().map(|list| list.placements as f64).collect(),
        Per::List => vec![1.0; lists.len()],
        Per::Page => page_shares(sample.pages.ok_or_else(|| missing("pages"))?),
    };
    // Self-normalised: per item what a unit of weight earns; per list or page that times the items
    // there are on one.
    let items: f64 = lists.iter().map(|list| list.placements as f64).sum();
    let scale = items / shares.iter().sum::<f64>();
    let parts = lists.iter().zip(&shares).map(|(list, share)| match via {
        Via::Replay | Via::Ips => [list.value, *share],
        Via::Snips => [scale * list.value, list.weight],
    });
    Ok(Form::Ratio(clustered(sample, parts)))
}

/// One over the number of lists on the page of each list: they sum to the number of pages.
fn page_shares(pages: &[u32]) -> Vec<f64> {
    let mut lists = vec![0_u32; pages.iter().max().map_or(0, |most| *most as usize + 1)];
    for &page in pages {
        lists[page as usize] += 1;
    }
    let share = |page: &u32| 1.0 / f64::from(lists[*page as usize]);
    pages.iter().map(share).collect()
}

/// Items among the first k ranks, lists or pages.
fn units(sample: &Sample<'_>, k: usize, per: Per) -> u64 {
    match per {
        Per::Item => {
            let ranked = |row: &usize| sample.unranked.is_none_or(|unranked| !unranked[*row]);
            let items = sample
                .lists
                .iter()
                .map(|rows| rows.filter(ranked).count().min(k) as u64);
            items.sum()
        }
        Per::List => sample.lists.len() as u64,
        Per::Page => page_shares(sample.pages.unwrap_or_default())
            .iter()
            .sum::<f64>()
            .round() as u64,
    }
}
