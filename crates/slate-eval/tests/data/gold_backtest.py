"""Reference values for the statistics behind backtests and experiments -> backtest.json.

Every case holds its inputs next to its results. The formulas are written out here in plain NumPy
and, where another program knows the answer too (SciPy, statsmodels, scikit-learn), compared with it.
Needs numpy, scipy, scikit-learn, statsmodels. Run: venv/bin/python gold_backtest.py
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
import itertools
import json
import math
import platform
import warnings

import numpy as np
import scipy
import sklearn
import statsmodels
import statsmodels.api as sm
from scipy import integrate, optimize, special, stats
from sklearn.linear_model import LogisticRegression, Ridge
from statsmodels.stats.power import NormalIndPower

HERE = os.path.dirname(os.path.abspath(__file__))
LEVEL = 0.95
N01 = stats.norm
OUT = {}


def stream(*case):
    """One random stream a case, so that a change of one case leaves the others alone."""
    return np.random.default_rng([20251127, *case])


def plain(o):
    """NumPy values -> what json writes (floats by repr, which reads back to the same bits)."""
    if isinstance(o, dict):
        return {k: plain(v) for k, v in o.items()}
    if isinstance(o, (list, tuple)):
        return [plain(v) for v in o]
    return plain(o.tolist()) if isinstance(o, (np.ndarray, np.generic)) else o


def close(a, b, rtol=1e-10, atol=0.0):
    assert np.allclose(a, b, rtol=rtol, atol=atol), (a, b)


# ---------------------------------------------------------------- 1. ratio of sums over clusters
def ratio(y, x):
    """Ratio, its residuals over the total count (the influence of each cluster) and its variance."""
    r = y.sum() / x.sum()
    psi = (y - r * x) / x.sum()
    c = len(y)
    return r, psi, c / (c - 1) * (psi**2).sum()


def t_interval(est, var, df, p_value=False):
    se = math.sqrt(var)
    h = stats.t.ppf((1 + LEVEL) / 2, df) * se
    d = dict(estimate=est, variance=var, se=se, df=df, lo=est - h, hi=est + h)
    if p_value:
        d.update(t=est / se, p=2 * stats.t.sf(abs(est / se), df))
    return d


def ratio_delta():
    rng = stream(1)

    def arm(c, rate):
        x = rng.integers(1, 60, c).astype(float)
        return rng.binomial(
            x.astype(int), np.clip(rng.beta(2, 2 / rate - 2, c), 0, 1)
        ).astype(float), x

    (ya, xa), (yb, xb), (yc, xc) = arm(40, 0.12), arm(40, 0.15), arm(33, 0.2)
    yb[:] = np.minimum(yb + np.floor(ya / 2), xb)  # the paired columns move together
    ra, pa, va = ratio(ya, xa)
    rb, pb, vb = ratio(yb, xb)
    rc, _, vc = ratio(yc, xc)
    # the ratio is the weighted mean of y/x with weights x; HC1 is the same sandwich with C/(C-1)
    fit = sm.WLS(ya / xa, np.ones_like(xa), weights=xa).fit(cov_type="HC1")
    close([fit.params[0], fit.bse[0] ** 2], [ra, va])
    paired = 40 / 39 * ((pa - pb) ** 2).sum()
    df = (va + vc) ** 2 / (va**2 / (len(xa) - 1) + vc**2 / (len(xc) - 1))
    return dict(
        level=LEVEL,
        a=dict(y=ya, x=xa),
        b=dict(y=yb, x=xb),
        c=dict(y=yc, x=xc),
        ratio_a=t_interval(ra, va, 39),
        ratio_b=t_interval(rb, vb, 39),
        ratio_c=t_interval(rc, vc, 32),
        paired_a_minus_b=t_interval(ra - rb, paired, 39, True),
        unpaired_a_minus_c=t_interval(ra - rc, va + vc, df, True),
    )


# ---------------------------------------------------------------- 2. BCa interval
def bca_ends(rep, est, a, level):
    """Share below the estimate counts ties half; the ends are linear quantiles of the replicates."""
    z0 = N01.ppf(((rep < est).sum() + 0.5 * (rep == est).sum()) / len(rep))
    z = N01.ppf([(1 - level) / 2, (1 + level) / 2])
    al = N01.cdf(z0 + (z0 + z) / (1 - a * (z0 + z)))
    lo, hi = np.quantile(rep, al)
    return dict(z0=z0, alpha1=al[0], alpha2=al[1], lo=lo, hi=hi)


def bca():
    rng = stream(2)
    x = rng.lognormal(
        0, 1, 40
    )  # SciPy's own BCa of a mean, rebuilt from its replicates
    got = stats.bootstrap((x,), np.mean, n_resamples=999, method="BCa", rng=rng)
    jack = (x.sum() - x) / (len(x) - 1)
    u = jack.mean() - jack
    own = bca_ends(
        got.bootstrap_distribution,
        x.mean(),
        (u**3).sum() / (6 * (u**2).sum() ** 1.5),
        0.95,
    )
    close([own["lo"], own["hi"]], list(got.confidence_interval), rtol=1e-9)
    cases = []
    for a, rep in (
        (0.0, rng.lognormal(0, 0.5, 2000)),
        (0.05, rng.gamma(3.0, 0.4, 2000)),
        (-0.08, 1 - rng.lognormal(-1, 0.6, 2000)),
    ):
        rep = np.round(rep, 4 - len(cases))  # coarser each time, so more ties
        est = rep[np.argsort(rep)[1000 + len(cases) * 60]]  # a replicate, hence ties
        cases.append(
            dict(
                a=a,
                level=LEVEL,
                estimate=est,
                ties=(rep == est).sum(),
                **bca_ends(rep, est, a, LEVEL),
                replicates=rep,
            )
        )
    return cases


# ---------------------------------------------------------------- 3. empirical Bernstein interval
def bernstein():
    """Maurer and Pontil 2009, theorem 4, for both sides at half of delta each."""
    rng = stream(3)
    cases = []
    for n, b, level, draw in (
        (50, 1.0, 0.95, lambda n: rng.beta(2, 5, n)),
        (200, 1.0, 0.9, lambda n: (rng.random(n) < 0.1).astype(float)),
        (120, 10.0, 0.99, lambda n: np.minimum(rng.lognormal(0, 1, n), 10)),
        (2, 3.0, 0.95, lambda n: np.array([0.5, 2.25])),
        (30, 5.0, 0.95, lambda n: np.full(n, 1.5)),
    ):
        x = np.round(draw(n), 6)
        assert x.min() >= 0 and x.max() <= b and len(x) == n
        m, v, delta = x.mean(), x.var(ddof=1), 1 - level
        log = math.log(4 / delta)
        h = math.sqrt(2 * v * log / n) + 7 * b * log / (3 * (n - 1))
        cases.append(
            dict(
                b=b,
                level=level,
                n=n,
                mean=m,
                variance=v,
                half=h,
                lo=m - h,
                hi=m + h,
                x=x,
            )
        )
    return cases


# ---------------------------------------------------------------- 4. mixture sequential test
def msprt():
    rows = []
    for d, v, tau2, alpha in itertools.product(
        (-0.4, 0.0, 0.03, 0.25, 1.5),
        (0.001, 0.02, 0.5),
        (0.0004, 0.05, 2.0),
        (0.01, 0.05, 0.1),
    ):
        log_l = 0.5 * math.log(v / (v + tau2)) + tau2 * d * d / (2 * v * (v + tau2))
        half = math.sqrt(
            v * (v + tau2) / tau2 * (2 * math.log(1 / alpha) + math.log((v + tau2) / v))
        )
        p = min(1.0, math.exp(-log_l))
        assert (p <= alpha) == (abs(d) >= half)
        if (
            log_l < 20
        ):  # the mixture itself: likelihood ratio at theta, averaged over theta ~ N(0, tau2)
            s, c = math.sqrt(v * tau2 / (v + tau2)), d * tau2 / (v + tau2)
            f = lambda th: (
                math.exp((d * th - th * th / 2) / v) * N01.pdf(th, 0, math.sqrt(tau2))
            )
            close(
                integrate.quad(f, c - 12 * s, c + 12 * s, epsabs=0, epsrel=1e-11)[0],
                math.exp(log_l),
                rtol=1e-8,
            )
        rows.append(
            dict(
                d=d,
                v=v,
                tau2=tau2,
                alpha=alpha,
                log_lambda=log_l,
                lambda_=math.exp(log_l) if log_l < 700 else None,
                p=p,
                half=half,
            )
        )
    return rows


# ---------------------------------------------------------------- 5. sample size and power
def power():
    cases = []
    for sd_a, sd_b, delta, level, pw, ratio_, given in (
        (1.0, 1.0, 0.1, 0.95, 0.8, 1.0, 1000),
        (1.0, 1.0, -0.25, 0.99, 0.9, 2.0, 300),
        (2.5, 2.5, 0.3, 0.9, 0.95, 0.5, 40),
        (1.0, 1.4, 0.2, 0.95, 0.8, 1.0, 500),
        (0.3, 0.45, 0.05, 0.95, 0.9, 3.0, 250),
        (5.0, 2.0, 0.6, 0.9, 0.7, 0.25, 12),
    ):
        za, zp = N01.ppf((1 + level) / 2), N01.ppf(pw)
        n_a = (za + zp) ** 2 * (sd_a**2 + sd_b**2 / ratio_) / delta**2
        se = math.sqrt(sd_a**2 / given + sd_b**2 / (given * ratio_))
        reach = N01.cdf(abs(delta) / se - za) + N01.cdf(-abs(delta) / se - za)
        if sd_a == sd_b:
            P = NormalIndPower()
            # the far tail, which the closed form leaves out, is tiny at these powers
            close(
                P.solve_power(abs(delta) / sd_a, None, 1 - level, pw, ratio_),
                n_a,
                rtol=1e-4,
            )
            close(
                P.power(abs(delta) / sd_a, given, 1 - level, ratio_), reach, rtol=1e-9
            )
        cases.append(
            dict(
                sd_a=sd_a,
                sd_b=sd_b,
                delta=delta,
                level=level,
                power=pw,
                ratio=ratio_,
                n_a=n_a,
                n_b=n_a * ratio_,
            )
            | dict(
                given_n_a=given,
                given_n_b=given * ratio_,
                given_se=se,
                given_power=reach,
                given_mde=(za + zp) * se,
            )
        )
    return cases


# ---------------------------------------------------------------- 6. sample ratio mismatch
def srm():
    cases = []
    for obs, share in (
        ([5021, 4979], [0.5, 0.5]),
        ([10310, 9690], [0.5, 0.5]),
        ([905, 98], [0.9, 0.1]),
        ([3340, 3312, 3401], [1 / 3, 1 / 3, 1 / 3]),
        ([5100, 2450, 2450], [0.5, 0.25, 0.25]),
        ([2500, 2511, 2478, 2490], [0.25] * 4),
        ([70200, 9700, 9800, 10300], [0.7, 0.1, 0.1, 0.1]),
    ):
        e = np.array(share) / sum(share) * sum(obs)
        r = stats.chisquare(obs, e)
        cases.append(
            dict(
                observed=obs,
                share=share,
                expected=e,
                df=len(obs) - 1,
                statistic=r.statistic,
                p=r.pvalue,
            )
        )
    return cases


# ---------------------------------------------------------------- 7. position-based click model
def pbm(case=7, most=90, shape=(3, 3)):
    """EM with pseudo-counts on the attractiveness; examination of the first slot is 1 at the end."""
    rng = stream(case)
    items, slots, iters, pa, pb = 12, 5, 5000, 0.5, 0.5
    g0, t0 = rng.beta(*shape, items), np.array([1.0, 0.72, 0.5, 0.38, 0.25])
    cells = [(i, k) for i in range(items) for k in range(slots) if rng.random() > 0.2]
    I, K = np.array(cells).T
    n = rng.integers(5, most, len(cells)).astype(float)
    c = rng.binomial(n.astype(int), g0[I] * t0[K]).astype(float)
    assert len(set(I)) == items and len(set(K)) == slots
    by_item = lambda v: np.bincount(I, v, items)
    by_slot = lambda v: np.bincount(K, v, slots)

    def loglik(th, ga):
        p = th[K] * ga[I]
        return (special.xlogy(c, p) + special.xlog1py(n - c, -p)).sum()

    def penalised(th, ga):
        return loglik(th, ga) + (special.xlogy(pa, ga) + special.xlog1py(pb, -ga)).sum()

    th, ga, trace, last = np.full(slots, 0.5), np.full(items, 0.5), {}, -np.inf
    for it in range(1, iters + 1):
        t, g = th[K], ga[I]
        e = c + (n - c) * t * (1 - g) / (1 - t * g)
        a = c + (n - c) * g * (1 - t) / (1 - t * g)
        new_t, new_g = (
            by_slot(e) / by_slot(n),
            (by_item(a) + pa) / (by_item(n) + pa + pb),
        )
        step = max(abs(new_t - th).max(), abs(new_g - ga).max())
        th, ga = new_t, new_g
        now = penalised(th, ga)
        assert now >= last - 1e-9  # EM never goes down
        last = now
        if it in (1, 2, 10, 100):
            trace[str(it)] = dict(
                theta=th, gamma=ga, log_likelihood=loglik(th, ga), penalised=now
            )
    assert step < 1e-10, step
    # no better point near by, and none that a search from elsewhere finds
    f = lambda z: -penalised(z[:slots], z[slots:])
    box = [(1e-6, 1.0)] * slots + [(1e-6, 1 - 1e-6)] * items
    z = np.r_[th, ga]
    for s in range(9):
        start = (
            z
            if s == 0
            else np.clip(z + rng.normal(0, 0.02, len(z)), 0.01, 0.99)
            if s < 5
            else rng.uniform(0.2, 0.8, len(z))
        )
        r = optimize.minimize(
            f,
            start,
            method="L-BFGS-B",
            bounds=box,
            options=dict(maxiter=10000, maxfun=10**6, ftol=1e-15, gtol=1e-9),
        )
        assert -r.fun <= last + 1e-8, (s, -r.fun, last)
    for s in range(300):
        near = np.clip(
            z + rng.normal(0, 10.0 ** rng.uniform(-6, -2), len(z)),
            1e-6,
            [1.0] * slots + [1 - 1e-6] * items,
        )
        assert -f(near) <= last + 1e-10
    final = dict(theta=th / th[0], gamma=ga * th[0])
    close(
        loglik(**{"th": final["theta"], "ga": final["gamma"]}),
        loglik(th, ga),
        rtol=1e-12,
    )
    return dict(
        items=items,
        slots=slots,
        iterations=iters,
        start=0.5,
        prior_a=pa,
        prior_b=pb,
        cells=dict(item=I, slot=K, shown=n.astype(int), clicks=c.astype(int)),
        trace=trace,
        unscaled=dict(theta=th, gamma=ga, penalised=last, last_step=step),
        **final,
        log_likelihood=loglik(th, ga),
    )


def pbm_rare():
    """Few clicks: the pseudo-counts hold the first slot below 1, so the rescaling matters."""
    return pbm(14, 90, (1.5, 8))


# ---------------------------------------------------------------- 8. cascade click model
def cascade_click():
    """Slots after the first click are not examined, so clicks there are ignored."""
    rng = stream(8)
    items, slots, lists = 8, 5, 60
    g0 = np.array([0.05, 0.1, 0.15, 0.2, 0.25, 0.35, 0.45, 0.6])
    rows, clicks = [], []
    for _ in range(lists):
        row = rng.permutation(items)[:slots]
        hit = (rng.random(slots) < g0[row]).astype(int)
        after = np.cumsum(hit) - hit > 0
        hit[after] &= (rng.random(slots) < 0.5)[after]
        rows.append(row)
        clicks.append(hit)
    seen, hits = np.zeros(items, int), np.zeros(items, int)
    looked = []
    for row, hit in zip(rows, clicks):
        m = int(np.argmax(hit)) + 1 if hit.any() else slots
        for i, h in zip(row[:m], hit[:m]):
            seen[i] += 1
            hits[i] += h
        looked.append(m)
    assert (
        sum(h.sum() for h in clicks) > hits.sum()
        and any(h.sum() == 0 for h in clicks)
        and seen.min() > 0
    )
    g = hits / seen
    ll = (special.xlogy(hits, g) + special.xlog1py(seen - hits, -g)).sum()
    return dict(
        items=items,
        slots=slots,
        list_items=rows,
        clicks=clicks,
        examined_slots=looked,
        examined=seen,
        used_clicks=hits,
        gamma=g,
        log_likelihood=ll,
    )


# ---------------------------------------------------------------- 9. weights averaged by category
def mips():
    rng = stream(9)
    n, actions = 80, 6
    cat = np.array([0, 0, 1, 1, 1, 2])
    pb = rng.dirichlet(np.full(actions, 2.0), n)
    pe = np.stack([rng.dirichlet(np.ones(actions), n) for _ in range(2)], 2)
    act = np.array([rng.choice(actions, p=p) for p in pb])
    pos = rng.integers(0, 2, n)
    rew = np.round(rng.gamma(1.0, 1.0, n) * (rng.random(n) < 0.5), 4)
    i = np.arange(n)
    w = pe[i, act, pos] / pb[i, act]
    cells, w_hat = [], np.zeros(n)
    for k, e in itertools.product(range(2), range(3)):
        m = (pos == k) & (cat[act] == e)
        assert m.any()
        w_hat[m] = w[m].mean()
        cells.append(dict(position=k, category=e, rows=m.sum(), w_hat=w[m].mean()))
    close(w_hat.sum(), w.sum())
    return dict(
        n=n,
        actions=actions,
        positions=2,
        category=cat,
        action=act,
        position=pos,
        reward=rew,
        pscore=pb[i, act],
        behavior=pb,
        target=pe,
        w=w,
        cells=cells,
        w_hat=w_hat,
        value=(w_hat * rew).mean(),
        value_self_normalised=(w_hat * rew).sum() / w_hat.sum(),
        value_ips=(w * rew).mean(),
    )


# ---------------------------------------------------------------- 10. several loggers
def balanced():
    rng = stream(10)
    size = np.array([40, 60])
    n, actions = size.sum(), 5
    log = np.repeat([0, 1], size)
    pol = np.stack(
        [rng.dirichlet(np.full(actions, 1.5), n) for _ in range(2)], 1
    )  # row, logger, action
    tgt = rng.dirichlet(np.ones(actions), n)
    act = np.array([rng.choice(actions, p=pol[i, log[i]]) for i in range(n)])
    i = np.arange(n)
    p, t = pol[i, :, act], tgt[i, act]
    r = (rng.random(n) < 0.2 + 0.1 * act).astype(float)
    own = t / p[i, log] * r
    mix = (p * (size / n)).sum(1)
    m = np.array([own[log == j].mean() for j in range(2)])
    v = np.array([own[log == j].var(ddof=1) for j in range(2)])
    inv = size / v
    return dict(
        logger=log,
        reward=r,
        propensity=p,
        target=t,
        naive=own.mean(),
        mixture=mix,
        balanced=(t / mix * r).mean(),
        balanced_self_normalised=(t / mix * r).sum() / (t / mix).sum(),
        logger_n=size,
        logger_mean=m,
        logger_variance=v,
        logger_weight=inv / inv.sum(),
        weighted=(inv * m).sum() / inv.sum(),
        weighted_se=1 / math.sqrt(inv.sum()),
    )


# ---------------------------------------------------------------- 11, 12. penalised regressions
def design():
    rng = stream(11)
    n = 300
    slot = rng.choice(4, n, p=[0.4, 0.3, 0.2, 0.1])
    num = np.round(np.c_[rng.normal(0, 1, n), rng.exponential(1, n)], 4)
    eta = np.array([-0.2, -0.8, -1.3, -2.0])[slot] + num @ [0.7, -0.4]
    y = np.clip(np.round(special.expit(eta + rng.normal(0, 0.8, n)), 4), 0, 1)
    y[::7] = rng.random(len(y[::7])) < 0.3  # some whole clicks among the shares
    return (
        slot,
        num,
        np.c_[np.eye(4)[slot], num],
        y,
        rng.integers(1, 4, n).astype(float),  # rows as often
        np.round(eta + rng.normal(0, 1, n), 4),
    )


def logistic_table():
    """sum_i w_i (ln(1 + e^eta) - y eta) + lambda/2 |beta|^2, all six coefficients penalised."""
    slot, num, X, y, w, _ = design()
    lam = 1.0
    f = lambda b: (w * (np.logaddexp(0, X @ b) - y * (X @ b))).sum() + lam / 2 * (b @ b)
    g = lambda b: X.T @ (w * (special.expit(X @ b) - y)) + lam * b

    def h(b):
        p = special.expit(X @ b)
        return (X.T * (w * p * (1 - p))) @ X + lam * np.eye(X.shape[1])

    b = optimize.minimize(
        f, np.zeros(6), jac=g, hess=h, method="trust-exact", options=dict(gtol=1e-9)
    ).x
    b = optimize.root(g, b, jac=h, tol=1e-14).x
    top = abs(g(b)).max()
    assert top < 1e-10, top
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sk = LogisticRegression(
            C=1 / lam, fit_intercept=False, tol=1e-12, max_iter=10000
        )
        sk.fit(
            np.r_[X, X], np.r_[np.ones(300), np.zeros(300)], np.r_[w * y, w * (1 - y)]
        )
    close(sk.coef_[0], b, rtol=1e-5)
    return dict(
        lambda_=lam,
        slot=slot,
        numeric=num,
        weight=w,
        target=y,
        coefficients=b,
        loss=f(b),
        max_gradient=top,
        loss_at_zero=f(np.zeros(6)),
    )


def ridge_linear():
    """sum_i w_i (y - eta)^2 / 2 + lambda/2 |beta|^2 on the slots and columns of logistic_table."""
    slot, num, X, _, w, y = design()
    lam = 1.0
    b = np.linalg.solve((X.T * w) @ X + lam * np.eye(6), X.T @ (w * y))
    close(
        Ridge(alpha=lam, fit_intercept=False, solver="cholesky").fit(X, y, w).coef_, b
    )
    return dict(
        lambda_=lam,
        slot=slot,
        numeric=num,
        weight=w,
        target=y,
        coefficients=b,
        loss=(w * (y - X @ b) ** 2).sum() / 2 + lam / 2 * (b @ b),
    )


# ---------------------------------------------------------------- 13. choice of a hyperparameter
def slope_choice(rows, delta):
    """Widest interval first; stop at the first estimate outside a wider one, keep the one before."""
    n = len(rows[0])
    th = np.array([x.mean() for x in rows])
    cnf = np.array([math.sqrt(x.var() / (n - 1)) for x in rows]) * stats.t.ppf(
        1 - delta, n - 1
    )
    o = np.argsort(cnf, kind="stable")[::-1]
    for i in range(1, len(o)):
        if (
            abs(th[o[:i]] - th[o[i]]) > cnf[o[i]] + (math.sqrt(6) - 1) * cnf[o[:i]]
        ).any():
            return th, cnf, o, int(o[i - 1]), i
    return th, cnf, o, int(o[-1]), len(o)


def slope():
    """SLOPE++ and the bound on the squared error, in the form of open bandit pipeline 0.5.5."""
    cases, delta, n = [], 0.1, 60
    for kind, seed, lams in (
        ("switch-dr", 0, [math.inf, 5.0, 2.0, 1.0, 0.5]),
        ("switch-dr", 1, [math.inf, 6.0, 3.0, 1.0, 0.0]),
        ("dr-os", 2, [0.0, 0.5, 5.0, 50.0, math.inf]),
        ("dr-os", 3, [0.01, 0.1, 1.0, 10.0, 100.0]),
    ):
        rng = stream(13, seed)
        w = np.round(rng.lognormal(-0.4, 1.0, n), 4)
        r = (rng.random(n) < [0.3, 0.95, 0.9, 0.6][seed]).astype(float)
        q, dm = np.round(rng.uniform(0, 0.2, n), 4), np.round(rng.uniform(0, 0.1, n), 4)
        log = math.log(2 / delta)
        rows, up, direct = [], [], []
        for lam in lams:
            wh = (
                w * (w <= lam)
                if kind == "switch-dr"
                else w
                if lam == math.inf
                else lam * w / (w * w + lam)
            )
            x = dm + wh * (r - q)
            bias = abs(((w - wh) * (r - q)).mean())
            more = math.sqrt(2 * (w * w).mean() * log / n) + 2 * w.max() * log / (3 * n)
            rows.append(x)
            direct.append(x.var() / n + bias**2)
            up.append(x.var() / n + (bias + more) ** 2)
        th, cnf, order, best, steps = slope_choice(rows, delta)
        cases.append(
            dict(
                kind=kind,
                delta=delta,
                lambdas=[str(v) for v in lams],
                w=w,
                reward=r,
                q_logged=q,
                dm=dm,
                rows=rows,
            )
            | dict(theta=th, cnf=cnf, order=order, slope_steps=steps, slope_best=best)
            | dict(
                mse_upper=up,
                mse_upper_best=np.argmin(up),
                mse_direct=direct,
                mse_direct_best=np.argmin(direct),
            )
        )
    assert len({c["slope_steps"] for c in cases}) > 1
    return cases


for case in (
    ratio_delta,
    bca,
    bernstein,
    msprt,
    power,
    srm,
    pbm,
    pbm_rare,
    cascade_click,
    mips,
    balanced,
    logistic_table,
    ridge_linear,
    slope,
):
    OUT[case.__name__] = plain(case())
OUT["versions"] = dict(
    python=platform.python_version(),
    numpy=np.__version__,
    scipy=scipy.__version__,
    sklearn=sklearn.__version__,
    statsmodels=statsmodels.__version__,
)

path = os.path.join(HERE, "backtest.json")
with open(path, "w") as f:
    body = ",\n".join(
        f"{json.dumps(k)}:{json.dumps(v, allow_nan=False, separators=(',', ':'))}"
        for k, v in OUT.items()
    )
    f.write("{\n" + body + "\n}\n")
assert os.path.getsize(path) < 300_000
print({k: len(json.dumps(v)) for k, v in OUT.items()})
