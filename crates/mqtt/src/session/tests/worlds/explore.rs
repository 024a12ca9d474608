//! Goes through all states of a world, each once.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

/// What was found in a world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) states: usize,
    pub(super) steps: usize,
    /// States in which nothing but a fault can happen.
    pub(super) rests: usize,
}

/// A world in which something is wrong, with the steps that lead there.
#[derive(Debug)]
pub(super) struct Violation {
    pub(super) what: String,
    pub(super) path: Vec<Step>,
    /// So far.
    pub(super) size: Size,
}

#[derive(Clone, Copy)]
struct Known {
    /// How it was reached first.
    from: Option<(u64, Step)>,
    /// It is on the way that is being followed: to come here again without a fault is to go in a
    /// circle.
    is_open: bool,
}

#[derive(Default)]
struct Search {
    known: BTreeMap<u64, Known>,
    size: Size,
    /// Where it is, for who is told of what is wrong.
    at: u64,
    step: Option<Step>,
}

/// A state whose steps without a fault are being followed.
struct Frame {
    world: World,
    hash: u64,
    steps: Vec<Step>,
}

/// Goes through all states of a world.
///
/// Steps without a fault are followed to their end, depth first: so each way without faults is seen
/// to come to an end, and none to go in a circle. What a fault leads to is looked at later.
pub(super) fn explore(setting: &Rc<Setting>) -> Result<Size, Violation> {
    let search = RefCell::new(Search::default());
    let go = AssertUnwindSafe(|| search.borrow_mut().run(setting));
    match catch_unwind(go) {
        Ok(()) => Ok(search.borrow().size),
        Err(panic) => {
            let search = search.into_inner();
            let said = panic.downcast_ref::<String>().cloned();
            let literal = || panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let what = said.or_else(literal).unwrap_or_default();
            let path = search.path();
            let size = search.size;
            Err(Violation { what, path, size })
        }
    }
}

impl Search {
    fn run(&mut self, setting: &Rc<Setting>) {
        let first = World::new(setting);
        let hash = first.hash();
        self.enter(hash, None);
        let mut roots = vec![(first, hash)];
        while let Some((world, hash)) = roots.pop() {
            if self.known[&hash].is_open {
                self.follow(world, hash, &mut roots);
            }
        }
    }

    fn enter(&mut self, hash: u64, from: Option<(u64, Step)>) {
        self.size.states += 1;
        let is_open = true;
        self.known.insert(hash, Known { from, is_open });
    }

    fn follow(&mut self, world: World, hash: u64, roots: &mut Vec<(World, u64)>) {
        let frame = self.frame(world, hash, roots);
        let mut frames = vec![frame];
        while let Some(frame) = frames.last_mut() {
            let Some(step) = frame.steps.pop() else {
                if let Some(known) = self.known.get_mut(&frame.hash) {
                    known.is_open = false;
                }
                frames.pop();
                continue;
            };
            let from = frame.hash;
            let world = self.take(&frame.world, from, step);
            let hash = world.hash();
            match self.known.get(&hash) {
                None => {
                    self.enter(hash, Some((from, step)));
                    let frame = self.frame(world, hash, roots);
                    frames.push(frame);
                }
                Some(known) if known.is_open => {
                    let is_here = frames.iter().any(|frame| frame.hash == hash);
                    assert!(!is_here, "it goes in a circle");
                    // A fault led here before, and its turn has not come.
                    let frame = self.frame(world, hash, roots);
                    frames.push(frame);
                }
                Some(_) => {}
            }
        }
    }

    fn take(&mut self, world: &World, from: u64, step: Step) -> World {
        (self.at, self.step) = (from, Some(step));
        self.size.steps += 1;
        let mut next = world.clone();
        next.take(step);
        next
    }

    /// Opens a state: faults are taken at once, and what they lead to waits.
    fn frame(&mut self, world: World, hash: u64, roots: &mut Vec<(World, u64)>) -> Frame {
        let mut steps = Vec::new();
        world.steps(&mut steps);
        for step in steps.iter().filter(|step| step.is_fault()) {
            let next = self.take(&world, hash, *step);
            let to = next.hash();
            if !self.known.contains_key(&to) {
                self.enter(to, Some((hash, *step)));
                roots.push((next, to));
            }
        }
        steps.retain(|step| !step.is_fault());
        if steps.is_empty() {
            (self.at, self.step) = (hash, None);
            self.size.rests += 1;
            world.check_rest();
        }
        Frame { world, hash, steps }
    }

    /// The steps to where it is.
    fn path(&self) -> Vec<Step> {
        let mut path: Vec<Step> = self.step.into_iter().collect();
        let mut at = self.at;
        while let Some((from, step)) = self.known.get(&at).and_then(|known| known.from) {
            path.push(step);
            at = from;
        }
        path.reverse();
        path
    }
}
