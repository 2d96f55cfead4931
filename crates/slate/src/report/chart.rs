//! Charts as inline SVG: lines, points with intervals, reliability diagrams.
//!
//! Every chart is drawn 360 units wide, the width of a phone, and scales with its column. Colours
//! come from the page's CSS variables, so that light, dark and print need no second drawing. Every
//! mark carries a `<title>`, shown on hover and read by screen readers.

use std::fmt::Write;

use super::escape;

const WIDTH: f64 = 360.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 42.0;

/// One line of a line chart, or one cloud of points.
pub(crate) struct Series {
    /// Shown in the legend.
    pub(crate) name: String,
    /// `(x, y)`, in the order they are joined.
    pub(crate) points: Vec<(f64, f64)>,
    /// Lower and upper end of each point's interval, where there is one.
    pub(crate) intervals: Option<Vec<(f64, f64)>>,
    /// `(x, low, high)` of a band behind the line, which then has no dots; empty for none.
    pub(crate) band: Vec<(f64, f64, f64)>,
}

/// What the axes say.
pub(crate) struct Axes<'a> {
    pub(crate) title: &'a str,
    pub(crate) x: &'a str,
    pub(crate) y: &'a str,
    /// Draws the diagonal and gives both axes one range.
    pub(crate) diagonal: bool,
    /// What that range should hold, where not all points; lines are cut at the frame.
    pub(crate) limit: Option<f64>,
}

/// Lines (or points with intervals) over numeric axes. Draws nothing for no points.
pub(crate) fn lines(axes: &Axes<'_>, series: &[Series]) -> String {
    draw(axes, series, true)
}

/// Points that no line joins. Draws nothing for no points.
pub(crate) fn cloud(axes: &Axes<'_>, points: Vec<(f64, f64)>) -> String {
    let points = Series {
        name: axes.title.to_owned(),
        points,
        intervals: None,
        band: Vec::new(),
    };
    draw(axes, &[points], false)
}

fn draw(axes: &Axes<'_>, series: &[Series], joined: bool) -> String {
    let points = || series.iter().flat_map(|s| s.points.iter().copied());
    let bounds = || {
        series
            .iter()
            .filter_map(|s| s.intervals.as_ref())
            .flatten()
            .copied()
    };
    if points().next().is_none() {
        return String::new();
    }
    let (mut x, mut y) = (range(points().map(|p| p.0)), range(points().map(|p| p.1)));
    if axes.diagonal {
        // A bin of few rows has an interval as wide as the chart: the points set the scale, and
        // intervals are cut at the frame.
        let both = (0.0, axes.limit.unwrap_or(1.15 * x.1.max(y.1)));
        (x, y) = (both, both);
    } else {
        y = range(
            bounds()
                .flat_map(|(low, high)| [low, high])
                .chain([y.0, y.1]),
        );
    }
    let (xs, ys) = (ticks(x), ticks(y));
    let (x, y) = (widen(x, &xs), widen(y, &ys));
    let height = if axes.diagonal { 330.0 } else { 220.0 };
    let px = |v: f64| LEFT + (v - x.0) / (x.1 - x.0) * (WIDTH - LEFT - RIGHT);
    let py = |v: f64| height - BOTTOM - (v - y.0) / (y.1 - y.0) * (height - TOP - BOTTOM);

    let mut svg = open(axes.title, height);
    rules(&mut svg, &ys, py);
    for &tick in &xs {
        line(
            &mut svg,
            "grid",
            (px(tick), TOP),
            (px(tick), height - BOTTOM),
        );
        text(
            &mut svg,
            "middle",
            px(tick),
            height - BOTTOM + 15.0,
            &number(tick, &xs),
        );
    }
    for (i, one) in series.iter().enumerate() {
        let class = format!("s{}", i % 5);
        if !one.band.is_empty() {
            let cut = |v: f64| v.clamp(y.0, y.1);
            let point = |(a, b): (f64, f64)| format!("{:.1},{:.1}", px(a), py(cut(b)));
            let upper = one.band.iter().map(|&(x, _, high)| (x, high));
            let lower = one.band.iter().rev().map(|&(x, low, _)| (x, low));
            let points: Vec<String> = upper.chain(lower).map(point).collect();
            let _ = write!(
                svg,
                r#"<polygon class="band {class}" points="{}"/>"#,
                points.join(" ")
            );
        }
    }
    if axes.diagonal {
        line(&mut svg, "diagonal", (px(x.0), py(y.0)), (px(x.1), py(y.1)));
    }
    for (i, one) in series.iter().enumerate() {
        let class = format!("s{}", i % 5);
        if let Some(intervals) = &one.intervals {
            for (&(at, _), &(low, high)) in one.points.iter().zip(intervals) {
                let (low, high) = (low.clamp(y.0, y.1), high.clamp(y.0, y.1));
                line(
                    &mut svg,
                    &format!("bar {class}"),
                    (px(at), py(low)),
                    (px(at), py(high)),
                );
            }
        }
        if joined {
            let path: Vec<String> = one
                .points
                .iter()
                .map(|&(a, b)| format!("{:.1},{:.1}", px(a), py(b.min(y.1))))
                .collect();
            let _ = write!(
                svg,
                r#"<polyline class="line {class}" points="{}"/>"#,
                path.join(" ")
            );
        }
        for &(a, b) in one.points.iter().filter(|_| one.band.is_empty()) {
            let _ = write!(
                svg,
                r#"<circle class="dot {class}" cx="{:.1}" cy="{:.1}" r="2.6"><title>{}: {} {}, {} {}</title></circle>"#,
                px(a),
                py(b),
                escape(&one.name),
                escape(axes.x),
                short(a),
                escape(axes.y),
                short(b)
            );
        }
    }
    text(
        &mut svg,
        "middle",
        LEFT.midpoint(WIDTH - RIGHT),
        height - 8.0,
        axes.x,
    );
    svg.push_str("</svg>");
    figure(axes, &svg, series.iter().map(|s| s.name.as_str()))
}

