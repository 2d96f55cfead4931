//! The columns of a taste, moment by moment: what is known of each user, each new item and the trend by then.

use std::{collections::HashMap, path::Path, sync::Arc};

use arrow::{
    array::{ArrayRef, Float64Array, RecordBatch},
    datatypes::{DataType, Field, Schema},
};
use foldhash::fast::FixedState;

use super::{TasteFeature, normal, trend::Trending};
use crate::{Block, FeatureError, spec::CLICK_LAG};
use normal::{Factor, add_square, add_times, packed};

/// Microseconds of a day.
const DAY: f64 = 86_400e6;

/// What was shown so far. Rows come in the order of time.
///
/// Of each user it holds `width · (width + 3) / 2` numbers, and as many of each item that the map does not have;
/// for a trend, `width` numbers of each click that is yet to come.
pub(crate) struct Past {
    taste: Arc<TasteFeature>,
    /// Places of the map's items.
    items: HashMap<i64, u32, FixedState>,
    users: Sums,
    /// Of items that are not in the map.
    others: Sums,
    trend: Option<Trending>,
}

/// `Σ v v'` and `Σ r v` by id, each row worth less with time.
struct Sums {
    numbers: HashMap<i64, u32, FixedState>,
    /// Packed squares, then products, of each id.
    both: Vec<f64>,
    /// The time they are of.
    times: Vec<i64>,
    width: usize,
    half_life: Option<f64>,
}

/// A row of a moment.
#[derive(Clone, Copy)]
struct Row {
    user: Option<i64>,
    item: Option<i64>,
    /// NaN where there is none.
    value: f64,
    /// For the trend, as is the lag: microseconds to its click.
    slot: i64,
    lag: Option<i64>,
}

/// The columns, row by row; the second stays empty where there is no trend.
#[derive(Default)]
struct Made {
    taste: Vec<Option<f64>>,
    trend: Vec<Option<f64>>,
}

impl Past {
    pub(crate) fn new(taste: &Arc<TasteFeature>) -> Self {
        let items = taste.items.iter().enumerate();
        let width = taste.width as usize;
        Self {
            items: items.map(|(at, item)| (item.id, at as u32)).collect(),
            taste: Arc::clone(taste),
            users: Sums::new(width, taste.half_life_days),
            others: Sums::new(width, None),
            // The trend of an item of usual length has variance 1 before anything happened.
            trend: taste.trend.as_ref().map(|trend| {
                let ridge = width as f64 * taste.spread;
                Trending::new(width, trend.half_life_days * DAY, ridge)
            }),
        }
    }

    /// The batch with the columns behind its own. It must have all rows of its last moment. `file` and
    /// `first_row` are for errors.
    pub(crate) fn extend(
        &mut self,
        batch: &RecordBatch,
        file: &Path,
        first_row: u64,
    ) -> Result<RecordBatch, FeatureError> {
        let schema = batch.schema();
        let mut wanted: Vec<usize> = Vec::new();
        for name in ["ts"].into_iter().chain(self.taste.columns()) {
            let at = schema.index_of(name).map_err(FeatureError::arrow(file))?;
            if !wanted.contains(&at) {
                wanted.push(at);
            }
        }
        let read = batch.project(&wanted).map_err(FeatureError::arrow(file))?;
        let block = Block::of_rows(&read, file.to_path_buf(), first_row)?;
        let times = block.integers("ts")?.values();
        let values = super::values(&block, &self.taste.column)?;
        let (users, items) = (block.ids(&self.taste.user)?, block.ids(&self.taste.item)?);
        let each = users.iter().zip(items).zip(values);
        let mut rows: Vec<Row> = each
            .map(|((user, item), value)| Row {
                user,
                item,
                value,
                slot: 0,
                lag: None,
            })
            .collect();
        if self.taste.trend.is_some() {
            let slots = block.integers("slot")?.values();
            let lags = block.ids(CLICK_LAG)?;
            for ((row, slot), lag) in rows.iter_mut().zip(slots).zip(lags) {
                (row.slot, row.lag) = (*slot, lag);
            }
        }
        let mut made = Made::default();
        let mut first = 0;
        for moment in times.chunk_by(|one, two| one == two) {
            let rows = &rows[first..first + moment.len()];
            self.moment(moment[0], rows, &mut made);
            first += moment.len();
        }
        let mut fields = schema.fields().to_vec();
        let mut columns = batch.columns().to_vec();
        for (name, values) in self.taste.names().zip([made.taste, made.trend]) {
            fields.push(Arc::new(Field::new(name, DataType::Float64, true)));
            let column: ArrayRef = Arc::new(values.into_iter().collect::<Float64Array>());
            columns.push(column);
        }
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
            .map_err(FeatureError::arrow(file))
    }

