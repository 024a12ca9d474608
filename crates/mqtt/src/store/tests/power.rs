//! Random lives of a store, with the power cut, or the program killed, at every call to the disk.

use std::collections::BTreeSet;

use super::disk::Fault;
use super::model::Model;
use super::*;

struct Life {
    level: Level,
    steps: usize,
    /// One of so many calls fails.
    flaky: Option<usize>,
    capacity: Option<usize>,
}

impl Life {
    fn options(&self) -> StoreOptions {
        options(self.level).segment_bytes(1_024).bytes_max(8_000)
    }

    /// Runs for a while; returns the store unless the machine went off.
    fn run(&self, store: &File, model: &mut Model, random: &mut Random) {
        for _ in 0..self.steps {
            model.step(store, random);
            if random.below(3) == 0 {
                // Whether it worked shows in what is durable.
                let _ = store.commit();
            }
        }
    }

    fn crash(&self, machine: &Machine, random: &mut Random) -> Machine {
        match self.level {
            Level::Flushed => machine.after_kill(),
            Level::Synced => machine.after_power_cut(random),
        }
    }

    /// Lives several lives on the same disk; the `off`th call of each is the last.
    fn lives(&self, seed: u64, off: usize) -> usize {
        let random = &mut Random(seed);
        let mut model = Model::new();
        let mut machine = Machine::default();
        let mut calls = 0;
        for life in 0..3 {
            machine.set_fault(off, Fault::Off);
            machine.set_capacity(self.capacity);
            machine.set_flaky(self.flaky.map(|every| (every, random.clone())));
            let opened = File::open_on(Rc::new(machine.clone()), folder(), self.options());
            let (durable, parked) = match &opened {
                Ok(store) => {
                    self.run(store, &mut model, random);
                    model.check_running(store);
                    (store.durable(), model.parked(store))
                }
                // Nothing was asked of it: all that was found before is durable.
                Err(_) => (StorePos(u64::MAX), BTreeSet::new()),
            };
            calls = calls.max(machine.calls());
            drop(opened);
            machine = self.crash(&machine, random);
            let context = format!("seed {seed}, off at {off}, life {life}");
            let looker = self.crash(&machine, random);
            let store = open(&looker, &self.options());
            model.crashed(&store, durable, &parked, &context);
        }
        calls
    }

    fn at_every_call(&self, seeds: std::ops::Range<u64>) {
        for seed in seeds {
            let mut off = 0;
            while off <= self.lives(seed, off) {
                off += 1;
            }
        }
    }
}

#[test]
fn nothing_that_was_durable_is_lost_by_a_power_cut_at_any_call() {
    let life = Life {
        level: Level::Synced,
        steps: 120,
        flaky: None,
        capacity: None,
    };
    life.at_every_call(0..6);
}

#[test]
fn nothing_that_was_written_is_lost_by_a_kill_at_any_call() {
    let life = Life {
        level: Level::Flushed,
        steps: 120,
        flaky: None,
        capacity: None,
    };
    life.at_every_call(0..6);
}

#[test]
fn nothing_that_was_durable_is_lost_on_a_disk_that_fails_now_and_then() {
    for level in [Level::Synced, Level::Flushed] {
        let life = Life {
            level,
            steps: 200,
            flaky: Some(6),
            capacity: None,
        };
        for seed in 0..300 {
            life.lives(seed, seed as usize % 150);
        }
    }
}

#[test]
fn nothing_that_was_durable_is_lost_on_a_disk_that_is_full_now_and_then() {
    for level in [Level::Synced, Level::Flushed] {
        let life = Life {
            level,
            steps: 300,
            flaky: None,
            capacity: Some(7_000),
        };
        for seed in 0..100 {
            life.lives(seed, 1_000);
            life.lives(seed, seed as usize % 300);
        }
    }
}

#[test]
fn nothing_that_was_durable_is_lost_on_a_disk_that_fails_and_is_full() {
    for level in [Level::Synced, Level::Flushed] {
        let life = Life {
            level,
            steps: 300,
            flaky: Some(10),
            capacity: Some(7_000),
        };
        for seed in 0..60 {
            life.lives(seed, 1_000);
            life.lives(seed, seed as usize % 300);
        }
    }
}
