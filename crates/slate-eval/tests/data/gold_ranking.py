"""Reference values of ranking metrics by real programs -> ranking.json (see NOTES.md).
Run: OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 venv/bin/python gold_ranking.py"""
import os
os.environ.setdefault("OMP_NUM_THREADS", "1"); os.environ.setdefault("NUMBA_NUM_THREADS", "1")
import itertools, json, math, platform, subprocess, warnings
import numpy as np, scipy, sklearn, lightgbm as lgb, numba, pytrec_eval, ir_measures
from importlib.metadata import version
from ranx import Qrels, Run, evaluate
from sklearn.metrics import average_precision_score, ndcg_score, roc_auc_score
warnings.filterwarnings("ignore")
KS = (1, 3, 10); BIG = 1000
HERE = os.path.dirname(os.path.abspath(__file__))

# ---------------------------------------------------------------- lists
rng = np.random.default_rng(20251126)
L = []
def add(name, score, rel):
    n = len(score); assert len(rel) == n
    score = [float(x) for x in score]; rel = [int(x) for x in rel]
    assert all(float(np.float32(x)) == x for x in score)
    wide = len(L) % 2 == 0       # even lists: all ids have 3 digits (string order = numeric order)
    docid = rng.choice(np.arange(100, 1000) if wide else np.arange(1, 121), n, replace=False)
    L.append(dict(name=name, n=n, score=score, rel=rel, docid=[int(x) for x in docid],
                  docid_fixed_width=len({len(str(x)) for x in docid}) == 1,
                  has_ties=len(set(score)) < n))
def distinct(n, lo=-4096, hi=4096): return rng.choice(np.arange(lo, hi), n, replace=False) / 1024
def few(n, v): return rng.choice(np.asarray(v, float), n)
def grades(n): return rng.choice([0, 0, 0, 1, 1, 2, 3, 4], n)
def binary(n, p=.3): return (rng.random(n) < p).astype(int)

add("single_relevant", [.75], [2])
add("single_irrelevant", [.75], [0])
add("pair_tied", [.5, .5], [0, 1])
add("basic5_no_ties", [.9375, .8125, .75, .5, .25], [0, 3, 2, 0, 1])
add("all_tied_5", [.5] * 5, [0, 0, 1, 3, 2])
add("all_tied_binary_12", [0.] * 12, [0, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 1])
add("all_tied_40", [-1.25] * 40, grades(40))
add("no_relevant_7", distinct(7), [0] * 7)
add("no_relevant_tied_20", few(20, [0, 1]), [0] * 20)
add("all_relevant_binary_8", distinct(8), [1] * 8)
add("all_relevant_graded_12_ties", few(12, [.25, .5, .75]), rng.integers(1, 5, 12))
add("all_relevant_same_4_tied", [2.] * 4, [4] * 4)
add("binary_15_no_ties", distinct(15), binary(15))
add("binary_15_ties", few(15, [.125, .25, .5]), binary(15))
add("binary_40_ties", few(40, [-2, -1, 0, 1, 2]), binary(40, .2))
add("binary_30_one_relevant_last", -np.sort(-distinct(30)), [0] * 29 + [1])
add("graded_40_no_ties", distinct(40), grades(40))
add("graded_40_ties", few(40, [.1875, .375, .5, .875]), grades(40))
add("graded_25_two_values", few(25, [0, 1]), grades(25))
add("graded_12_negative_no_ties", distinct(12, -8192, 0), grades(12))
add("graded_12_ties", few(12, [-.5, .0, .5]), grades(12))
add("graded_15_neg_zero_ties", few(15, [-1, -0., 0., 1]), grades(15))
add("graded_33_f32_scores", rng.standard_normal(33).astype(np.float32), grades(33))
add("graded_9_shorter_than_10", distinct(9), grades(9))
add("perfect_20", -np.sort(-distinct(20)), -np.sort(-grades(20)))
add("reversed_20", -np.sort(-distinct(20)), np.sort(grades(20)))
add("tie_at_cutoff10_14", [1.] * 9 + [.5] * 5, [0] * 9 + [0, 4, 0, 2, 1])
add("first_relevant_at_11", -np.sort(-distinct(20)), [0] * 10 + [1, 0, 2, 0, 0, 3, 0, 0, 0, 4])

