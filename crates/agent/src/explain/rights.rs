//! `T1##`: what the broker lets the device do, and what stands in the way beside the connection.

use super::{Evidence, Explanation, Note};

/// The table, in the order of the codes.
pub(super) const TABLE: &[Explanation] = &[
    Explanation {
        code: "T100",
        title: "the broker forbids a subscription",
        cause: "The rights of this device do not cover the topic filter, or cover it in another \
                form than it is asked for.",
        verify: "`agent doctor` asks for each filter by itself and names those that are refused.",
        fix: "Add the statement that the doctor prints to the rights of the device.",
        notes: &[Note {
            provider: "AWS IoT",
            text: "A subscription needs `iot:Subscribe` on `topicfilter/...`, and to get the \
                    messages `iot:Receive` on `topic/...`.",
            evidence: Evidence::Reported,
        }],
    },
    Explanation {
        code: "T101",
        title: "the broker forbids a topic",
        cause: "The rights of this device do not cover publishing to the topic.",
        verify: "`agent doctor` publishes to a leaf `doctor` below each topic, with `--touch` to each \
                 topic itself, and names those that are refused.",
        fix: "Add the statement that the doctor prints to the rights of the device.",
        notes: &[],
    },
    Explanation {
        code: "T102",
        title: "a message is acknowledged and not seen back",
        cause: "In MQTT 3.1.1 a broker has no answer to a message that is forbidden: many acknowledge \
                it and drop it. Others grant a subscription and let nothing through to whoever may not \
                read. So either the right to publish is missing, or the right to read, or the broker \
                is slow.",
        verify: "Subscribe to the topic with another client that may, and publish again: what that one \
                 gets the device may publish.",
        fix: "Let the device publish to the topic, in the broker's access list; a device that is not to \
              read the topic needs nothing more.",
        notes: &[],
    },
    Explanation {
        code: "T103",
        title: "another client connects with the id of this device",
        cause: "A broker has one connection for each client id: the newer one ends the older one, which \
                comes back and ends the newer one.",
        verify: "Look for the id in the broker's log: it comes from two addresses.",
        fix: "Give each device an id of its own; look for a copied image, and for a tool that was left \
              running with the id of the device.",
        notes: &[],
    },
    Explanation {
        code: "T104",
        title: "the configuration asks for more than the profile allows",
        cause: "What the agent is to publish or subscribe to is beyond a limit of the provider's \
                profile; one that the profile only assumes is a warning.",
        verify: "The text names the limit, how much was found and how much may be.",
        fix: "Change the topic or the number of subscriptions, or set the limit in `[limits]` if the \
              provider allows more to this account.",
        notes: &[],
    },
    Explanation {
        code: "T105",
        title: "the port speaks TLS, and the endpoint is plain text",
        cause: "The scheme of the endpoint decides whether there is TLS: `mqtt://` has none.",
        verify: "`agent doctor` tries a TLS handshake at the port.",
        fix: "Write `mqtts://` for `mqtt://` in the endpoint.",
        notes: &[],
    },
    Explanation {
        code: "T106",
        title: "the clock of this device is wrong",
        cause: "It shows a time that is past for certain, as that of a device does without a battery \
                before it has learned the time; or one that is years after this program was made.",
        verify: "Compare `date -u` with a clock.",
        fix: "Let the device learn the time, by NTP for example; the agent goes on connecting, and judges \
              certificates as of the earliest time that it can be.",
        notes: &[],
    },
    Explanation {
        code: "T107",
        title: "the name of a public broker leads to an address inside the network",
        cause: "The name servers of this network give answers of their own: a portal wants somebody to \
                log in, or names are looked up in another way inside.",
        verify: "Look the name up at another name server, or open a page in a browser on this network.",
        fix: "Log in to the portal, or use a network or a name server that answers with the broker's own \
              address.",
        notes: &[],
    },
    Explanation {
        code: "T108",
        title: "the device's certificate is not valid now",
        cause: "The time is outside the dates of the certificate, or the clock of the device is wrong.",
        verify: "Compare the dates that the doctor shows with a clock.",
        fix: "Correct the clock if it is wrong, else renew the certificate.",
        notes: &[],
    },
];
