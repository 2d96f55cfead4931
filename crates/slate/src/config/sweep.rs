//! `[sweep]`: which keys a search varies, over which values, and the points that come of it.
//!
//! A point is a value for each key. A grid has every combination, the first key changing slowest;
//! a random search draws each point by itself, from the seed, its number and the key alone, so that
//! a search of more points begins with those of one of fewer.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use slate_types::Seed;
use toml::{Table, Value};

use crate::console::Refusal;

/// Most points of a search, and seeds of a point.
const MOST_POINTS: usize = 10_000;
const MOST_SEEDS: u64 = 1_000;

/// `[sweep]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SweepSection {
    /// How points are chosen.
    pub(crate) search: Search,
    /// Points of a random search; left out: 20.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) points: Option<usize>,
    /// Trainings of each point, with this many seeds from `seed` on.
    pub(crate) seeds: u64,
    /// What varies: a path of keys, and its values or `{ from, to }`.
    pub(crate) over: Table,
}

impl Default for SweepSection {
    fn default() -> Self {
        Self {
            search: Search::Grid,
            points: None,
            seeds: 1,
            over: Table::new(),
        }
    }
}

/// How points are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Search {
    /// Every combination of the values.
    Grid,
    /// Draws.
    Random,
}

/// A value for each key that varies.
pub(crate) type Point = Vec<(String, Value)>;

/// What a key may be.
enum Axis {
    Values(Vec<Value>),
    Range {
        from: f64,
        to: f64,
        log: bool,
        whole: bool,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    from: Value,
    to: Value,
    #[serde(default)]
    scale: Scale,
}

#[derive(Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Scale {
    #[default]
    Linear,
    Log,
}

impl SweepSection {
    /// The seeds each point is trained with.
    ///
    /// # Errors
    /// None, too many, or some beyond the largest number.
    pub(crate) fn seeds(&self, first: Seed) -> Result<Vec<u64>> {
        if !(1..=MOST_SEEDS).contains(&self.seeds) {
            let told = format!(
                "`sweep.seeds` is {}, expected a number from 1 to {MOST_SEEDS}",
                self.seeds
            );
            return Err(Refusal::new(told).into());
        }
        let last = first.0.checked_add(self.seeds - 1).ok_or_else(|| {
            let told = format!("{} seeds from {} on are too many", self.seeds, first.0);
            Refusal::new(told).hint("pass a smaller --seed")
        })?;
        Ok((first.0..=last).collect())
    }

    /// The points, in the order they are trained.
    ///
    /// # Errors
    /// Nothing to vary, values that are none, a grid over a range or of too many points.
    pub(crate) fn points(&self, seed: Seed) -> Result<Vec<Point>> {
        let mut axes = Vec::new();
        collect("", &self.over, &mut axes)?;
        if axes.is_empty() {
            return Err(Refusal::new("`sweep.over` is empty, expected keys to vary")
                .hint("for instance \"train.learning_rate\" = [1e-3, 3e-3]")
                .into());
        }
        for (at, (key, _)) in axes.iter().enumerate() {
            if axes[..at].iter().any(|(other, _)| other == key) {
                let told = format!("`sweep.over.{key}` is there twice");
                return Err(Refusal::new(told).into());
            }
        }
        match (self.search, self.points) {
            (Search::Grid, Some(_)) => {
                let told = "`sweep.points` is set, expected it left out for `search = \"grid\"`";
                Err(Refusal::new(told).into())
            }
            (Search::Grid, None) => grid(&axes),
            (Search::Random, points) => {
                let points = points.unwrap_or(20);
                if !(1..=MOST_POINTS).contains(&points) {
                    let told = format!(
                        "`sweep.points` is {points}, expected a number from 1 to {MOST_POINTS}"
                    );
                    return Err(Refusal::new(told).into());
                }
                let seed = seed.derive("sweep");
                Ok((0..points)
                    .map(|point| draw(&axes, seed.index(point as u64)))
                    .collect())
            }
        }
    }
}

