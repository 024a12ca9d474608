//! `T050` to `T079`: what can go wrong with TLS, and with the WebSocket that may follow it.

use super::{Evidence, Explanation, Note};

/// The table, in the order of the codes.
pub(super) const TABLE: &[Explanation] = &[
    Explanation {
        code: "T050",
        title: "the broker's certificate comes from nobody that is trusted",
        cause: "The file of authorities lacks the one that issued the certificate, or somebody \
                between answers with a certificate of their own.",
        verify: "Run `openssl s_client -connect HOST:PORT -servername HOST -showcerts` and compare \
                the issuer with the file.",
        fix: "Give the provider's current authority; if the issuer is a firm's proxy, have it \
                let this host pass untouched.",
        notes: &[
            Note {
                provider: "AWS IoT",
                text: "The authority is Amazon Root CA 1.",
                evidence: Evidence::Reported,
            },
            Note {
                provider: "HiveMQ Cloud",
                text: "The authority is ISRG Root X1.",
                evidence: Evidence::Reported,
            },
            Note {
                provider: "Azure Event Grid",
                text: "The authority is DigiCert Global Root G3.",
                evidence: Evidence::Reported,
            },
        ],
    },
    Explanation {
        code: "T051",
        title: "the broker's certificate is for another name",
        cause: "The endpoint is an address or an alias that the certificate does not name, or a \
                wrong machine answers.",
        verify: "Run `openssl s_client -connect HOST:PORT -servername HOST` and look at the names \
                with `openssl x509 -noout -ext subjectAltName`.",
        fix: "Write the name that the certificate has in the endpoint.",
        notes: &[Note {
            provider: "AWS IoT",
            text: "A domain of your own needs a certificate of its own at AWS IoT, or the \
                    standard one is sent.",
            evidence: Evidence::Reported,
        }],
    },
    Explanation {
        code: "T052",
        title: "the broker's certificate has expired",
        cause: "The certificate is really old, or the clock of this device is wrong.",
        verify: "Run `date`, and compare it with the dates in the message.",
        fix: "Set the clock first; if it is right, the broker needs a new certificate.",
        notes: &[],
    },
    Explanation {
        code: "T053",
        title: "the broker's certificate is not valid yet",
        cause: "The clock of this device is behind: it stands at 1970 or at the day the system was \
                built, until it has been set.",
        verify: "Run `timedatectl`: it should say that the clock is synchronised.",
        fix: "Let the clock be set, by NTP or from a real-time clock; the agent goes on trying, \
                and deletes nothing.",
        notes: &[],
    },
    Explanation {
        code: "T054",
        title: "the broker's certificate is revoked, or that cannot be told",
        cause: "The certificate is on a revocation list, or the list for it is missing or has \
                expired.",
        verify: "Look at the list with `openssl crl -noout -text -in FILE`.",
        fix: "Bring the lists up to date; if the certificate is on one, talk to whoever runs the \
                broker.",
        notes: &[],
    },
    Explanation {
        code: "T055",
        title: "the broker has none of the pinned keys",
        cause: "The broker's key was changed, or somebody else answers in its place.",
        verify: "Compare the pins in the message with those that the operator published.",
        fix: "Pin the new key if the operator confirms it, and only then.",
        notes: &[],
    },
    Explanation {
        code: "T056",
        title: "the broker's certificate fails a check",
        cause: "The certificate is malformed, is not for servers, or uses an algorithm that is no \
                longer accepted.",
        verify: "Run `openssl s_client -connect HOST:PORT -servername HOST` and `openssl x509 \
                -noout -text`.",
        fix: "The broker needs another certificate.",
        notes: &[],
    },
    Explanation {
        code: "T057",
        title: "no application protocol was agreed on",
        cause: "The two sides have no name of an application protocol in common.",
        verify: "Compare `alpn` with what the provider documents for this port.",
        fix: "Write the name that the provider documents, or remove `alpn`.",
        notes: &[Note {
            provider: "AWS IoT",
            text: "Port 443 needs `x-amzn-mqtt-ca`; port 8883 needs none.",
            evidence: Evidence::Documented,
        }],
    },
    Explanation {
        code: "T058",
        title: "what answers does not speak TLS",
        cause: "The port is one for plain MQTT, or a login page of the network answers in the \
                broker's place.",
        verify: "Run `openssl s_client -connect HOST:PORT`; `wrong version number` means that it is \
                plain.",
        fix: "Use the broker's port for TLS, mostly 8883, or open the network's login page once.",
        notes: &[],
    },
    Explanation {
        code: "T059",
        title: "the two sides have no version or algorithm in common",
        cause: "The other end speaks only versions or algorithms that are not safe, or only those \
                that this program does not know.",
        verify: "Run `openssl s_client -connect HOST:PORT -tls1_2`, and the same with `-tls1_3`.",
        fix: "Bring the broker up to date: TLS 1.2 with ECDHE, or TLS 1.3.",
        notes: &[],
    },
    Explanation {
        code: "T060",
        title: "the connection was closed in the TLS handshake",
        cause: "The other end hung up without an alert: it wants the name (SNI) or an application \
                protocol that was not sent, or a device between does not like TLS.",
        verify: "Run `openssl s_client -connect HOST:PORT -servername HOST`, with and without \
                `-alpn`.",
        fix: "Use the broker's name and not its address in the endpoint; give `alpn` where the \
                port needs it.",
        notes: &[
            Note {
                provider: "HiveMQ Cloud",
                text: "Without the name in the handshake the connection is closed.",
                evidence: Evidence::Reported,
            },
            Note {
                provider: "AWS IoT",
                text: "Port 443 without ALPN, and any port without the name, are closed.",
                evidence: Evidence::Reported,
            },
        ],
    },
    Explanation {
        code: "T061",
        title: "the broker refuses the device's certificate",
        cause: "The broker does not know the certificate or its issuer, or it has expired or been \
                revoked; or the broker wants one and was given none. With TLS 1.3 this is seen only \
                after the handshake.",
        verify: "Run `openssl x509 -noout -dates -subject -issuer -in FILE` on the certificate and \
                compare it with what is registered at the broker.",
        fix: "Register the certificate at the broker, or renew it; check the clock, for a wrong \
                one makes it look expired.",
        notes: &[
            Note {
                provider: "AWS IoT",
                text: "The certificate must be active in the account and the region of this \
                    endpoint.",
                evidence: Evidence::Documented,
            },
            Note {
                provider: "Mosquitto",
                text: "The broker's `cafile` must hold the authority that issued the device's \
                    certificate.",
                evidence: Evidence::Documented,
            },
        ],
    },
    Explanation {
        code: "T062",
        title: "the broker ended the handshake with another alert",
        cause: "The other end named a reason that has no code of its own here.",
        verify: "The message names the alert; the broker's log tells more.",
        fix: "Look for this attempt in the log of the broker.",
        notes: &[],
    },
    Explanation {
        code: "T063",
        title: "the bytes of TLS were broken",
        cause: "The other end broke the rules of TLS, or a device between changed bytes or cut the \
                stream off.",
        verify: "Try from another network.",
        fix: "Ask whoever runs the network for devices that look into TLS; report it if it comes \
                from the broker itself.",
        notes: &[],
    },
    Explanation {
        code: "T064",
        title: "the device's key cannot sign",
        cause: "The key, or the module that holds it, failed, was too slow, or belongs to another \
                certificate.",
        verify: "Compare `openssl pkey -pubout -in KEY` with `openssl x509 -noout -pubkey -in \
                CERTIFICATE`.",
        fix: "Give the key that belongs to the certificate; restart the module that holds it.",
        notes: &[],
    },
    Explanation {
        code: "T065",
        title: "TLS failed on this side",
        cause: "This device has no randomness or no clock, or the program used TLS wrongly.",
        verify: "The message names what failed.",
        fix: "Restart the device; report it if it comes again.",
        notes: &[],
    },
    Explanation {
        code: "T066",
        title: "the TLS handshake takes too long",
        cause: "The port is open, and what answers does not go on; or large packets vanish on the \
                way.",
        verify: "Run `ping -M do -s 1400 HOST` to find out whether large packets pass.",
        fix: "Check the port; lower the MTU of the interface, or have the path let ICMP pass.",
        notes: &[],
    },
    Explanation {
        code: "T070",
        title: "the server does not make it a WebSocket",
        cause: "The path or the port is not one for MQTT over WebSocket, or a proxy between takes \
                the request for something else.",
        verify: "Run `curl -v -H 'Upgrade: websocket' URL` and look at the status.",
        fix: "Write the path that the broker documents, mostly `/mqtt`.",
        notes: &[],
    },
];
