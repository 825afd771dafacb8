//! Plots, drawn by the node as SVG: no script, no inline style; every bar tells its figures.

use maud::{Markup, html};

/// The plot's size in its own units.
const WIDTH: u32 = 480;
const HEIGHT: u32 = 160;
/// Room for the labels at the left and below.
const LEFT: u32 = 52;
const BELOW: u32 = 20;
const ABOVE: u32 = 8;

/// One bar: its height in two parts, and what it says.
pub(super) struct Bar {
    /// The lower part.
    pub(super) good: f64,
    /// What stands on it, in the colour of failures.
    pub(super) bad: f64,
    /// What is said of it.
    pub(super) says: String,
}

/// Bars over time, oldest first. `ends` stand below the first and the last one.
pub(super) fn bars(label: &str, bars: &[Bar], ends: (&str, &str), unit: impl Fn(f64) -> String) -> Markup {
    let top = nice(bars.iter().map(|bar| bar.good + bar.bad).fold(0.0, f64::max));
    let room = f64::from(WIDTH - LEFT);
    let step = room / bars.len().max(1) as f64;
    let height = f64::from(HEIGHT - BELOW - ABOVE);
    let y = |value: f64| f64::from(ABOVE) + height * (1.0 - value / top);
    let floor = y(0.0);
    html! {
        svg.chart viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(label) {
            @for part in [0.0, 0.5, 1.0] {
                line.grid x1=(LEFT) x2=(WIDTH) y1=(px(y(top * part))) y2=(px(y(top * part))) {}
                text.label x=(LEFT - 6) y=(px(y(top * part) + 4.0)) text-anchor="end" { (unit(top * part)) }
            }
            @for (i, bar) in bars.iter().enumerate() {
                @let x = f64::from(LEFT) + step * i as f64;
                g.bar {
                    title { (bar.says) }
                    rect.touch x=(px(x)) y=(ABOVE) width=(px(step)) height=(px(height)) {}
                    @if bar.good > 0.0 {
                        rect.good x=(px(x + step * 0.12)) y=(px(y(bar.good))) width=(px(step * 0.76)) height=(px(floor - y(bar.good))) {}
                    }
                    @if bar.bad > 0.0 {
                        rect.bad x=(px(x + step * 0.12)) y=(px(y(bar.good + bar.bad))) width=(px(step * 0.76))
                            height=(px(y(bar.good) - y(bar.good + bar.bad))) {}
                    }
                }
            }
            text.label x=(LEFT) y=(HEIGHT - 5) { (ends.0) }
            text.label x=(WIDTH) y=(HEIGHT - 5) text-anchor="end" { (ends.1) }
        }
    }
}

/// A line through the points that are there, oldest first, each with what it says.
pub(super) fn line(
    label: &str,
    points: &[Option<(f64, String)>],
    ends: (&str, &str),
    unit: impl Fn(f64) -> String,
) -> Markup {
    let top = nice(points.iter().flatten().map(|(value, _)| *value).fold(0.0, f64::max));
    let room = f64::from(WIDTH - LEFT);
    let step = room / points.len().max(1) as f64;
    let height = f64::from(HEIGHT - BELOW - ABOVE);
    let y = |value: f64| f64::from(ABOVE) + height * (1.0 - value / top);
    let x = |i: usize| f64::from(LEFT) + step * (i as f64 + 0.5);
    let mut path = String::new();
    let mut drawing = false;
    for (i, point) in points.iter().enumerate() {
        match point {
            Some((value, _)) => {
                path.push_str(&format!("{}{} {}", if drawing { 'L' } else { 'M' }, px(x(i)), px(y(*value))));
                drawing = true;
            }
            None => drawing = false,
        }
    }
    html! {
        svg.chart viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(label) {
            @for part in [0.0, 0.5, 1.0] {
                line.grid x1=(LEFT) x2=(WIDTH) y1=(px(y(top * part))) y2=(px(y(top * part))) {}
                text.label x=(LEFT - 6) y=(px(y(top * part) + 4.0)) text-anchor="end" { (unit(top * part)) }
            }
            path.curve d=(path) {}
            @for (i, point) in points.iter().enumerate() {
                @if let Some((value, says)) = point {
                    g.bar {
                        title { (says) }
                        rect.touch x=(px(x(i) - step / 2.0)) y=(ABOVE) width=(px(step)) height=(px(height)) {}
                        circle.point cx=(px(x(i))) cy=(px(y(*value))) r="2.5" {}
                    }
                }
            }
            text.label x=(LEFT) y=(HEIGHT - 5) { (ends.0) }
            text.label x=(WIDTH) y=(HEIGHT - 5) text-anchor="end" { (ends.1) }
        }
    }
}

/// The next of 1, 2, 4, 6, 8, 10, … that holds `value`, so that labels are round, and so is half of it.
fn nice(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(value.log10().floor());
    [1.0, 2.0, 4.0, 6.0, 8.0, 10.0].into_iter().map(|step| step * power).find(|top| *top >= value).unwrap_or(value)
}

fn px(value: f64) -> String {
    format!("{value:.1}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        for (value, top) in [(0.0, 1.0), (0.7, 0.8), (1.0, 1.0), (3.0, 4.0), (7.0, 8.0), (14.0, 20.0), (0.013, 0.02)] {
            assert!((nice(value) - top).abs() < 1e-9, "{value}: {}", nice(value));
        }
    }

    #[test]
    fn a_bar_says_its_figures_and_draws_failures_apart() {
        let bar = |good, bad| Bar { good, bad, says: format!("{good} calls, {bad} failed") };
        let svg = bars("calls", &[bar(3.0, 1.0), bar(0.0, 0.0)], ("12:00", "12:01"), |n| format!("{n}")).0;
        assert!(svg.contains("3 calls, 1 failed") && svg.matches("class=\"bad\"").count() == 1, "{svg}");
        assert!(!svg.contains("style="), "the policy allows no inline style");
        let svg = line("ms", &[Some((1.0, "a".into())), None, Some((2.0, "b".into()))], ("", ""), |n| n.to_string()).0;
        assert_eq!(svg.matches('M').count(), 2, "a gap is a gap: {svg}");
    }
}