SK = []                                        # every skip, logged
def skip(name, prog, metric, why): SK.append(dict(list=name, program=prog, metric=metric, why=why)); print("SKIP", name, prog, metric, why)
CH = {}                                        # self-checks: name -> list of mismatches
def check(key, where, a, b, tol=1e-12):
    c = CH.setdefault(key, dict(compared=0, tol=tol, max_abs_diff=0.0, mismatches=[]))
    c["compared"] += 1; d = abs(a - b); c["max_abs_diff"] = max(c["max_abs_diff"], d)
    if not d <= tol: c["mismatches"].append(f"{where}: {a!r} vs {b!r}")

# ---------------------------------------------------------------- numpy twins
def order(e, how):
    s, n = e["score"], e["n"]
    if how == "stable": return sorted(range(n), key=lambda i: -s[i])
    if how == "last": return sorted(range(n), key=lambda i: (-s[i], -i))
    if how == "docid":                          # score desc, then str(docid) descending
        o = sorted(range(n), key=lambda i: str(e["docid"][i]), reverse=True)
        return sorted(o, key=lambda i: -s[i])
def gain(r, exp): r = np.asarray(r, float); return 2.0 ** r - 1 if exp else r
def disc(n): return 1 / np.log2(np.arange(n) + 2.0)
def dcg(r, k, exp): g = gain(r, exp)[:k]; return float((g * disc(len(g))).sum())
def ndcg(e, k, exp, how, empty=0.0):
    i = dcg(sorted(e["rel"], reverse=True), k, exp)
    return empty if i == 0 else dcg([e["rel"][j] for j in order(e, how)], k, exp) / i
def groups(e):                                  # tied groups of rows, best score first
    return [[i for i in range(e["n"]) if e["score"][i] == v] for v in sorted(set(e["score"]), reverse=True)]
def ndcg_tieavg(e, k, exp=True, ln2=True):      # E over random tie order, exact; TF-Ranking discount ln2/ln(1+r)
    n = e["n"]; g = gain(e["rel"], exp); k = n if k is None else min(k, n)
    d = np.array([math.log(2) / math.log1p(r) for r in range(1, n + 1)]) if ln2 else disc(n)
    d[k:] = 0; p, tot = 0, 0.0
    for t in groups(e): tot += float(g[t].mean()) * float(d[p:p + len(t)].sum()); p += len(t)
    i = float((np.sort(g)[::-1] * d).sum()); return 0.0 if i == 0 else tot / i
def brute(e, k):
    vals = [dcg([e["rel"][j] for t in p for j in t], k, True) for p in itertools.product(*[list(itertools.permutations(t)) for t in groups(e)])]
    i = dcg(sorted(e["rel"], reverse=True), k, True); return 0.0 if i == 0 else float(np.mean(vals)) / i
def err(e, k):
    s, dec = 0.0, 1.0
    for p, j in enumerate(order(e, "docid")[:k]):
        R = (2.0 ** e["rel"][j] - 1) / 2.0 ** 4; s += R * dec / (p + 1); dec *= 1 - R
    return s
def hits(e, k, how): return [int(e["rel"][j] > 0) for j in order(e, how)[:k]]
def ap(e, k, how, den):
    h = hits(e, k, how); R = sum(r > 0 for r in e["rel"]); kk = len(h)
    if R == 0: return None
    return sum(sum(h[:i + 1]) / (i + 1) for i in range(kk) if h[i]) / (R if den == "rel" else min(R, kk))
