"""Paho's client in steps that end: whoever waits has a limit, and what is not as expected is told.

A scenario is a function that is given the port of the broker. `main` runs the one that is named on the
command line; the exit status is 0 when all was as expected, 1 with one line when it was not, and 2 when
there is no such scenario.

All clients of a program run on its one thread: waiting is what moves them. None connects again by
itself.
"""

import socket
import struct
import sys
import time

import paho.mqtt.client as mqtt

# Seconds that anything awaited may take.
LIMIT = 15.0
# Seconds in which what must not come would have come.
QUIET = 0.4

PEERS = []


class Unexpected(Exception):
    """Something is not as the standard says."""


def expect(found, wanted, what):
    if found != wanted:
        raise Unexpected(f"{what}: expected {wanted!r}, found {found!r}")


def pump():
    for peer in list(PEERS):
        peer.step()


def wait_for(condition, what):
    """Moves all clients until the condition holds."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > deadline:
            raise Unexpected(f"{what}: nothing came in {LIMIT} s")
        pump()


def let_pass(seconds=QUIET):
    """Moves all clients for a time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        pump()


class Nameless(bytes):
    """An empty identifier that Paho does not take for one: refused, it would choose another and
    connect again by itself."""

    def __eq__(self, other):
        return False

    __hash__ = bytes.__hash__


class Peer:
    """One client and what came to it."""

    def __init__(self, port, client_id, clean=True, keepalive=60, transport="tcp"):
        # Paho makes up an identifier where none is given, and refuses to keep a session without one;
        # what it sends is set behind its back.
        name = client_id or "placeholder"
        if hasattr(mqtt, "CallbackAPIVersion"):
            # From version 2 on.
            self.client = mqtt.Client(
                mqtt.CallbackAPIVersion.VERSION1, name, clean, transport=transport
            )
        else:
            self.client = mqtt.Client(name, clean, transport=transport)
        self.client._client_id = client_id.encode() or Nameless()
        # All that is published leaves at once, as far as the broker's window lets it.
        self.client.max_inflight_messages_set(0)
        self.port = port
        self.keepalive = keepalive
        self.live = False
        self.answer = None
        # What came and was not looked at: texts as `shown` makes them.
        self.came = []
        self.published = set()
        self.granted = {}
        self.unsubscribed = set()
        self.client.on_connect = self._on_connect
        self.client.on_message = lambda _client, _data, message: self.came.append(shown(message))
        self.client.on_publish = lambda _client, _data, mid: self.published.add(mid)
        self.client.on_subscribe = self._on_subscribe
        self.client.on_unsubscribe = lambda _client, _data, mid: self.unsubscribed.add(mid)
        PEERS.append(self)

    def _on_connect(self, _client, _data, flags, code):
        self.answer = (int(code), flags["session present"])

    def _on_subscribe(self, _client, _data, mid, codes):
        self.granted[mid] = [int(code) for code in codes]

    def step(self):
        if self.live and self.client.loop(timeout=0.002) != mqtt.MQTT_ERR_SUCCESS:
            self.live = False

    def attempt(self):
        """Connects; gives the return code and whether there was a session."""
        self.answer = None
        self.client.connect("127.0.0.1", self.port, self.keepalive)
        self.live = True
        wait_for(lambda: self.answer is not None, "CONNACK")
        return self.answer

    def connect(self, present=False):
        """Connects, and must be accepted, with or without a session."""
        expect(self.attempt(), (0, int(present)), "return code and session present of CONNACK")
        return self

    def subscribe(self, filters, codes=None):
        """Subscribes to pairs of filter and QoS, which must be granted as they are asked for, or be
        answered with these codes."""
        _, mid = self.client.subscribe(filters)
        wait_for(lambda: mid in self.granted, "SUBACK")
        wanted = [qos for _, qos in filters] if codes is None else codes
        expect(self.granted[mid], wanted, f"return codes for {filters}")
        return self

    def unsubscribe(self, filters):
        _, mid = self.client.unsubscribe(filters)
        wait_for(lambda: mid in self.unsubscribed, "UNSUBACK")

    def start_publish(self, topic, payload, qos=0, retain=False):
        return self.client.publish(topic, payload, qos, retain).mid

    def wait_published(self, mid):
        wait_for(lambda: mid in self.published, "the end of a PUBLISH")

    def publish(self, topic, payload, qos=0, retain=False):
        """Publishes and waits for the last acknowledgement, of QoS 0 until it is sent."""
        self.wait_published(self.start_publish(topic, payload, qos, retain))

    def expect_messages(self, wanted, any_order=False):
        """The next messages read so, as in `a/b=hi q1 dup retain`."""
        wait_for(lambda: len(self.came) >= len(wanted), f"{wanted} behind {self.came}")
        found, self.came = self.came[: len(wanted)], self.came[len(wanted) :]
        if any_order:
            found, wanted = sorted(found), sorted(wanted)
        expect(found, wanted, "messages")

    def expect_nothing(self):
        let_pass()
        expect(self.came, [], "messages")

    def expect_end(self):
        """The broker must close the connection."""
        wait_for(lambda: not self.live, "the end of the connection")

    def cut(self):
        """Loses the connection without a DISCONNECT: it is reset."""
        linger = struct.pack("ii", 1, 0)
        self.client.socket().setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.client._sock_close()
        self.live = False

    def disconnect(self):
        """Takes its leave."""
        self.client.disconnect()
        self.expect_end()

    def withhold(self, *packets):
        """From now on such packets are not sent: `puback`, `pubrec`, `pubcomp`, `pubrel`."""
        for packet in packets:
            setattr(self.client, f"_send_{packet}", lambda *_args: mqtt.MQTT_ERR_SUCCESS)

    def withhold_nothing(self):
        for name in [name for name in vars(self.client) if name.startswith("_send_")]:
            delattr(self.client, name)


def shown(message):
    dup = " dup" if message.dup else ""
    retain = " retain" if message.retain else ""
    payload = message.payload.decode()
    if len(payload) > 40:
        payload = f"{len(payload)} bytes of {payload[0]}"
    return f"{message.topic}={payload} q{message.qos}{dup}{retain}"


def main(scenarios):
    name, port = sys.argv[1], int(sys.argv[2])
    if name not in scenarios:
        print(f"no scenario `{name}`", file=sys.stderr)
        sys.exit(2)
    try:
        scenarios[name](port)
    except Unexpected as error:
        print(f"{name}: {error}", file=sys.stderr)
        sys.exit(1)
