//! A map as keys of an object, and back.

use serde_json::{Map, Value};

use super::ReadError;
use crate::histogram::Steps;
use crate::temperature::Temperature;
use crate::venn_abers::Step;
use crate::{Beta, Calibrator, Exponential, Isotonic, Method, Power, Sigmoid, VennAbers};

/// The methods a file may name, for messages.
pub(super) fn known() -> String {
    let methods = Method::ALL.iter().map(|method| method.name());
    let names: Vec<String> = methods
        .chain(["raw", "identity"])
        .map(|name| format!("`{name}`"))
        .collect();
    names.join(", ")
}

/// Keys of an object that have not been read yet.
pub(super) struct Keys {
    whose: String,
    rest: Map<String, Value>,
}

impl Keys {
    pub(super) fn new(whose: &str, rest: Map<String, Value>) -> Self {
        Self {
            whose: whose.to_owned(),
            rest,
        }
    }

    pub(super) fn take(&mut self, key: &str) -> Option<Value> {
        self.rest.remove(key)
    }

    pub(super) fn need(&mut self, key: &'static str) -> Result<Value, ReadError> {
        let whose = self.whose.clone();
        self.take(key).ok_or(ReadError::Missing { whose, key })
    }

    /// A finite number from `low` to `high`.
    pub(super) fn number(
        &mut self,
        key: &'static str,
        low: f64,
        high: f64,
    ) -> Result<f64, ReadError> {
        let value = self.need(key)?;
        let number = value.as_f64().filter(|number| number.is_finite());
        number
            .filter(|number| (low..=high).contains(number))
            .ok_or_else(|| ReadError::Value {
                key,
                value: value.to_string(),
                expected: match (low == 0.0, high == 1.0) {
                    (true, true) => "a number from 0 to 1",
                    (true, false) => "a finite number from 0 up",
                    _ => "a finite number",
                },
            })
    }

    /// Any finite number.
    fn finite(&mut self, key: &'static str) -> Result<f64, ReadError> {
        self.number(key, f64::MIN, f64::MAX)
    }

    /// Rows of `N` finite numbers.
    fn rows<const N: usize>(
        &mut self,
        key: &'static str,
        expected: &'static str,
    ) -> Result<Vec<[f64; N]>, ReadError> {
        let value = self.need(key)?;
        let row = |row: &Value| -> Option<[f64; N]> {
            let cells = row.as_array()?.iter().map(Value::as_f64);
            cells.collect::<Option<Vec<f64>>>()?.try_into().ok()
        };
        let rows = value
            .as_array()
            .and_then(|rows| rows.iter().map(row).collect());
        rows.ok_or_else(|| {
            let mut value = value.to_string();
            if let Some((end, _)) = value.char_indices().nth(60) {
                value.truncate(end);
                value.push('…');
            }
            ReadError::Value {
                key,
                value,
                expected,
            }
        })
    }

    /// Refuses what nobody has read.
    pub(super) fn end(self) -> Result<(), ReadError> {
        match self.rest.into_iter().next() {
            None => Ok(()),
            Some((key, _)) => Err(ReadError::Unknown {
                whose: self.whose,
                key,
            }),
        }
    }
}

/// The map that `keys` describe; all of them.
pub(super) fn read(mut keys: Keys) -> Result<Calibrator, ReadError> {
    let name = match keys.need("method")? {
        Value::String(name) => name,
        other => return Err(ReadError::Method(other.to_string())),
    };
    keys.whose = format!("method `{name}`");
    keys.take("formula");
    let of_probability = match keys.take("reads") {
        None => false,
        Some(Value::String(reads)) if reads == "probability" => true,
        Some(other) => {
            return Err(ReadError::Value {
                key: "reads",
                value: other.to_string(),
                expected: "`probability`",
            });
        }
    };
    let map = match (name.as_str(), Method::from_name(&name)) {
        ("raw", _) => Calibrator::Raw,
        ("identity", _) => Calibrator::Identity,
        (_, None) => return Err(ReadError::Method(name)),
        (_, Some(method)) => of_method(method, &mut keys)?,
    };
    keys.end()?;
    Ok(if of_probability {
        Calibrator::OfProbability(Box::new(map))
    } else {
        map
    })
}

fn of_method(method: Method, keys: &mut Keys) -> Result<Calibrator, ReadError> {
    let knots = |keys: &mut Keys| {
        Isotonic::from_knots(&keys.rows("knots", "rows of 2 numbers")?).map_err(ReadError::Knot)
    };
    let line = |keys: &mut Keys| -> Result<[f64; 2], ReadError> {
        Ok([
            keys.number("slope", 0.0, f64::MAX)?,
            keys.finite("intercept")?,
        ])
    };
    Ok(match method {
        Method::Isotonic => Calibrator::Isotonic(knots(keys)?),
        Method::IsotonicBinned => Calibrator::IsotonicBinned(knots(keys)?),
        Method::Centred => Calibrator::Centred(knots(keys)?),
        Method::Spline => Calibrator::Spline(knots(keys)?),
        Method::Sigmoid => {
            let [slope, intercept] = line(keys)?;
            Calibrator::Sigmoid(Sigmoid { slope, intercept })
        }
        Method::Exponential => {
            let [slope, intercept] = line(keys)?;
            Calibrator::Exponential(Exponential { slope, intercept })
        }
        Method::ExponentialBinned => {
            let [slope, intercept] = line(keys)?;
            Calibrator::ExponentialBinned(Exponential { slope, intercept })
        }
        Method::Power => Calibrator::Power(Power {
            factor: keys.number("factor", 0.0, f64::MAX)?.max(f64::MIN_POSITIVE),
            exponent: keys.number("exponent", 0.0, f64::MAX)?,
        }),
        Method::Beta => Calibrator::Beta(Beta {
            a: keys.number("a", 0.0, f64::MAX)?,
            b: keys.number("b", 0.0, f64::MAX)?,
            c: keys.finite("c")?,
        }),
        Method::Temperature => Calibrator::Temperature(Temperature {
            slope: keys.number("slope", 0.0, f64::MAX)?,
        }),
        Method::Histogram => {
            let steps = keys.rows("steps", "rows of 2 numbers")?;
            Calibrator::Histogram(Steps::from_steps(&steps).map_err(ReadError::Knot)?)
        }
        Method::VennAbers => {
            let below = keys.need("below")?;
            let pair: Option<[f64; 2]> = serde_json::from_value(below.clone()).ok();
            let below = pair.ok_or_else(|| ReadError::Value {
                key: "below",
                value: below.to_string(),
                expected: "2 numbers",
            })?;
            let steps = keys.rows("steps", "rows of 5 numbers")?;
            let steps = steps.into_iter().map(|[score, a, b, c, d]| Step {
                score,
                at: [a, b],
                above: [c, d],
            });
            let map = VennAbers::from_steps(below, steps.collect()).map_err(ReadError::Knot)?;
            Calibrator::VennAbers(map)
        }
    })
}

