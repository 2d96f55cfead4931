//! `slate evaluate` as users of other programs meet it: their files, their conventions, their lines.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::program::slate;

const QRELS: &str = "\
q1 0 d1 2
q1 0 d2 0
q1 0 d3 1
q2 0 d1 1
q2 0 d9 0
q3 0 d4 3
q5 0 d5 -1
q5 0 d6 1
";

const RUN: &str = "\
q1 Q0 d2 1 2.5 mine
q1 Q0 d1 2 2.5 mine
q1 Q0 d7 3 1.5 mine
q2 Q0 d9 1 0.9 mine
q2 Q0 d1 2 0.1 mine
q4 Q0 d1 1 0.9 mine
q5 Q0 d5 1 3.0 mine
q5 Q0 d6 2 2.0 mine
";

/// From `pytrec_eval` 0.5.11 on these very lines; a test below asks it again where it can be had.
const EXPECTED: [(&str, &str, [f64; 3]); 6] = [
    (
        "ndcg_cut_10",
        "ndcg@10",
        [
            0.479_624_933_136_263,
            0.630_929_753_571_457,
            0.630_929_753_571_457,
        ],
    ),
    ("map", "map", [0.25, 0.5, 0.5]),
    ("P_5", "precision@5", [0.2, 0.2, 0.2]),
    ("recall_10", "recall@10", [0.5, 1.0, 1.0]),
    ("recip_rank", "mrr", [0.5, 0.5, 0.5]),
    ("map_cut_1", "map@1", [0.0, 0.0, 0.0]),
];

#[test]
fn trec_files_are_read_and_lists_are_told() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("qrels"), QRELS).unwrap();
    fs::write(folder.path().join("run"), RUN).unwrap();
    let names: Vec<&str> = EXPECTED.iter().map(|(_, ours, _)| *ours).collect();
    let line = format!(
        "evaluate --qrels qrels --trec-run run -m {} --per-list",
        names.join(",")
    );
    let told = slate(folder.path(), &line).done();
    assert!(
        told.stderr
            .contains("1 queries of the run have no judgement")
    );
    assert!(told.stderr.contains("1 judged queries are not in the run"));
    // Who hears nothing reads it.
    let quiet = slate(folder.path(), &format!("{line} --quiet --json")).done();
    assert_eq!(quiet.stderr, "");
    assert_eq!(quiet.json()["notes"].as_array().unwrap().len(), 2);
    let text = &told.stdout;
    for (_, name, values) in EXPECTED {
        for (query, value) in ["q1", "q2", "q5"].into_iter().zip(values) {
            let line = format!("{name:<22}\t{query}\t{value:.4}\n");
            assert!(text.contains(&line), "no `{line}` in\n{text}");
        }
        let mean = values.iter().sum::<f64>() / 3.0;
        let line = format!("{name:<22}\tall\t{mean:.4}\n");
        assert!(text.contains(&line), "no `{line}` in\n{text}");
    }
    let complete = slate(
        folder.path(),
        "evaluate --qrels qrels --trec-run run -m ndcg@10 --complete --json",
    );
    let json = complete.done().json();
    assert_eq!(
        json["metrics"][0]["n"], 4,
        "a query not in the run counts 0"
    );
    // A query by itself is the line of that query.
    let line = "evaluate --qrels qrels --trec-run run -m ndcg@10,map --by list_id --json";
    let json = slate(folder.path(), line).done().json();
    for (at, segment) in json["by"]["segments"]
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
    {
        for (metric, (_, _, values)) in segment["metrics"].as_array().unwrap().iter().zip(EXPECTED)
        {
            assert!(
                (metric["value"].as_f64().unwrap() - values[at]).abs() < 1e-12,
                "{segment}"
            );
        }
    }
    // Documents that were not retrieved are no placements: of q1, q2 and q5 3, 2 and 2 were.
    let line = "evaluate --qrels qrels --trec-run run -m ptr@3 --json --per-list";
    let json = slate(folder.path(), line).done().json();
    assert_eq!(json["metrics"][0]["n"], 7);
    assert_eq!(json["per_list"][0]["list"], "q1");
    assert!((json["per_list"][0]["ptr@3"].as_f64().unwrap() - 1.0 / 3.0).abs() < 1e-12);
    let refuse = |line: &str, why: &[&str]| slate(folder.path(), line).refused(why);
    refuse(
        "evaluate --qrels qrels --trec-run run -m auc",
        &["not retrieved"],
    );
    fs::write(folder.path().join("bad"), "q1 Q0 d1 1 high mine\n").unwrap();
    refuse(
        "evaluate --qrels qrels --trec-run bad",
        &["line 1", "Q0 document rank score"],
    );
    fs::write(folder.path().join("twice"), "q1 0 d1 1\nq1 0 d1 2\n").unwrap();
    refuse(
        "evaluate --qrels twice --trec-run run",
        &["line 2", "`d1` of query `q1` again"],
    );
    fs::write(folder.path().join("other"), "x 0 d1 1\n").unwrap();
    refuse(
        "evaluate --qrels other --trec-run run",
        &["none of the 4 queries"],
    );
    refuse("evaluate --qrels qrels", &["--trec-run"]);
}

