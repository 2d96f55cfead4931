//! Columns that change what is counted: clusters, pages, clicks, money, propensities.

use slate_eval::{Bootstrap, Convention, Metric, MetricName, Per, Sample, compare, evaluate};
use slate_types::{ListOffsets, Seed};

use crate::market::Market;

fn names(text: &str) -> Vec<MetricName> {
    text.split(',').map(|name| name.parse().unwrap()).collect()
}

fn metrics(sample: &Sample<'_>, text: &str, convention: Convention) -> Vec<Metric> {
    evaluate(sample, &names(text), &convention, &Bootstrap::default()).unwrap()
}

/// Showing every list three times teaches nothing: resampled by what they are copies of, intervals
/// are as wide as before; resampled by list they pretend to know more.
#[test]
fn copies_in_one_cluster_do_not_narrow_an_interval() {
    let market = Market::new(120, 0.6, Seed(4));
    let lengths: Vec<u64> = market.lists.iter().map(|rows| rows.len() as u64).collect();
    let lists = ListOffsets::from_lengths(lengths.iter().cycle().take(360).copied()).unwrap();
    let (scores, labels) = (market.scores.repeat(3), market.labels.repeat(3));
    let probabilities = market.probabilities.repeat(3);
    let clusters: Vec<u32> = (0..360).map(|list| list % 120).collect();
    let mut copies = Sample::new(&lists, &scores);
    copies.labels = Some(&labels);
    copies.grades = Some(&labels);
    copies.probabilities = Some(&probabilities);
    let text = "ndcg@3,ptr@3,auc,logloss,ne,slope,ece2,pcoc";
    let convention = Convention::default();
    let once = metrics(&market.sample(), text, convention);
    let by_list = metrics(&copies, text, convention);
    copies.clusters = Some(&clusters);
    let by_cluster = metrics(&copies, text, convention);
    for ((once, by_list), by_cluster) in once.iter().zip(by_list).zip(by_cluster) {
        let width = |metric: &Metric| metric.high - metric.low;
        let (name, once) = (&once.name, width(once));
        assert!(width(&by_list) < 0.75 * once, "{name}");
        assert!((width(&by_cluster) / once - 1.0).abs() < 0.15, "{name}");
        assert!(by_cluster.convention.ends_with(";interval=clusters"));
        assert!(!by_list.convention.contains("clusters"));
    }
    let mut other = copies;
    let rows = market.scores.len() as u64;
    let noise: Vec<f64> = (0..rows).map(|i| Seed(1).index(i).unit()).collect();
    let noise = noise.repeat(3);
    other.scores = &noise;
    let run = |a: &Sample<'_>, b: &Sample<'_>| {
        let name = names("ndcg@3");
        compare(a, b, &name, &convention, &Bootstrap::default())
            .unwrap()
            .remove(0)
    };
    let clustered = run(&copies, &other);
    (copies.clusters, other.clusters) = (None, None);
    let listed = run(&copies, &other);
    assert!(clustered.high - clustered.low > 1.4 * (listed.high - listed.low));
    assert!(listed.convention.contains("interval=t;test=sign-flip"));
    assert!(
        clustered
            .convention
            .contains("interval=percentile;test=sign-flip")
    );
    assert!((listed.difference - clustered.difference).abs() < 1e-12);
}

#[test]
fn pages_clicks_and_money_are_what_is_divided() {
    let lists = ListOffsets::from_lengths([2, 1, 2]).unwrap();
    let scores = [0.9, 0.1, 0.5, 0.2, 0.8];
    let mut sample = Sample::new(&lists, &scores);
    sample.labels = Some(&[1, 1, 0, 0, 1]);
    sample.clicks = Some(&[1, 1, 1, 0, 1]);
    sample.worth = Some(&[100.0, 50.0, 7.0, 9.0, 30.0]);
    // Lists 0 and 1 share a page.
    sample.pages = Some(&[0, 0, 1]);
    let per = |per| Convention {
        per,
        ..Convention::default()
    };
    let value = |name: &str, per_what| metrics(&sample, name, per(per_what)).remove(0);
    for (per_what, divided_by) in [(Per::Item, 3.0), (Per::List, 3.0), (Per::Page, 2.0)] {
        assert!((value("ptr@1", per_what).value - 2.0 / divided_by).abs() < 1e-15);
        assert!((value("ctr@1", per_what).value - 3.0 / divided_by).abs() < 1e-15);
        assert!((value("revenue@1", per_what).value - 130.0 / divided_by).abs() < 1e-12);
    }
    let revenue = value("revenue@2", Per::Page);
    assert_eq!(
        (revenue.value, revenue.n, revenue.unit.as_str()),
        (90.0, 2, "page")
    );
    assert!(revenue.convention.contains("per=page"));
    sample.pages = None;
    let error = evaluate(
        &sample,
        &names("ptr@1"),
        &per(Per::Page),
        &Bootstrap::default(),
    );
    assert_eq!(
        error.unwrap_err().to_string(),
        "`ptr@1` needs `pages`, which the sample does not have"
    );
}

