//! How a cost grows with the number of things it is measured beside.

use std::fmt;

/// Where growth is judged from: below, what is there once outweighs the rest.
pub const FIRST: f64 = 10.0;
/// A cost that is at most so many times that at the beginning is flat.
pub const FLAT: f64 = 1.5;
/// How far from a curve a cost may be that follows it, as a share.
const RESIDUAL: f64 = 0.10;
/// Costs that a curve goes through tell nothing of it.
const POINTS: usize = 4;

/// How a cost grows, with how many times the cost at the beginning the one at the end is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Growth {
    /// It is at most [`FLAT`] times as much.
    Flat(f64),
    /// It follows `a + b * log2(n)`.
    Logarithmic(f64),
    /// It grows faster, or in no such way.
    Faster(f64),
}

impl Growth {
    /// Judges costs by number, in rising order, from [`FIRST`] on; `None` where there are not two.
    #[must_use]
    pub fn of(costs: &[(f64, f64)]) -> Option<Self> {
        let from = costs.iter().position(|(n, _)| *n >= FIRST)?;
        let costs = &costs[from..];
        let [(_, first), .., (_, last)] = costs else {
            return None;
        };
        let times = last / first;
        Some(if times <= FLAT {
            Self::Flat(times)
        } else if costs.len() >= POINTS && is_logarithmic(costs) {
            Self::Logarithmic(times)
        } else {
            Self::Faster(times)
        })
    }

    /// How many times the cost at the beginning the one at the end is.
    #[must_use]
    pub const fn times(self) -> f64 {
        match self {
            Self::Flat(times) | Self::Logarithmic(times) | Self::Faster(times) => times,
        }
    }

    /// Whether it is as it should be.
    #[must_use]
    pub const fn is_ok(self) -> bool {
        !matches!(self, Self::Faster(_))
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flat(_) => "flat",
            Self::Logarithmic(_) => "logarithmic",
            Self::Faster(_) => "grows",
        })
    }
}

/// Whether the curve of least squares of the form `a + b * log2(n)` is near every cost.
fn is_logarithmic(costs: &[(f64, f64)]) -> bool {
    let count = costs.len() as f64;
    let mean = |of: &dyn Fn(&(f64, f64)) -> f64| costs.iter().map(of).sum::<f64>() / count;
    let x = mean(&|(n, _)| n.log2());
    let y = mean(&|(_, cost)| *cost);
    let covariance = mean(&|(n, cost)| (n.log2() - x) * (cost - y));
    let variance = mean(&|(n, _)| (n.log2() - x).powi(2));
    let slope = covariance / variance;
    costs.iter().all(|(n, cost)| {
        let expected = y + slope * (n.log2() - x);
        (expected - cost).abs() <= RESIDUAL * cost
    })
}

#[cfg(test)]
mod tests {
    use super::Growth;

    fn judged(cost: impl Fn(f64) -> f64) -> Option<Growth> {
        let numbers = [1.0, 10.0, 100.0, 1_000.0, 10_000.0, 100_000.0];
        Growth::of(&numbers.map(|n| (n, cost(n))))
    }

    #[test]
    fn what_stays_is_flat() {
        assert_eq!(judged(|_| 500.0), Some(Growth::Flat(1.0)));
        // What it is below the first number that counts is no matter.
        let few = judged(|n| if n < 10.0 { 9_000.0 } else { 500.0 });
        assert_eq!(few, Some(Growth::Flat(1.0)));
        let times = 1.0 + 0.5 * 99_990.0 / 99_990.0;
        assert_eq!(
            judged(|n| 1.0 + 0.5 * (n - 10.0) / 99_990.0),
            Some(Growth::Flat(times))
        );
    }

    #[test]
    fn what_each_doubling_adds_the_same_to_is_logarithmic() {
        let growth = judged(|n| 100.0 + 40.0 * n.log2()).unwrap();
        assert!(matches!(growth, Growth::Logarithmic(times) if times > 3.0));
        assert!(growth.is_ok());
    }

    #[test]
    fn what_follows_the_number_itself_grows_faster() {
        for share in [1.0, 0.1, 0.001, 0.000_1] {
            let growth = judged(|n| 100.0 + share * n).unwrap();
            // At the least share the growth is to 1.1 times as much.
            let flat = share < 0.001;
            assert_eq!(growth.is_ok(), flat, "{share}: {growth:?}");
        }
        assert!(!judged(f64::sqrt).unwrap().is_ok());
    }

    #[test]
    fn two_costs_follow_no_curve() {
        assert_eq!(Growth::of(&[(1.0, 5.0), (10.0, 5.0)]), None);
        let growth = Growth::of(&[(10.0, 5.0), (100.0, 10.0)]);
        assert_eq!(growth, Some(Growth::Faster(2.0)));
    }
}