#[test]
fn lightgbm_files_are_read_with_qids_or_a_query_file() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write(
        "with.txt",
        "2 qid:7 1:0.5\n0 qid:7 1:0.1 # a note\n1 qid:9 1:3\n0 qid:9 1:4\n",
    );
    write("without.txt", "2 1:0.5\n0 1:0.1\n1 1:3\n0 1:4\n");
    write("without.txt.query", "2\n2\n");
    write("scores.txt", "0.1\n0.9\n0.7\n0.2\n");
    let run = |data: &str| {
        let line = format!(
            "evaluate --letor {data} --predictions scores.txt -m ndcg@2,map --convention lightgbm --json"
        );
        slate(folder.path(), &line)
    };
    let json = run("with.txt").done().json();
    let expected = f64::midpoint((3.0 / 3.0_f64.log2()) / 3.0, 1.0);
    assert!((json["metrics"][0]["value"].as_f64().unwrap() - expected).abs() < 1e-12);
    assert_eq!(run("without.txt").done().json()["metrics"], json["metrics"]);
    write("short.txt.query", "2\n1\n");
    write("short.txt", "2 1:0.5\n0 1:0.1\n1 1:3\n0 1:4\n");
    run("short.txt").refused(&["do not add up to the 4 rows"]);
    for excess in ["2\n2\n4\n", "2\n18446744073709551615\n"] {
        write("short.txt.query", excess);
        run("short.txt").refused(&["do not add up to the 4 rows"]);
    }
    write("none.txt", "2 1:0.5\n");
    run("none.txt").refused(&["has no `qid:`", "none.txt.query"]);
    write("mixed.txt", "2 qid:1 1:0.5\n0 1:0.1\n1 1:3\n0 1:4\n");
    run("mixed.txt").refused(&["1 of 4 rows"]);
    write("half.txt", "2.5 qid:1 1:0.5\n");
    run("half.txt").refused(&["line 1", "the grade `2.5`"]);
    write("long.txt", "1 qid:1 1:0\n");
    run("long.txt").refused(&["has 4 scores, expected 1"]);
}

#[test]
fn pages_users_and_days_are_units() {
    let folder = tempfile::tempdir().unwrap();
    let mut text = String::from("list_id,item_id,score,purchase,user_id,page_id,ts,shop\n");
    for list in 0..60_u64 {
        for item in 0..4 {
            let bought = u8::from((list + item) % 7 == 0);
            let user = if list < 3 {
                String::new()
            } else {
                (list / 6).to_string()
            };
            let ts = 1_700_000_000_000_000 + list * 20_000_000_000;
            text += &format!(
                "{list},{item},{},{bought},{user},{},{ts},{}\n",
                (list * 7 + item * 3) % 11,
                list / 2,
                if item == 0 { "a" } else { "b" }
            );
        }
    }
    fs::write(folder.path().join("s.csv"), text).unwrap();
    let run = |options: &str| {
        let line = format!("evaluate --scores s.csv --set evaluate.draws=200 --json {options}");
        slate(folder.path(), &line)
    };
    let width = |json: &Value| {
        let metric = &json["metrics"][0];
        metric["high"].as_f64().unwrap() - metric["low"].as_f64().unwrap()
    };
    let lists = run("-m ptr@2").done().json();
    for cluster in ["user", "day"] {
        let json = run(&format!("-m ptr@2 --cluster {cluster}")).done().json();
        assert_eq!(json["metrics"][0]["value"], lists["metrics"][0]["value"]);
        assert_ne!(width(&json), width(&lists));
        let told = json["metrics"][0]["convention"].as_str().unwrap();
        assert!(told.contains(&format!("interval={cluster}s")), "{told}");
    }
    let per = |per: &str| {
        run(&format!("-m ptr@2 --convention per={per}"))
            .done()
            .json()
    };
    let (list, page) = (per("list"), per("page"));
    let value = |json: &Value| json["metrics"][0]["value"].as_f64().unwrap();
    assert!(
        (value(&page) - 2.0 * value(&list)).abs() < 1e-12,
        "two lists are a page"
    );
    assert_eq!(page["metrics"][0]["unit"], "page");
    let json = run("-m ptr@1,mrr --by shop").done().json();
    let segments = json["by"]["segments"].as_array().unwrap();
    assert_eq!(
        (segments.len(), &segments[1]["value"]),
        (2, &Value::from("b"))
    );
    fs::write(
        folder.path().join("twice.csv"),
        "list_id,score,score\n1,2,3\n",
    )
    .unwrap();
    slate(folder.path(), "evaluate --scores twice.csv").refused(&["column `score` is there twice"]);
    // Values that are numbers and others, in an order that holds for all.
    let mut mixed = String::from("list_id,score,purchase,place\n");
    for (row, place) in ["9", "10", "5a", "100", "1b", "2"]
        .iter()
        .cycle()
        .take(60)
        .enumerate()
    {
        mixed += &format!("{row},0.5,{},{place}\n", u8::from(row % 3 == 0));
    }
    fs::write(folder.path().join("mixed.csv"), mixed).unwrap();
    slate(
        folder.path(),
        "evaluate --scores mixed.csv -m ptr@1 --by place",
    )
    .done();
    run("-m ptr@2 --by street").refused(&["no column `street`", "the file has: list_id, score"]);
    run("-m ptr@2:ips").refused(&["no column `slot`"]);
    run("-m revenue@2").refused(&["no column `price`"]);
    run("-m ctr@2").refused(&["no column `click`"]);
}

