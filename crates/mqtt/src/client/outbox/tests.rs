//! The queue against a list that does the same without any index, under random use.

use std::collections::BTreeMap;

use super::*;

const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
const POLICIES: [QueuePolicy; 5] = [
    QueuePolicy::Wait,
    QueuePolicy::Reject,
    QueuePolicy::DropOldest,
    QueuePolicy::DropNewest,
    QueuePolicy::KeepLast,
];
const TOPICS: [&str; 3] = ["a", "b", "a/b"];
const MESSAGES_MAX: usize = 6;
const BYTES_MAX: usize = 6 * QUEUED_MESSAGE_BYTES + 60;

/// A message as the list keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Listed {
    key: u32,
    topic: &'static str,
    len: usize,
    qos: QoS,
    policy: QueuePolicy,
    expires: Option<Time>,
    /// Nothing of its topic and QoS was published after it.
    is_last: bool,
}

impl Listed {
    const fn bytes(self) -> usize {
        QUEUED_MESSAGE_BYTES + self.topic.len() + self.len
    }
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Sent,
    Dropped,
    Expired,
    Withdrawn,
    Refused,
}

/// The list: in order of publishing.
#[derive(Clone, Debug, Default)]
struct List(Vec<Listed>);

impl List {
    fn bytes(&self) -> usize {
        self.0.iter().map(|listed| listed.bytes()).sum()
    }

    fn fits(&self, new: Listed) -> bool {
        let has_place = self.0.len() < MESSAGES_MAX;
        self.0.is_empty() || (has_place && self.bytes() + new.bytes() <= BYTES_MAX)
    }

    /// Returns the keys of those that went for it, or none where it was not taken.
    fn offer(&mut self, new: Listed, crowded: bool) -> Option<Vec<u32>> {
        let same = |listed: &Listed| (listed.topic, listed.qos) == (new.topic, new.qos);
        let last = self
            .0
            .iter()
            .rposition(|listed| listed.is_last && same(listed));
        match (new.policy, last) {
            (QueuePolicy::KeepLast, Some(at)) if self.0[at].policy == QueuePolicy::KeepLast => {
                let old = self.0[at];
                let bytes = self.bytes() - old.bytes() + new.bytes();
                let fits = bytes <= BYTES_MAX && !crowded;
                if new.bytes() > old.bytes() && self.0.len() > 1 && !fits {
                    return None;
                }
                self.0[at] = new;
                return Some(vec![old.key]);
            }
            (QueuePolicy::DropOldest, _) => return self.drop_for(new, crowded),
            _ => {}
        }
        if crowded || !self.fits(new) {
            return None;
        }
        self.push(new);
        Some(Vec::new())
    }

    fn push(&mut self, new: Listed) {
        for listed in &mut self.0 {
            listed.is_last &= (listed.topic, listed.qos) != (new.topic, new.qos);
        }
        self.0.push(new);
    }

    fn drop_for(&mut self, new: Listed, crowded: bool) -> Option<Vec<u32>> {
        let mut left = self.clone();
        let mut dropped = Vec::new();
        loop {
            let freed = self.bytes() - left.bytes();
            let has_room = if crowded {
                !dropped.is_empty() && freed >= new.bytes()
            } else {
                left.fits(new)
            };
            if has_room {
                left.push(new);
                *self = left;
                return Some(dropped);
            }
            let may_go = |listed: &Listed| listed.policy == QueuePolicy::DropOldest;
            let oldest = left.0.iter().position(may_go)?;
            dropped.push(left.0.remove(oldest).key);
        }
    }
}

/// Numbers drawn from a seed (an xorshift).
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