    /// The columns of all rows of a moment: they are known of their users at once, and of new items and the trend
    /// later.
    fn moment(&mut self, now: i64, rows: &[Row], made: &mut Made) {
        for row in rows {
            if let Some((user, item)) = row.of_known_user()
                && let Some(&item) = self.items.get(&item)
            {
                let item = &self.taste.items[item as usize];
                let above = self.standard(row.value) - f64::from(item.mean);
                let vector: Vec<f64> = item.vector.iter().map(|&v| v.into()).collect();
                self.users.add(user, now, &vector, above);
            }
        }
        let trend = self.trend.as_mut().map(|trend| trend.at(now));
        // Rows of one user mostly stand together.
        let mut last: Option<(Option<i64>, Vec<f64>)> = None;
        let mut of_new_items = Vec::new();
        for row in rows {
            if last.as_ref().is_none_or(|(user, _)| *user != row.user) {
                let known = |user| self.users.solved(user, now, self.taste.noise);
                let nobody = || vec![0.0; self.taste.width as usize];
                let expected = row.user.and_then(known).unwrap_or_else(nobody);
                last = Some((row.user, expected));
            }
            let (_, user) = last.as_ref().expect("it was set");
            let is_known = row.item.is_some_and(|item| self.items.contains_key(&item));
            let item = row.item.map(|item| self.item(item, now));
            let standard = item.as_ref().map(|(mean, vector)| mean + dot(user, vector));
            let scale = self.taste.scale;
            made.taste
                .push(standard.map(|standard| scale.mean + scale.sd * standard));
            if let (Some(trend), Some(state)) = (&trend, &mut self.trend) {
                made.trend
                    .push(item.as_ref().map(|(_, vector)| dot(trend, vector)));
                // What a new item's vector is taken for may be far off, and would drown all other rows.
                if let Some((_, vector)) = item.as_ref().filter(|_| is_known) {
                    state.show(now, row.slot, row.lag, vector);
                }
            }
            if let Some((_, item)) = row.of_known_user().filter(|_| !is_known) {
                of_new_items.push((item, user.clone(), self.standard(row.value)));
            }
        }
        for (item, user, above) in of_new_items {
            self.others.add(item, now, &user, above);
        }
    }

    /// The mean and the vector of an item, as known by now.
    fn item(&self, id: i64, now: i64) -> (f64, Vec<f64>) {
        let taste = &self.taste;
        if let Some(&item) = self.items.get(&id) {
            let item = &taste.items[item as usize];
            let vector = item.vector.iter().map(|&number| number.into());
            return (item.mean.into(), vector.collect());
        }
        let vector = self.others.solved(id, now, taste.noise / taste.spread);
        let nothing = || vec![0.0; taste.width as usize];
        (0.0, vector.unwrap_or_else(nothing))
    }

    fn standard(&self, value: f64) -> f64 {
        self.taste.scale.apply(value)
    }
}

fn dot(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}

impl Row {
    /// User and item of a row that says something.
    fn of_known_user(self) -> Option<(i64, i64)> {
        self.user.zip(self.item).filter(|_| !self.value.is_nan())
    }
}

impl Sums {
    fn new(width: usize, half_life_days: Option<f64>) -> Self {
        Self {
            numbers: HashMap::default(),
            both: Vec::new(),
            times: Vec::new(),
            width,
            half_life: half_life_days.map(|days| days * DAY),
        }
    }

    fn add(&mut self, id: i64, now: i64, v: &[f64], r: f64) {
        let next = self.times.len() as u32;
        let number = *self.numbers.entry(id).or_insert(next);
        if number == next {
            self.times.push(now);
            self.both.resize(self.both.len() + self.stride(), 0.0);
        }
        let number = number as usize;
        let fading = self.fading(number, now);
        self.times[number] = now;
        let own = self.stride() * number..self.stride() * (number + 1);
        let sums = &mut self.both[own];
        if fading < 1.0 {
            for sum in sums.iter_mut() {
                *sum *= fading;
            }
        }
        let (squares, products) = sums.split_at_mut(packed(v.len()));
        add_square(squares, 1.0, v);
        add_times(products, r, v);
    }