def rr(e, k, how): return next((1 / (i + 1) for i, x in enumerate(hits(e, k, how)) if x), 0.0)
def kk(k): return str(k) if k else "all"

# ---------------------------------------------------------------- pytrec_eval
S = lambda e: [str(d) for d in e["docid"]]
qid = {e["name"]: str(i + 1) for i, e in enumerate(L)}      # integer qids: gdeval needs them
qrels = {qid[e["name"]]: dict(zip(S(e), e["rel"])) for e in L}
run = {qid[e["name"]]: dict(zip(S(e), e["score"])) for e in L}
cuts = ",".join(map(str, KS))
meas = {"ndcg", "map", "recip_rank", "Rprec", f"ndcg_cut.{cuts}", f"map_cut.{cuts}", f"P.{cuts}", f"recall.{cuts}", f"success.{cuts}"}
T = pytrec_eval.RelevanceEvaluator(qrels, meas, relevance_level=1).evaluate(run)
assert set(T) == set(qrels)
def nest(flat):
    o = {}
    for m in ("ndcg", "map", "recip_rank", "Rprec"): o[m] = {"all": float(flat[m])}
    for m in ("ndcg_cut", "map_cut", "P", "recall", "success"): o[m] = {str(k): float(flat[f"{m}_{k}"]) for k in KS}
    return o
MEANS = {}
for e in L:
    e["pytrec_eval"] = t = nest(T[qid[e["name"]]]); R = sum(r > 0 for r in e["rel"])
    check("pytrec_eval ndcg = linear gain, docid string desc, empty 0", e["name"], t["ndcg"]["all"], ndcg(e, None, False, "docid"))
    check("pytrec_eval map = AP / num_rel", e["name"], t["map"]["all"], ap(e, None, "docid", "rel") or 0.0)
    check("pytrec_eval recip_rank", e["name"], t["recip_rank"]["all"], rr(e, None, "docid"))
    check("pytrec_eval Rprec = hits in top R / R", e["name"], t["Rprec"]["all"], sum(hits(e, R, "docid")) / R if R else 0.0)
    for k in KS:
        w = f"{e['name']}@{k}"; h = hits(e, k, "docid"); K = str(k)
        check("pytrec_eval ndcg_cut", w, t["ndcg_cut"][K], ndcg(e, k, False, "docid"))
        check("pytrec_eval map_cut = AP@k / num_rel", w, t["map_cut"][K], ap(e, k, "docid", "rel") or 0.0)
        check("pytrec_eval P = hits / k (also when n < k)", w, t["P"][K], sum(h) / k)
        check("pytrec_eval recall = hits / num_rel, 0 if none", w, t["recall"][K], sum(h) / R if R else 0.0)
        check("pytrec_eval success", w, t["success"][K], float(any(h)))
agg = {m: pytrec_eval.compute_aggregated_measure(m, [T[q][m] for q in T]) for m in next(iter(T.values()))}
MEANS["pytrec_eval"] = dict(lists="all", by="pytrec_eval.compute_aggregated_measure", **nest(agg))