struct World {
    seed: u64,
    draw: Draw,
    now: Time,
    outbox: Outbox,
    list: List,
    places: BTreeMap<u32, Place>,
    ends: BTreeMap<u32, End>,
    keys: u32,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            seed,
            draw: Draw(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            now: Time::ZERO,
            outbox: Outbox::new(MESSAGES_MAX, BYTES_MAX),
            list: List::default(),
            places: BTreeMap::new(),
            ends: BTreeMap::new(),
            keys: 0,
        }
    }

    #[track_caller]
    fn end(&mut self, key: u32, end: End) {
        self.places.remove(&key);
        let before = self.ends.insert(key, end);
        assert_eq!(before, None, "seed {}: {key} ended twice", self.seed);
    }

    fn offer(&mut self) {
        let key = self.keys;
        self.keys += 1;
        let expires = self.draw.one_in(3).then(|| Time(self.now.0 + 1));
        let new = Listed {
            key,
            topic: self.draw.of(&TOPICS),
            len: if self.draw.one_in(20) {
                2_000
            } else {
                self.draw.below(40)
            },
            qos: self.draw.of(&QOS),
            policy: self.draw.of(&POLICIES),
            expires: expires.map(|at| Time(at.0 + self.draw.below(20) as u64)),
            is_last: true,
        };
        let crowded = self.draw.one_in(4);
        let payload = vec![0; new.len];
        let message = Message {
            outgoing: Outgoing {
                topic: new.topic,
                payload: &payload,
                qos: new.qos,
                retain: false,
            },
            key: TicketKey(key),
            policy: new.policy,
            expires: new.expires,
        };
        let mut dropped = Vec::new();
        let offered = self
            .outbox
            .offer(message, crowded, |key| dropped.push(key.0));
        let expected = self.list.offer(new, crowded);
        let found = offered.is_ok().then_some(&dropped);
        assert_eq!(found, expected.as_ref(), "seed {}: {new:?}", self.seed);
        for gone in dropped {
            self.end(gone, End::Dropped);
        }
        match offered {
            Ok(place) => {
                self.places.insert(key, place);
            }
            Err(Full) => self.end(key, End::Refused),
        }
    }

    fn send(&mut self) {
        let admitted = QOS.map(|_| self.draw.one_in(2));
        let admits = |qos| admitted[qos as usize];
        let found = self.outbox.first(admits);
        let found = found.map(|(place, key, outgoing)| (place, key.0, outgoing.payload.len()));
        let at = self.list.0.iter().position(|listed| admits(listed.qos));
        let expected = at.map(|at| (self.list.0[at].key, self.list.0[at].len));
        let content = found.map(|(_, key, len)| (key, len));
        assert_eq!(content, expected, "seed {}", self.seed);
        if let (Some((place, key, _)), Some(at)) = (found, at) {
            assert_eq!(self.outbox.remove(place), Some(TicketKey(key)));
            self.list.0.remove(at);
            self.end(key, End::Sent);
            assert_eq!(self.outbox.remove(place), None, "it is out");
        }
    }

    fn withdraw(&mut self) {
        if self.places.is_empty() {
            return;
        }
        let nth = self.draw.below(self.places.len());
        let Some((&key, &place)) = self.places.iter().nth(nth) else {
            return;
        };
        assert_eq!(self.outbox.remove(place), Some(TicketKey(key)));
        self.list.0.retain(|listed| listed.key != key);
        self.end(key, End::Withdrawn);
    }

    fn pass_time(&mut self) {
        self.now.0 += self.draw.below(10) as u64;
        while let Some(key) = self.outbox.expire(self.now) {
            self.end(key.0, End::Expired);
        }
        let now = self.now;
        let is_due = |listed: &Listed| listed.expires.is_some_and(|at| at <= now);
        let (due, left) = self.list.0.iter().partition(|listed| is_due(listed));
        self.list.0 = left;
        for listed in Vec::<Listed>::from_iter(due) {
            assert_eq!(self.ends.get(&listed.key), Some(&End::Expired));
        }
    }

    fn check(&self) {
        let seed = self.seed;
        let Outbox { len, bytes, .. } = self.outbox;
        assert_eq!((len, bytes), (self.list.0.len(), self.list.bytes()));
        assert!(len <= MESSAGES_MAX, "seed {seed}: {len} messages");
        assert!(len <= 1 || bytes <= BYTES_MAX, "seed {seed}: {bytes} bytes");
        let expires = self.list.0.iter().filter_map(|listed| listed.expires);
        assert_eq!(self.outbox.next_deadline(), expires.min(), "seed {seed}");
        for qos in QOS {
            let clear = !self.list.0.iter().any(|listed| listed.qos == qos);
            assert_eq!(self.outbox.is_clear(qos), clear, "seed {seed}");
        }
        let ended = self.ends.len() + self.places.len();
        assert_eq!(ended, self.keys as usize, "seed {seed}: one end each");
    }
}