    /// The `x` of `(Σ v v' + ridge · I) x = Σ r v` as of now; none of an id that is new.
    fn solved(&self, id: i64, now: i64, ridge: f64) -> Option<Vec<f64>> {
        let number = *self.numbers.get(&id)? as usize;
        let fading = self.fading(number, now);
        let sums = &self.both[self.stride() * number..self.stride() * (number + 1)];
        let now: Vec<f64> = sums.iter().map(|sum| sum * fading).collect();
        let (squares, products) = now.split_at(packed(self.width));
        let mut solved = products.to_vec();
        Factor::new(squares, ridge, self.width).solve(&mut solved);
        Some(solved)
    }

    /// What a row of an id's sums is worth by now.
    fn fading(&self, number: usize, now: i64) -> f64 {
        let passed = (now - self.times[number]) as f64;
        self.half_life
            .map_or(1.0, |half_life| (-passed / half_life).exp2())
    }

    fn stride(&self) -> usize {
        packed(self.width) + self.width
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Scale, taste::TasteItem};
    use slate_types::Seed;

    const HOUR: i64 = 3_600_000_000;
    const WIDTH: usize = 3;

    fn taste(half_life_days: Option<f64>, noise: f64) -> Arc<TasteFeature> {
        let items = (0..9).map(|id| TasteItem {
            id: id * 10,
            mean: id as f32 * 0.3,
            vector: (0..WIDTH)
                .map(|at| (id as f32 * 1.3 + at as f32 * 2.1).sin())
                .collect(),
        });
        Arc::new(TasteFeature {
            name: "taste".to_owned(),
            column: "affinity".to_owned(),
            user: "user_id".to_owned(),
            item: "item_id".to_owned(),
            width: WIDTH as u32,
            half_life_days,
            scale: Scale { mean: 1.1, sd: 0.7 },
            noise,
            spread: 0.5,
            trend: None,
            items: items.collect(),
        })
    }

    /// Moments and their rows, some of two users; items 90 and 100 are not in the map.
    fn moments() -> Vec<(i64, Vec<Row>)> {
        let draw = |at: u64, of: &str| Seed(3).derive(of).index(at).unit();
        let row = |at: u64| Row {
            user: Some((draw(at / 2, "user") * 4.0) as i64),
            item: Some(10 * (draw(at, "item") * 11.0) as i64),
            value: if at.is_multiple_of(11) {
                f64::NAN
            } else {
                draw(at, "value") * 4.0
            },
            slot: 0,
            lag: None,
        };
        (0..80)
            .map(|moment| {
                (
                    moment * 7 * HOUR,
                    (0..5).map(|at| row(moment as u64 * 5 + at)).collect(),
                )
            })
            .collect()
    }

    /// `x` of `(Σ w v v' + ridge · I) x = Σ w r v`, by elimination.
    fn solved(seen: &[(f64, Vec<f64>, f64)], ridge: f64) -> Vec<f64> {
        let mut matrix = [[0.0; WIDTH]; WIDTH];
        let mut right = [0.0; WIDTH];
        for i in 0..WIDTH {
            matrix[i][i] = ridge;
            for (weight, v, r) in seen {
                right[i] += weight * r * v[i];
                for j in 0..WIDTH {
                    matrix[i][j] += weight * v[i] * v[j];
                }
            }
        }
        for i in 0..WIDTH {
            for j in (0..WIDTH).filter(|&j| j != i) {
                let times = matrix[j][i] / matrix[i][i];
                let row = matrix[i];
                for (number, own) in matrix[j].iter_mut().zip(row) {
                    *number -= times * own;
                }
                right[j] -= times * right[i];
            }
        }
        (0..WIDTH).map(|i| right[i] / matrix[i][i]).collect()
    }

