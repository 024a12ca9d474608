//! A plot as SVG: panels of lines over a logarithmic axis of numbers. It has a light and a dark form, of
//! which the reader's renderer takes its own; the libraries that were looked at have colours in each element.

use std::fmt::Write as _;

/// A line of a panel.
#[derive(Clone, Debug)]
pub struct Line {
    /// What it is.
    pub name: String,
    /// Its points, from left to right; the left axis begins at 1.
    pub points: Vec<(f64, f64)>,
}

/// A part of the plot with axes of its own.
#[derive(Clone, Debug)]
pub struct Panel {
    /// What the numbers on the lower axis are of.
    pub title: String,
    /// What the numbers on the left axis are.
    pub unit: String,
    /// At most three.
    pub lines: Vec<Line>,
}

/// Panels beside each other.
const COLUMNS: usize = 3;
const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 230.0;
/// Room beside the axes: on the left, on the right, above and below.
const MARGINS: [f64; 4] = [58.0, 16.0, 50.0, 30.0];
/// From the name of one line to the next.
const NAME_HEIGHT: f64 = 14.0;
/// What the left axis is divided in, at least.
const STEPS: f64 = 4.0;
const STYLE: &str = "\
text{font:12px sans-serif;fill:#24292f}\
.t{font-weight:bold}.u{fill:#57606a}\
.g{stroke:#d0d7de;stroke-width:1}\
polyline{fill:none;stroke-width:2}\
.s0{stroke:#0969da}.s1{stroke:#bc4c00}.s2{stroke:#1a7f37}\
circle.s0{fill:#0969da}circle.s1{fill:#bc4c00}circle.s2{fill:#1a7f37}\
@media (prefers-color-scheme:dark){\
text{fill:#e6edf3}.u{fill:#8b949e}.g{stroke:#30363d}\
.s0{stroke:#58a6ff}.s1{stroke:#f0883e}.s2{stroke:#56d364}\
circle.s0{fill:#58a6ff}circle.s1{fill:#f0883e}circle.s2{fill:#56d364}}";

/// The text of the file.
#[must_use]
pub fn draw(panels: &[Panel]) -> String {
    let rows = panels.len().div_ceil(COLUMNS).max(1);
    let (width, height) = (WIDTH * COLUMNS as f64, HEIGHT * rows as f64);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" role=\"img\">\n<style>{STYLE}</style>\n"
    );
    for (index, panel) in panels.iter().enumerate() {
        let x = (index % COLUMNS) as f64 * WIDTH;
        let y = (index / COLUMNS) as f64 * HEIGHT;
        let _ = writeln!(out, "<g transform=\"translate({x} {y})\">");
        panel.draw(&mut out);
        out.push_str("</g>\n");
    }
    out.push_str("</svg>\n");
    out
}

impl Panel {
    fn draw(&self, out: &mut String) {
        let [left, right, top, bottom] = MARGINS;
        // A third name takes a row of its own.
        let top = top + NAME_HEIGHT * self.lines.len().saturating_sub(2) as f64;
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let decades = points().map(|(n, _)| n.log10()).fold(1.0, f64::max).ceil();
        let step = step(points().map(|(_, cost)| *cost).fold(0.0, f64::max));
        let steps = points()
            .map(|(_, cost)| cost / step)
            .fold(1.0, f64::max)
            .ceil();
        let x = |n: f64| left + n.max(1.0).log10() / decades * (WIDTH - left - right);
        let y = |cost: f64| {
            let share = cost / (step * steps);
            HEIGHT - bottom - share * (HEIGHT - top - bottom)
        };
        text(out, "t", left, 16.0, "start", &self.title);
        text(out, "u", left, 32.0, "start", &self.unit);
        for tick in 0..=whole(steps) {
            let cost = f64::from(tick) * step;
            let y = y(cost);
            grid(out, [left, y, WIDTH - right, y]);
            text(out, "u", left - 6.0, y + 4.0, "end", &short(cost));
        }
        for tick in 0..=whole(decades) {
            let n = 10_f64.powi(tick.cast_signed());
            grid(out, [x(n), HEIGHT - bottom, x(n), HEIGHT - bottom + 4.0]);
            text(out, "u", x(n), HEIGHT - bottom + 18.0, "middle", &short(n));
        }
        for (index, line) in self.lines.iter().enumerate() {
            let at: Vec<(f64, f64)> = line.points.iter().map(|(n, c)| (x(*n), y(*c))).collect();
            let words: Vec<String> = at.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let words = words.join(" ");
            let _ = writeln!(out, "<polyline class=\"s{index}\" points=\"{words}\"/>");
            for (x, y) in at {
                let _ = writeln!(
                    out,
                    "<circle class=\"s{index}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>"
                );
            }
            if self.lines.len() > 1 {
                // One name under the other, on the right above the lines and below the title.
                let y = 32.0 + NAME_HEIGHT * index as f64;
                let _ = writeln!(
                    out,
                    "<circle class=\"s{index}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\"/>",
                    WIDTH - right,
                    y - 4.0
                );
                text(out, "u", WIDTH - right - 8.0, y, "end", &line.name);
            }
        }
    }
}

