//! What a session goes on with comes in parts, and the parts are the whole.

use fiber::Stopped;

use super::*;

/// How many messages are asked for at once.
const SIZES: [usize; 3] = [1, 2, 512];

/// A store that has of the calls for parts what the trait gives it.
struct Plain<'a>(&'a Memory);

impl Store for Plain<'_> {
    fn claim(&self, client_id: &str, endpoint: Option<&Endpoint>) -> Result<(), ClaimError> {
        self.0.claim(client_id, endpoint)
    }

    fn release(&self) {
        self.0.release();
    }

    fn append(&self, record: &Record<'_>) -> Result<StorePos, Refused> {
        self.0.append(record)
    }

    fn admits(
        &self,
        message: &MessageRecord<'_>,
        others: &mut dyn Iterator<Item = StorePos>,
    ) -> Result<usize, Refused> {
        self.0.admits(message, others)
    }

    fn appended(&self) -> StorePos {
        self.0.appended()
    }

    fn durable(&self) -> StorePos {
        self.0.durable()
    }

    fn is_durable(&self, pos: StorePos) -> bool {
        self.0.is_durable(pos)
    }

    fn commit(&self) -> io::Result<()> {
        self.0.commit()
    }

    fn run(&self) -> Result<(), Stopped> {
        self.0.run()
    }

    fn hurry(&self) {
        self.0.hurry();
    }

    fn wait_commit(&self) -> Result<(), Stopped> {
        self.0.wait_commit()
    }

    fn level(&self) -> Option<Level> {
        self.0.level()
    }

    fn recovered(&self) -> Recovered {
        self.0.recovered()
    }

    fn read(&self, message: StorePos) -> io::Result<Option<StoredMessage>> {
        self.0.read(message)
    }

    fn key(&self, key: &Key) -> Option<KeyState> {
        self.0.key(key)
    }

    fn next_report(&self) -> Option<Report> {
        self.0.next_report()
    }
}

/// Messages of a store that come and go, in flight or not.
#[derive(Default)]
struct Messages {
    /// Each with whether it has an identifier.
    live: Vec<(StorePos, bool)>,
    last_id: u16,
}

impl Messages {
    fn step(&mut self, store: &dyn Store, random: &mut Random) {
        let any = random.below(self.live.len());
        match (random.below(16), self.live.get_mut(any)) {
            (0..=6, _) | (_, None) => {
                let qos = [QoS::AtLeastOnce, QoS::ExactlyOnce][random.below(2)];
                let message = MessageRecord {
                    qos,
                    expires: random.below(2) as u64,
                    ..message("t", b"x")
                };
                let pos = store.append(&Record::Publish(message)).unwrap();
                self.live.push((pos, false));
            }
            (7..=9, Some((message, has_id @ false))) => {
                *has_id = true;
                self.last_id += 1;
                let (message, packet_id) = (*message, id(self.last_id));
                let assigned = Record::Assigned { message, packet_id };
                store.append(&assigned).unwrap();
            }
            (7..=11, Some((message, true))) => {
                let message = *message;
                store.append(&Record::Recorded { message }).unwrap();
            }
            (12..=14, Some(_)) => {
                done(store, self.live.remove(any).0);
            }
            (15, Some(_)) if random.below(10) == 0 => {
                store.append(&Record::SessionLost).unwrap();
                self.live.iter_mut().for_each(|(_, has_id)| *has_id = false);
            }
            _ => {}
        }
    }
}

/// Returns the messages without an identifier from a position on, asked for so many at once.
#[track_caller]
fn pages(store: &dyn Store, mut from: StorePos, size: usize) -> Vec<Stored> {
    let mut all = Vec::new();
    loop {
        let page = store.queued(from, size);
        assert!(page.len() <= size);
        let Some(last) = page.last() else {
            return all;
        };
        from = last.pos.next();
        all.extend(page);
    }
}

#[track_caller]
fn check(store: &dyn Store, returns_part: bool, context: &str) {
    let all = store.recovered();
    for size in SIZES {
        let mut found = store.recovered_in_part();
        if returns_part {
            let with_id = [&found.in_flight, &found.released];
            let last = with_id.into_iter().flatten().map(|it| it.pos).max();
            let is_before = |it: &Stored| Some(it.pos) < last;
            assert!(found.queued.iter().all(is_before), "{context}");
        }
        found.queued.extend(pages(store, found.end(), size));
        assert_eq!(found, all, "{context}, {size} at once");
        let queued = pages(store, StorePos::default(), size);
        assert_eq!(queued, all.queued, "{context}, {size} at once");
    }
}

#[test]
fn the_first_part_and_the_pages_are_all_that_a_session_goes_on_with() {
    for seed in 0..60 {
        let mut random = Random(seed);
        let machine = Machine::default();
        let (memory, file) = (Memory::default(), open(&machine, &options(Level::Synced)));
        let mut of_memory = Messages::default();
        let mut of_file = Messages::default();
        for step in 0..150 {
            of_memory.step(&memory, &mut random);
            of_file.step(&file, &mut random);
            if step % 5 == 0 {
                let context = format!("seed {seed}, step {step}");
                check(&memory, true, &context);
                check(&Plain(&memory), false, &context);
                check(&file, true, &context);
            }
        }
        commit_all(&file);
        let again = open(&machine.after_kill(), &options(Level::Synced));
        assert_eq!(again.recovered(), file.recovered());
        check(&again, true, &format!("seed {seed}, opened again"));
    }
}
