//! The options about messages and about what is printed of them.

use super::{Flag, Opt, flag};
use crate::args::Tool;

const PUB: &[Tool] = &[Tool::Pub];
const SUB: &[Tool] = &[Tool::Sub];
const REQUEST: &[Tool] = &[Tool::Request];
const SENDS: &[Tool] = &[Tool::Pub, Tool::Request];
const PRINTS: &[Tool] = &[Tool::Sub, Tool::Request];

pub(super) const MESSAGES: &[Flag] = &[
    flag(
        &["-t", "--topic"],
        "TOPIC",
        SENDS,
        Opt::Topic,
        "where to publish",
    ),
    flag(
        &["-t", "--topic"],
        "FILTER",
        SUB,
        Opt::Topic,
        "what to subscribe to; may be repeated",
    ),
    flag(
        &["-e"],
        "TOPIC",
        REQUEST,
        Opt::ResponseTopic,
        "where the response comes",
    ),
    flag(
        &["-T", "--filter-out"],
        "FILTER",
        SUB,
        Opt::FilterOut,
        "hide messages with such a topic; may be repeated",
    ),
    flag(
        &["-U", "--unsubscribe"],
        "FILTER",
        SUB,
        Opt::Unsubscribe,
        "end a subscription of a kept session; may be repeated",
    ),
    flag(
        &["-m", "--message"],
        "TEXT",
        SENDS,
        Opt::Message,
        "one message",
    ),
    flag(
        &["-f", "--file"],
        "FILE",
        SENDS,
        Opt::File,
        "one message with the bytes of a file",
    ),
    flag(
        &["-l", "--stdin-line"],
        "",
        PUB,
        Opt::Lines,
        "one message for each line of the standard input",
    ),
    flag(
        &["-n", "--null-message"],
        "",
        SENDS,
        Opt::Null,
        "one empty message",
    ),
    flag(
        &["-s", "--stdin-file"],
        "",
        SENDS,
        Opt::Stdin,
        "one message with all of the standard input",
    ),
    flag(
        &["-q", "--qos"],
        "QOS",
        SENDS,
        Opt::QoS,
        "0, 1 or 2 (default: 0)",
    ),
    flag(
        &["-q", "--qos"],
        "QOS",
        SUB,
        Opt::QoS,
        "0, 1 or 2 (default: 0); given as often as -t, each is for the -t of its place",
    ),
    flag(
        &["-r", "--retain"],
        "",
        PUB,
        Opt::Retain,
        "ask the broker to keep the message for later subscribers",
    ),
    flag(
        &["--repeat"],
        "N",
        PUB,
        Opt::Repeat,
        "publish the message N times; not with -l",
    ),
    flag(
        &["--repeat-delay"],
        "SECS",
        PUB,
        Opt::RepeatDelay,
        "wait between two of them; decimals are taken (default: 0)",
    ),
];

pub(super) const OUTPUT: &[Flag] = &[
    flag(
        &["-v", "--verbose"],
        "",
        PRINTS,
        Opt::Verbose,
        "print the topic before the payload",
    ),
    flag(
        &["-F"],
        "FORMAT",
        PRINTS,
        Opt::Format,
        "print each message like this: %t topic, %p payload, %x in hexadecimal, %b in base64, \
         %j as JSON, %J with the payload as JSON, %I time, and more as in mosquitto_sub",
    ),
    flag(
        &["--pretty"],
        "",
        PRINTS,
        Opt::Pretty,
        "break JSON of -F into lines",
    ),
    flag(
        &["-N"],
        "",
        PRINTS,
        Opt::NoLineEnd,
        "print no line end after a message",
    ),
    flag(
        &["-R"],
        "",
        PRINTS,
        Opt::NoRetained,
        "do not print messages that the broker had kept",
    ),
    flag(
        &["--retained-only"],
        "",
        SUB,
        Opt::RetainedOnly,
        "print only those, and end at the first other one",
    ),
    flag(
        &["--retain-as-published"],
        "",
        PRINTS,
        Opt::RetainAsPublished,
        "taken, and without effect: MQTT 3.1.1 does not know it",
    ),
    flag(
        &["--remove-retained"],
        "",
        SUB,
        Opt::RemoveRetained,
        "have the broker forget each kept message that is not hidden by -T",
    ),
    flag(
        &["--random-filter"],
        "PERCENT",
        SUB,
        Opt::RandomFilter,
        "print only so many of the messages, chosen at random; 0.1 to 100",
    ),
    flag(
        &["-C"],
        "COUNT",
        SUB,
        Opt::Count,
        "end after so many messages",
    ),
    flag(
        &["-W"],
        "SECS",
        PRINTS,
        Opt::Wait,
        "end so long after the connection was made, with code 27; 10s and 5m are taken as well",
    ),
    flag(
        &["-E"],
        "",
        SUB,
        Opt::ExitSubscribed,
        "end once the broker has answered the subscriptions",
    ),
];