# ---------------------------------------------------------------- ranx
RM = ("ndcg", "ndcg_burges", "map", "precision", "recall", "mrr", "hit_rate")
names = [f"{m}@{k}" if k else m for m in RM for k in (*KS, None)]
def ranx_nest(d): return {m: {kk(k): float(d[f"{m}@{k}" if k else m]) for k in (*KS, None)} for m in RM}
ok = [e for e in L if not e["has_ties"] or e["n"] <= 15]
for e in L:
    if e not in ok: e["ranx"] = None; skip(e["name"], "ranx", "all", "ties and length > 15: ranx's argsort is not stable"); continue
    q = qid[e["name"]]; e["ranx"] = t = ranx_nest(evaluate(Qrels({q: qrels[q]}), Run({q: run[q]}), names, threads=1))
    R = sum(r > 0 for r in e["rel"])
    for k in (*KS, None):
        w = f"{e['name']}@{kk(k)}"; h = hits(e, k, "stable"); K = kk(k)
        check("ranx ndcg = linear, row order on ties, empty 0", w, t["ndcg"][K], ndcg(e, k, False, "stable"))
        check("ranx ndcg_burges = exp gain", w, t["ndcg_burges"][K], ndcg(e, k, True, "stable"))
        check("ranx map@k = AP@k / num_rel", w, t["map"][K], ap(e, k, "stable", "rel") or 0.0)
        check("ranx precision@k = hits / k (also when n < k; whole list: / n)", w, t["precision"][K], sum(h) / (k or e["n"]))
        check("ranx recall@k = hits / num_rel, 0 if none", w, t["recall"][K], sum(h) / R if R else 0.0)
        check("ranx mrr@k", w, t["mrr"][K], rr(e, k, "stable"))
        check("ranx hit_rate@k", w, t["hit_rate"][K], float(any(h)))
oq = [qid[e["name"]] for e in ok]
MEANS["ranx"] = dict(lists=[e["name"] for e in ok], by="ranx.evaluate over these lists at once",
                     **ranx_nest(evaluate(Qrels({q: qrels[q] for q in oq}), Run({q: run[q] for q in oq}), names, threads=1)))

# ---------------------------------------------------------------- lightgbm (its own metric code, 0 trees, init_score = scores)
ATS = [*KS, BIG]
def lg(lists):
    s = np.concatenate([e["score"] for e in lists]); y = np.concatenate([e["rel"] for e in lists])
    P = dict(objective="lambdarank", metric=["ndcg", "map"], eval_at=ATS, num_threads=1, verbose=-1)
    mk = lambda ref=None: lgb.Dataset(np.zeros((len(s), 1)), label=y, group=[e["n"] for e in lists], init_score=s, reference=ref, free_raw_data=False,
                                      params=dict(verbose=-1, min_data_in_bin=1, min_data_in_leaf=1, feature_pre_filter=False))
    d = mk(); b = lgb.Booster(P, d); b.add_valid(mk(d), "v"); seen = []
    spy = lambda preds, ds: (seen.append(np.array(preds)), ("spy", 0.0, True))[1]     # what LightGBM itself holds as scores
    tr, va = b.eval_train(spy), b.eval_valid(spy)
    assert b.num_trees() == 0 and len(seen) == 2 and all(np.array_equal(x, s) for x in seen)
    tr, va = [x for x in tr if x[1] != "spy"], [x for x in va if x[1] != "spy"]
    assert [x[1:3] for x in tr] == [x[1:3] for x in va]
    r = {x[1]: float(x[2]) for x in tr}; assert len(r) == 8
    return {m: {("all" if k == BIG else str(k)): r[f"{m}@{k}"] for k in ATS} for m in ("ndcg", "map")}
for e in L:
    e["lightgbm"] = t = lg([e])
    for k in (*KS, None):
        w = f"{e['name']}@{kk(k)}"; K = kk(k); a = ap(e, k, "stable", "min")
        check("lightgbm ndcg@k = exp gain, stable row order, empty 1", w, t["ndcg"][K], ndcg(e, k, True, "stable", 1.0))
        check("lightgbm map@k = AP@k / min(num_rel, k, n), stable row order, empty 1", w, t["map"][K], 1.0 if a is None else a)
    neg = dict(e, score=[-x for x in e["score"]])             # other scores must give other values
    if e["name"] in ("graded_40_no_ties", "basic5_no_ties"): assert lg([neg])["ndcg"]["3"] != t["ndcg"]["3"] and lg([neg])["map"]["3"] != t["map"]["3"]
MEANS["lightgbm"] = dict(lists="all", by="one Dataset with groups, eval_train", **lg(L))
for m in ("ndcg", "map"):
    for k in MEANS["lightgbm"][m]: check("lightgbm mean = plain mean over lists", f"{m}@{k}", MEANS["lightgbm"][m][k], float(np.mean([e["lightgbm"][m][k] for e in L])))

