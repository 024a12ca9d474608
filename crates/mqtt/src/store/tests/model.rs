//! What a store must know, as plainly as can be, and what it may know after a crash.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// A record as the model keeps it.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Publish(Vec<u8>, Option<Key>),
    Assigned(StorePos, u16),
    Recorded(StorePos),
    Done(StorePos),
    Received(u16),
    Released(u16),
    SessionLost,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    payload: Vec<u8>,
    key: Option<Key>,
    packet_id: Option<u16>,
    recorded: Option<StorePos>,
}

#[derive(Clone, Debug, Default)]
struct State {
    messages: BTreeMap<StorePos, Known>,
    received: BTreeSet<u16>,
    outcomes: BTreeMap<Key, StorePos>,
}

impl State {
    fn apply(&mut self, at: StorePos, step: &Step) {
        match step {
            Step::Publish(payload, key) => {
                let known = Known {
                    payload: payload.clone(),
                    key: *key,
                    packet_id: None,
                    recorded: None,
                };
                self.messages.insert(at, known);
            }
            Step::Assigned(message, packet_id) => {
                if let Some(known) = self.messages.get_mut(message) {
                    known.packet_id = Some(*packet_id);
                }
            }
            Step::Recorded(message) => {
                if let Some(known) = self.messages.get_mut(message) {
                    known.recorded = known.recorded.or(Some(at));
                }
            }
            Step::Done(message) => {
                if let Some(key) = self.messages.remove(message).and_then(|known| known.key) {
                    self.outcomes.insert(key, *message);
                }
            }
            Step::Received(packet_id) => drop(self.received.insert(*packet_id)),
            Step::Released(packet_id) => drop(self.received.remove(packet_id)),
            Step::SessionLost => {
                self.received.clear();
                for known in self.messages.values_mut() {
                    (known.packet_id, known.recorded) = (None, None);
                }
            }
        }
    }
}

/// A store, and everything that was asked of it.
pub(super) struct Model {
    base: State,
    steps: Vec<(StorePos, Step)>,
    now: State,
    next_key: u32,
    /// By message, what may be known of it because a record about it was not durable.
    parked: BTreeMap<StorePos, Vec<State>>,
}

impl Model {
    pub(super) fn new() -> Self {
        Self {
            base: State::default(),
            steps: Vec::new(),
            now: State::default(),
            next_key: 0,
            parked: BTreeMap::new(),
        }
    }

    /// Asks something of the store.
    pub(super) fn step(&mut self, store: &File, random: &mut Random) {
        let messages: Vec<_> = self.now.messages.keys().copied().collect();
        let any = |random: &mut Random| messages.get(random.below(messages.len())).copied();
        // Often the oldest: acknowledgements come in order.
        let old = |random: &mut Random| messages.get(random.below(3)).copied();
        let in_flight = |known: &Known, recorded: bool| {
            known.packet_id.is_some() && known.recorded.is_some() == recorded
        };
        let step = match random.below(16) {
            0..=6 => {
                let payload = vec![random.below(256) as u8; random.below(120)];
                let key = (random.below(4) == 0).then(|| {
                    self.next_key += 1;
                    Key::new(self.next_key.to_be_bytes()).unwrap()
                });
                Step::Publish(payload, key)
            }
            7..=8 => match any(random) {
                Some(pos) if self.now.messages[&pos].packet_id.is_none() => {
                    let number = random.below(50) as u16 + 1;
                    let mut known = self.now.messages.values();
                    if known.any(|known| known.packet_id == Some(number)) {
                        return;
                    }
                    Step::Assigned(pos, number)
                }
                Some(_) | None => return,
            },
            9 => match any(random) {
                Some(pos) if in_flight(&self.now.messages[&pos], false) => Step::Recorded(pos),
                Some(_) | None => return,
            },
            10..=12 => match old(random) {
                Some(pos) => Step::Done(pos),
                None => return,
            },
            13 => match any(random) {
                Some(pos) => Step::Done(pos),
                None => return,
            },
            14 => {
                let packet_id = random.below(6) as u16 + 1;
                if self.now.received.contains(&packet_id) {
                    Step::Released(packet_id)
                } else {
                    Step::Received(packet_id)
                }
            }
            _ if random.below(8) == 0 => Step::SessionLost,
            _ => return,
        };
        if let Ok(pos) = store.append(&step.record()) {
            self.now.apply(pos, &step);
            self.steps.push((pos, step));
        }
    }

    /// The store as it runs knows everything.
    pub(super) fn check_running(&self, store: &File) {
        check(
            store,
            std::slice::from_ref(&self.now),
            &BTreeMap::new(),
            "running",
        );
    }

    /// Returns the positions up to the durable one of records that are not durable.
    pub(super) fn parked(&self, store: &File) -> BTreeSet<StorePos> {
        let positions = self.steps.iter().map(|(at, _)| *at);
        let parked = |at: &StorePos| *at <= store.durable() && !store.is_durable(*at);
        positions.filter(parked).collect()
    }

