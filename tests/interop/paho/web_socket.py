"""Paho's client over WebSocket: MQTT 3.1.1, section 6."""

from steps import Peer, main


def exchange(port):
    """6.0.0-3, 6.0.0-4: the sub-protocol is agreed on; packets pass both ways at any length."""
    peer = Peer(port, "web", transport="websockets").connect()
    peer.subscribe([("web/#", 2)])
    for qos in (0, 1, 2):
        for length in (1, 125, 126, 65535, 65536, 300000):
            peer.publish(f"web/{qos}", "x" * length, qos)
            shown = "x" if length == 1 else f"{length} bytes of x"
            peer.expect_messages([f"web/{qos}={shown} q{qos}"])
    peer.disconnect()


if __name__ == "__main__":
    main({"exchange": exchange})