# ---------------------------------------------------------------- sklearn
for e in L:
    y, s, b = np.array(e["rel"], float), np.array(e["score"]), np.array(e["rel"]) > 0; t = e["sklearn"] = {}
    for nm, g, ig in (("ndcg_score", y, False), ("ndcg_score_ignore_ties", y, True), ("ndcg_score_exp", 2 ** y - 1, False), ("ndcg_score_exp_ignore_ties", 2 ** y - 1, True)):
        if e["n"] < 2: t[nm] = None; skip(e["name"], "sklearn", nm, "sklearn refuses lists of one document (ValueError)"); continue
        t[nm] = {kk(k): float(ndcg_score([g], [s], k=k, ignore_ties=ig)) for k in (*KS, None)}
        for k in (*KS, None):
            w = f"{e['name']}@{kk(k)}"; ex = "exp" in nm
            if ig and e["has_ties"]: check("sklearn ignore_ties with ties = last row first (machine-dependent: numpy quicksort)", w, t[nm][kk(k)], ndcg(e, k, ex, "last"))
            elif ig: check("sklearn ignore_ties without ties", w, t[nm][kk(k)], ndcg(e, k, ex, "stable"))
            else: check("sklearn default = tie average, empty 0", w, t[nm][kk(k)], ndcg_tieavg(e, k, ex, False))
    if b.any():
        t["average_precision_score"] = {"all": float(average_precision_score(b, s))}
        # twin: thresholds at distinct scores, sum (R_n - R_{n-1}) P_n
        tp = m = 0; a = 0.0
        for gr in groups(e): x = int(b[gr].sum()); tp += x; m += len(gr); a += x * tp / m
        check("sklearn average_precision = tied group enters whole (no order)", e["name"], t["average_precision_score"]["all"], a / int(b.sum()))
    else: t["average_precision_score"] = None; skip(e["name"], "sklearn", "average_precision_score", "no relevant row (sklearn warns and returns %r)" % float(average_precision_score(b, s)))
    if b.any() and not b.all(): t["roc_auc_score"] = {"all": float(roc_auc_score(b, s))}
    else: t["roc_auc_score"] = None; skip(e["name"], "sklearn", "roc_auc_score", "one class only (sklearn warns and returns %r)" % float(roc_auc_score(b, s)))
M = [e for e in L if e["n"] == 20]
Y, Z = np.array([e["rel"] for e in M], float), np.array([e["score"] for e in M])
MEANS["sklearn"] = dict(lists=[e["name"] for e in M], by="ndcg_score on the matrix of the lists of length 20 (needs a rectangle)",
    **{nm: {kk(k): float(ndcg_score(g, Z, k=k)) for k in (*KS, None)} for nm, g in (("ndcg_score", Y), ("ndcg_score_exp", 2 ** Y - 1))})

# ---------------------------------------------------------------- ir_measures: ERR and exp nDCG by its gdeval provider (perl)
from ir_measures import ERR, nDCG
ms = {}
for k in ATS: ms[("ERR", k)] = ERR @ k; ms[("nDCG(dcg='exp-log2')", k)] = nDCG(dcg="exp-log2") @ k
assert all(ir_measures.providers.registry["gdeval"].supports(m) for m in ms.values())
prov = ir_measures.providers.registry["gdeval"]; mm = list(ms.values())
per = {(x.query_id, x.measure): float(x.value) for x in prov.iter_calc(mm, qrels, run)}
for e in L:
    e["ir_measures"] = {}; e["gdeval_twin"] = {"ERR": {}, "nDCG_exp": {}}
    for (nm, k), m in ms.items():
        K = "all" if k == BIG else str(k); v = per[(qid[e["name"]], m)]; e["ir_measures"].setdefault(nm, {})[K] = v
        tw = err(e, k) if nm == "ERR" else ndcg(e, k, True, "docid"); e["gdeval_twin"]["ERR" if nm == "ERR" else "nDCG_exp"][K] = tw
        check(f"gdeval {nm.split('(')[0]} = full-precision twin (gdeval prints 5 decimals)", f"{e['name']}@{K}", v, tw, 5.000001e-6)
