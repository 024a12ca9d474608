//! The embedded broker behind a TLS listener on the loopback interface, as the device's cloud would
//! be: client certificates and ALPN demanded, and strangers that speak no TLS. Sockets of the system
//! take real time, so the clock here is not paused.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use fiber::net::{TcpListener, TcpStream};

use mqtt::{
    BROKER_ARRIVALS_MAX, BROKER_CONNECTIONS_MAX, Broker, BrokerOptions, Client, ClientId,
    ClientOptions, Publish, QoS, Wait,
};
use safe_rt::{
    ClientTlsOptions, DialOptions, Endpoint, Identity, Listener, Phase, Scheme, ServerTls,
    ServerTlsOptions, TlsError, TlsErrorKind, Trust,
};
use tests::pki::{self, Pki};

const ALPN: &str = "x-amzn-mqtt-ca";
const ANY_PORT: ([u8; 4], u16) = ([127, 0, 0, 1], 0);
const LIMIT: Duration = Duration::from_secs(20);

fn identity(of: &pki::Identity) -> Identity {
    Identity::from_pem(of.certificate.as_bytes(), of.key.as_bytes()).unwrap()
}

fn options(pki: &Pki, client: &pki::Identity) -> DialOptions {
    let trust = Trust::from_pem(pki.authority.certificate().as_bytes()).unwrap();
    let tls = ClientTlsOptions::new(trust)
        .identity(identity(client))
        .alpn([ALPN])
        .require_alpn()
        .build();
    DialOptions::new().tls(tls.unwrap())
}

fn server_tls(pki: &Pki) -> ServerTls {
    let trust = Trust::from_pem(pki.authority.certificate().as_bytes()).unwrap();
    ServerTlsOptions::new(identity(&pki.server))
        .require_client_certificate(trust)
        .alpn([ALPN])
        .build()
        .unwrap()
}

fn endpoint(address: std::net::SocketAddr) -> Endpoint {
    Endpoint::new(Scheme::Mqtts, &address.to_string()).unwrap()
}

#[track_caller]
fn run(body: impl FnOnce() + 'static) {
    fiber::run(move || fiber::timeout(LIMIT, body))
        .unwrap()
        .unwrap();
}

#[test]
fn devices_with_a_certificate_talk_through_a_tls_listener_and_others_do_not() {
    run(|| {
        let pki = Pki::new();
        let listener = Listener::bind_tls(ANY_PORT.into(), server_tls(&pki)).unwrap();
        let endpoint = endpoint(listener.local_addr().unwrap());
        let broker = Broker::new(BrokerOptions::default());
        broker.serve(listener).unwrap();
        let cloud = broker.subscribe("meter/#").unwrap();

        let socket = safe_rt::dial(&endpoint, &options(&pki, &pki.client)).unwrap();
        assert_eq!(socket.alpn(), Some(ALPN.as_bytes()));
        let device = Client::over(socket, ClientOptions::new(ClientId::new("meter").unwrap()));
        device.connect().unwrap();
        let mut commands = device.subscribe_iter("set", QoS::AtLeastOnce).unwrap();
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let publish = Publish::to("meter/17", "21.5").qos(qos).wait(Wait::Ack);
            device.publish(publish).unwrap();
            let reading = cloud.recv().unwrap();
            assert_eq!(
                (reading.topic(), reading.payload()),
                ("meter/17", &b"21.5"[..])
            );
        }
        broker
            .publish("set", b"4", QoS::AtLeastOnce, false)
            .unwrap();
        assert_eq!(commands.next().unwrap().unwrap().data, b"4");

        // In TLS 1.3 a refused certificate shows only at the first read.
        let stranger =
            safe_rt::dial(&endpoint, &options(&pki, &pki.wrong_authority_client)).map(|socket| {
                let id = ClientId::new("stranger").unwrap();
                Client::over(socket, ClientOptions::new(id)).connect()
            });
        assert!(!matches!(stranger, Ok(Ok(_))), "{stranger:?}");
        assert!(device.is_connected());
        broker.stop();
    });
}

