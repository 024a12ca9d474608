//! Timers: an indexed 4-ary heap, ordered by deadline and then by order of insertion.
//!
//! Pure: deadlines are nanoseconds of whatever clock the caller keeps. Inserting and cancelling
//! allocate only when more timers are live than ever before.

use crate::park::Unparker;
use crate::scope_tree::ScopeRef;

/// Children per node of the heap.
const ARITY: usize = 4;
const NONE: u32 = u32::MAX;

/// What a timer does when it is due.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// Wakes the fiber that waits with this token.
    Fiber(Unparker),
    /// Ends a scope whose deadline this is.
    Scope(ScopeRef),
}

/// A timer that was inserted. It goes stale when the timer fires or is cancelled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimerKey {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

#[derive(Clone, Copy)]
struct Entry {
    deadline: u64,
    sequence: u64,
    slot: u32,
}

struct Slot {
    generation: u32,
    /// Index into the heap while live, next free slot otherwise.
    position: u32,
    target: Option<Target>,
}

/// All timers of one runtime.
pub(crate) struct Timers {
    heap: Vec<Entry>,
    slots: Vec<Slot>,
    free: u32,
    sequence: u64,
    /// Who says in which order timers of one deadline fire, if not they themselves.
    #[cfg(feature = "sim")]
    shuffle: Option<std::rc::Rc<crate::sim::State>>,
}

impl Timers {
    pub(crate) fn new() -> Self {
        Self {
            heap: Vec::new(),
            slots: Vec::new(),
            free: NONE,
            sequence: 0,
            #[cfg(feature = "sim")]
            shuffle: None,
        }
    }

    /// Timers of which those of one deadline fire in an order that is drawn.
    #[cfg(feature = "sim")]
    pub(crate) fn shuffled(sim: std::rc::Rc<crate::sim::State>) -> Self {
        Self {
            shuffle: Some(sim),
            ..Self::new()
        }
    }

    /// The rank of the next timer among those of its deadline.
    fn next_rank(&mut self) -> u64 {
        let rank = self.sequence;
        self.sequence += 1;
        #[cfg(feature = "sim")]
        if let Some(sim) = &self.shuffle {
            return (sim.schedule.next() & !0xFFFF_FFFF) | (rank & 0xFFFF_FFFF);
        }
        rank
    }

    /// Adds a timer.
    pub(crate) fn insert(&mut self, deadline: u64, target: Target) -> TimerKey {
        let slot = match self.free {
            NONE => {
                let slot = u32::try_from(self.slots.len()).expect("fewer than 2^32 timers");
                self.slots.push(Slot {
                    generation: 0,
                    position: 0,
                    target: None,
                });
                slot
            }
            slot => {
                self.free = self.slots[slot as usize].position;
                slot
            }
        };
        self.slots[slot as usize].target = Some(target);
        let entry = Entry {
            deadline,
            sequence: self.next_rank(),
            slot,
        };
        self.heap.push(entry);
        self.rise(self.heap.len() - 1, entry);
        TimerKey {
            slot,
            generation: self.slots[slot as usize].generation,
        }
    }

    /// Removes a timer; nothing happens when it is gone already.
    pub(crate) fn cancel(&mut self, key: TimerKey) {
        let slot = &self.slots[key.slot as usize];
        if slot.generation == key.generation && slot.target.is_some() {
            self.remove(slot.position as usize);
        }
    }

