//! A figure: what was measured, what is to be reached, and the line that says so.

use std::fmt::Write as _;

/// What a figure has to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// Ours is at most this.
    AtMost(f64),
    /// Ours is at least this.
    AtLeast(f64),
    /// The ratio of ours to the peer's is at most this.
    Ratio(f64),
    /// The ratio of ours to the peer's is at least this.
    RatioAtLeast(f64),
    /// Shown, not judged.
    None,
}

/// A peer's part of a figure.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerValue {
    /// Its name.
    pub name: &'static str,
    /// What was measured of it.
    pub value: f64,
    /// Ours to its, formed inside rounds where there are rounds.
    pub ratio: f64,
    /// What it is known to reach: when it is worse by more than a fifth, it may be driven badly here.
    pub expected: Option<f64>,
}

/// A figure that was measured.
#[derive(Clone, Debug)]
pub struct Figure {
    /// What it is.
    pub name: String,
    /// Of both values.
    pub unit: &'static str,
    /// What was measured of ours.
    pub ours: f64,
    /// And of the peers.
    pub peers: Vec<PeerValue>,
    /// What is to be reached.
    pub goal: Goal,
    /// Whether more is better.
    pub more_is_better: bool,
}

/// What the last column says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The goal is reached.
    Ok,
    /// It is not.
    Short,
    /// It is reached, but a peer is so far from its own figure that the comparison is in doubt.
    PeerInDoubt,
    /// There is no goal.
    Shown,
}

/// How much worse than its own figure a peer may be.
const PEER_SLACK: f64 = 1.2;
/// Digits of a ratio behind the point.
const RATIO_DIGITS: usize = 3;
/// Characters of the column of names.
const NAME_WIDTH: usize = 43;
/// Characters of the column of the best peer.
const PEER_WIDTH: usize = 22;

impl Figure {
    /// The best of the peers.
    #[must_use]
    pub fn best(&self) -> Option<&PeerValue> {
        let better = |a: &&PeerValue, b: &&PeerValue| a.value.total_cmp(&b.value);
        if self.more_is_better {
            self.peers.iter().max_by(better)
        } else {
            self.peers.iter().min_by(better)
        }
    }

    /// Whether the goal is reached, and whether the peers can be believed.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let reached = match self.goal {
            // What is judged is what the line shows.
            Goal::AtMost(most) => rounded(self.ours, digits(self.ours)) <= most,
            Goal::AtLeast(least) => rounded(self.ours, digits(self.ours)) >= least,
            Goal::Ratio(most) => self
                .best()
                .is_some_and(|peer| rounded(peer.ratio, RATIO_DIGITS) <= most),
            Goal::RatioAtLeast(least) => self
                .best()
                .is_some_and(|peer| rounded(peer.ratio, RATIO_DIGITS) >= least),
            Goal::None => true,
        };
        if !reached {
            Verdict::Short
        } else if self.peers.iter().any(|peer| self.is_in_doubt(peer)) {
            Verdict::PeerInDoubt
        } else if self.goal == Goal::None {
            Verdict::Shown
        } else {
            Verdict::Ok
        }
    }

    fn is_in_doubt(&self, peer: &PeerValue) -> bool {
        peer.expected.is_some_and(|expected| {
            if self.more_is_better {
                peer.value * PEER_SLACK < expected
            } else {
                peer.value > expected * PEER_SLACK
            }
        })
    }

    /// The line of the table.
    #[must_use]
    pub fn line(&self) -> String {
        let (peer, ratio) = match self.best() {
            Some(peer) => (
                format!("{} {}", number(peer.value), peer.name),
                match peer.ratio {
                    // Both are 0.
                    ratio if ratio.is_nan() => "-".to_owned(),
                    ratio => format!("{ratio:.RATIO_DIGITS$}"),
                },
            ),
            None => ("-".to_owned(), "-".to_owned()),
        };
        let goal = match self.goal {
            Goal::AtMost(most) => format!("<= {}", number(most)),
            Goal::AtLeast(least) => format!(">= {}", number(least)),
            Goal::Ratio(most) => format!("ratio <= {most}"),
            Goal::RatioAtLeast(least) => format!("ratio >= {least}"),
            Goal::None => "-".to_owned(),
        };
        let verdict = match self.verdict() {
            Verdict::Ok => "ok".to_owned(),
            Verdict::Short => "short".to_owned(),
            Verdict::PeerInDoubt => self.doubts(),
            Verdict::Shown => "-".to_owned(),
        };
        row([
            &self.name,
            &number(self.ours),
            &peer,
            &ratio,
            self.unit,
            &goal,
            &verdict,
        ])
    }

    /// A further line with all peers, where there are more than the one that [`Self::line`] shows.
    #[must_use]
    pub fn line_of_all(&self) -> Option<String> {
        if self.peers.len() < 2 {
            return None;
        }
        let value = |peer: &PeerValue| format!("{} {}", peer.name, number(peer.value));
        let all: Vec<String> = self.peers.iter().map(value).collect();
        Some(format!("    {}", all.join(", ")))
    }

    /// `peer?`, with the peers it is about.
    fn doubts(&self) -> String {
        let mut text = "peer?".to_owned();
        for peer in self.peers.iter().filter(|peer| self.is_in_doubt(peer)) {
            let expected = number(peer.expected.unwrap_or_default());
            let _ = write!(text, " {} {} for {expected}", peer.name, number(peer.value));
        }
        text
    }
}

