//! Metrics with intervals: values, counts, coverage, determinism, refusals.

use slate_eval::{
    Bootstrap, Convention, EvalError, Metric, MetricName, Per, Sample, auc, brier, ece_equal_mass,
    evaluate, log_loss, ndcg, pcoc, ptr,
};
use slate_types::{ListOffsets, Seed};

use crate::market::Market;

fn names(text: &str) -> Vec<MetricName> {
    text.split(',').map(|name| name.parse().unwrap()).collect()
}

const ALL: &str = "ndcg,ndcg@3,ptr@3,hit@1,mrr,mrr@2,auc,logloss,brier,pcoc,ece,dcg@3,err@3,\
                   map@3,precision@3,recall@3,list_auc,ne,mcb,dsc,unc,slope,intercept,\
                   in_the_large,ace,ece2";

fn run(market: &Market, text: &str, bootstrap: &Bootstrap) -> Vec<Metric> {
    evaluate(
        &market.sample(),
        &names(text),
        &Convention::default(),
        bootstrap,
    )
    .unwrap()
}

#[test]
fn values_are_those_of_the_plain_functions() {
    let market = Market::new(60, 0.7, Seed(1));
    let convention = Convention::default();
    let metrics = run(
        &market,
        ALL,
        &Bootstrap {
            draws: 100,
            ..Bootstrap::default()
        },
    );
    let value = |name: &str| metrics.iter().find(|metric| metric.name == name).unwrap();
    let close = |name: &str, expected: f64| {
        assert!(
            (value(name).value - expected).abs() < 1e-12,
            "{name} {:?}",
            value(name)
        );
    };
    let (p, y) = (&market.probabilities, &market.labels);
    close("auc", auc(&market.scores, y, None).unwrap());
    close("logloss", log_loss(p, y, None).unwrap());
    close("brier", brier(p, y, None).unwrap());
    close("pcoc", pcoc(p, y, None).unwrap());
    close("ece", ece_equal_mass(p, y, None, 15).unwrap());
    let lists: Vec<f64> = ndcg(&market.lists, &market.scores, y, Some(3), &convention)
        .unwrap()
        .into_iter()
        .flatten()
        .collect();
    close("ndcg@3", lists.iter().sum::<f64>() / lists.len() as f64);
    assert_eq!(value("ndcg@3").n, lists.len() as u64);
    assert!(lists.len() < 60, "some list has no purchase and is skipped");
    let counts = ptr(&market.lists, &market.scores, y, 3, &convention).unwrap();
    let bought: f64 = counts.iter().map(|count| count.positives).sum();
    close("ptr@3", bought / 180.0);
    assert_eq!(
        (value("ptr@3").n, value("ptr@3").unit.as_str()),
        (180, "item")
    );
    assert_eq!(value("ptr@3").convention, "via=replay;per=item;ties=mean");
    for metric in &metrics {
        assert!(
            metric.low <= metric.value && metric.value <= metric.high,
            "{metric:?}"
        );
        assert!(metric.high > metric.low, "{metric:?}");
    }

    let per_list = Convention {
        per: Per::List,
        ..convention
    };
    let bootstrap = Bootstrap {
        draws: 10,
        ..Bootstrap::default()
    };
    let metric = &evaluate(&market.sample(), &names("ptr@3"), &per_list, &bootstrap).unwrap()[0];
    assert!((metric.value - bought / 60.0).abs() < 1e-12);
    assert_eq!((metric.n, metric.unit.as_str()), (60, "list"));
}

#[test]
fn the_same_seed_gives_the_same_bytes_at_any_thread_count() {
    let market = Market::new(80, 0.5, Seed(2));
    let bootstrap = Bootstrap {
        draws: 200,
        seed: Seed(9),
        level: 0.9,
    };
    let with = |threads: usize| {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap()
            .install(|| serde_json::to_string(&run(&market, ALL, &bootstrap)).unwrap())
    };
    let one = with(1);
    assert_eq!(one, with(3));
    let other = run(
        &market,
        ALL,
        &Bootstrap {
            seed: Seed(10),
            ..bootstrap
        },
    );
    assert_ne!(one, serde_json::to_string(&other).unwrap());
}

/// 300 markets with known truth: 95% intervals hold it about 95% of the time. The standard error
/// of the share is 1.3%. Resampling rows instead of lists would cover pcoc far less often, since a
/// list's taste moves all its rows.
#[test]
fn intervals_cover_the_truth() {
    let runs = 300;
    let bootstrap = |run| Bootstrap {
        draws: 300,
        seed: Seed(run),
        level: 0.95,
    };
    let (mut ptr_holds, mut pcoc_holds) = (0, 0);
    // E[p] = 0.4 × 1/2 × 3/4 for a score that knows nothing; true probabilities have pcoc 1.
    for i in 0..runs {
        let market = Market::new(80, 0.0, Seed(1000 + i));
        let metrics = run(&market, "ptr@3,pcoc", &bootstrap(i));
        ptr_holds += u32::from(metrics[0].low <= 0.15 && 0.15 <= metrics[0].high);
        pcoc_holds += u32::from(metrics[1].low <= 1.0 && 1.0 <= metrics[1].high);
    }
    for (name, holds) in [("ptr", ptr_holds), ("pcoc", pcoc_holds)] {
        let share = f64::from(holds) / runs as f64;
        assert!(
            (0.90..=0.985).contains(&share),
            "{name} is covered in {share} of the runs"
        );
    }
}

