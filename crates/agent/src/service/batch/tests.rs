use super::*;

const WALL: u64 = 1_795_959_000_000;

fn at(millis: u64) -> Now {
    Now {
        instant: Instant::from_nanos((1_000 + millis) * 1_000_000),
        wall: UNIX_EPOCH + Duration::from_millis(WALL + millis),
        is_set: true,
    }
}

fn batch_of(device: &str, count_max: usize, bytes_max: usize) -> Batch {
    let options = BatchOptions {
        count_max,
        bytes_max,
        ..BatchOptions::default()
    };
    Batch::new(device, "5be1c0ffee017a2d", at(0).instant, options)
}

fn batch(count_max: usize, bytes_max: usize) -> Batch {
    batch_of("meter-17", count_max, bytes_max)
}

fn push(batch: &mut Batch, name: &str, value: impl Into<Value>, now: Now) {
    let reading = batch.reading(name, &value.into(), now.instant).unwrap();
    batch.push(reading).unwrap();
}

/// What has to leave, sent.
fn sent(batch: &mut Batch, now: Now) -> Option<String> {
    let message = batch.message(now)?;
    batch.sent();
    Some(message)
}

#[test]
fn readings_are_one_message_each_with_its_own_time_in_their_order() {
    let mut batch = batch(3, 8_192);
    push(&mut batch, "t", 21.5, at(0));
    push(&mut batch, "valve \"1\"", "open", at(250));
    assert_eq!(batch.message(at(250)), None);
    push(&mut batch, "on", true, at(1_000));
    assert_eq!(
        sent(&mut batch, at(1_500)).unwrap(),
        concat!(
            r#"{"schema":1,"device":"meter-17","boot":"5be1c0ffee017a2d","sequence":1,"#,
            r#""t":1795959001500,"up":1500,"readings":["#,
            r#"{"t":1795959000000,"n":"t","v":21.5},"#,
            r#"{"t":1795959000250,"n":"valve \"1\"","v":"open"},"#,
            r#"{"t":1795959001000,"n":"on","v":true}]}"#
        )
    );
    assert_eq!(batch.due(), None);
    assert_eq!(batch.message(at(2_000)), None);
    push(&mut batch, "t", 1, at(3_000));
    assert!(batch.close());
    let message = sent(&mut batch, at(3_000)).unwrap();
    assert!(message.contains(r#""sequence":2"#), "{message}");
}

#[test]
fn no_message_is_longer_than_it_may_be_and_none_waits_longer() {
    // Characters that JSON writes as six.
    let device = "\u{1}".repeat(200);
    let mut batch = batch_of(&device, BATCH_COUNT_MAX, 5 * 1024);
    let mut messages = Vec::new();
    let mut taken = 0;
    for number in 0_u64..1_000 {
        let name = "\u{1}".repeat(usize::try_from(number % 256).unwrap() + 1);
        let value = format!("{number} {}", "\u{2}".repeat(200));
        let reading = match batch.reading(&name, &value.into(), at(number).instant) {
            Ok(reading) => reading,
            Err(error) => {
                assert_eq!(error, ReadingError::Message);
                continue;
            }
        };
        batch.push(reading).unwrap();
        taken += 1;
        messages.extend(sent(&mut batch, at(number)));
        assert!(batch.due().unwrap() <= at(number).instant + BATCH_DELAY_DEFAULT);
    }
    batch.close();
    messages.extend(sent(&mut batch, at(1_000)));
    let mut values = Vec::new();
    for message in messages {
        assert!(message.len() <= 5 * 1024, "{}", message.len());
        let message: Value = serde_json::from_str(&message).unwrap();
        let readings = message["readings"].as_array().unwrap();
        values.extend(readings.iter().map(|reading| {
            let text = reading["v"].as_str().unwrap();
            text.split_once(' ').unwrap().0.parse::<u64>().unwrap()
        }));
    }
    assert!(taken > 900, "{taken}");
    assert_eq!(values.len(), taken);
    assert!(values.is_sorted(), "first in, first out");
    // The least that may be set has no room for this device at all.
    let small = batch_of(&device, 1, 0);
    let nothing = small.reading("n", &1.into(), at(0).instant);
    assert_eq!(nothing, Err(ReadingError::Message));
}

#[test]
fn what_finds_no_room_is_kept_and_no_more_is_taken_than_can_be_kept() {
    let mut batch = batch(2, 8_192);
    for number in 0..4 {
        push(&mut batch, "n", number, at(number));
    }
    let fifth = batch.reading("n", &4.into(), at(4).instant).unwrap();
    assert!(!batch.has_room_for(&fifth));
    assert_eq!(batch.push(fifth.clone()), Err(NoRoom));
    assert_eq!(batch.len(), 4);
    let first = sent(&mut batch, at(9)).unwrap();
    assert!(
        first.contains(r#""v":0},{"#) && first.contains(r#""v":1}]"#),
        "{first}"
    );
    // The other one was full as well.
    let second = batch.message(at(9)).unwrap();
    assert!(
        second.contains(r#""v":2},{"#) && second.contains(r#""sequence":2"#),
        "{second}"
    );
    assert!(batch.has_room_for(&fifth));
    batch.push(fifth).unwrap();
    assert_eq!(batch.len(), 3);
}

#[test]
fn a_message_that_is_too_large_is_sent_in_parts() {
    let mut batch = batch(5, 8_192);
    for number in 0..5 {
        push(&mut batch, "n", number, at(number));
    }
    let values = |message: &str| {
        let message: Value = serde_json::from_str(message).unwrap();
        let readings = message["readings"].as_array().unwrap().clone();
        let values = readings
            .iter()
            .map(|reading| reading["v"].as_u64().unwrap());
        values.collect::<Vec<_>>()
    };
    // Two are taken at most.
    let mut came = Vec::new();
    while let Some(message) = batch.message(at(9)) {
        let part = values(&message);
        if part.len() > 2 {
            assert_eq!(batch.halve(), 0);
        } else {
            came.extend(part);
            batch.sent();
        }
    }
    assert_eq!(came, [0, 1, 2, 3, 4]);
    // And one that is taken in no part is lost, with the number of its message.
    push(&mut batch, "n", 5, at(10));
    batch.close();
    assert_eq!(batch.halve(), 1);
    assert_eq!((batch.len(), batch.message(at(11))), (0, None));
}

#[test]
fn a_device_that_learns_the_time_late_still_tells_when_it_measured() {
    let mut batch = batch(10, 8_192);
    push(&mut batch, "t", 1, at(0));
    assert!(batch.close());
    let in_1970 = Now {
        wall: UNIX_EPOCH + Duration::from_secs(20),
        is_set: false,
        ..at(1_000)
    };
    let message = batch.message(in_1970).unwrap();
    assert!(
        message.contains(r#""t":20000,"up":1000,"clock":"unset","#),
        "{message}"
    );
    assert!(message.contains(r#"{"t":19000,"#), "{message}");
    // It did not leave, and now the time is known.
    let message = sent(&mut batch, at(5_000)).unwrap();
    assert!(message.contains(r#"{"t":1795959000000,"#), "{message}");
    assert!(!message.contains("clock"), "{message}");
    // And where it never is, it is not before all time.
    push(&mut batch, "t", 1, at(0));
    batch.close();
    let early = Now {
        wall: UNIX_EPOCH,
        is_set: false,
        ..at(9_000)
    };
    assert!(batch.message(early).unwrap().contains(r#"{"t":0,"#));
}

#[test]
fn what_is_no_reading_is_refused() {
    let batch = batch(10, 8_192);
    let long = "x".repeat(READING_BYTES_MAX + 1);
    for (name, value, expected) in [
        ("", Value::from(1), ReadingError::Name),
        (long.as_str(), Value::from(1), ReadingError::Name),
        ("a", Value::from(long.as_str()), ReadingError::Value),
        ("a", Value::Null, ReadingError::Value),
        ("a", Value::from(vec![1]), ReadingError::Value),
        // As serde_json has one that is not finite.
        ("a", Value::from(f64::NAN), ReadingError::Value),
    ] {
        assert_eq!(batch.reading(name, &value, at(0).instant), Err(expected));
    }
}