/// Axes under a table. A key may be written whole, `"train.epochs" = […]`, or as tables in tables.
fn collect(path: &str, table: &Table, axes: &mut Vec<(String, Axis)>) -> Result<()> {
    for (key, value) in table {
        let path = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        let refuse = |told: &str| {
            let told = format!("`sweep.over.{path}` {told}");
            Err(Refusal::new(told)
                .hint("give a list of values, or { from = 1e-4, to = 1e-2, scale = \"log\" }")
                .into())
        };
        match value {
            Value::Array(values) if values.is_empty() => {
                return refuse("is empty, expected values");
            }
            Value::Array(values) => axes.push((path, Axis::Values(values.clone()))),
            Value::Table(inner) if inner.contains_key("from") || inner.contains_key("to") => {
                let range = match Range::deserialize(inner.clone()) {
                    Ok(range) => range,
                    Err(error) => return refuse(&format!("is no range: {}", error.message())),
                };
                let number = |value: &Value| match value {
                    Value::Integer(value) => Some(*value as f64),
                    Value::Float(value) => Some(*value),
                    _ => None,
                };
                let whole = range.from.is_integer() && range.to.is_integer();
                let log = range.scale == Scale::Log;
                match (number(&range.from), number(&range.to)) {
                    (Some(from), Some(to))
                        if from < to && to.is_finite() && (!log || from > 0.0) =>
                    {
                        let axis = Axis::Range {
                            from,
                            to,
                            log,
                            whole,
                        };
                        axes.push((path, axis));
                    }
                    _ if log => return refuse("is no range, expected 0 < from < to"),
                    _ => return refuse("is no range, expected numbers with from < to"),
                }
            }
            Value::Table(inner) => collect(&path, inner, axes)?,
            _ => return refuse("is one value, expected a list or a range"),
        }
    }
    Ok(())
}

fn grid(axes: &[(String, Axis)]) -> Result<Vec<Point>> {
    let mut points: Vec<Point> = vec![Vec::new()];
    for (key, axis) in axes {
        let Axis::Values(values) = axis else {
            let told = format!("`sweep.over.{key}` is a range, expected values for a grid");
            let hint = "list its values, or search with `search = \"random\"`";
            return Err(Refusal::new(told).hint(hint).into());
        };
        if points.len() * values.len() > MOST_POINTS {
            let told = format!("the grid has more than {MOST_POINTS} points");
            let hint = "take fewer values, or search with `search = \"random\"`";
            return Err(Refusal::new(told).hint(hint).into());
        }
        let with = |point: &Point, value: &Value| {
            let mut point = point.clone();
            point.push((key.clone(), value.clone()));
            point
        };
        let longer = points
            .iter()
            .flat_map(|point| values.iter().map(|value| with(point, value)));
        points = longer.collect();
    }
    Ok(points)
}

fn draw(axes: &[(String, Axis)], seed: Seed) -> Point {
    let value = |(key, axis): &(String, Axis)| {
        let unit = seed.derive(key).unit();
        let value = match axis {
            Axis::Values(values) => {
                let at = (unit * values.len() as f64) as usize;
                values[at.min(values.len() - 1)].clone()
            }
            Axis::Range {
                from,
                to,
                log,
                whole,
            } => {
                // Every whole number has its share of the range, the last one too.
                let end = if *whole { to + 1.0 } else { *to };
                let at = if *log {
                    from * (end / from).powf(unit)
                } else {
                    from + (end - from) * unit
                };
                if *whole {
                    Value::Integer(at.floor().min(*to) as i64)
                } else {
                    let least = (to - from).min(if *log { at } else { f64::INFINITY }) * 1e-3;
                    Value::Float(rounded(at, least).clamp(*from, *to))
                }
            }
        };
        (key.clone(), value)
    };
    axes.iter().map(value).collect()
}