#[test]
fn a_tls_listener_goes_on_serving_whatever_strangers_send() {
    run(|| {
        let pki = Pki::new();
        let listener = Listener::bind_tls(ANY_PORT.into(), server_tls(&pki)).unwrap();
        let address = listener.local_addr().unwrap();
        let broker = Broker::new(BrokerOptions::default());
        broker.serve(listener).unwrap();
        let cloud = broker.subscribe("meter").unwrap();
        let strangers: [&[u8]; 6] = [
            b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02ab",
            b"GET / HTTP/1.1\r\n\r\n",
            &[0; 1000],
            &[0xa5; 1000],
            b"\x16\x03\x01\xff\xff",
            b"\x16",
        ];
        // Those that say nothing, or not enough, stay while the others come.
        let silent = TcpStream::connect(address).unwrap();
        let mut waiting = vec![silent];
        for (number, bytes) in strangers.into_iter().enumerate() {
            let mut stranger = TcpStream::connect(address).unwrap();
            stranger.write_all(bytes).unwrap();
            if bytes.len() == 1 {
                waiting.push(stranger);
            } else {
                // An alert may come first, and a reset is an end as well.
                let _ = stranger.read_to_end(&mut Vec::new());
            }
            drop(TcpStream::connect(address).unwrap());
            let socket = safe_rt::dial(&endpoint(address), &options(&pki, &pki.client)).unwrap();
            let id = ClientId::new(format!("meter-{number}")).unwrap();
            let device = Client::over(socket, ClientOptions::new(id));
            device.connect().unwrap();
            let publish = Publish::to("meter", "21.5").qos(QoS::AtLeastOnce);
            device.publish(publish.wait(Wait::Ack)).unwrap();
            assert_eq!(cloud.recv().unwrap().payload(), b"21.5");
            device.close(LIMIT).unwrap();
        }
        // In its handshake still.
        assert!(broker.stats().connections >= waiting.len());
        broker.stop();
    });
}

/// A server that sends this to each client, then closes or waits for the client to.
fn serve_bytes(bytes: &'static [u8], closes: bool) -> std::net::SocketAddr {
    let listener = TcpListener::bind(ANY_PORT.into()).unwrap();
    let address = listener.local_addr().unwrap();
    fiber::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(bytes).unwrap();
        if !closes {
            let _ = stream.read_to_end(&mut Vec::new());
        }
    })
    .unwrap();
    address
}

#[test]
fn a_device_that_finds_no_tls_at_its_broker_is_told_so() {
    run(|| {
        let pki = Pki::new();
        // What the broker itself says to a ClientHello: nothing.
        let plain = Listener::bind(ANY_PORT.into()).unwrap();
        let plain_address = plain.local_addr().unwrap();
        let broker = Broker::new(BrokerOptions::default());
        broker.serve(plain).unwrap();
        let no_tls = "the server does not speak TLS";
        let (not_tls, closed) = (TlsErrorKind::NotTls, TlsErrorKind::ClosedInHandshake);
        let cases = [
            (serve_bytes(b"\x20\x02\x00\x00", false), not_tls, no_tls),
            (
                serve_bytes(b"HTTP/1.1 400 Bad Request\r\n\r\n", false),
                not_tls,
                no_tls,
            ),
            (serve_bytes(&[0xa5; 1000], false), not_tls, no_tls),
            (
                serve_bytes(b"\x16\x03\x03\xff\xff", false),
                TlsErrorKind::Protocol,
                "the server broke the rules of TLS",
            ),
            (
                plain_address,
                closed,
                "the server closed the connection in the middle of the TLS handshake",
            ),
        ];
        for (address, expected, text) in cases {
            let dialled = safe_rt::dial(&endpoint(address), &options(&pki, &pki.client));
            let error = dialled.map(drop).unwrap_err();
            assert_eq!(error.phase(), Phase::Tls, "{error}");
            let kind = TlsError::of(&error).map(TlsError::kind);
            assert_eq!(kind, Some(expected), "{error}");
            let text = format!("TLS handshake with {address}: {text}");
            assert!(error.to_string().starts_with(&text), "{error}");
        }
        // The plain broker still serves those who speak plainly.
        let socket = TcpStream::connect(plain_address).unwrap();
        let id = ClientId::new("meter").unwrap();
        Client::over(socket, ClientOptions::new(id))
            .connect()
            .unwrap();
        broker.stop();
    });
}

