//! What a device had stored before its provider, or a limit, was another one.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use agent::profile::Provider;
use mqtt::packet::PacketId;
use mqtt::session::{ArgumentError, Limit};
use mqtt::store::{Memory, MessageRecord, Record, Store, StorePos};
use mqtt::{Broker, Client, Event, Outcome, Publish, QoS, Wait};

use crate::harness::{connect, open, plain, play, with_profile};

const DEEP: &str = "1/2/3/4/5/6/7/8/9";

fn put(store: &Memory, topic: &str, payload: &[u8], qos: QoS) -> StorePos {
    let message = MessageRecord {
        key: None,
        qos,
        retain: false,
        published: 0,
        expires: 0,
        topic,
        payload,
    };
    let appended = store.append(&Record::Publish(message));
    appended.expect("there is room")
}

/// It had this identifier when the program ended.
fn was_sent(store: &Memory, message: StorePos, packet_id: u16) {
    let packet_id = PacketId::new(packet_id).expect("an identifier");
    let assigned = store.append(&Record::Assigned { message, packet_id });
    assigned.expect("only messages are refused");
}

/// What is told of messages that are given up: the topic of the first, the limit, and how many.
type Told = Rc<RefCell<Vec<(String, Limit, u64)>>>;

fn given_up(client: &Client) -> Told {
    let told = Told::default();
    let noted = Rc::clone(&told);
    client.on_event(move |_, event| {
        if let Event::Unsendable {
            topic,
            error: ArgumentError::ServerLimit(limited),
            messages,
        } = event
        {
            let told = (topic.clone(), limited.limit, *messages);
            noted.borrow_mut().push(told);
        }
        let is_lost = matches!(event, Event::Disconnected { .. });
        assert!(!is_lost, "the broker hung up");
    });
    told
}

/// Opens a client with the profile and this store, and waits until all that is stored has an outcome.
fn outcomes(broker: &Broker, store: Memory) -> (Client, Told, Vec<Outcome>) {
    let options = with_profile(Provider::Aws, "meter-17").store(store);
    let client = open(broker, options);
    let told = given_up(&client);
    let tickets = client.stored().into_iter();
    let outcomes = tickets.map(|(_, mut ticket)| ticket.outcome().expect("one comes in time"));
    let outcomes = outcomes.collect();
    (client, told, outcomes)
}

const ACKED: Outcome = Outcome::Acked { maybe_twice: false };

#[test]
fn messages_beyond_the_limits_of_a_new_profile_do_not_hold_back_the_others() {
    play(Provider::Aws, |broker| {
        let store = Memory::default();
        put(&store, DEEP, b"x", QoS::AtLeastOnce);
        put(&store, "meter/17", b"20.5", QoS::AtLeastOnce);
        put(&store, "meter/17", b"21.5", QoS::ExactlyOnce);
        put(&store, "meter/17", &[0; 129 * 1024], QoS::AtLeastOnce);
        put(&store, "meter/17", b"22.5", QoS::AtLeastOnce);
        let (client, told, outcomes) = outcomes(broker, store);
        let given_up = Outcome::DroppedByPolicy;
        let twice = Outcome::Acked { maybe_twice: true };
        assert_eq!(outcomes, [given_up, twice, given_up, given_up, twice]);
        assert_eq!(client.stats().unsendable, 3);
        // One after the other is told as one.
        let told = told.borrow();
        assert_eq!(told.iter().map(|(_, _, messages)| messages).sum::<u64>(), 3);
        assert_eq!(told[0].0, DEEP);
        assert_eq!(told[0].1, Limit::TopicLevels);
        assert!(client.is_connected());
    });
}

#[test]
fn what_was_under_way_and_is_beyond_a_limit_is_not_sent_again() {
    for session_present in [false, true] {
        play(Provider::Aws, move |broker| {
            if session_present {
                let (before, _) = connect(broker, plain("meter-17").clean_start(false));
                before.close(Duration::from_secs(1)).expect("it leaves");
                fiber::sleep(Duration::from_secs(2)).expect("not stopped");
            }
            let store = Memory::default();
            let deep = put(&store, DEEP, b"x", QoS::AtLeastOnce);
            let exactly_once = put(&store, "meter/17", b"21.5", QoS::ExactlyOnce);
            let fits = put(&store, "meter/17", b"22.5", QoS::AtLeastOnce);
            for (message, packet_id) in [(deep, 1), (exactly_once, 2), (fits, 3)] {
                was_sent(&store, message, packet_id);
            }
            let (client, told, outcomes) = outcomes(broker, store);
            assert_eq!(outcomes[..2], [Outcome::DroppedByPolicy; 2]);
            assert_eq!(outcomes[2], Outcome::Acked { maybe_twice: true });
            let topics: Vec<String> = told.borrow().iter().map(|told| told.0.clone()).collect();
            assert_eq!(topics[0], DEEP);
            assert_eq!(client.stats().unsendable, 2);
            // The places are free.
            let publish = Publish::to("meter/17", "23.5").qos(QoS::AtLeastOnce);
            let mut published = client
                .publish(publish.wait(Wait::Ack))
                .expect("acknowledged");
            assert_eq!(published.outcome().expect("it has one"), ACKED);
            assert!(client.is_connected());
        });
    }
}