fn text(out: &mut String, class: &str, x: f64, y: f64, anchor: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        out,
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"
    );
}

fn grid(out: &mut String, [x1, y1, x2, y2]: [f64; 4]) {
    let _ = writeln!(
        out,
        "<line class=\"g\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
    );
}

/// A step of the left axis: 1, 2 or 5 times a power of ten, at least [`STEPS`] of which reach `most`.
fn step(most: f64) -> f64 {
    if most <= 0.0 {
        return 1.0;
    }
    let rough = most / STEPS;
    let power = 10_f64.powf(rough.log10().floor());
    let fits = [5.0, 2.0].into_iter().find(|times| times * power <= rough);
    fits.unwrap_or(1.0) * power
}

/// A number that is whole already, and small.
fn whole(number: f64) -> u32 {
    format!("{number:.0}").parse().unwrap_or(0)
}

/// A number in few letters.
fn short(number: f64) -> String {
    let (scaled, letter) = match number {
        many if many >= 1e6 => (many / 1e6, "M"),
        many if many >= 1e3 => (many / 1e3, "k"),
        few => (few, ""),
    };
    let text = format!("{scaled:.2}");
    format!(
        "{}{letter}",
        text.trim_end_matches('0').trim_end_matches('.')
    )
}

#[cfg(test)]
mod tests {
    use super::{Line, Panel, draw, short, step};

    fn panel(title: &str) -> Panel {
        let line = |name: &str, points| Line {
            name: name.to_owned(),
            points,
        };
        Panel {
            title: title.to_owned(),
            unit: "instructions".to_owned(),
            lines: vec![
                line("one", vec![(1.0, 500.0), (1_000.0, 450.0)]),
                line("other", vec![(10.0, 0.0), (100.0, 1_000.0)]),
            ],
        }
    }

    #[test]
    fn steps_are_round_and_few() {
        for (most, wanted) in [(1_000.0, 200.0), (450.0, 100.0), (7.9, 1.0), (0.0, 1.0)] {
            assert_eq!(step(most), wanted, "{most}");
        }
        assert!((step(0.9) - 0.2).abs() < 1e-9);
    }

    #[test]
    fn numbers_are_short() {
        for (number, text) in [
            (0.0, "0"),
            (200.0, "200"),
            (1_500.0, "1.5k"),
            (100_000.0, "100k"),
            (1e6, "1M"),
        ] {
            assert_eq!(short(number), text);
        }
    }

    #[test]
    fn points_are_where_their_numbers_are() {
        let text = draw(&[panel("queued")]);
        // The left axis ends at 1 000, the lower one at 1 000: the second line ends two thirds of the way
        // at the top, the first begins half way up at the left.
        assert!(text.contains("points=\"58.0,125.0 304.0,132.5\""), "{text}");
        assert!(text.contains("points=\"140.0,200.0 222.0,50.0\""), "{text}");
        assert_eq!(text.matches("<polyline").count(), 2);
        assert!(text.contains(">1k</text>"));
        assert!(text.contains("prefers-color-scheme:dark"));
    }

    #[test]
    fn panels_stand_in_rows_of_three_and_names_are_escaped() {
        let panels: Vec<Panel> = ["a", "b", "c", "d < e & f"].map(panel).into();
        let text = draw(&panels);
        assert!(text.contains("viewBox=\"0 0 960 460\""));
        assert!(text.contains("translate(0 230)"));
        assert!(text.contains(">d &lt; e &amp; f<"));
        assert_eq!(text.matches("<g ").count(), text.matches("</g>").count());
    }

    #[test]
    fn a_panel_without_points_is_drawn() {
        let empty = Panel {
            lines: Vec::new(),
            ..panel("none")
        };
        assert!(draw(&[empty]).ends_with("</svg>\n"));
    }
}
