//! Packets of random content: whatever can be made encodes to bytes that decode to it.

use super::*;

/// How many packets of each type there are.
const CASES: usize = 4_000;
/// Where the generator starts.
const SEED: u64 = 0x0dd_ba11_0fca_5cad;

/// Returns a text of up to eleven characters, some of them of several bytes.
fn text(random: &mut Random) -> String {
    const CHARS: [char; 8] = ['a', '/', '$', ' ', 'ä', '\u{feff}', '\u{1}', '\u{10ffff}'];
    (0..random.below(12))
        .map(|_| CHARS[random.below(CHARS.len())])
        .collect()
}

/// Returns a text that is not empty.
fn topic(random: &mut Random) -> String {
    text(random) + "t"
}

/// Returns up to 199 bytes, so that the remaining length has one byte or two.
fn bytes(random: &mut Random) -> Vec<u8> {
    (0..random.below(200))
        .map(|_| random.below(256) as u8)
        .collect()
}

fn packet_id(random: &mut Random) -> PacketId {
    id(1 + random.below(65_535) as u16)
}

fn qos(random: &mut Random) -> QoS {
    QoS::from_bits(random.below(3) as u8).unwrap()
}

#[track_caller]
fn check(packet: PacketRef<'_>) {
    let bytes = encode(&packet);
    assert_eq!(decode_whole(&bytes), Ok(packet));
}

#[test]
fn any_connect_comes_back() {
    let random = &mut Random(SEED);
    for _ in 0..CASES {
        let (client_id, user_name, password) = (topic(random), text(random), bytes(random));
        let (will_topic, will_payload) = (topic(random), bytes(random));
        let will = Will {
            topic: &will_topic,
            payload: &will_payload,
            qos: qos(random),
            retain: random.below(2) == 0,
            properties: Properties::EMPTY,
        };
        let has_user_name = random.below(2) == 0;
        let fields = ConnectFields {
            clean_start: random.below(2) == 0,
            keep_alive_secs: random.below(65_536) as u16,
            properties: Properties::EMPTY,
            client_id: &client_id,
            will: (random.below(2) == 0).then_some(will),
            user_name: has_user_name.then_some(&user_name),
            password: (has_user_name && random.below(2) == 0).then_some(&password),
        };
        check(PacketRef::Connect(
            Connect::new(Version::V311, fields).unwrap(),
        ));
    }
}

#[test]
fn any_publish_comes_back() {
    let random = &mut Random(SEED);
    for _ in 0..CASES {
        let (topic, payload) = (topic(random), bytes(random));
        let (packet_id, dup) = (packet_id(random), random.below(2) == 0);
        let delivery = match qos(random) {
            QoS::AtMostOnce => Delivery::AtMostOnce,
            QoS::AtLeastOnce => Delivery::AtLeastOnce { packet_id, dup },
            QoS::ExactlyOnce => Delivery::ExactlyOnce { packet_id, dup },
        };
        let retain = random.below(2) == 0;
        let publish = Publish::new(Version::V311, &topic, &payload, delivery, retain).unwrap();
        check(PacketRef::Publish(publish));
    }
}

#[test]
fn any_list_of_filters_and_reasons_comes_back() {
    let random = &mut Random(SEED);
    for _ in 0..CASES {
        let texts: Vec<String> = (0..=random.below(20)).map(|_| topic(random)).collect();
        let with_qos: Vec<_> = texts
            .iter()
            .map(|text| (text.as_str(), qos(random)))
            .collect();
        let packet_id = packet_id(random);
        let subscribe = Subscribe::new(Version::V311, packet_id, &with_qos).unwrap();
        check(PacketRef::Subscribe(subscribe));

        let filters: Vec<&str> = texts.iter().map(String::as_str).collect();
        let unsubscribe = Unsubscribe::new(Version::V311, packet_id, &filters).unwrap();
        check(PacketRef::Unsubscribe(unsubscribe));

        let reason = |random: &mut Random| match random.below(2) {
            0 => SubscribeReason::Failure,
            _ => SubscribeReason::Granted(qos(random)),
        };
        let reasons: Vec<_> = texts.iter().map(|_| reason(random)).collect();
        check(PacketRef::SubAck(
            SubAck::new(Version::V311, packet_id, &reasons).unwrap(),
        ));
    }
}