#[test]
fn several_comparisons_are_adjusted_together() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, score: &dyn Fn(u64, u64) -> u64| {
        let mut text = String::from("list_id,item_id,score,purchase\n");
        for list in 0..40_u64 {
            for item in 0..5 {
                let bought = u8::from(item == list % 5);
                text += &format!("{list},{item},{},{bought}\n", score(list, item));
            }
        }
        fs::write(folder.path().join(name), text).unwrap();
    };
    write("good.csv", &|list, item| {
        u64::from(item == list % 5 && list % 4 != 0)
    });
    write("flat.csv", &|_, _| 0);
    write("odd.csv", &|list, item| (list * 13 + item * 7) % 11);
    let line =
        "evaluate --scores good.csv --against flat.csv --against odd.csv -m mrr,hit@1 --json";
    let json = slate(folder.path(), line).done().json();
    let against = json["against"].as_array().unwrap();
    assert_eq!(against.len(), 4);
    for one in against {
        let (p, holm) = (one["p"].as_f64().unwrap(), one["p_holm"].as_f64().unwrap());
        assert!(holm >= p && holm <= 4.0 * p + 1e-12, "{one}");
        assert!(
            one["convention"]
                .as_str()
                .unwrap()
                .contains("interval=t;test=sign-flip")
        );
        assert!(one["relative"].as_f64().unwrap() > 0.0);
    }
    assert_eq!(
        (&against[0]["against"], &against[2]["against"]),
        (&"flat.csv".into(), &"odd.csv".into())
    );
}

/// Where `SLATE_PYTHON` has `pytrec_eval`, it is asked about the same files.
#[test]
fn pytrec_eval_itself_agrees() {
    let Some(python) = std::env::var_os("SLATE_PYTHON") else {
        eprintln!("skipped: set SLATE_PYTHON to a Python with pytrec_eval");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("qrels"), QRELS).unwrap();
    fs::write(folder.path().join("run"), RUN).unwrap();
    let script = "import sys, json, pytrec_eval as p\n\
        q = p.parse_qrel(open('qrels')); r = p.parse_run(open('run'))\n\
        m = {'ndcg_cut.10', 'map', 'P.5', 'recall.10', 'recip_rank', 'map_cut.1'}\n\
        print(json.dumps(p.RelevanceEvaluator(q, m).evaluate(r)))";
    let output = Command::new(python)
        .args(["-c", script])
        .current_dir(folder.path())
        .output()
        .unwrap();
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains("No module named"), "{told}");
        eprintln!("skipped: SLATE_PYTHON has no pytrec_eval");
        return;
    }
    let theirs: Value = serde_json::from_slice(&output.stdout).unwrap();
    for (name, _, values) in EXPECTED {
        for (query, value) in ["q1", "q2", "q5"].into_iter().zip(values) {
            let expected = theirs[query][name].as_f64().unwrap();
            assert!(
                (value - expected).abs() < 5e-5,
                "{name} {query} {value} {expected}"
            );
        }
    }
}
