//! Stores that a fuzzer has damaged, opened again.

use std::collections::{BTreeMap, BTreeSet};

use super::model::Model;
use super::*;
use crate::fuzzing::input::Input;
use crate::store::record::{FRAME_HEAD, frame_len, is_intact};
use crate::store::segment::{HEAD_LEN, Head};

/// How many things are done to a store at most.
const CHANGES: usize = 24;

/// A store that was written without a fault.
struct Sound {
    files: BTreeMap<String, Vec<u8>>,
    /// What is to be delivered, with the frame that says so.
    messages: BTreeMap<StorePos, (StoredMessage, Vec<u8>)>,
}

thread_local! {
    static SOUND: Vec<Sound> = (0..4).map(sound).collect();
}

fn small() -> StoreOptions {
    options(Level::Synced).segment_bytes(SEGMENT_BYTES_MIN)
}

/// Stores of several segments, the first of them an empty one.
fn sound(seed: u64) -> Sound {
    let machine = Machine::default();
    let store = open(&machine, &small());
    let (mut model, mut random) = (Model::new(), Random(seed));
    for _ in 0..seed * 60 {
        model.step(&store, &mut random);
        if random.below(4) == 0 {
            commit_all(&store);
        }
    }
    commit_all(&store);
    let recovered = store.recovered();
    let all = [&recovered.queued, &recovered.in_flight, &recovered.released];
    let positions = all.into_iter().flatten().map(|stored| stored.pos);
    let messages = positions
        .map(|pos| {
            let place = store.0.state().index.messages.place(pos).unwrap();
            let content = machine.content(&format!("{:016x}.log", place.segment));
            let frame = content[place.offset as usize..][..place.len as usize].to_vec();
            (pos, (store.read(pos).unwrap().unwrap(), frame))
        })
        .collect();
    drop(store);
    let names = machine.names();
    let files = names.into_iter().map(|name| {
        let content = machine.content(&name);
        (name, content)
    });
    Sound {
        files: files.collect(),
        messages,
    }
}

/// What was done to the files of a store.
struct Damaged<'a> {
    sound: &'a Sound,
    files: BTreeMap<String, Vec<u8>>,
    /// There may be whole records that nobody wrote.
    has_forgeries: bool,
    unreadable: Option<(String, u64)>,
}

/// Opens a store that was damaged: nothing that lies there keeps it from being opened, what was not
/// damaged is kept, nothing is there twice, the damage is reported once, and the store goes on.
///
/// The input: which store, then the changes.
pub(crate) fn any_damage(input: &mut Input<'_>) {
    SOUND.with(|sound| {
        let sound = &sound[input.below(sound.len())];
        let mut damaged = Damaged {
            sound,
            files: sound.files.clone(),
            has_forgeries: false,
            unreadable: None,
        };
        for _ in 0..CHANGES {
            if input.is_empty() {
                break;
            }
            damaged.change(input);
        }
        damaged.check();
    });
}

