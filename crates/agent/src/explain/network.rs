//! `T001` to `T049`: what can go wrong on the way to the broker: the route, the name, the port, the
//! proxy.

use super::{Evidence, Explanation, Note};

/// The table, in the order of the codes.
pub(super) const TABLE: &[Explanation] = &[
    Explanation {
        code: "T001",
        title: "this program cannot dial the endpoint",
        cause: "The settings contradict each other, or the build lacks what the endpoint asks for: \
                a WebSocket, for example, or a proxy for a Unix socket.",
        verify: "The message names the two that do not fit.",
        fix: "Do what the message says, or choose another endpoint.",
        notes: &[],
    },
    Explanation {
        code: "T010",
        title: "there is no route to the broker",
        cause: "The link is down, has no address or no default route, or the network on the way \
                says that the host cannot be reached.",
        verify: "Run `ip route get ADDRESS` with an address of the broker, and `ip link`.",
        fix: "Bring the link up; check the gateway, and whether the modem or the access point \
                has let the device in.",
        notes: &[],
    },
    Explanation {
        code: "T020",
        title: "the broker's name does not exist",
        cause: "The name servers answered that there is no such name, or that it has no address.",
        verify: "Run `getent hosts NAME`, and the same on a machine of another network.",
        fix: "Correct the name in the endpoint.",
        notes: &[
            Note {
                provider: "AWS IoT",
                text: "The name is particular to the account and the region and contains `-ats`; \
                    `aws iot describe-endpoint --endpoint-type iot:Data-ATS` prints it.",
                evidence: Evidence::Documented,
            },
            Note {
                provider: "Azure Event Grid",
                text: "The host for MQTT contains `.ts.eventgrid.`; the one for HTTP does not \
                    speak MQTT.",
                evidence: Evidence::Reported,
            },
        ],
    },
    Explanation {
        code: "T021",
        title: "no name server answers",
        cause: "The link works and nobody answers questions for names, or the answers do not come \
                back.",
        verify: "Run `resolvectl status` or read `/etc/resolv.conf`, then ask one of the servers \
                directly with `dig @SERVER NAME`.",
        fix: "Have the network hand out a name server that answers, or let port 53 pass.",
        notes: &[],
    },
    Explanation {
        code: "T030",
        title: "the broker's port refuses connections",
        cause: "A machine is there, and nobody listens at this port; or a firewall says so in its \
                place.",
        verify: "Run `nc -vz HOST PORT` from the same network.",
        fix: "Correct the port, start the broker, or have the firewall let the port pass.",
        notes: &[Note {
            provider: "Mosquitto",
            text: "Without a `listener` line, version 2 listens on the loopback interface \
                    alone.",
            evidence: Evidence::Documented,
        }],
    },
    Explanation {
        code: "T031",
        title: "the broker does not answer",
        cause: "Packets to this address and port vanish: a firewall drops them, the address is \
                old, or the machine is off.",
        verify: "Try other ports of the same host, with `nc -vz HOST 443` for example; if they \
                answer, it is a firewall.",
        fix: "Have port 8883 let pass, or use port 443 if the provider speaks MQTT there.",
        notes: &[Note {
            provider: "AWS IoT",
            text: "Port 443 takes MQTT if the client offers `x-amzn-mqtt-ca` by ALPN.",
            evidence: Evidence::Documented,
        }],
    },
    Explanation {
        code: "T032",
        title: "the connection was broken off while it was made",
        cause: "The other end, or a device between, sent a reset before anything was said.",
        verify: "Capture the packets with `tcpdump tcp port PORT` and look who sends the reset, and \
                after which packet.",
        fix: "Check the address and the port, and ask whoever runs the firewall on the way.",
        notes: &[],
    },
    Explanation {
        code: "T033",
        title: "the system does not let the program connect",
        cause: "The system has run out of ports or files, forbids the connection, or does not have \
                the local address or the interface that was asked for.",
        verify: "The message names what the system said.",
        fix: "Correct the local address or the interface, or the limits and the firewall of this \
                machine.",
        notes: &[],
    },
    Explanation {
        code: "T040",
        title: "the proxy wants a user and a password",
        cause: "The proxy answered 407, or 401, and was given none, or those given are wrong.",
        verify: "Run `curl -v -x http://PROXY https://HOST:PORT` with the same credentials.",
        fix: "Write the proxy as `http://USER:PASSWORD@HOST:PORT`, special characters \
                percent-encoded.",
        notes: &[],
    },
    Explanation {
        code: "T041",
        title: "the proxy forbids the connection",
        cause: "The proxy answered 403: it lets no CONNECT pass to this host or port.",
        verify: "Look for the attempt in the log of the proxy.",
        fix: "Have the proxy's administrator allow CONNECT to the broker's host and port.",
        notes: &[],
    },
    Explanation {
        code: "T042",
        title: "the proxy cannot reach the broker",
        cause: "The proxy answered that it could not connect, or not in time.",
        verify: "Look for the attempt in the log of the proxy.",
        fix: "Check the broker's name and port, and whether the proxy can look up the name.",
        notes: &[],
    },
    Explanation {
        code: "T043",
        title: "what answers is no HTTP proxy",
        cause: "The address of the proxy leads to something else, or it closed the connection \
                without an answer.",
        verify: "Run `curl -v -x http://PROXY http://example.org`.",
        fix: "Correct the proxy's host and port; TLS towards the proxy is not spoken.",
        notes: &[],
    },
];