a = prov.calc_aggregate(mm, qrels, run); MEANS["ir_measures"] = dict(lists="all", by="ir_measures gdeval provider calc_aggregate (per-list values already rounded to 5 decimals)")
for (nm, k), m in ms.items(): MEANS["ir_measures"].setdefault(nm, {})["all" if k == BIG else str(k)] = float(a[m])

# ---------------------------------------------------------------- allRank and TF-Ranking twins
for e in L:
    e["allrank"] = {"ndcg": {kk(k): ndcg(e, k, True, "stable") for k in (*KS, None)}}
    e["tfr"] = {"ndcg": {kk(k): ndcg_tieavg(e, k) for k in (*KS, None)}}
    if e["has_ties"] and math.prod(math.factorial(len(t)) for t in groups(e)) <= 5040:
        for k in (*KS, None): check("tfr tie average = mean over all permutations of ties", f"{e['name']}@{kk(k)}", e["tfr"]["ndcg"][kk(k)], brute(e, k))
    if e["n"] > 1:
        for k in (*KS, None): check("tfr tie average = sklearn exp default", f"{e['name']}@{kk(k)}", e["tfr"]["ndcg"][kk(k)], e["sklearn"]["ndcg_score_exp"][kk(k)])

# ---------------------------------------------------------------- write
V = {p: version(p) for p in ("numpy", "scipy", "scikit-learn", "lightgbm", "ranx", "numba", "pytrec_eval-terrier", "ir_measures")}
V |= dict(python=platform.python_version(), perl=subprocess.check_output(["perl", "-e", "print $^V"], text=True), gdeval="1.2a (Oct 25 2019), bundled in ir_measures, MAX_JUDGMENT = 4")
note = {
    "keys": "list[program][metric][k]; k is '1', '3', '10' or 'all' (whole list); null = not computed, see skips",
    "all": "lightgbm and ir_measures: 'all' was asked as @1000",
    "row order": "lists are passed to every program in row order; pytrec_eval / ranx / ir_measures get doc id str(docid); ties there: pytrec_eval and gdeval docid STRING descending, ranx row order",
    "ERR": "ir_measures = the real gdeval.pl under perl, rounded to 5 decimals by its printf; gdeval_twin = numpy twin at full precision, agrees with it within 5e-6",
    "sklearn ignore_ties": "on lists with has_ties the order inside a tie is whatever numpy's SIMD quicksort gives on this machine (avx2): do not test those",
    "gdeval_twin, allrank, tfr": "numpy twins of formulas, not program output; everything else is program output",
}
for c in CH.values(): c["mismatches"] = c["mismatches"][:8] + ([f"... {len(c['mismatches'])} in all"] if len(c["mismatches"]) > 8 else [])
head = dict(versions=V, notes=note, ks=list(KS), means=MEANS, skips=SK, checks=CH)
with open(f"{HERE}/ranking.json", "w") as f:
    f.write("{\n" + "".join(f"{json.dumps(k)}: {json.dumps(v, allow_nan=False)},\n" for k, v in head.items()))
    f.write('"lists": [\n' + ",\n".join(json.dumps(e, allow_nan=False) for e in L) + "\n]}\n")
json.load(open(f"{HERE}/ranking.json"))
for k, c in CH.items(): print(f"{k}: {c['compared']} compared, max diff {c['max_abs_diff']:.2e}, mismatches {c['mismatches'][:3]}")
print(len(L), "lists", os.path.getsize(f"{HERE}/ranking.json"), "bytes", len(SK), "skips")