/// The shortest number that is off by `least` at most: fit to be typed, and no coarser than a search
/// can tell apart.
fn rounded(value: f64, least: f64) -> f64 {
    let short = |digits: usize| format!("{value:.digits$e}").parse().unwrap_or(value);
    let near = |short: &f64| (short - value).abs() <= least;
    (0..17).map(short).find(near).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(text: &str) -> Result<Vec<Point>> {
        let section: SweepSection = toml::from_str(text).unwrap();
        section.points(Seed(3))
    }

    fn refused(text: &str) -> String {
        points(text).unwrap_err().to_string()
    }

    #[test]
    fn a_grid_has_every_combination_once() {
        let text = "[over]\n\"train.epochs\" = [1, 2]\n[over.train.network]\nkind = [\"mlp\", \"gru\", \"linear\"]";
        let points = points(text).unwrap();
        let told: Vec<String> = points
            .iter()
            .map(|point| {
                format!(
                    "{}={} {}={}",
                    point[0].0, point[0].1, point[1].0, point[1].1
                )
            })
            .collect();
        assert_eq!(told.len(), 6);
        assert_eq!(told[0], "train.epochs=1 train.network.kind=\"mlp\"");
        assert_eq!(told[5], "train.epochs=2 train.network.kind=\"linear\"");
    }

    #[test]
    fn draws_lie_in_their_ranges_and_more_points_go_on_where_fewer_ended() {
        let text = |points: usize| {
            format!(
                "search = \"random\"\npoints = {points}\n[over]\na = {{ from = 1e-4, to = 1e-2, scale = \"log\" }}\n\
                 b = {{ from = 3, to = 6 }}\nc = [\"x\", \"y\"]"
            )
        };
        let many = points(&text(400)).unwrap();
        assert_eq!(points(&text(7)).unwrap(), many[..7]);
        let mut below = 0;
        let mut whole = std::collections::BTreeMap::new();
        for point in &many {
            let rate = point[0].1.as_float().unwrap();
            assert!((1e-4..=1e-2).contains(&rate));
            below += i32::from(rate < 1e-3);
            *whole.entry(point[1].1.as_integer().unwrap()).or_insert(0) += 1;
        }
        // Half of the draws lie below the middle of the logarithms, give or take 4 deviations of 10.
        assert!((160..=240).contains(&below), "{below}");
        assert_eq!(whole.keys().copied().collect::<Vec<_>>(), [3, 4, 5, 6]);
        assert!(
            whole.values().all(|&count| (65..=135).contains(&count)),
            "{whole:?}"
        );
    }

    #[test]
    fn draws_of_a_narrow_range_differ() {
        for (from, to) in [(0.9990, 0.9999), (1e6, 1.001e6)] {
            let text = format!(
                "search = \"random\"\npoints = 100\n[over]\na = {{ from = {from:e}, to = {to:e} }}"
            );
            let points = points(&text).unwrap();
            let mut values: Vec<f64> = points
                .iter()
                .map(|point| point[0].1.as_float().unwrap())
                .collect();
            values.sort_by(f64::total_cmp);
            values.dedup();
            assert!(values.len() > 80, "{} of 100 differ", values.len());
            assert!(values[0] >= from && values[values.len() - 1] <= to);
        }
    }

    #[test]
    fn seeds_are_counted_on_from_the_first() {
        let section = |seeds| SweepSection {
            seeds,
            ..SweepSection::default()
        };
        assert_eq!(section(3).seeds(Seed(5)).unwrap(), [5, 6, 7]);
        for seeds in [0, 1001, u64::MAX] {
            let told = section(seeds).seeds(Seed(5)).unwrap_err().to_string();
            assert!(told.contains("expected a number from 1 to 1000"), "{told}");
        }
        assert!(section(2).seeds(Seed(u64::MAX)).is_err());
        assert_eq!(section(1).seeds(Seed(u64::MAX)).unwrap(), [u64::MAX]);
    }

    #[test]
    fn what_is_no_search_is_refused() {
        assert!(refused("seeds = 1").contains("`sweep.over` is empty"));
        let twice = refused("[over]\n\"a.b\" = [1]\n[over.a]\nb = [2]");
        assert_eq!(twice, "`sweep.over.a.b` is there twice");
        let one = refused("[over]\na = 3");
        assert_eq!(
            one,
            "`sweep.over.a` is one value, expected a list or a range"
        );
        let range = refused("[over]\na = { from = 1, to = 3 }");
        assert_eq!(
            range,
            "`sweep.over.a` is a range, expected values for a grid"
        );
        let turned = refused("search = \"random\"\n[over]\na = { from = 3, to = 1 }");
        assert!(
            turned.contains("expected numbers with from < to"),
            "{turned}"
        );
        let zero =
            refused("search = \"random\"\n[over]\na = { from = 0.0, to = 1.0, scale = \"log\" }");
        assert!(zero.contains("expected 0 < from < to"), "{zero}");
        let odd = refused("search = \"random\"\n[over]\na = { from = 0.0, to = 1.0, step = 1 }");
        assert!(odd.contains("unknown field `step`"), "{odd}");
        let many = refused(
            "[over]\na = [1,2,3,4,5,6,7,8,9,10,11]\nb = [1,2,3,4,5,6,7,8,9,10,11]\nc = [1,2,3,4,5,6,7,8,9,10,11]\nd = [1,2,3,4,5,6,7,8,9,10,11]",
        );
        assert!(many.contains("more than 10000 points"), "{many}");
        assert!(
            refused("points = 3\n[over]\na = [1]").contains("left out for `search = \"grid\"`")
        );
    }
}
