//! Sides in turns: in each round every side is measured once, so what disturbs the machine for a
//! while disturbs all of them. Ratios are formed inside a round, medians over the rounds.

use crate::error::Failure;

/// The environment variable with the number of rounds.
pub const ROUNDS_VARIABLE: &str = "BENCH_ROUNDS";
/// Rounds unless it says otherwise.
pub const ROUNDS_DEFAULT: usize = 7;

/// What was measured: for each side the value of each round.
#[derive(Debug)]
pub struct Samples {
    ours: Vec<f64>,
    peers: Vec<Vec<f64>>,
}

/// How many rounds are asked for.
///
/// # Errors
/// A text that is no number above 0.
pub fn asked() -> Result<usize, Failure> {
    let Ok(text) = std::env::var(ROUNDS_VARIABLE) else {
        return Ok(ROUNDS_DEFAULT);
    };
    match text.parse() {
        Ok(rounds) if rounds > 0 => Ok(rounds),
        _ => Err(Failure::Lacking(format!(
            "{ROUNDS_VARIABLE} is `{text}`; it is the number of rounds, {ROUNDS_DEFAULT} without it"
        ))),
    }
}

/// Measures side 0, which is ours, and `peers` others in turns, every second round in the opposite
/// order. One measurement may give several values: there are as many samples as values.
///
/// # Errors
/// The first failure of any side.
pub fn measure(
    rounds: usize,
    peers: usize,
    values: usize,
    mut side: impl FnMut(usize) -> Result<Vec<f64>, Failure>,
) -> Result<Vec<Samples>, Failure> {
    let empty = || Samples {
        ours: Vec::new(),
        peers: vec![Vec::new(); peers],
    };
    let mut samples: Vec<Samples> = (0..values).map(|_| empty()).collect();
    for round in 0..rounds {
        for turn in 0..=peers {
            let which = if round % 2 == 0 { turn } else { peers - turn };
            let measured = side(which)?;
            for (sample, value) in samples.iter_mut().zip(measured) {
                match which.checked_sub(1) {
                    None => sample.ours.push(value),
                    Some(peer) => sample.peers[peer].push(value),
                }
            }
        }
    }
    Ok(samples)
}

impl Samples {
    /// The median of ours.
    #[must_use]
    pub fn ours(&self) -> f64 {
        median(&self.ours)
    }

    /// The median of a peer.
    #[must_use]
    pub fn peer(&self, peer: usize) -> f64 {
        median(&self.peers[peer])
    }

    /// The median of what ours is to that peer's in the same round.
    #[must_use]
    pub fn ratio(&self, peer: usize) -> f64 {
        let each = self.ours.iter().zip(&self.peers[peer]);
        median(&each.map(|(ours, peer)| ours / peer).collect::<Vec<_>>())
    }
}

/// The middle of some values; between the two middle ones of an even number.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (Some(low), Some(high)) = (
        sorted.get((sorted.len().max(1) - 1) / 2),
        sorted.get(sorted.len() / 2),
    ) else {
        return f64::NAN;
    };
    low.midpoint(*high)
}

#[cfg(test)]
mod tests {
    use super::{measure, median};

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[9.0, 1.0, 5.0]), 5.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 8.0]), 3.0);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn rounds_alternate_and_ratios_are_those_of_a_round() {
        let mut order = Vec::new();
        let mut round_of = [0_u32; 3];
        let samples = measure(3, 2, 1, |side| {
            order.push(side);
            round_of[side] += 1;
            // Everything takes ten times as long in each further round.
            let slower = 10_f64.powi(round_of[side].cast_signed());
            Ok(vec![slower * (side + 1) as f64])
        })
        .unwrap();
        assert_eq!(order, [0, 1, 2, 2, 1, 0, 0, 1, 2]);
        let sample = &samples[0];
        assert_eq!((sample.ours(), sample.peer(0)), (100.0, 200.0));
        assert_eq!((sample.ratio(0), sample.ratio(1)), (0.5, 1.0 / 3.0));
    }
}