impl Damaged<'_> {
    fn change(&mut self, input: &mut Input<'_>) {
        let kind = input.below(12);
        if kind == 0 {
            let ending = ["log", "log", "log", "tmp", "damaged", "newer"][input.below(6)];
            let name = format!("{:016x}.{ending}", input.below(12));
            let len = input.below(200);
            self.files.insert(name, input.bytes(len).to_vec());
            return;
        }
        if kind == 1 {
            return self.forge_segment(input);
        }
        let Some(name) = self.name(input) else { return };
        let content = self.files.get_mut(&name).unwrap();
        let at = input.below(content.len() + 1);
        match kind {
            2 | 3 => {
                if let Some(byte) = content.get_mut(at) {
                    *byte ^= input.byte().max(1);
                }
            }
            4 => content.truncate(at),
            5 => {
                let len = input.below(40);
                for (to, from) in content[at..].iter_mut().zip(input.bytes(len)) {
                    *to = *from;
                }
            }
            6 => {
                let (byte, len) = (input.byte(), input.below(600));
                content.splice(at..at, vec![byte; len]);
            }
            7 => {
                let end = (at + input.below(600)).min(content.len());
                content.drain(at..end);
            }
            8 => drop(self.files.remove(&name)),
            9 => {
                let copy = content.clone();
                self.files
                    .insert(format!("{:016x}.log", input.below(12)), copy);
            }
            10 => self.unreadable = Some((name, at as u64)),
            _ => {
                // Behind a frame, if there is one.
                let salt = salt(content);
                let frames = frames(content, salt);
                let at = frames
                    .get(at % frames.len().max(1))
                    .copied()
                    .unwrap_or(content.len());
                let forged = forged(input, self.sound, salt);
                content.splice(at..at, forged);
                self.has_forgeries = true;
            }
        }
    }

    fn name(&self, input: &mut Input<'_>) -> Option<String> {
        let at = input.below(self.files.len());
        self.files.keys().nth(at).cloned()
    }

    /// A segment that is whole, of records that nobody wrote.
    fn forge_segment(&mut self, input: &mut Input<'_>) {
        let (number, salt) = (input.below(12) as u64, u32::from(input.byte()));
        let mut content = Vec::new();
        Head { number, salt }.encode(&mut content);
        for _ in 0..input.below(6) {
            content.extend(forged(input, self.sound, salt));
        }
        self.files.insert(format!("{number:016x}.log"), content);
        self.has_forgeries = true;
    }

    fn check(&self) {
        let machine = Machine::default();
        for (name, content) in &self.files {
            machine.put(name, content.clone());
        }
        if let Some((name, at)) = &self.unreadable
            && self.files.contains_key(name)
        {
            machine.set_unreadable(name, *at);
        }
        let store = open(&machine, &small());
        let reported = reports(&store);
        assert!(reported.len() <= 3 * self.files.len() + 2, "{reported:?}");
        let found = store.recovered();
        let messages = expect_whole(&store, &found, self.has_forgeries);
        if !self.has_forgeries && self.unreadable.is_none() {
            self.expect_kept(&messages);
        }

        // It goes on, and the next opening finds the same and nothing more to report.
        let pos = publish(&store, b"more");
        assert!(
            messages.keys().all(|other| *other < pos),
            "{pos} is no later one"
        );
        commit_all(&store);
        drop(store);
        let machine = machine.after_kill();
        let store = open(&machine, &small());
        let mut again = reports(&store);
        // A forgery may have the highest position there is: what is written behind it is not read again.
        let is_of_forgeries = self.has_forgeries;
        again.retain(|report| match report {
            Report::Skipped { .. } => false,
            Report::OtherIdentity => !is_of_forgeries,
            _ => true,
        });
        assert_eq!(again, [], "after {reported:?}");
        let mut expected = found;
        let next = store.recovered();
        expected.queued.extend(next.queued.last());
        let mut after = expect_whole(&store, &next, self.has_forgeries);
        after.remove(&pos);
        // A forgery may end a message before it is there, or in a segment that goes before it.
        if !self.has_forgeries {
            assert_eq!(next.queued.last().map(|stored| stored.pos), Some(pos));
            assert_eq!(next, expected);
            assert_eq!(after, messages);
        }
    }

    /// Messages whose frame lies whole in a segment that still is one are there.
    fn expect_kept(&self, found: &BTreeMap<StorePos, StoredMessage>) {
        let mut whole = BTreeSet::new();
        for (name, content) in &self.files {
            let Ok(Head { number, salt }) = Head::decode(content) else {
                continue;
            };
            if *name == format!("{number:016x}.log") {
                whole.extend(whole_frames(content, salt));
            }
        }
        for (pos, (message, frame)) in &self.sound.messages {
            match found.get(pos) {
                Some(read) => assert_eq!(read, message),
                None => assert!(!whole.contains(&frame[..]), "{pos} was not damaged"),
            }
        }
    }
}