    /// The earliest deadline. That at the end of the clock, which durations without end come to,
    /// never comes: nobody waits for it.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        let first = self.heap.first().map(|entry| entry.deadline);
        first.filter(|&deadline| deadline < u64::MAX)
    }

    /// Takes the earliest timer that is due at `now`.
    pub(crate) fn pop_due(&mut self, now: u64) -> Option<Target> {
        let first = self.heap.first()?;
        if first.deadline > now {
            None
        } else {
            Some(self.remove(0))
        }
    }

    fn remove(&mut self, position: usize) -> Target {
        let removed = self.heap.swap_remove(position);
        if let Some(&moved) = self.heap.get(position) {
            self.sink(position, moved);
            let now_at = self.slots[moved.slot as usize].position as usize;
            self.rise(now_at, moved);
        }
        let slot = &mut self.slots[removed.slot as usize];
        slot.generation = slot.generation.wrapping_add(1);
        slot.position = self.free;
        self.free = removed.slot;
        slot.target
            .take()
            .expect("a timer in the heap has a target")
    }

    fn rise(&mut self, mut position: usize, entry: Entry) {
        while position > 0 {
            let parent = (position - 1) / ARITY;
            if before(&self.heap[parent], &entry) {
                break;
            }
            self.place(position, self.heap[parent]);
            position = parent;
        }
        self.place(position, entry);
    }

    fn sink(&mut self, mut position: usize, entry: Entry) {
        loop {
            let first = position * ARITY + 1;
            let last = (first + ARITY).min(self.heap.len());
            let Some(child) = (first..last)
                .min_by_key(|&child| (self.heap[child].deadline, self.heap[child].sequence))
            else {
                break;
            };
            if before(&entry, &self.heap[child]) {
                break;
            }
            self.place(position, self.heap[child]);
            position = child;
        }
        self.place(position, entry);
    }

    fn place(&mut self, position: usize, entry: Entry) {
        self.heap[position] = entry;
        self.slots[entry.slot as usize].position =
            u32::try_from(position).expect("fewer than 2^32 timers");
    }
}

fn before(a: &Entry, b: &Entry) -> bool {
    (a.deadline, a.sequence) < (b.deadline, b.sequence)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// A target that can be told from others by its number.
    fn target(number: u32) -> Target {
        Target::Fiber(Unparker {
            runtime: 0,
            index: number,
            generation: 0,
            epoch: 0,
        })
    }

    fn number(target: Target) -> u32 {
        match target {
            Target::Fiber(token) => token.index,
            Target::Scope(_) => unreachable!("these tests insert fibers only"),
        }
    }

    #[test]
    fn equal_deadlines_fire_in_order_of_insertion() {
        let mut timers = Timers::new();
        for n in 0..50 {
            timers.insert(7, target(n));
        }
        assert_eq!(timers.pop_due(6).map(number), None);
        let fired: Vec<_> = std::iter::from_fn(|| timers.pop_due(7))
            .map(number)
            .collect();
        assert_eq!(fired, (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn a_stale_key_cancels_nothing() {
        let mut timers = Timers::new();
        let old = timers.insert(1, target(1));
        assert!(timers.pop_due(1).is_some());
        timers.insert(2, target(2));
        timers.cancel(old);
        assert_eq!(timers.pop_due(2).map(number), Some(2));
    }

    #[test]
    fn random_use_agrees_with_an_ordered_map() {
        let mut timers = Timers::new();
        let mut model = BTreeMap::new();
        let mut live = Vec::new();
        let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
        let mut random = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        let mut now = 0;
        for n in 0..20_000_u32 {
            match random() % 4 {
                0 | 1 => {
                    let deadline = now + random() % 1_000;
                    live.push((timers.insert(deadline, target(n)), (deadline, n)));
                    model.insert((deadline, n), n);
                }
                2 if !live.is_empty() => {
                    let (key, id) = live.swap_remove((random() as usize) % live.len());
                    timers.cancel(key);
                    model.remove(&id);
                }
                _ => {
                    now += random() % 200;
                    while let Some(fired) = timers.pop_due(now).map(number) {
                        let (&id, &expected) = model.first_key_value().unwrap();
                        assert_eq!(fired, expected);
                        assert!(id.0 <= now);
                        model.remove(&id);
                    }
                    assert!(model.first_key_value().is_none_or(|(id, _)| id.0 > now));
                }
            }
            assert_eq!(
                timers.next_deadline(),
                model.first_key_value().map(|(id, _)| id.0)
            );
        }
    }
}
