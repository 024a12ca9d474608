//! Every input that is kept, and changes to them for a while.
//!
//! `FUZZ_FOR` says for how long each target is run (`500ms`, `20s`, `10m`, `2h`), `SEED` with which
//! changes. A failure tells the input.

#![expect(
    clippy::disallowed_methods,
    reason = "the inputs are files, and how long to go on is a matter of real time"
)]

use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};
use std::{env, fs};

use super::{TARGETS, Target};

/// How long each target is run unless told otherwise.
const SHORT: Duration = Duration::from_millis(250);
/// The changes of a short run: the same every time.
const SEED: u64 = 1;
/// A longer input is cut.
const INPUT_LEN: usize = 4_096;
/// All inputs that are kept together.
const CORPUS_FILES: usize = 200;
const CORPUS_LEN: usize = 1024 * 1024;

/// Makes a test of each target, so that they run beside each other.
macro_rules! targets {
    ($($(#[$if:meta])? $name:ident),* $(,)?) => {
        $(
            $(#[$if])?
            #[test]
            fn $name() {
                fuzz(stringify!($name));
            }
        )*

        const TESTED: &[&str] = &[$($(#[$if])? stringify!($name)),*];
    };
}

targets!(
    packets,
    topics,
    histories,
    peers,
    #[cfg(feature = "client")]
    stores,
    #[cfg(feature = "store")]
    clients,
    #[cfg(feature = "broker")]
    brokers,
);

/// A small generator of numbers (splitmix64), so that a failing seed can be run again.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) % bound.max(1) as u64) as usize
    }

    fn range(&mut self, len: usize) -> std::ops::Range<usize> {
        let start = self.below(len + 1);
        let longest = if self.below(4) == 0 { len } else { 8 };
        start..start + self.below((len - start).min(longest) + 1)
    }
}

fn corpora() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus"))
}

fn corpus(name: &str) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(corpora().join(name)).unwrap();
    let read = |path: PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, fs::read(path).unwrap())
    };
    files.map(|file| read(file.unwrap().path())).collect()
}

fn target(name: &str) -> Target {
    let found = TARGETS.iter().find(|(target, _)| *target == name);
    found.unwrap().1
}

/// Runs the target with every input that is kept, then with changed ones.
fn fuzz(name: &str) {
    let run = target(name);
    let corpus = corpus(name);
    for (file, input) in &corpus {
        if catch_unwind(|| run(input)).is_err() {
            panic!("fuzz/corpus/{name}/{file} fails");
        }
    }
    let inputs: Vec<Vec<u8>> = corpus.into_values().collect();
    let for_long = env::var("FUZZ_FOR").ok();
    let duration = for_long.as_deref().map_or(SHORT, parse);
    let seed = match (env::var("SEED"), for_long) {
        (Ok(seed), _) => seed.parse().expect("SEED is a number"),
        (Err(_), None) => SEED,
        (Err(_), Some(_)) => {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            now.unwrap().as_nanos() as u64
        }
    };
    let (start, mut random, mut case) = (Instant::now(), Random(seed), 0_u64);
    while start.elapsed() < duration {
        let input = changed(&inputs, &mut random);
        if catch_unwind(|| run(&input)).is_err() {
            let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
            panic!(
                "{name} fails with SEED={seed}, case {case}; as a file of fuzz/corpus/{name} \
                 (xxd -r -p makes one of it):\n{hex}"
            );
        }
        case += 1;
    }
    assert!(case > 0);
}

/// One input, changed a few times, often with a part of another one.
fn changed(inputs: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = inputs[random.below(inputs.len())].clone();
    for _ in 0..=random.below(6) {
        let range = random.range(bytes.len());
        match random.below(8) {
            0 => bytes[range].fill(random.below(256) as u8),
            1 => {
                for byte in &mut bytes[range] {
                    *byte = random.below(256) as u8;
                }
            }
            2 => {
                if let Some(byte) = bytes.get_mut(range.start) {
                    *byte ^= 1 << random.below(8);
                }
            }
            3 => drop(bytes.drain(range)),
            4 => {
                let again = bytes[range.clone()].to_vec();
                bytes.splice(range.start..range.start, again);
            }
            5 => {
                let interesting = [0, 1, 2, 0x7f, 0x80, 0xff, b'+', b'#', b'/', b'\n'];
                bytes.insert(range.start, interesting[random.below(interesting.len())]);
            }
            6 => bytes.truncate(range.end),
            _ => {
                let other = &inputs[random.below(inputs.len())];
                let part = other[random.range(other.len())].to_vec();
                bytes.splice(range, part);
            }
        }
    }
    bytes.truncate(INPUT_LEN);
    bytes
}

fn parse(text: &str) -> Duration {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().expect("FUZZ_FOR begins with a number");
    match &text[digits.len()..] {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(60 * number),
        "h" => Duration::from_secs(3_600 * number),
        other => panic!("FUZZ_FOR ends with ms, s, m or h, found {other:?}"),
    }
}

#[test]
fn every_target_is_run_here_and_has_a_program_for_the_fuzzer() {
    let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, TESTED);
    let manifest = fs::read_to_string(corpora().join("../Cargo.toml")).unwrap();
    for name in names {
        let program = corpora().join(format!("../fuzz_targets/{name}.rs"));
        let program = fs::read_to_string(program).unwrap();
        assert!(
            program.contains(&format!("mqtt::fuzzing::{name}(")),
            "{name}"
        );
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
}

#[test]
fn the_inputs_that_are_kept_are_few_and_small() {
    let (mut files, mut len) = (0, 0);
    for (name, _) in TARGETS {
        let inputs = corpus(name);
        assert!(!inputs.is_empty(), "{name} has no input to begin with");
        files += inputs.len();
        len += inputs.values().map(Vec::len).sum::<usize>();
    }
    assert!(files <= CORPUS_FILES, "{files} files");
    assert!(len <= CORPUS_LEN, "{len} bytes");
}

#[test]
fn a_seed_gives_the_same_changes_again() {
    let changes = |seed| {
        let inputs = [b"some input".to_vec(), b"another".to_vec()];
        let mut random = Random(seed);
        (0..50)
            .map(move |_| changed(&inputs, &mut random))
            .collect::<Vec<_>>()
    };
    assert_eq!(changes(7), changes(7));
    assert_ne!(changes(7), changes(8));
    assert_eq!(parse("1500ms"), Duration::from_millis(1_500));
    assert_eq!(parse("10m"), Duration::from_secs(600));
}