/// Horizontal rules at the ticks of the y axis, with their numbers.
fn rules(svg: &mut String, ticks: &[f64], py: impl Fn(f64) -> f64) {
    for &tick in ticks {
        let at = py(tick);
        line(svg, "grid", (LEFT, at), (WIDTH - RIGHT, at));
        text(svg, "end", LEFT - 6.0, at + 3.5, &number(tick, ticks));
    }
}

/// One row of an interval chart.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// Horizontal intervals, one row each, on one axis.
pub(crate) fn intervals(title: &str, axis: &str, rows: &[Row]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let left = 96.0;
    let x = range(rows.iter().flat_map(|row| [row.low, row.high, row.value]));
    let xs = ticks(x);
    let x = widen(x, &xs);
    let height = TOP + BOTTOM + 28.0 * rows.len() as f64;
    let px = |v: f64| left + (v - x.0) / (x.1 - x.0) * (WIDTH - left - RIGHT);
    let mut svg = open(title, height);
    for &tick in &xs {
        line(
            &mut svg,
            "grid",
            (px(tick), TOP),
            (px(tick), height - BOTTOM),
        );
        text(
            &mut svg,
            "middle",
            px(tick),
            height - BOTTOM + 15.0,
            &number(tick, &xs),
        );
    }
    for (i, row) in rows.iter().enumerate() {
        let at = TOP + 28.0 * (i as f64 + 0.5);
        text(&mut svg, "end", left - 8.0, at + 3.5, &row.name);
        line(
            &mut svg,
            &format!("bar s{}", i % 5),
            (px(row.low), at),
            (px(row.high), at),
        );
        let _ = write!(
            svg,
            r#"<circle class="dot s{}" cx="{:.1}" cy="{at:.1}" r="4"><title>{}: {} [{}, {}]</title></circle>"#,
            i % 5,
            px(row.value),
            escape(&row.name),
            short(row.value),
            short(row.low),
            short(row.high)
        );
    }
    text(
        &mut svg,
        "middle",
        left.midpoint(WIDTH - RIGHT),
        height - 8.0,
        axis,
    );
    svg.push_str("</svg>");
    let axes = Axes {
        title,
        x: axis,
        y: "",
        diagonal: false,
        limit: None,
    };
    figure(&axes, &svg, std::iter::empty())
}

/// One bar of a histogram.
pub(crate) struct Bar {
    pub(crate) name: String,
    /// From 0 up.
    pub(crate) value: f64,
}

/// Upright bars side by side, named below.
pub(crate) fn bars(title: &str, x: &str, y: &str, bars: &[Bar]) -> String {
    if bars.is_empty() {
        return String::new();
    }
    let height = 180.0;
    let most = bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
    let ys = ticks((0.0, most));
    let top = ys.last().copied().unwrap_or(1.0).max(most);
    let py = |v: f64| height - BOTTOM - v / top * (height - BOTTOM - TOP);
    let step = (WIDTH - LEFT - RIGHT) / bars.len() as f64;
    let mut svg = open(title, height);
    rules(&mut svg, &ys, py);
    // Names stand below as many bars as there is room for.
    let every = bars.len().div_ceil(8);
    for (at, bar) in bars.iter().enumerate() {
        let left = LEFT + step * at as f64;
        let _ = write!(
            svg,
            r#"<rect class="column" x="{:.1}" y="{:.1}" width="{:.1}" height="{:.1}"><title>{}: {}</title></rect>"#,
            left + 0.1 * step,
            py(bar.value),
            0.8 * step,
            height - BOTTOM - py(bar.value),
            escape(&bar.name),
            short(bar.value)
        );
        if at % every == 0 {
            let middle = left + 0.5 * step;
            text(
                &mut svg,
                "middle",
                middle,
                height - BOTTOM + 15.0,
                &bar.name,
            );
        }
    }
    text(
        &mut svg,
        "middle",
        LEFT.midpoint(WIDTH - RIGHT),
        height - 8.0,
        x,
    );
    svg.push_str("</svg>");
    let axes = Axes {
        title,
        x,
        y,
        diagonal: false,
        limit: None,
    };
    figure(&axes, &svg, std::iter::empty())
}

