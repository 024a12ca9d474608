//! The embedded broker behind a TLS listener on the loopback interface, as the device's cloud would
//! be: client certificates and ALPN demanded. Sockets of the system take real time, so the clock
//! here is not paused.

use std::time::Duration;

use mqtt::{Broker, BrokerOptions, Client, ClientId, ClientOptions, Publish, QoS, Wait};
use safe_rt::{
    ClientTlsOptions, DialOptions, Endpoint, Identity, Listener, Scheme, ServerTlsOptions, Trust,
};
use tests::pki::{self, Pki};

const ALPN: &str = "x-amzn-mqtt-ca";
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

#[test]
fn devices_with_a_certificate_talk_through_a_tls_listener_and_others_do_not() {
    let body = || {
        let pki = Pki::new();
        let trust = Trust::from_pem(pki.authority.certificate().as_bytes()).unwrap();
        let tls = ServerTlsOptions::new(identity(&pki.server))
            .require_client_certificate(trust)
            .alpn([ALPN])
            .build()
            .unwrap();
        let listener = Listener::bind_tls(([127, 0, 0, 1], 0).into(), tls).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let endpoint = Endpoint::new(Scheme::Mqtts, &address).unwrap();
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
    };
    fiber::run(move || fiber::timeout(LIMIT, body))
        .unwrap()
        .unwrap();
}
