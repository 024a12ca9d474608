"""What is published arrives: MQTT 3.1.1, sections 3.3, 3.8, 3.10 and 4.3 to 4.7."""

from steps import Peer, expect, main, wait_for


def every_qos(port):
    """The lower one of both ends counts (3.8.4)."""
    writer = Peer(port, "writer").connect()
    for granted in (0, 1, 2):
        reader = Peer(port, f"reader-{granted}").connect().subscribe([("a/+", granted)])
        for qos in (0, 1, 2):
            writer.publish("a/b", f"{qos}", qos)
            reader.expect_messages([f"a/b={qos} q{min(qos, granted)}"])
        reader.expect_nothing()
        reader.disconnect()


def retained(port):
    """3.3.1-5 to 3.3.1-12."""
    writer = Peer(port, "writer").connect()
    early = Peer(port, "early").connect().subscribe([("#", 2)])
    for qos in (0, 1, 2):
        writer.publish(f"state/{qos}", "old", qos, retain=True)
        writer.publish(f"state/{qos}", "new", qos, retain=True)
        writer.publish(f"state/{qos}", "", qos, retain=qos == 0)
    # Whoever was there gets every one, and none is marked.
    wanted = [f"state/{qos}={text} q{qos}" for qos in (0, 1, 2) for text in ("old", "new", "")]
    early.expect_messages(wanted)
    # The empty one with RETAIN removed the first, those without RETAIN nothing.
    late = Peer(port, "late").connect().subscribe([("state/+", 1)])
    late.expect_messages(["state/1=new q1 retain", "state/2=new q1 retain"])
    late.expect_nothing()
    # Each subscription anew brings them anew (3.8.4-3).
    late.subscribe([("state/2", 2)])
    late.expect_messages(["state/2=new q2 retain"])
    late.subscribe([("state/2", 0)])
    late.expect_messages(["state/2=new q0 retain"])
    early.expect_nothing()


def overlapping_filters(port):
    """One copy at the highest QoS that was granted (3.3.5-1)."""
    reader = Peer(port, "reader").connect()
    reader.subscribe([("a/#", 0), ("a/+/c", 2), ("a/b/c", 1), ("+/b/#", 1)])
    writer = Peer(port, "writer").connect()
    for qos in (2, 1, 0):
        writer.publish("a/b/c", "x", qos)
        reader.expect_messages([f"a/b/c=x q{qos}"])
    writer.publish("a/b", "y", 2)
    reader.expect_messages(["a/b=y q1"])
    reader.expect_nothing()


def dollar_topics(port):
    """No filter that begins with a wildcard matches them (4.7.2-1)."""
    all_of_it = Peer(port, "all").connect().subscribe([("#", 2), ("+/x", 2), ("+/#", 2)])
    named = Peer(port, "named").connect().subscribe([("$own/#", 1), ("$own/+", 1)])
    writer = Peer(port, "writer").connect()
    writer.publish("$own/x", "hidden", 1, retain=True)
    named.expect_messages(["$own/x=hidden q1"])
    late = Peer(port, "late").connect().subscribe([("#", 2), ("+/x", 2)])
    writer.publish("own/x", "seen", 1)
    for peer in (all_of_it, late):
        peer.expect_messages(["own/x=seen q1"])
        peer.expect_nothing()


def unsubscribe(port):
    """3.10.4; only the very same text ends a subscription (3.10.4-1)."""
    reader = Peer(port, "reader").connect().subscribe([("a/#", 1), ("b", 1), ("c", 1)])
    writer = Peer(port, "writer").connect()
    # Whether it is there or not, it is answered (3.10.4-5).
    reader.unsubscribe(["a/+", "b", "never"])
    for topic in ("a/x", "b", "c"):
        writer.publish(topic, "1", 1)
    reader.expect_messages(["a/x=1 q1", "c=1 q1"])
    reader.expect_nothing()
    reader.unsubscribe(["a/#"])
    writer.publish("a/x", "2", 1)
    writer.publish("c", "2", 1)
    reader.expect_messages(["c=2 q1"])
    reader.expect_nothing()


def large(port):
    """A mebibyte both ways, and no payload at all."""
    reader = Peer(port, "reader").connect().subscribe([("large", 2)])
    writer = Peer(port, "writer").connect()
    for qos in (0, 1, 2):
        writer.publish("large", "x" * (1024 * 1024), qos)
        writer.publish("large", "", qos)
        reader.expect_messages([f"large=1048576 bytes of x q{qos}", f"large= q{qos}"])


def in_order(port):
    """Messages of one topic and QoS stay in order (4.6.0-6), far beyond any window."""
    count = 3000
    reader = Peer(port, "reader").connect().subscribe([("n/+", 2)])
    writer = Peer(port, "writer").connect()
    for number in range(count):
        for qos in (0, 1, 2):
            last = writer.start_publish(f"n/{qos}", f"{number}", qos)
        # What waits for a client is bounded: a reader that is slow for good would lose the oldest.
        wait_for(lambda: len(reader.came) >= 3 * (number + 1) - 1500, "a part of the messages")
    writer.wait_published(last)
    wait_for(lambda: len(reader.came) >= 3 * count, "all messages")
    for qos in (0, 1, 2):
        found = [text for text in reader.came if text.startswith(f"n/{qos}=")]
        expect(found, [f"n/{qos}={number} q{qos}" for number in range(count)], f"QoS {qos}")
    reader.came.clear()
    reader.expect_nothing()


if __name__ == "__main__":
    scenarios = [
        every_qos,
        retained,
        overlapping_filters,
        dollar_topics,
        unsubscribe,
        large,
        in_order,
    ]
    main({scenario.__name__: scenario for scenario in scenarios})