    /// The same by a regression of its own for each user and each new item, at each moment.
    struct Twin {
        taste: Arc<TasteFeature>,
        seen: Vec<(i64, Row)>,
        /// Of rows with new items: the item, the user as known then, the value above the mean.
        folded: Vec<(i64, Vec<f64>, f64)>,
    }

    impl Twin {
        fn standard(&self, value: f64) -> f64 {
            (value - self.taste.scale.mean) / self.taste.scale.sd
        }

        fn item(&self, id: i64) -> Option<(Vec<f64>, f64)> {
            let item = self.taste.items.iter().find(|item| item.id == id)?;
            let vector = item.vector.iter().map(|&number| number.into());
            Some((vector.collect(), item.mean.into()))
        }

        fn user(&self, user: i64, now: i64) -> Vec<f64> {
            let own = self.seen.iter().filter(|(_, row)| row.user == Some(user));
            let seen = own.filter_map(|(ts, row)| {
                let (v, mean) = self.item(row.item?)?;
                let days = (now - ts) as f64 / (24 * HOUR) as f64;
                let half_life = self.taste.half_life_days;
                let weight = half_life.map_or(1.0, |half_life| 0.5_f64.powf(days / half_life));
                (!row.value.is_nan()).then_some((weight, v, self.standard(row.value) - mean))
            });
            solved(&seen.collect::<Vec<_>>(), self.taste.noise)
        }

        fn moment(&mut self, now: i64, rows: &[Row]) -> Vec<f64> {
            self.seen.extend(rows.iter().map(|&row| (now, row)));
            let made = rows.iter().map(|row| {
                let user = self.user(row.user.unwrap(), now);
                let item = row.item.unwrap();
                let (v, mean) = self.item(item).unwrap_or_else(|| {
                    let own = self.folded.iter().filter(|own| own.0 == item);
                    let seen = own.map(|(_, u, r)| (1.0, u.clone(), *r));
                    let ridge = self.taste.noise / self.taste.spread;
                    (solved(&seen.collect::<Vec<_>>(), ridge), 0.0)
                });
                let standard = mean + user.iter().zip(&v).map(|(u, v)| u * v).sum::<f64>();
                1.1 + 0.7 * standard
            });
            let made = made.collect();
            for row in rows {
                let item = row.item.unwrap();
                if self.item(item).is_none() && !row.value.is_nan() {
                    let user = self.user(row.user.unwrap(), now);
                    self.folded.push((item, user, self.standard(row.value)));
                }
            }
            made
        }
    }

    #[test]
    fn each_value_is_a_ridge_regression_of_all_before_it() {
        for (half_life, noise) in [
            (None, 0.4),
            (Some(2.0), 0.4),
            (None, 1e-6),
            (Some(2.0), 1e-6),
        ] {
            let taste = taste(half_life, noise);
            let mut past = Past::new(&taste);
            let mut twin = Twin {
                taste: Arc::clone(&taste),
                seen: Vec::new(),
                folded: Vec::new(),
            };
            let (mut known, mut new) = (0, 0);
            for (now, rows) in moments() {
                let mut made = Made::default();
                past.moment(now, &rows, &mut made);
                assert!(made.trend.is_empty());
                for ((row, found), expected) in
                    rows.iter().zip(made.taste).zip(twin.moment(now, &rows))
                {
                    let found = found.unwrap();
                    let near = 1e-6 * (1.0 + expected.abs());
                    assert!(
                        (found - expected).abs() < near,
                        "{noise}: {found} {expected}"
                    );
                    let is_new = row.item >= Some(90);
                    new += usize::from(is_new && (found - 1.1).abs() > 0.1);
                    known += usize::from(!is_new);
                }
            }
            assert!(known > 200 && new > 30, "{known} {new}");
        }
    }

    #[test]
    fn who_is_unknown_has_no_past() {
        let mut past = Past::new(&taste(None, 0.4));
        let row = |user, item| Row {
            user,
            item,
            value: 9.0,
            slot: 0,
            lag: None,
        };
        let mut made = Made::default();
        for ts in 0..3 {
            past.moment(
                ts,
                &[row(None, Some(20)), row(None, Some(-5)), row(Some(1), None)],
                &mut made,
            );
        }
        let expected = [Some(1.1 + 0.7 * f64::from(2.0_f32 * 0.3)), Some(1.1), None];
        assert_eq!(made.taste, [expected; 3].concat());
    }
}
