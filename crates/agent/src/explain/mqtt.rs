//! `T080` to `T099`: what can go wrong with MQTT: CONNECT, and what ends the connection later.

use super::{Evidence, Explanation, Note};

/// The table, in the order of the codes.
pub(super) const TABLE: &[Explanation] = &[
    Explanation {
        code: "T080",
        title: "the broker does not speak this version of MQTT",
        cause: "The broker refused the protocol level of MQTT 3.1.1 (return code 1).",
        verify: "Look up which versions the broker is set up for.",
        fix: "Have the broker allow MQTT 3.1.1.",
        notes: &[],
    },
    Explanation {
        code: "T081",
        title: "the broker refuses the client id",
        cause: "The id has a form or a length that the broker does not take, or is not the one \
                that the credentials are for (return code 2).",
        verify: "Look for the attempt in the broker's log.",
        fix: "Give the id that the broker expects.",
        notes: &[Note {
            provider: "Azure Event Grid",
            text: "The id must be the authentication name of a registered client.",
            evidence: Evidence::Reported,
        }],
    },
    Explanation {
        code: "T082",
        title: "the broker is not available",
        cause: "The broker is there and does not take connections at the moment (return code 3).",
        verify: "Look at the provider's status page, or at the broker's log.",
        fix: "Nothing to do on the device: it tries again, more and more slowly.",
        notes: &[],
    },
    Explanation {
        code: "T083",
        title: "the broker refuses user name or password",
        cause: "One of the two is wrong (return code 4).",
        verify: "Try the same pair with `agent sub -h HOST -u USER --pw-file FILE -t '$SYS/#' -C \
                1`.",
        fix: "Correct them; look for a line end at the end of a password file that the broker \
                counts.",
        notes: &[Note {
            provider: "AWS IoT",
            text: "The answer comes from a custom authorizer: the broker itself knows no \
                    passwords.",
            evidence: Evidence::Reported,
        }],
    },
    Explanation {
        code: "T084",
        title: "the broker does not authorize the connection",
        cause: "The credentials are known and may not connect, now or at all (return code 5). \
                Brokers say so also for a quota that is used up and for a client that is banned for \
                a while.",
        verify: "Look for the attempt in the broker's log, and at the quota of the account.",
        fix: "Give the client the right to connect; wait if it was a ban: the agent never takes \
                this answer for a final one.",
        notes: &[
            Note {
                provider: "EMQX",
                text: "A client that reconnects too often is banned for a while.",
                evidence: Evidence::Reported,
            },
            Note {
                provider: "HiveMQ Cloud",
                text: "An account over its quota is refused with this code.",
                evidence: Evidence::Reported,
            },
            Note {
                provider: "Azure Event Grid",
                text: "The client's name and its authentication name must be the same.",
                evidence: Evidence::Reported,
            },
            Note {
                provider: "Mosquitto",
                text: "`allow_anonymous` is off in version 2 once there is a listener.",
                evidence: Evidence::Documented,
            },
        ],
    },
    Explanation {
        code: "T085",
        title: "the broker accepts no connection in time",
        cause: "The transport stands, TLS included, and the answer to CONNECT does not come.",
        verify: "Look at the broker's load and its log.",
        fix: "Wait; raise the time for connecting on slow links.",
        notes: &[],
    },
    Explanation {
        code: "T086",
        title: "the broker closed the connection before it answered",
        cause: "The credentials or the client id may not connect, and the broker says so by \
                hanging up.",
        verify: "Look for the attempt in the broker's log.",
        fix: "Check that the certificate or the user may connect with this very client id.",
        notes: &[Note {
            provider: "AWS IoT",
            text: "No policy with `iot:Connect` for this client id, or the certificate is \
                    inactive; when it is registered just in time, the first connections are \
                    always cut.",
            evidence: Evidence::Reported,
        }],
    },
    Explanation {
        code: "T090",
        title: "the broker closed the connection without a word",
        cause: "The broker did not like what was sent last, took another client with the same id \
                for this one, or was restarted.",
        verify: "The disconnect line tells what was sent last and whether it was acknowledged: a \
                publish or subscribe that never is, is forbidden; two clients that throw each other \
                off alternate.",
        fix: "Give the client the right to that topic; give each device an id of its own.",
        notes: &[
            Note {
                provider: "AWS IoT",
                text: "A forbidden publish or subscribe, a message of QoS 2, a second client \
                    with the same id, more than 8 filters in one packet or more than 8 levels \
                    in a topic all end like this.",
                evidence: Evidence::Reported,
            },
            Note {
                provider: "EMQX",
                text: "With `deny_action = disconnect` a forbidden topic ends like this.",
                evidence: Evidence::Reported,
            },
        ],
    },
    Explanation {
        code: "T091",
        title: "the connection went dead",
        cause: "Nothing came in answer to a ping: the link is gone, or a device between has \
                forgotten the connection.",
        verify: "Look whether it happens after the same time of silence each time.",
        fix: "Shorten `keep_alive` below the idle time of the network, often 5 minutes and less \
                on mobile links.",
        notes: &[],
    },
    Explanation {
        code: "T092",
        title: "the broker took no bytes for too long",
        cause: "The link is too slow for what is sent, or it is gone and nobody said so.",
        verify: "Watch the send queue with `ss -ti`.",
        fix: "Send less at once; check the link's quality.",
        notes: &[],
    },
    Explanation {
        code: "T093",
        title: "the transport failed",
        cause: "The system reports that the connection is broken: reset by the other end, or no \
                longer routed.",
        verify: "The message names what the system said.",
        fix: "Nothing to do if it is rare: the agent connects again.",
        notes: &[],
    },
    Explanation {
        code: "T094",
        title: "the broker sent what is no MQTT",
        cause: "A packet is malformed or larger than what is taken, or the port belongs to another \
                protocol.",
        verify: "Capture the packets, or try with another client.",
        fix: "Check the port; report it to the broker's makers.",
        notes: &[],
    },
    Explanation {
        code: "T095",
        title: "the broker broke the protocol",
        cause: "A packet came that must not come at this point.",
        verify: "The message names the packet.",
        fix: "Report it to the broker's makers; try another version of the broker.",
        notes: &[],
    },
    Explanation {
        code: "T096",
        title: "there was no room for what arrived",
        cause: "Messages came faster than they were handled, for too long.",
        verify: "Look at `agent status`: how many messages wait to be handled.",
        fix: "Make the handler faster, or ask for less with narrower filters.",
        notes: &[],
    },
    Explanation {
        code: "T097",
        title: "there are no credentials for the connection",
        cause: "The file, the variable or the program that gives them has failed.",
        verify: "The message names it.",
        fix: "Make the file readable for the agent's user, or set the variable.",
        notes: &[],
    },
    Explanation {
        code: "T098",
        title: "the settings make no CONNECT",
        cause: "The client id, the user name, the password or the will is longer than a packet has \
                room for, or contains a character that MQTT does not allow.",
        verify: "The message names the field.",
        fix: "Shorten it, or remove the character.",
        notes: &[],
    },
    Explanation {
        code: "T099",
        title: "the program has a fault",
        cause: "A part of the program failed that must not fail.",
        verify: "The log holds a line with the place.",
        fix: "Report it, with that line and the version.",
        notes: &[],
    },
];