/// Reads every message, and checks that none is there twice.
fn expect_whole(
    store: &File,
    recovered: &Recovered,
    has_forgeries: bool,
) -> BTreeMap<StorePos, StoredMessage> {
    let all = [&recovered.queued, &recovered.in_flight, &recovered.released];
    let (mut messages, mut packet_ids) = (BTreeMap::new(), BTreeSet::new());
    for stored in all.into_iter().flatten() {
        let message = store.read(stored.pos).unwrap().expect("it is stored");
        // Of two forgeries that say to be one message it is not said which counts.
        if !has_forgeries {
            assert_eq!((message.key, message.qos), (stored.key, stored.qos));
        }
        let before = messages.insert(stored.pos, message);
        assert!(before.is_none(), "{} is there twice", stored.pos);
        if let Some(packet_id) = stored.packet_id {
            assert!(packet_ids.insert(packet_id), "{packet_id} is there twice");
        }
    }
    let received: BTreeSet<_> = recovered.received.iter().collect();
    assert_eq!(received.len(), recovered.received.len());
    messages
}

fn salt(content: &[u8]) -> u32 {
    let salt = content.get(16..20).and_then(|salt| salt.first_chunk());
    salt.map_or(0, |salt| u32::from_be_bytes(*salt))
}

/// The frames of a segment. No byte is in two of them: where a frame has lost its first bytes, the last
/// ones of the frame before it may look like these. They are zeros at the end of one and of a length.
fn whole_frames(content: &[u8], salt: u32) -> Vec<&[u8]> {
    let (mut at, mut frames) = (HEAD_LEN, Vec::new());
    while at < content.len() {
        let rest = &content[at..];
        let frame = frame_len(rest).map(|len| &rest[..len]);
        let frame = frame.filter(|frame| is_intact(frame, salt));
        at += frame.map_or(1, <[u8]>::len);
        frames.extend(frame);
    }
    frames
}

/// Where frames begin, one after the other from the head on.
fn frames(content: &[u8], salt: u32) -> Vec<usize> {
    let (mut at, mut frames) = (HEAD_LEN, Vec::new());
    while let Some(len) = content.get(at..).and_then(frame_len) {
        if !is_intact(&content[at..at + len], salt) {
            break;
        }
        frames.push(at);
        at += len;
    }
    frames
}

/// A whole frame of any content.
fn forged(input: &mut Input<'_>, sound: &Sound, salt: u32) -> Vec<u8> {
    let positions: Vec<StorePos> = sound.messages.keys().copied().collect();
    let pos = |input: &mut Input<'_>| match input.byte() {
        0xff => StorePos(u64::MAX - u64::from(input.byte())),
        0xfe => StorePos(u64::from(input.byte()) << 56),
        byte if byte < 0x80 => StorePos(byte.into()),
        byte => {
            let at = usize::from(byte) % positions.len().max(1);
            positions.get(at).copied().unwrap_or_default()
        }
    };
    let mut frame = Vec::new();
    let (at, message) = (pos(input), pos(input));
    let packet_id = id(u16::from(input.byte()) + 1);
    let key = Key::new([input.byte()]).ok();
    let record = match input.below(11) {
        0 => Record::Publish(MessageRecord {
            key: key.filter(|_| input.below(2) == 0),
            ..super::message("t", b"forged")
        }),
        1 => Record::Assigned { message, packet_id },
        2 => Record::Recorded { message },
        3 => Record::Done {
            message,
            cause: ACKED,
            key,
        },
        4 => Record::Received(packet_id),
        5 => Record::Released(packet_id),
        6 => Record::SessionLost,
        7 => Record::Identity(identity(["meter-17", "other", ""][input.below(3)])),
        8 => Record::MaybeSent { message },
        _ => {
            let len = input.below(100);
            let body = input.bytes(len);
            frame.extend_from_slice(&(body.len() as u32).to_be_bytes());
            frame.extend_from_slice(&[0; FRAME_HEAD - 4]);
            frame.extend_from_slice(body);
            record::seal(&mut frame, salt);
            return frame;
        }
    };
    record.encode(at, &mut frame);
    record::seal(&mut frame, salt);
    frame
}