    /// Compares a store with what it may know after a crash, at which everything up to `durable` was
    /// durable, but for what was `parked`, and goes on with what it does know.
    pub(super) fn crashed(
        &mut self,
        store: &File,
        durable: StorePos,
        parked: &BTreeSet<StorePos>,
        context: &str,
    ) {
        let mut state = self.base.clone();
        let mut possible = Vec::new();
        for (at, step) in &self.steps {
            if *at > durable {
                possible.push(state.clone());
            }
            state.apply(*at, step);
        }
        possible.push(state);
        let mut state = self.base.clone();
        for (at, step) in &self.steps {
            let subject = step.subject(*at);
            if parked.contains(at)
                && let Some(subject) = subject
            {
                self.parked.entry(subject).or_default().push(state.clone());
            }
            state.apply(*at, step);
        }
        check(store, &possible, &self.parked, context);
        self.parked.clear();
        self.base = observe(store);
        self.now = self.base.clone();
        self.steps.clear();
    }
}

impl Step {
    fn subject(&self, at: StorePos) -> Option<StorePos> {
        self.record().subject(at)
    }

    fn record(&self) -> Record<'_> {
        match self {
            Self::Publish(payload, key) => {
                let mut message = message("topic", payload);
                message.key = *key;
                Record::Publish(message)
            }
            Self::Assigned(message, number) => Record::Assigned {
                message: *message,
                packet_id: id(*number),
            },
            Self::Recorded(message) => Record::Recorded { message: *message },
            Self::Done(message) => Record::Done {
                message: *message,
                cause: ACKED,
                key: None,
            },
            Self::Received(number) => Record::Received(id(*number)),
            Self::Released(number) => Record::Released(id(*number)),
            Self::SessionLost => Record::SessionLost,
        }
    }
}

/// What the store knows, through its public face.
fn observe(store: &File) -> State {
    let recovered = store.recovered();
    let mut state = State {
        received: recovered.received.iter().map(|id| id.get()).collect(),
        ..State::default()
    };
    let all = [&recovered.queued, &recovered.in_flight, &recovered.released];
    for stored in all.into_iter().flatten() {
        let message = store.read(stored.pos).unwrap().unwrap();
        assert_eq!(message.key, stored.key);
        let known = Known {
            payload: message.payload,
            key: stored.key,
            packet_id: stored.packet_id.map(PacketId::get),
            recorded: None,
        };
        assert!(state.messages.insert(stored.pos, known).is_none());
    }
    for ordered in [&recovered.queued, &recovered.in_flight] {
        assert!(ordered.is_sorted_by_key(|stored| stored.pos));
    }
    // The order is what can be seen of when each was recorded.
    for (nth, stored) in recovered.released.iter().enumerate() {
        let known = state.messages.get_mut(&stored.pos).unwrap();
        known.recorded = Some(StorePos(nth as u64));
    }
    for (key, message, cause) in recovered.outcomes {
        assert_eq!(cause, ACKED);
        assert_eq!(store.key(&key), Some(KeyState::Done(message, cause)));
        state.outcomes.insert(key, message);
    }
    state
}

/// Whatever the store knows of a thing, one of the states says the same of that thing; so what no
/// state says otherwise it knows for sure.
///
/// Of messages that were not durable the states in `parked` are possible as well.
fn check(store: &File, possible: &[State], parked: &BTreeMap<StorePos, Vec<State>>, context: &str) {
    let found = observe(store);
    let without_order = |known: &Known| {
        let mut known = known.clone();
        known.recorded = known.recorded.map(|_| StorePos(0));
        known
    };
    let mut positions: BTreeSet<_> = found.messages.keys().copied().collect();
    positions.extend(possible.iter().flat_map(|state| state.messages.keys()));
    for pos in positions {
        let known = found.messages.get(&pos).map(without_order);
        let of_parked = parked.get(&pos).into_iter().flatten();
        let is_possible = possible
            .iter()
            .chain(of_parked)
            .any(|state| state.messages.get(&pos).map(without_order) == known);
        assert!(is_possible, "{context}: message {pos} is {known:?}");
    }
    for packet_id in 1..=6 {
        let known = found.received.contains(&packet_id);
        let is_possible = possible
            .iter()
            .any(|state| state.received.contains(&packet_id) == known);
        assert!(is_possible, "{context}: received {packet_id} {known}");
    }
    let keys = possible.iter().flat_map(|state| state.outcomes.keys());
    for key in keys.collect::<BTreeSet<_>>() {
        let known = found.outcomes.get(key);
        let is_possible = possible
            .iter()
            .any(|state| state.outcomes.get(key) == known);
        assert!(
            is_possible,
            "{context}: the outcome of {key:?} is {known:?}"
        );
    }
    // Those that every state has in this order are in this order.
    let order = |state: &State| {
        let recorded = state
            .messages
            .iter()
            .filter_map(|(pos, known)| Some((known.recorded?, *pos)));
        let sorted: BTreeSet<_> = recorded.collect();
        sorted.into_iter().map(|(_, pos)| pos).collect::<Vec<_>>()
    };
    let last = possible.last().map(order).unwrap_or_default();
    let known: Vec<_> = order(&found)
        .into_iter()
        .filter(|pos| last.contains(pos))
        .collect();
    let expected: Vec<_> = last.into_iter().filter(|pos| known.contains(pos)).collect();
    assert_eq!(known, expected, "{context}: the order of PUBRECs");
}
