//! What a socket counts of the bytes that pass it.

use std::io::{Read as _, Write as _};

use safe_rt::{Socket, TlsVersion, Traffic};

use crate::support::{ROOMY, connected, paused};

#[test]
fn bytes_are_counted_both_ways_whichever_call_moves_them() {
    paused(|| {
        let (ours, theirs) = fiber::net::pipe(64);
        let (ours, theirs) = (Socket::from(ours), Socket::from(theirs));
        assert_eq!(ours.traffic(), Traffic::default());
        (&ours).write_all(&[1; 50]).expect("room");
        assert_eq!(ours.try_write(&[2; 50]).expect("a pipe"), Some(14));
        assert_eq!(ours.try_write(&[3]).expect("a pipe"), None);
        let mut buf = [0; 40];
        (&theirs).read_exact(&mut buf).expect("bytes");
        assert_eq!(theirs.try_read(&mut buf).expect("bytes"), Some(24));
        assert_eq!(theirs.try_read(&mut buf).expect("a pipe"), None);
        let (sent, received) = (ours.traffic(), theirs.traffic());
        assert_eq!((sent.sent, sent.wire_sent, sent.received), (64, 64, 0));
        assert_eq!((received.received, received.wire_received), (64, 64));
        assert_eq!((received.sent, received.wire_sent), (0, 0));
    });
}

#[test]
fn over_tls_the_wire_is_counted_apart_and_both_ends_agree() {
    for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
        paused(move || {
            let (client, server) = connected(version, ROOMY);
            let handshake = client.traffic();
            assert_eq!((handshake.sent, handshake.received), (0, 0));
            assert!(handshake.wire_sent > 0 && handshake.wire_received > 0);
            (&client).write_all(&[7; 10_000]).expect("room");
            (&client).flush().expect("room");
            let mut text = [0; 10_000];
            (&server).read_exact(&mut text).expect("the text");
            let (client, server) = (client.traffic(), server.traffic());
            assert_eq!((client.sent, server.received), (10_000, 10_000));
            assert!(client.wire_sent > handshake.wire_sent + 10_000);
            assert_eq!(client.wire_sent, server.wire_received, "{version:?}");
        });
    }
}
