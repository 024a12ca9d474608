//! The device, as a program of yours would be written: it reads from top to bottom, and nowhere does
//! it say what to do when the link fails.
//!
//! It publishes readings without waiting for one before it takes the next, each with a ticket that
//! tells what became of it, and obeys commands. The [`Diary`] is what this demonstration wants to
//! know of it, and its screen.

use std::rc::Rc;
use std::time::Duration;

use mqtt::{Client, ClientId, ClientOptions, Publish, QoS, Subscribe, Wait};
use safe_rt::{BackoffOptions, ClientTls, DialOptions, Endpoint};

use super::diary::Diary;
use super::protocol::{ANSWERS, COMMANDS, Command, DEVICE, Reading, TELEMETRY};
use crate::connect::LEAVE_TIMEOUT;

/// Every fourth reading must arrive exactly once, the others at least once.
const EXACTLY_ONCE_EVERY: u64 = 4;

/// Takes a reading every `pace` and obeys commands, until the diary says that it is enough. Yields;
/// returns once everything is acknowledged.
pub(super) fn run(
    cloud: &Endpoint,
    tls: ClientTls,
    pace: Duration,
    diary: &Rc<Diary>,
) -> Result<(), mqtt::Error> {
    let options = ClientOptions::new(ClientId::new(DEVICE)?)
        .dial(DialOptions::new().tls(tls))
        .backoff(backoff());
    let client = Client::open(cloud, options)?;

    let link = Rc::clone(diary);
    client.on_event(move |_client, event| link.event(event));

    // There is no connection yet, and need not be.
    let commands = Subscribe::to(COMMANDS, QoS::AtLeastOnce).wait(Wait::None);
    let valve = Rc::clone(diary);
    client.subscribe_as(commands, move |client, message| {
        let command: Command = std::str::from_utf8(&message.data)?.parse()?;
        valve.obey(command);
        let answer = command.to_string();
        // The command is acknowledged when this returns: not before the cloud has the answer.
        let answer = Publish::to(ANSWERS, &answer).qos(QoS::AtLeastOnce);
        client.publish(answer.wait(Wait::Ack))?;
        valve.answered(command);
        Ok(())
    })?;

    for sequence in 1.. {
        if diary.is_enough() {
            break;
        }
        let reading = Reading::take(sequence).to_string();
        let qos = if sequence % EXACTLY_ONCE_EVERY == 0 {
            QoS::ExactlyOnce
        } else {
            QoS::AtLeastOnce
        };
        let ticket = client.publish(Publish::to(TELEMETRY, &reading).qos(qos))?;
        diary.published(qos, ticket);
        fiber::sleep(pace)?;
    }

    diary.wait_for_acknowledgements()?;
    client.close(LEAVE_TIMEOUT)?;
    Ok(())
}

/// Short delays, so that there is something to see: three links that fail within a minute count as
/// flapping, and then delays are drawn from the long spans.
const fn backoff() -> BackoffOptions {
    const SPAN: Duration = Duration::from_millis(400);
    const LONGEST: Duration = Duration::from_millis(800);
    BackoffOptions::new()
        .base(SPAN)
        .cap(LONGEST)
        .long_base(SPAN)
        .long_cap(LONGEST)
        .floor(Duration::from_millis(100))
}
