"""Metrics of one list each, and intervals of their means. NumPy only.

Equal scores share the mean over all their orders. Lists without a relevant row have no value (NaN)
unless a function says otherwise.
"""

import numpy as np


def places(scores):
    """For each row: rows scored above it, and rows scored the same, itself included."""
    above = (scores[None, :] > scores[:, None]).sum(1)
    same = (scores[None, :] == scores[:, None]).sum(1)
    return above, same


def dcg(scores, gains, k):
    """DCG@k with discount 1 / log2(rank + 1), and that of the best order."""
    discounts = np.zeros(len(scores) + 1)
    inside = min(k, len(scores))
    discounts[1 : inside + 1] = 1.0 / np.log2(np.arange(2, inside + 2))
    summed = np.cumsum(discounts)
    above, same = places(scores)
    found = (gains * (summed[above + same] - summed[above]) / same).sum()
    return found, (np.sort(gains)[::-1] * discounts[1:]).sum()


def ndcg(scores, grades, k):
    """NDCG@k with gain 2^grade - 1."""
    gains = 2.0 ** grades - 1.0
    if gains.sum() == 0:
        return np.nan
    found, ideal = dcg(scores, gains, k)
    return found / ideal


def reciprocal_rank(scores, positive, k, missing=np.nan):
    """1 / rank of the one positive row, 0 below rank k; `missing` where there is none."""
    at = np.flatnonzero(positive)
    if len(at) == 0:
        return missing
    above, same = places(scores)
    ranks = np.arange(above[at[0]] + 1, above[at[0]] + same[at[0]] + 1)
    return np.where(ranks <= k, 1.0 / ranks, 0.0).mean()


def by_list(frame, metric):
    """A metric of each list of a score file, in the order of its lists."""
    starts = np.flatnonzero(np.r_[True, np.diff(frame["list_id"].to_numpy()) != 0, True])
    return np.array([metric(frame.iloc[a:b]) for a, b in zip(starts[:-1], starts[1:])])


def draws(values, count=2000, seed=7):
    """Means of `values`, `[seeds, lists]`, with seeds and lists drawn anew together; lists without a value
    are left out."""
    values = np.atleast_2d(values)
    values = values[:, ~np.isnan(values).any(0)]
    rng = np.random.default_rng(seed)
    seeds, lists = values.shape
    means = np.empty(count)
    for at in range(count):
        some = values[rng.integers(0, seeds, seeds)].mean(0)
        means[at] = some[rng.integers(0, lists, lists)].mean()
    return float(values.mean()), means


def interval(values):
    """Mean over seeds and lists, and its 95 % bootstrap interval over both."""
    mean, means = draws(values)
    low, high = np.percentile(means, [2.5, 97.5])
    return mean, float(low), float(high)


def gap(values, reference):
    """Mean of `values - reference` as a share of the mean of `reference`, with the interval of the ratio:
    both means are of the same drawn lists."""
    mean, means = draws(values - reference)
    whole, wholes = draws(reference)
    low, high = np.percentile(means / wholes, [2.5, 97.5])
    return mean / whole, float(low), float(high)