fn figure<'a>(axes: &Axes<'_>, svg: &str, names: impl Iterator<Item = &'a str>) -> String {
    let mut html = format!("<figure><figcaption>{}", escape(axes.title));
    if !axes.y.is_empty() && axes.y != axes.title {
        let _ = write!(html, r#" <span class="unit">{}</span>"#, escape(axes.y));
    }
    html.push_str("</figcaption>");
    let names: Vec<&str> = names.collect();
    if names.len() > 1 {
        html.push_str(r#"<p class="legend">"#);
        for (i, name) in names.iter().enumerate() {
            let _ = write!(
                html,
                r#"<span><svg viewBox="0 0 10 10" aria-hidden="true"><circle class="dot s{}" cx="5" cy="5" r="4"/></svg>{}</span>"#,
                i % 5,
                escape(name)
            );
        }
        html.push_str("</p>");
    }
    html.push_str(svg);
    html.push_str("</figure>");
    html
}

fn open(title: &str, height: f64) -> String {
    format!(
        r#"<svg class="chart" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{}">"#,
        escape(title)
    )
}

fn line(svg: &mut String, class: &str, from: (f64, f64), to: (f64, f64)) {
    let _ = write!(
        svg,
        r#"<line class="{class}" x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}"/>"#,
        from.0, from.1, to.0, to.1
    );
}

fn text(svg: &mut String, anchor: &str, x: f64, y: f64, what: &str) {
    let _ = write!(
        svg,
        r#"<text text-anchor="{anchor}" x="{x:.1}" y="{y:.1}">{}</text>"#,
        escape(what)
    );
}

fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values
        .filter(|v| v.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
            (low.min(v), high.max(v))
        });
    if low > high {
        (0.0, 1.0)
    } else if low == high {
        let pad = if low == 0.0 { 1.0 } else { low.abs() * 0.1 };
        (low - pad, high + pad)
    } else {
        (low, high)
    }
}

/// Four to eight round numbers that cover the range.
fn ticks((low, high): (f64, f64)) -> Vec<f64> {
    let rough = (high - low) / 5.0;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|m| m * power)
        .find(|step| *step >= rough * 0.999)
        .unwrap_or(10.0 * power);
    let first = (low / step).floor() as i64;
    let last = (high / step).ceil() as i64;
    (first..=last).map(|i| i as f64 * step).collect()
}

fn widen(range: (f64, f64), ticks: &[f64]) -> (f64, f64) {
    let first = ticks.first().copied().unwrap_or(range.0);
    let last = ticks.last().copied().unwrap_or(range.1);
    (range.0.min(first), range.1.max(last))
}

/// A tick with just the decimals its neighbours need.
fn number(tick: f64, ticks: &[f64]) -> String {
    let step = ticks
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .fold(f64::INFINITY, f64::min);
    let decimals = if step.is_finite() && step > 0.0 {
        (-step.log10().floor()).max(0.0)
    } else {
        2.0
    };
    // Minus zero is zero.
    format!("{:.*}", decimals.min(6.0) as usize, tick + 0.0)
}

/// A value with four significant digits.
pub(crate) fn short(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    let digits = (3.0 - value.abs().log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_cover_the_range() {
        for range in [(0.0, 1.0), (0.123, 0.131), (-3.0, 250.0), (0.0, 1e-4)] {
            let ticks = ticks(range);
            assert!((3..=9).contains(&ticks.len()), "{ticks:?}");
            assert!(ticks[0] <= range.0 + 1e-12 && ticks[ticks.len() - 1] >= range.1 - 1e-12);
        }
        assert_eq!(number(0.2, &[0.0, 0.2, 0.4]), "0.2");
        assert_eq!(number(0.0005, &[0.0, 0.0005]), "0.0005");
    }

    #[test]
    fn marks_stay_inside_the_drawing() {
        let series = Series {
            name: "a".into(),
            points: vec![(0.0, 0.02), (0.5, 0.7)],
            intervals: Some(vec![(0.0, 0.1), (0.5, 0.95)]),
            band: Vec::new(),
        };
        let axes = Axes {
            title: "t",
            x: "x",
            y: "y",
            diagonal: true,
            limit: None,
        };
        let svg = lines(&axes, &[series]);
        for attribute in ["cx=\"", "cy=\"", "y1=\"", "y2=\"", "x1=\"", "x2=\""] {
            for part in svg.split(attribute).skip(1) {
                let value: f64 = part.split('"').next().unwrap().parse().unwrap();
                assert!((0.0..=360.0).contains(&value), "{attribute}{value}");
            }
        }
    }

    #[test]
    fn no_points_no_chart() {
        let axes = Axes {
            title: "t",
            x: "x",
            y: "y",
            diagonal: false,
            limit: None,
        };
        assert_eq!(lines(&axes, &[]), "");
    }
}
