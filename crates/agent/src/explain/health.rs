//! Health conditions, by name: what the agent goes on working with, and somebody should know.

use super::Explanation;

/// The table, in the order of the names.
pub(super) const TABLE: &[Explanation] = &[
    Explanation {
        code: "blocked",
        title: "the cloud asked to be left alone",
        cause: "The cloud sent `agent.block`: until the time that it named no connection is made.",
        verify: "`agent status` says for how long.",
        fix: "Wait, or have the cloud send `agent.resume`.",
        notes: &[],
    },
    Explanation {
        code: "clock-implausible",
        title: "the clock shows a time that is past",
        cause: "The clock is before the time at which the program was built, as on a device without \
                a battery. Certificates are judged as of the earliest time that it can be.",
        verify: "Compare `date` with a clock.",
        fix: "Have the clock set by the network before the agent starts; see T106.",
        notes: &[],
    },
    Explanation {
        code: "config-rejected",
        title: "the present configuration is not in use",
        cause: "It has a fault. The agent runs on the last good one, or on the one that it had \
                before the reload.",
        verify: "`agent check-config` says what is wrong.",
        fix: "Correct it, then `agent reload`.",
        notes: &[],
    },
    Explanation {
        code: "duplicate-identity",
        title: "two clients seem to have the same client id",
        cause: "The broker ended several connections in a row soon after it accepted them, as it \
                does when another client with this id connects.",
        verify: "Look in the broker's log for connects of this id from elsewhere: a copied image, a \
                test client.",
        fix: "Give each device an id of its own.",
        notes: &[],
    },
    Explanation {
        code: "handler-stalled",
        title: "a message is not handled",
        cause: "What a message was given to does not return, or its output is not read; it holds \
                back the acknowledgements of all later ones.",
        verify: "`agent fibers` shows what each fiber waits for.",
        fix: "Have the reader of the output go on, or correct the handler.",
        notes: &[],
    },
    Explanation {
        code: "link-stuck",
        title: "nothing happens to the connection",
        cause: "What keeps the connection did not do in time what it promised, which is a fault of \
                the program or of the machine.",
        verify: "`agent fibers` shows what each fiber waits for.",
        fix: "The watchdog of the unit starts the agent again; report the output.",
        notes: &[],
    },
    Explanation {
        code: "memory",
        title: "little memory is left",
        cause: "The agent, or what it started, needs nearly all that its control group may have.",
        verify: "The text beside it says how much is in use; look at `MemoryMax` of the unit.",
        fix: "Have fewer messages wait (`[queue] max_bytes`), or allow the unit more.",
        notes: &[],
    },
    Explanation {
        code: "offline",
        title: "there is no connection",
        cause: "The text beside it has the cause of the last attempt. It is tried again, more and \
                more slowly.",
        verify: "`agent doctor` says what stands in the way.",
        fix: "What the doctor names first.",
        notes: &[],
    },
    Explanation {
        code: "queue-dropped",
        title: "messages were dropped",
        cause: "The queue was full, or a message was too old to be sent, as `[queue]` says.",
        verify: "`agent status` counts them.",
        fix: "Find out why so much waits; else set a larger `[queue] max_messages` or `max_bytes`.",
        notes: &[],
    },
    Explanation {
        code: "queue-failing",
        title: "the queue cannot write to its disk",
        cause: "The disk is full, read-only or broken. What is published is in memory alone.",
        verify: "The log has a code `S###` for it.",
        fix: "What stands there about it.",
        notes: &[],
    },
    Explanation {
        code: "refused-topic",
        title: "the broker hangs up on one packet again and again",
        cause: "Several connections in a row ended by the broker with the same packet sent first of \
                those that were not acknowledged: it may not publish or subscribe there.",
        verify: "The text beside it names the packet; `agent doctor --takeover` tries each right by \
                itself.",
        fix: "Give the device the right to it, with the statement that the doctor prints, or take \
                the topic out of the configuration.",
        notes: &[],
    },
    Explanation {
        code: "service-ended",
        title: "a service ended that was to go on",
        cause: "A part of the agent, or of the program on it, failed. It was begun again.",
        verify: "The text beside it and the log name the service and how it ended.",
        fix: "Report it, or correct the program.",
        notes: &[],
    },
    Explanation {
        code: "state-readonly",
        title: "the state directory cannot be written",
        cause: "It is mounted read-only, belongs to another user, or is not there. The queue is in \
                memory, and nothing that changes is kept.",
        verify: "Try to write a file there as the user of the agent.",
        fix: "Mount it writable, or set `[state] dir`; then start the agent again.",
        notes: &[],
    },
    Explanation {
        code: "subscribe-refused",
        title: "the broker refuses subscriptions",
        cause: "It answered SUBSCRIBE with 0x80 for the filters that the text beside it names.",
        verify: "See T100.",
        fix: "Give the device the right to these filters.",
        notes: &[],
    },
    Explanation {
        code: "throttled",
        title: "messages wait for the allowed rate",
        cause: "More is published than `[limits] publish_rate`, the profile, or the cloud by \
                `agent.throttle` allows.",
        verify: "`agent status` shows the rate and how much waits.",
        fix: "Publish less, or raise the limit where the broker allows more.",
        notes: &[],
    },
];