#[test]
fn sessions_and_retained_messages_outlive_stop_and_serve() {
    run(|| {
        let broker = Broker::new(BrokerOptions::default());
        let serve = || {
            let listener = Listener::bind(ANY_PORT.into()).unwrap();
            let address = listener.local_addr().unwrap();
            broker.serve(listener).unwrap();
            address
        };
        let over = |address| {
            let socket = TcpStream::connect(address).unwrap();
            let options = ClientOptions::new(ClientId::new("meter").unwrap()).clean_start(false);
            Client::over(socket, options)
        };
        let address = serve();
        let device = over(address);
        assert!(!device.connect().unwrap());
        let publish = Publish::to("state", "on")
            .qos(QoS::AtLeastOnce)
            .retain(true);
        device.publish(publish.wait(Wait::Ack)).unwrap();
        let commands = device.subscribe_iter("set", QoS::ExactlyOnce).unwrap();
        broker.stop();
        device.ended().unwrap();
        drop(commands);
        assert!(TcpStream::connect(address).is_err(), "nobody listens");
        // Who is away misses nothing.
        for payload in ["1", "2"] {
            broker
                .publish("set", payload, QoS::ExactlyOnce, false)
                .unwrap();
        }
        let device = over(serve());
        let connecting = device.clone();
        let mut connecting = fiber::spawn(move || connecting.connect()).unwrap();
        let commands = device.subscribe_iter("set", QoS::ExactlyOnce).unwrap();
        assert!(connecting.join().unwrap().unwrap(), "the session is there");
        let came: Vec<_> = commands.take(2).map(|message| message.unwrap()).collect();
        assert!(came[0].data == b"1" && came[1].data == b"2", "{came:?}");
        let mut states = device.subscribe_iter("state", QoS::AtLeastOnce).unwrap();
        let state = states.next().unwrap().unwrap();
        assert!(state.retain && state.data == b"on");
        broker.stop();
    });
}

#[test]
fn without_a_place_for_it_a_connection_waits_and_is_not_closed() {
    run(|| {
        let listener = Listener::bind(ANY_PORT.into()).unwrap();
        let address = listener.local_addr().unwrap();
        let broker = Broker::new(BrokerOptions::default());
        broker.serve(listener).unwrap();
        // But one, which the listener has for its next connection.
        let attach = || {
            let (ours, theirs) = fiber::net::pipe(64);
            broker.attach(theirs).unwrap();
            ours
        };
        let all = BROKER_CONNECTIONS_MAX + BROKER_ARRIVALS_MAX;
        fiber::yield_now().unwrap();
        let mut others: Vec<_> = (1..all).map(|_| attach()).collect();
        let _next = TcpStream::connect(address).unwrap();
        let mut late = TcpStream::connect(address).unwrap();
        late.write_all(b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02ab")
            .unwrap();
        let mut answer = [0; 4];
        let early = fiber::timeout(Duration::from_millis(300), || late.read_exact(&mut answer));
        early.expect_err("it waits in the queue");
        assert_eq!(broker.stats().connections, all);
        // What is attached at the bound is closed, as nothing could wait for it.
        assert_eq!((&attach()).read(&mut [0]).unwrap(), 0);
        others.truncate(BROKER_CONNECTIONS_MAX / 2);
        fiber::timeout(LIMIT, || late.read_exact(&mut answer))
            .unwrap()
            .unwrap();
        assert_eq!(answer, *b"\x20\x02\x00\x00");
        broker.stop();
        // The listener gave back what it had reserved, and another can have it.
        let listener = Listener::bind(ANY_PORT.into()).unwrap();
        let address = listener.local_addr().unwrap();
        broker.serve(listener).unwrap();
        let socket = TcpStream::connect(address).unwrap();
        let options = ClientOptions::new(ClientId::new("meter").unwrap());
        Client::over(socket, options).connect().unwrap();
        assert_eq!(broker.stats().connections, 1);
        broker.stop();
    });
}

#[test]
fn without_a_fiber_for_it_a_connection_waits_and_is_not_closed() {
    // The main fiber, the listener's, and two connections, one of which is the next.
    let runtime = fiber::Runtime::builder().fibers_max(4);
    let outcome = runtime.run(|| {
        let listener = Listener::bind(ANY_PORT.into()).unwrap();
        let address = listener.local_addr().unwrap();
        let broker = Broker::new(BrokerOptions::default());
        broker.serve(listener).unwrap();
        let first: Vec<_> = (0..2)
            .map(|_| TcpStream::connect(address).unwrap())
            .collect();
        let mut late = TcpStream::connect(address).unwrap();
        late.write_all(b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02ab")
            .unwrap();
        let mut answer = [0; 4];
        let early = fiber::timeout(Duration::from_millis(300), || late.read_exact(&mut answer));
        early.expect_err("it waits in the queue");
        assert_eq!(broker.stats().connections, 2);
        drop(first);
        fiber::timeout(LIMIT, || late.read_exact(&mut answer))
            .unwrap()
            .unwrap();
        assert_eq!(answer, *b"\x20\x02\x00\x00");
    });
    outcome.unwrap();
}
