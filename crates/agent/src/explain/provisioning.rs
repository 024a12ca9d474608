//! `P###`: what can go wrong while a device gets or renews its identity.

use super::{Evidence, Explanation, Note};

/// The table, in the order of the codes.
pub(super) const TABLE: &[Explanation] = &[
    Explanation {
        code: "P001",
        title: "there is nothing to introduce the device with",
        cause: "No claim certificate and no token can be used: the files are not there, do not \
                belong together, or were never named.",
        verify: "Run `agent provision --dry-run`: it names the file and what is wrong with it.",
        fix: "Name the claim certificate and its key, or a token, in `[provision]`, readable for \
                the agent. Once used, a claim is kept in the state directory.",
        notes: &[],
    },
    Explanation {
        code: "P002",
        title: "the provisioning cloud cannot be reached",
        cause: "The connection with the claim or the token did not come about, or it ended before \
                the answer.",
        verify: "The message has the cause; `agent provision --dry-run` connects and subscribes as the \
                 agent does, `agent doctor` checks the way there step by step.",
        fix: "Mend the way there. The agent goes on by itself: what was made so far is kept, and \
                an identity that is in use stays in use.",
        notes: &[Note {
            provider: "AWS IoT",
            text: "The policy of the claim certificate must allow `iot:Connect` for the client \
                    identifier, and `iot:Publish`, `iot:Receive` and `iot:Subscribe` for \
                    `$aws/certificates/create-from-csr/*` and \
                    `$aws/provisioning-templates/TEMPLATE/provision/*`; what it forbids ends the \
                    connection without a reason.",
            evidence: Evidence::Documented,
        }],
    },
    Explanation {
        code: "P003",
        title: "the provisioning cloud does not answer",
        cause: "The request was sent and nothing came back in time.",
        verify: "See whether the request arrived in the logs of the cloud.",
        fix: "Check that the device may receive under the topics of the answers. The same request \
                is made again by itself.",
        notes: &[],
    },
    Explanation {
        code: "P004",
        title: "the provisioning cloud refused",
        cause: "The cloud understood the request and said no: the serial number is not in its list, \
                the claim may not provision, or a parameter is missing.",
        verify: "The message has the status, the code and the words of the cloud, and the \
                parameters that were sent.",
        fix: "Correct the parameters in `[provision]`, or have the device let in at the cloud. The \
                agent asks again, at last once a day, with the same key; after a restart of the agent, \
                or by `agent provision` while it is stopped, at once.",
        notes: &[],
    },
    Explanation {
        code: "P005",
        title: "the device waits to be claimed",
        cause: "The cloud knows the device and waits for a person to say whose it is.",
        verify: "The message has the address to claim it at, if the cloud gave one.",
        fix: "Claim the device there. The agent sees it by itself; `agent provision --status` tells \
                the address again.",
        notes: &[],
    },
    Explanation {
        code: "P006",
        title: "the answer of the provisioning cloud is not understood",
        cause: "Something that must be in the answer is not there, or the answer is none of the \
                contract: a captive portal answers like that.",
        verify: "The message says what was expected; compare docs/provisioning.md.",
        fix: "Correct the address of the cloud, or the cloud.",
        notes: &[],
    },
    Explanation {
        code: "P007",
        title: "the new identity is not proven",
        cause: "The certificate is there, and a connection with it was not accepted, not allowed \
                to subscribe and to publish, or did not stay.",
        verify: "The message says which of these it was, and the topic.",
        fix: "Attach a policy to the certificate that lets this client identifier connect, and \
                subscribe and publish under the topic of the proof. Until then the identity before \
                it stays in use, and the same certificate is tried again.",
        notes: &[],
    },
    Explanation {
        code: "P008",
        title: "the new identity cannot be kept",
        cause: "The state directory cannot be written, the disk is full, or no key could be made.",
        verify: "Run `df` and `touch` in the state directory as the user of the agent.",
        fix: "Make room, or make the directory writable. Nothing that was kept before is lost.",
        notes: &[],
    },
    Explanation {
        code: "P009",
        title: "the identity was given up",
        cause: "Somebody at the device, or an order that may, has given its identity up: `agent \
                deprovision`. No restart gets another one.",
        verify: "`agent provision --status` says GivenUp.",
        fix: "Stop the agent, and call `agent provision` as its user: that gets another identity.",
        notes: &[],
    },
];