#[test]
fn weights_of_zero_leave_rows_out() {
    let lists = ListOffsets::from_lengths([2, 2]).unwrap();
    let mut sample = Sample::new(&lists, &[0.1, 0.2, 0.3, 0.4]);
    sample.probabilities = Some(&[0.5, 0.25, 0.5, 0.5]);
    sample.labels = Some(&[1, 0, 1, 0]);
    sample.weights = Some(&[1.0, 0.0, 1.0, 2.0]);
    let bootstrap = Bootstrap {
        draws: 50,
        ..Bootstrap::default()
    };
    let metrics = evaluate(
        &sample,
        &names("brier,pcoc,auc"),
        &Convention::default(),
        &bootstrap,
    )
    .unwrap();
    assert_eq!((metrics[0].value, metrics[0].n), (0.25, 3));
    assert_eq!(metrics[1].value, 1.0);
    assert_eq!(metrics[2].value, 0.0);
}

#[test]
fn one_list_has_a_value_and_no_interval() {
    let lists = ListOffsets::from_lengths([3]).unwrap();
    let mut sample = Sample::new(&lists, &[0.1, 0.2, 0.3]);
    sample.grades = Some(&[0, 0, 1]);
    let metrics = evaluate(
        &sample,
        &names("ndcg"),
        &Convention::default(),
        &Bootstrap::default(),
    )
    .unwrap();
    assert_eq!(metrics[0].value, 1.0);
    assert!(metrics[0].low.is_nan() && metrics[0].high.is_nan());
    assert!(
        serde_json::to_string(&metrics[0])
            .unwrap()
            .contains("\"low\":null")
    );
}

#[test]
fn labels_of_zero_say_nothing_about_order() {
    let lists = ListOffsets::from_lengths([2, 1]).unwrap();
    let mut sample = Sample::new(&lists, &[0.1, 0.2, 0.3]);
    sample.grades = Some(&[0; 3]);
    sample.labels = Some(&[0; 3]);
    sample.probabilities = Some(&[0.1; 3]);
    let of = |name: &str| {
        evaluate(
            &sample,
            &names(name),
            &Convention::default(),
            &Bootstrap::default(),
        )
    };
    for name in ["ndcg@10", "hit@1", "mrr", "auc", "pcoc"] {
        let error = of(name).unwrap_err();
        assert!(matches!(&error, EvalError::NothingToMeasure { metric, .. } if metric == name));
    }
    assert_eq!(
        of("ndcg@10").unwrap_err().to_string(),
        "nothing to measure for `ndcg@10`: no list has a row with a grade above 0"
    );
    assert_eq!(of("ptr@2").unwrap()[0].value, 0.0);
    assert!(of("logloss").is_ok());
    let zero: Convention = "empty=zero".parse().unwrap();
    let metrics = evaluate(&sample, &names("ndcg"), &zero, &Bootstrap::default()).unwrap();
    assert_eq!((metrics[0].value, metrics[0].n), (0.0, 2));
}

#[test]
fn bad_samples_are_refused_by_name() {
    let market = Market::new(3, 0.5, Seed(4));
    let refuse = |change: &dyn Fn(&mut Sample<'_>), text: &str| {
        let mut sample = market.sample();
        change(&mut sample);
        let metrics = names("ndcg@10,auc,logloss");
        evaluate(
            &sample,
            &metrics,
            &Convention::default(),
            &Bootstrap::default(),
        )
        .unwrap_err()
        .to_string()
        .contains(text)
    };
    assert!(refuse(&|s| s.labels = None, "`auc` needs `labels`"));
    assert!(refuse(&|s| s.grades = None, "`ndcg@10` needs `grades`"));
    assert!(refuse(
        &|s| s.probabilities = None,
        "`logloss` needs `probabilities`"
    ));
    assert!(refuse(&|s| s.scores = &[0.5], "`scores` has 1 rows"));
    assert!(refuse(&|s| s.labels = Some(&[1]), "`labels` has 1 rows"));
    assert!(refuse(
        &|s| s.weights = Some(&[1.0]),
        "`weights` has 1 rows"
    ));
    let none = ListOffsets::from_lengths([]).unwrap();
    let empty = Sample::new(&none, &[]);
    assert_eq!(
        evaluate(&empty, &[], &Convention::default(), &Bootstrap::default()),
        Err(EvalError::NoRows)
    );
    let level = Bootstrap {
        level: 95.0,
        ..Bootstrap::default()
    };
    assert_eq!(
        evaluate(&market.sample(), &[], &Convention::default(), &level),
        Err(EvalError::Level(95.0))
    );
}
