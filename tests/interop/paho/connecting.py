"""Who may connect and how one leaves: MQTT 3.1.1, sections 3.1, 3.2 and 3.14."""

from steps import Peer, expect, let_pass, main

IDENTIFIER_REJECTED = 2
BAD_CREDENTIALS = 4
NOT_AUTHORIZED = 5


def wills(port):
    """3.1.2-8 to 3.1.2-17: published when a connection is lost, not when its client leaves."""
    watcher = Peer(port, "watcher").connect().subscribe([("will/#", 2)])
    for qos in (0, 1, 2):
        for retain in (False, True):
            topic = f"will/{qos}/{retain}"
            lost = Peer(port, "lost")
            lost.client.will_set(topic, "gone", qos, retain)
            lost.connect().cut()
            watcher.expect_messages([f"{topic}=gone q{qos}"])
    leaving = Peer(port, "leaving")
    leaving.client.will_set("will/left", "gone", 1, True)
    leaving.connect().disconnect()
    watcher.expect_nothing()
    late = Peer(port, "late").connect().subscribe([("will/#", 2)])
    late.expect_messages([f"will/{qos}/True=gone q{qos} retain" for qos in (0, 1, 2)])
    late.expect_nothing()


def hold_a_will(port):
    """Connects with a will, says so, and waits until it is killed."""
    peer = Peer(port, "killed")
    peer.client.will_set("will/killed", "gone", 2, True)
    peer.connect()
    print("connected", flush=True)
    let_pass(60)


def no_identifier(port):
    """Accepted with a clean session, each under an identifier of its own (3.1.3-6, 3.1.3-7), and
    refused without (3.1.3-8, 3.1.3-9)."""
    first = Peer(port, "").connect().subscribe([("a", 1)])
    second = Peer(port, "").connect().subscribe([("a", 1)])
    second.publish("a", "both", 1)
    for peer in (first, second):
        peer.expect_messages(["a=both q1"])
    refused = Peer(port, "", clean=False)
    expect(refused.attempt(), (IDENTIFIER_REJECTED, 0), "CONNACK")
    refused.expect_end()


def credentials(port):
    """3.2.2.3: the broker of this scenario knows `meter` with `secret`, and hates `stranger`."""
    cases = [
        ("meter", "secret", 0),
        ("meter", "wrong", BAD_CREDENTIALS),
        ("meter", None, BAD_CREDENTIALS),
        (None, None, BAD_CREDENTIALS),
        ("stranger", "secret", NOT_AUTHORIZED),
    ]
    for number, (user, password, code) in enumerate(cases):
        peer = Peer(port, f"client-{number}", clean=False)
        if user is not None:
            peer.client.username_pw_set(user, password)
        expect(peer.attempt(), (code, 0), f"CONNACK for {user} with {password}")
        if code != 0:
            peer.expect_end()


def refused_subscription(port):
    """One code for each filter, in their order (3.9.3-1): the broker of this scenario refuses what is
    below `secret`."""
    peer = Peer(port, "reader").connect()
    filters = [("a", 1), ("secret/#", 2), ("b", 2), ("c", 0)]
    peer.subscribe(filters, [1, 0x80, 2, 0])
    for topic in ("a", "secret/x", "b"):
        peer.publish(topic, "1", 2)
    peer.expect_messages(["a=1 q1", "b=1 q2"])
    peer.expect_nothing()


def keep_alive(port):
    """A client that pings stays for as long as it likes (3.12.4-1), one that does not is lost within
    one and a half keep-alives (3.1.2-24)."""
    watcher = Peer(port, "watcher").connect().subscribe([("will", 1)])
    living = Peer(port, "living", keepalive=1)
    living.client.will_set("will", "living", 1)
    living.connect()
    silent = Peer(port, "silent", keepalive=1)
    silent.client.will_set("will", "silent", 1)
    silent.connect()
    silent.live = False
    let_pass(4)
    watcher.expect_messages(["will=silent q1"])
    watcher.expect_nothing()
    expect(living.live, True, "that the client who pings is connected")


if __name__ == "__main__":
    scenarios = [
        wills,
        hold_a_will,
        no_identifier,
        credentials,
        refused_subscription,
        keep_alive,
    ]
    main({scenario.__name__: scenario for scenario in scenarios})