/// A logger that shuffles with known chances, and slots that are looked at less and less: replay
/// flatters what was shown high, inverse propensities do not.
#[test]
fn inverse_propensity_finds_what_an_order_would_have_earned() {
    let n = 20_000;
    let lists = ListOffsets::from_lengths(vec![3; n]).unwrap();
    let look = [1.0, 0.4, 0.1];
    let quality = [0.1, 0.3, 0.6];
    // The logger puts the worst item first in 6 of 10 pages, else it rotates.
    let orders = [([0, 1, 2], 0.6), ([1, 2, 0], 0.2), ([2, 0, 1], 0.2)];
    let marginal = |item: usize, slot: usize| -> f64 {
        let at = orders.iter().filter(|(order, _)| order[slot] == item);
        at.map(|(_, p)| p).sum()
    };
    let (mut labels, mut slots, mut propensities) = (vec![], vec![], vec![]);
    for list in 0..n as u64 {
        let drawn = Seed(17).index(list).unit();
        let order = match drawn {
            0.0..0.6 => orders[0].0,
            0.6..0.8 => orders[1].0,
            _ => orders[2].0,
        };
        for (item, quality) in quality.iter().enumerate() {
            let slot = order.iter().position(|&at| at == item).unwrap();
            let outcome = Seed(18).index(list * 3 + item as u64).unit();
            labels.push(u8::from(outcome < look[slot] * quality));
            slots.push(slot as u32);
            propensities.push(marginal(item, slot));
        }
    }
    // The new order: best first, judged at its first slot.
    let scores = quality.repeat(n);
    let mut sample = Sample::new(&lists, &scores);
    sample.labels = Some(&labels);
    sample.slots = Some(&slots);
    sample.propensities = Some(&propensities);
    let truth = look[0] * quality[2];
    let found = metrics(
        &sample,
        "ptr@1,ptr@1:ips,ptr@1:snips",
        Convention::default(),
    );
    assert!(
        found[0].high < 0.7 * truth,
        "replay sees it where it was hidden: {:?}",
        found[0]
    );
    for one in &found[1..] {
        assert!(one.low < truth && truth < one.high, "{one:?}");
        assert!(one.high - one.low < 0.1, "{one:?}");
    }
    assert!(found[2].high - found[2].low < found[1].high - found[1].low);
    let weights = slate_eval::weight_summary(&sample, 1, &Convention::default()).unwrap();
    assert!((weights.mean - 1.0).abs() < 0.03, "{weights:?}");
    // One page in five shows the best item first, each with weight 5.
    assert!((weights.effective / n as f64 - 0.2).abs() < 0.02 && weights.largest == 5.0);
    let per_list = Convention {
        per: Per::List,
        ..Convention::default()
    };
    let of_two = metrics(&sample, "ptr@2:ips,ptr@2:snips", per_list);
    let truth = look[0] * quality[2] + look[1] * quality[1];
    for one in &of_two {
        assert!(one.low < truth && truth < one.high, "{one:?}");
    }
    let mut unknown = propensities.clone();
    unknown[4] = f64::NAN;
    sample.propensities = Some(&unknown);
    let error = evaluate(&sample, &names("ptr@1"), &per_list, &Bootstrap::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`propensities` at row 4 is NaN, expected a number above 0 and up to 1"
    );
}
