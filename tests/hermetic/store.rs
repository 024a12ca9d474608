//! The store on the disk of this machine.

use fiber::Stopped;
use mqtt::QoS;
use mqtt::store::{
    DoneCause, File, Identity, Level, MessageRecord, Mode, OpenError, Record, Refused, Store,
    StoreOptions, StorePos,
};
use tests::temp_dir::TempDir;

fn options(level: Level) -> StoreOptions {
    let identity = Identity {
        client_id: "meter-17".to_owned(),
        endpoint: "mqtt://broker".to_owned(),
        protocol_level: 4,
        mode: Mode::Kept,
    };
    StoreOptions::new(identity, level).segment_bytes(16 * 1024)
}

fn publish(store: &File, payload: &[u8]) -> Result<StorePos, Refused> {
    let message = MessageRecord {
        key: None,
        qos: QoS::AtLeastOnce,
        retain: false,
        published: 0,
        expires: 0,
        topic: "site/4",
        payload,
    };
    store.append(&Record::Publish(message))
}

#[test]
fn messages_are_in_the_folder_when_it_is_opened_again() {
    for level in [Level::Flushed, Level::Synced] {
        let folder = TempDir::new("store");
        let path = folder.path().join("a/b");
        fiber::run(move || {
            let store = File::open(&path, options(level)).unwrap();
            let second = File::open(&path, options(level));
            assert!(matches!(second, Err(OpenError::InUse)));
            let mut writer = fiber::spawn({
                let store = store.clone();
                move || store.run()
            })
            .unwrap();
            let mut stored = Vec::new();
            for number in 0..300_u32 {
                let pos = publish(&store, &number.to_be_bytes().repeat(50)).unwrap();
                if number % 50 == 0 {
                    store.wait_durable(pos).unwrap();
                    assert!(store.is_durable(pos));
                }
                if number % 3 == 0 {
                    stored.push((pos, number));
                } else {
                    let (message, key) = (pos, None);
                    let cause = DoneCause::Withdrawn;
                    let done = Record::Done {
                        message,
                        cause,
                        key,
                    };
                    store.append(&done).unwrap();
                }
            }
            store.wait_durable(store.appended()).unwrap();
            writer.cancel();
            assert_eq!(writer.join().unwrap(), Err(Stopped::Cancelled));
            drop(store);

            let store = File::open(&path, options(level)).unwrap();
            assert_eq!(store.next_report(), None);
            let queued = store.recovered().queued;
            let found: Vec<_> = queued
                .iter()
                .map(|queued| {
                    let payload = store.read(queued.pos).unwrap().unwrap().payload;
                    (
                        queued.pos,
                        u32::from_be_bytes(payload[..4].try_into().unwrap()),
                    )
                })
                .collect();
            assert_eq!(found, stored);
        })
        .unwrap();
    }
}

#[test]
fn a_writer_ends_with_its_scope_and_what_is_left_can_be_written_after() {
    let folder = TempDir::new("store");
    let path = folder.path().to_owned();
    fiber::run(move || {
        let store = File::open(&path, options(Level::Synced)).unwrap();
        let mut writer = fiber::spawn({
            let store = store.clone();
            move || store.run()
        })
        .unwrap();
        fiber::yield_now().unwrap();
        writer.cancel();
        assert_eq!(writer.join().unwrap(), Err(Stopped::Cancelled));
        let pos = publish(&store, b"late").unwrap();
        assert!(!store.is_durable(pos));
        store.commit().unwrap();
        assert!(store.is_durable(pos));
    })
    .unwrap();
}
