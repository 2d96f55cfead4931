"""Yoochoose sessions as pages with candidates: a Slate log of them.

After every click of a session the next one is to be guessed. A page shows 30 candidates: what was
clicked together with the session's items, what follows its last item, what is popular, what it has
itself. Counts of other sessions are those of sessions that had ended before this one began; on the
test day they stand still at the end of the training file, as in the published baselines. Training
pages whose next click is no candidate are left out, since they teach nothing; test pages never are.
"""

import heapq
import math
from collections import Counter, defaultdict

import numpy as np
import pandas as pd

CANDIDATES = 30
HALF_LIFE_S = 12 * 3600.0
COLUMNS = [
    "together_last", "together_all", "after_last", "likeness_last", "popularity", "fresh_popularity",
    "times_in_session", "clicks_since", "is_last", "session_length",
]


class Counts:
    """What ended sessions say of items."""

    def __init__(self):
        self.together = defaultdict(Counter)
        self.after = defaultdict(Counter)
        self.popularity = Counter()
        self.fresh = Counter()
        self.origin = None

    def add(self, items, times):
        self.origin = self.origin or times[0]
        for item, time in zip(items, times):
            self.popularity[item] += 1
            # Grows with time instead of decaying: only ratios matter, and days are few.
            self.fresh[item] += 2.0 ** ((time - self.origin) / HALF_LIFE_S)
        for a, b in zip(items, items[1:]):
            self.after[a][b] += 1
        unique = sorted(set(items))
        for a in unique:
            for b in unique:
                if a != b:
                    self.together[a][b] += 1


def candidates(counts, popular, prefix):
    last = prefix[-1]
    score = Counter()
    for back, item in enumerate(reversed(prefix[-10:])):
        for other, count in counts.together[item].items():
            score[other] += count * 0.5**back
    for other, count in counts.after[last].items():
        score[other] += count
    for back, item in enumerate(reversed(prefix)):
        score[item] += 2.0 * 0.5**back
    for rank, item in enumerate(popular):
        score[item] += 1e-3 / (rank + 1)
    ranked = sorted(score.items(), key=lambda pair: (-pair[1], pair[0]))
    return [item for item, _ in ranked[:CANDIDATES]]


def features(counts, prefix, item, now):
    last = prefix[-1]
    together = counts.together[last][item]
    both = counts.popularity[last] * counts.popularity[item]
    decayed = sum(
        counts.together[own][item] * 0.5**back for back, own in enumerate(reversed(prefix[-10:]))
    )
    since = next((back for back, own in enumerate(reversed(prefix)) if own == item), -1)
    fresh = counts.fresh[item] * 2.0 ** (-(now - counts.origin) / HALF_LIFE_S)
    return (
        together, decayed, counts.after[last][item], together / math.sqrt(both) if both else 0.0,
        counts.popularity[item], fresh, prefix.count(item), since + 1, float(item == last),
        len(prefix),
    )


def read(path):
    clicks = pd.read_csv(path, sep="\t").sort_values(["SessionId", "Time"], kind="stable")
    return [
        (int(session), rows["ItemId"].to_list(), rows["Time"].to_list())
        for session, rows in clicks.groupby("SessionId")
    ]


def build(source, out):
    """Writes the log; returns the orders of the baselines by page, and the share of hits."""
    train = read(source / "yoochoose-clicks-100k_train_full.txt.gz")
    test = read(source / "yoochoose-clicks-100k_test.txt.gz")
    train.sort(key=lambda session: (session[2][0], session[0]))
    test.sort(key=lambda session: (session[2][0], session[0]))
    counts, running, popular = Counts(), [], []
    pages, slots, events = [], [], []
    warm = len(train) // 5
    misses = 0
    for number, (session, items, times) in enumerate(train + test):
        testing = number >= len(train)
        if not testing:
            while running and running[0][0] < times[0]:
                _, _, ended = heapq.heappop(running)
                counts.add(*ended)
            heapq.heappush(running, (times[-1], session, (items, times)))
        elif number == len(train):
            for _, _, ended in sorted(running):
                counts.add(*ended)
        if number % 200 == 0 or number == len(train):
            popular = [item for item, _ in counts.popularity.most_common(CANDIDATES)]
        for at, item in enumerate(items):
            impression = -1
            if at > 0 and number >= warm:
                prefix, target, now = items[:at], item, times[at - 1]
                shown = candidates(counts, popular, prefix)
                hit = target in shown
                misses += testing and not hit
                if hit or testing:
                    page = len(pages) + 1
                    # A microsecond after the click before, so that it is part of the past.
                    pages.append((page, int(now * 1e6) + 1, session, session))
                    for slot, candidate in enumerate(shown):
                        slots.append((page, slot, candidate, *features(counts, prefix, candidate, now)))
                        if candidate == target:
                            impression = len(slots)
            # A click that is no page's next one must not be credited to an earlier page that happens
            # to show its item: it has a session of its own. The user's history has it all the same.
            owner = session if impression > 0 else -session
            events.append((int(times[at] * 1e6), item, session, owner, max(impression, 0)))
    out.mkdir(parents=True)
    table = pd.DataFrame(pages, columns=["page_id", "ts", "user_id", "session_id"])
    moment = lambda series: pd.to_datetime(series, unit="us", utc=True).astype("datetime64[us, UTC]")
    table["ts"] = moment(table["ts"])
    table.to_parquet(out / "page_impression.parquet", index=False)
    placed = pd.DataFrame(slots, columns=["page_id", "slot", "item_id", *COLUMNS])
    placed.insert(0, "impression_id", np.arange(1, len(placed) + 1))
    placed.insert(2, "list_id", placed["page_id"])
    placed = placed.astype({"slot": "int32", **{column: "float64" for column in COLUMNS}})
    placed.to_parquet(out / "slot_impression.parquet", index=False)
    happened = pd.DataFrame(events, columns=["ts", "item_id", "user_id", "session_id", "impression_id"])
    happened["ts"] = moment(happened["ts"])
    happened["type"] = "click"
    happened = happened.sort_values("ts", kind="stable")
    happened.insert(0, "event_id", np.arange(1, len(happened) + 1))
    happened.to_parquet(out / "event.parquet", index=False)
    items = np.unique(np.r_[placed["item_id"].to_numpy(), happened["item_id"].to_numpy()])
    pd.DataFrame({"item_id": items}).to_parquet(out / "item.parquet", index=False)
    tested = sum(len(items) - 1 for _, items, _ in test)
    return {"test_pages": tested, "test_pages_with_the_click": tested - misses, "pages": len(pages)}