#[test]
fn random_use_agrees_with_a_list_and_every_message_has_one_end() {
    let mut seen = Vec::new();
    for seed in 0..300 {
        let mut world = World::new(seed);
        for _ in 0..400 {
            match world.draw.below(8) {
                0..5 => world.offer(),
                5 => world.send(),
                6 => world.withdraw(),
                _ => world.pass_time(),
            }
            world.check();
        }
        seen.extend(world.ends.into_values());
    }
    for end in [
        End::Sent,
        End::Dropped,
        End::Expired,
        End::Withdrawn,
        End::Refused,
    ] {
        assert!(seen.contains(&end), "no message was {end:?}");
    }
}

fn message(topic: &str, policy: QueuePolicy, key: u32) -> Message<'_> {
    Message {
        outgoing: Outgoing {
            topic,
            payload: b"",
            qos: QoS::AtLeastOnce,
            retain: false,
        },
        key: TicketKey(key),
        policy,
        expires: None,
    }
}

fn keys(outbox: &mut Outbox) -> Vec<u32> {
    let mut keys = Vec::new();
    while let Some((place, key, _)) = outbox.first(|_| true) {
        keys.push(key.0);
        outbox.remove(place);
    }
    keys
}

#[test]
fn the_last_of_a_topic_takes_the_place_of_the_one_before() {
    let mut outbox = Outbox::new(2, BYTES_MAX);
    let mut dropped = Vec::new();
    for (topic, key) in [("a", 0), ("b", 1), ("a", 2)] {
        let message = message(topic, QueuePolicy::KeepLast, key);
        outbox
            .offer(message, false, |key| dropped.push(key.0))
            .unwrap();
    }
    assert_eq!(dropped, [0]);
    assert_eq!(keys(&mut outbox), [2, 1]);
}

#[test]
fn a_message_of_another_policy_is_neither_replaced_nor_overtaken() {
    let mut outbox = Outbox::new(10, BYTES_MAX);
    let policies = [
        QueuePolicy::KeepLast,
        QueuePolicy::Wait,
        QueuePolicy::KeepLast,
    ];
    for (key, policy) in (0..).zip(policies) {
        let nobody = |_| panic!("none goes");
        outbox
            .offer(message("a", policy, key), false, nobody)
            .unwrap();
    }
    assert_eq!(keys(&mut outbox), [0, 1, 2]);
}

#[test]
fn only_messages_that_allow_it_are_dropped_for_another() {
    let mut outbox = Outbox::new(2, BYTES_MAX);
    let nobody = |_| panic!("none goes");
    outbox
        .offer(message("a", QueuePolicy::Wait, 0), false, nobody)
        .unwrap();
    outbox
        .offer(message("a", QueuePolicy::DropOldest, 1), false, nobody)
        .unwrap();
    let mut dropped = Vec::new();
    let next = message("a", QueuePolicy::DropOldest, 2);
    outbox
        .offer(next, false, |key| dropped.push(key.0))
        .unwrap();
    assert_eq!(dropped, [1]);
    assert_eq!(keys(&mut outbox), [0, 2]);
    for key in 3..5 {
        outbox
            .offer(message("a", QueuePolicy::Wait, key), false, nobody)
            .unwrap();
    }
    let one_more = message("a", QueuePolicy::DropOldest, 5);
    assert_eq!(outbox.offer(one_more, false, nobody), Err(Full));
}
