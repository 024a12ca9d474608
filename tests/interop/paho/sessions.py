"""What outlives a connection: MQTT 3.1.1, sections 3.1.2.4, 4.1, 4.3 and 4.4."""

from steps import Peer, expect, let_pass, main, wait_for


def offline(port):
    """A kept session gathers QoS 1 and 2 while its client is away (3.1.2-4, 3.1.2-5)."""
    reader = Peer(port, "reader", clean=False).connect().subscribe([("a/#", 2)])
    reader.disconnect()
    writer = Peer(port, "writer").connect()
    for number in range(20):
        for qos in (0, 1, 2):
            writer.publish(f"a/{qos}", f"{number}", qos)
    reader.connect(present=True)
    wait_for(lambda: len(reader.came) >= 40, "all messages")
    for qos in (1, 2):
        kept = [text for text in reader.came if text.startswith(f"a/{qos}")]
        expect(kept, [f"a/{qos}={number} q{qos}" for number in range(20)], "messages")
    reader.came.clear()
    reader.expect_nothing()
    # The subscription is still there.
    writer.publish("a/x", "on", 1)
    reader.expect_messages(["a/x=on q1"])
    reader.disconnect()
    # A clean session ends it, and leaves nothing behind itself (3.1.2-6).
    Peer(port, "reader").connect().disconnect()
    writer.publish("a/x", "lost", 1)
    reader.connect(present=False)
    reader.expect_nothing()


def cut_reader(port):
    """What was not acknowledged comes again, marked as such (4.4.0-1, 3.3.1-1)."""
    reader = Peer(port, "reader", clean=False).connect().subscribe([("a", 2)])
    writer = Peer(port, "writer").connect()
    reader.withhold("puback", "pubrec", "pubcomp")
    for number in range(3):
        writer.publish("a", f"{number}", 1)
    # Of QoS 2 the message is held back by the client until PUBREL.
    writer.publish("a", "3", 2)
    reader.expect_messages(["a=0 q1", "a=1 q1", "a=2 q1"])
    reader.cut()
    reader.withhold_nothing()
    reader.connect(present=True)
    reader.expect_messages(["a=0 q1 dup", "a=1 q1 dup", "a=2 q1 dup"])
    wait_for(lambda: reader.came, "the message of QoS 2")
    expect(reader.came[0].replace(" dup", ""), "a=3 q2", "the message of QoS 2")
    reader.came.clear()
    reader.expect_nothing()
    reader.cut()
    # All was acknowledged.
    reader.connect(present=True)
    reader.expect_nothing()


def cut_reader_before_pubcomp(port):
    """Of a QoS 2 message that was recorded only PUBREL comes again (4.3.3-1)."""
    reader = Peer(port, "reader", clean=False).connect().subscribe([("a", 2)])
    writer = Peer(port, "writer").connect()
    reader.withhold("pubcomp")
    writer.publish("a", "once", 2)
    reader.expect_messages(["a=once q2"])
    reader.cut()
    reader.withhold_nothing()
    reader.connect(present=True)
    reader.expect_nothing()
    writer.publish("a", "next", 2)
    reader.expect_messages(["a=next q2"])


def cut_writer(port):
    """Of what is sent again QoS 2 is passed on once (4.3.3-2), QoS 1 at least once."""
    reader = Peer(port, "reader").connect().subscribe([("a", 2)])
    writer = Peer(port, "writer", clean=False).connect()
    # The broker owes the answer when the connection is lost: it leaves out two acknowledgements.
    mids = [writer.start_publish("a", f"{qos}", qos) for qos in (1, 2)]
    reader.expect_messages(["a=1 q1", "a=2 q2"])
    let_pass()
    expect(writer.published & set(mids), set(), "acknowledged messages")
    writer.cut()
    writer.connect(present=True)
    for mid in mids:
        writer.wait_published(mid)
    reader.expect_messages(["a=1 q1"])
    reader.expect_nothing()
    writer.publish("a", "after", 2)
    reader.expect_messages(["a=after q2"])


def takeover(port):
    """The second connection of a client ends the first (3.1.4-2), and has its session."""
    watcher = Peer(port, "watcher").connect().subscribe([("will", 1)])
    first = Peer(port, "meter", clean=False)
    first.client.will_set("will", "gone", 1)
    first.connect().subscribe([("a", 1)])
    first.withhold("puback")
    writer = Peer(port, "writer").connect()
    writer.publish("a", "1", 1)
    first.expect_messages(["a=1 q1"])
    second = Peer(port, "meter", clean=False).connect(present=True)
    first.expect_end()
    watcher.expect_messages(["will=gone q1"])
    second.expect_messages(["a=1 q1 dup"])
    writer.publish("a", "2", 1)
    second.expect_messages(["a=2 q1"])
    second.expect_nothing()
    expect(first.came, [], "messages of the first connection")


if __name__ == "__main__":
    scenarios = [offline, cut_reader, cut_reader_before_pubcomp, cut_writer, takeover]
    main({scenario.__name__: scenario for scenario in scenarios})