/// `"key": value` of each key of a map. `break_` stands before each row of a table.
pub(super) fn lines(map: &Calibrator, break_: &str) -> Vec<String> {
    let (inner, of_probability) = match map {
        Calibrator::OfProbability(inner) => (&**inner, true),
        other => (other, false),
    };
    let mut lines = vec![format!("\"method\": \"{}\"", inner.name())];
    let odds = if of_probability {
        lines.push("\"reads\": \"probability\"".to_owned());
        "score = ln(p / (1 - p)) of the given p; "
    } else {
        ""
    };
    lines.push(format!("\"formula\": \"{odds}{}\"", formula(inner)));
    let table = |key: &str, rows: Vec<String>| {
        let end = if break_.is_empty() { "" } else { "\n  " };
        let comma = if break_.is_empty() { ", " } else { "," };
        format!(
            "\"{key}\": [{break_}{}{end}]",
            rows.join(&format!("{comma}{break_}"))
        )
    };
    let pairs = |rows: &mut dyn Iterator<Item = [f64; 2]>| -> Vec<String> {
        rows.map(|row| format!("[{:?}, {:?}]", row[0], row[1]))
            .collect()
    };
    let numbers: &[(&str, f64)] = match inner {
        Calibrator::Isotonic(map)
        | Calibrator::IsotonicBinned(map)
        | Calibrator::Centred(map)
        | Calibrator::Spline(map) => {
            lines.push(table("knots", pairs(&mut map.knots())));
            &[]
        }
        Calibrator::Histogram(map) => {
            lines.push(table("steps", pairs(&mut map.steps())));
            &[]
        }
        Calibrator::VennAbers(map) => {
            lines.push(format!("\"below\": {:?}", map.below()));
            let rows = map.steps().iter().map(|step| {
                let ([a, b], [c, d]) = (step.at, step.above);
                format!("{:?}", [step.score, a, b, c, d])
            });
            lines.push(table("steps", rows.collect()));
            &[]
        }
        Calibrator::Sigmoid(Sigmoid { slope, intercept })
        | Calibrator::Exponential(Exponential { slope, intercept })
        | Calibrator::ExponentialBinned(Exponential { slope, intercept }) => {
            &[("slope", *slope), ("intercept", *intercept)]
        }
        Calibrator::Temperature(map) => &[("slope", map.slope)],
        Calibrator::Power(map) => &[("factor", map.factor), ("exponent", map.exponent)],
        Calibrator::Beta(map) => &[("a", map.a), ("b", map.b), ("c", map.c)],
        Calibrator::Raw | Calibrator::Identity | Calibrator::OfProbability(_) => &[],
    };
    lines.extend(
        numbers
            .iter()
            .map(|(key, value)| format!("\"{key}\": {value:?}")),
    );
    lines
}

/// How to apply a calibrator, for readers of the file.
fn formula(calibrator: &Calibrator) -> &'static str {
    match calibrator {
        Calibrator::Isotonic(_)
        | Calibrator::IsotonicBinned(_)
        | Calibrator::Centred(_)
        | Calibrator::Spline(_) => {
            "linear between the knots [score, probability], constant outside"
        }
        Calibrator::Histogram(_) => {
            "the probability of the last step [lowest score, probability] that begins at or below \
             the score, or of the first"
        }
        Calibrator::VennAbers(_) => {
            "probability = high / (1 - low + high), with [low, high] as in the steps [score, low \
             and high at it, low and high above it]"
        }
        Calibrator::Sigmoid(_) => "probability = 1 / (1 + exp(-(slope * score + intercept)))",
        Calibrator::Exponential(_) | Calibrator::ExponentialBinned(_) => {
            "probability = min(1, exp(slope * score + intercept))"
        }
        Calibrator::Power(_) => {
            "probability = min(1, factor * q^exponent), q = 1 / (1 + exp(-score))"
        }
        Calibrator::Beta(_) => {
            "probability = 1 / (1 + exp(-(a * ln(q) - b * ln(1 - q) + c))), q = 1 / (1 + \
             exp(-score))"
        }
        Calibrator::Temperature(_) => "probability = 1 / (1 + exp(-slope * score))",
        Calibrator::Raw => "probability = 1 / (1 + exp(-score))",
        Calibrator::Identity | Calibrator::OfProbability(_) => "probability = score",
    }
}