/// The heading of the table.
#[must_use]
pub fn heading() -> String {
    row([
        "figure",
        "ours",
        "best peer",
        "ratio",
        "unit",
        "goal",
        "verdict",
    ])
}

/// A line of a figure that there is not.
#[must_use]
pub fn line_without(name: &str, reason: &str) -> String {
    format!("{name:<NAME_WIDTH$} {reason}")
}

fn row([name, ours, peer, ratio, unit, goal, verdict]: [&str; 7]) -> String {
    let line = format!(
        "{name:<NAME_WIDTH$} {ours:>9} {peer:>PEER_WIDTH$} {ratio:>7} {unit:<8} {goal:<13} {verdict}"
    );
    line.trim_end().to_owned()
}

/// Digits behind the point that mean something.
fn digits(value: f64) -> usize {
    match value.abs() {
        0.0 => 0,
        tiny if tiny < 0.1 => 3,
        small if small < 10.0 => 2,
        middle if middle < 1_000.0 => 1,
        _ => 0,
    }
}

/// The value with so many digits behind the point.
fn rounded(value: f64, digits: usize) -> f64 {
    let scale = (0..digits).fold(1.0, |scale, _| scale * 10.0);
    (value * scale).round() / scale
}

/// With the digits that mean something, the thousands apart.
fn number(value: f64) -> String {
    let digits = digits(value);
    let text = format!("{value:.digits$}");
    let (whole, rest) = text
        .split_once('.')
        .map_or((text.as_str(), ""), |(whole, rest)| (whole, rest));
    let mut out = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 && digit.is_ascii_digit() {
            out.push(' ');
        }
        out.push(digit);
    }
    if !rest.trim_end_matches('0').is_empty() {
        out.push('.');
        out.push_str(rest);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Figure, Goal, PeerValue, Verdict, number};

    fn figure(ours: f64, goal: Goal) -> Figure {
        let peer = |name, value, expected| PeerValue {
            name,
            value,
            ratio: ours / value,
            expected,
        };
        Figure {
            name: "hop".to_owned(),
            unit: "ns",
            ours,
            peers: vec![peer("a", 100.0, Some(90.0)), peer("b", 300.0, None)],
            goal,
            more_is_better: false,
        }
    }

    #[test]
    fn a_goal_is_reached_or_not() {
        assert_eq!(figure(40.0, Goal::AtMost(40.0)).verdict(), Verdict::Ok);
        assert_eq!(figure(40.1, Goal::AtMost(40.0)).verdict(), Verdict::Short);
        assert_eq!(figure(40.04, Goal::AtMost(40.0)).verdict(), Verdict::Ok);
        assert_eq!(figure(2.024, Goal::AtMost(2.02)).verdict(), Verdict::Ok);
        assert_eq!(figure(2.026, Goal::AtMost(2.02)).verdict(), Verdict::Short);
        assert_eq!(figure(0.0354, Goal::AtMost(0.035)).verdict(), Verdict::Ok);
        assert_eq!(
            figure(0.0356, Goal::AtMost(0.035)).verdict(),
            Verdict::Short
        );
        assert_eq!(figure(39.9, Goal::AtLeast(40.0)).verdict(), Verdict::Short);
        assert_eq!(figure(100.0, Goal::Ratio(1.0)).verdict(), Verdict::Ok);
        assert_eq!(figure(101.0, Goal::Ratio(1.0)).verdict(), Verdict::Short);
        let at_least = |ours| figure(ours, Goal::RatioAtLeast(1.0)).verdict();
        assert_eq!(
            (at_least(100.0), at_least(99.0)),
            (Verdict::Ok, Verdict::Short)
        );
        assert_eq!(figure(1.0, Goal::None).verdict(), Verdict::Shown);
    }

    #[test]
    fn a_peer_far_from_its_own_figure_is_doubted_unless_the_goal_is_missed() {
        let mut slow = figure(40.0, Goal::AtMost(40.0));
        slow.peers[0].value = 108.1;
        assert_eq!(slow.verdict(), Verdict::PeerInDoubt);
        assert!(
            slow.line().ends_with("peer? a 108.1 for 90"),
            "{}",
            slow.line()
        );
        slow.ours = 50.0;
        assert_eq!(slow.verdict(), Verdict::Short);
    }

    #[test]
    fn the_line_names_the_best_peer() {
        let line = figure(40.0, Goal::AtMost(45.0)).line();
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(
            words,
            ["hop", "40", "100", "a", "0.400", "ns", "<=", "45", "ok"]
        );
    }

    #[test]
    fn all_peers_are_named_where_there_are_several() {
        let mut figure = figure(40.0, Goal::None);
        assert_eq!(figure.line_of_all().as_deref(), Some("    a 100, b 300"));
        figure.peers.pop();
        assert_eq!(figure.line_of_all(), None);
    }

    #[test]
    fn numbers_have_the_digits_that_mean_something() {
        let cases = [
            (2.018, "2.02"),
            (0.0351, "0.035"),
            (16.04, "16.0"),
            (1_314.4, "1 314"),
            (1e6, "1 000 000"),
            (0.0, "0"),
            (450.0, "450"),
        ];
        for (value, text) in cases {
            let wanted = text.strip_suffix(".0").unwrap_or(text);
            assert_eq!(number(value), wanted);
        }
    }
}
