//! The embedded broker and the client of this project, against each other.

use std::rc::Rc;
use std::time::Duration;

use mqtt::{
    Broker, BrokerOptions, Client, ClientId, ClientOptions, DropAcks, Error, Faults, Publish, QoS,
    Wait, Will,
};
use safe_rt::{ClientTls, ClientTlsOptions, Identity, ServerTlsOptions, Socket, Trust};
use tests::pki::{self, Pki};

use crate::broker_harness::{PIPE_BYTES, run};

fn options(client_id: &str) -> ClientOptions {
    ClientOptions::new(ClientId::new(client_id).expect("it is a short text"))
}

#[track_caller]
fn client(broker: &Broker, options: ClientOptions) -> Client {
    let (ours, theirs) = fiber::net::pipe(PIPE_BYTES);
    broker.attach(theirs).expect("a fiber is to be had");
    Client::over(ours, options)
}

#[test]
fn two_clients_talk_through_the_broker() {
    run(|broker| {
        let reader = client(broker, options("reader"));
        reader.connect().unwrap();
        let messages = reader.subscribe_iter("meter/+", QoS::AtLeastOnce).unwrap();
        let writer = client(broker, options("writer"));
        writer.connect().unwrap();
        for number in 0..500 {
            let text = number.to_string();
            let publish = Publish::to("meter/17", &text).qos(QoS::AtLeastOnce);
            writer.publish(publish.wait(Wait::None)).unwrap();
        }
        for (number, message) in messages.take(500).enumerate() {
            let message = message.unwrap();
            assert_eq!(&*message.data, number.to_string().as_bytes());
        }
        writer.close(Duration::from_secs(5)).unwrap();
        reader.close(Duration::from_secs(5)).unwrap();
        assert_eq!(broker.stats().sessions, 0);
    });
}

#[test]
fn a_kept_session_goes_on_for_the_client() {
    run(|broker| {
        let first = client(broker, options("meter").clean_start(false));
        assert!(!first.connect().unwrap());
        first.close(Duration::from_secs(5)).unwrap();
        let second = client(broker, options("meter").clean_start(false));
        assert!(second.connect().unwrap());
    });
}

#[test]
fn a_client_without_its_ack_waits_and_its_will_tells_when_it_is_cut() {
    run(|broker| {
        let gone = broker.subscribe("gone").unwrap();
        let will = Will {
            topic: "gone".to_owned(),
            payload: b"meter".to_vec(),
            qos: QoS::AtLeastOnce,
            retain: false,
        };
        let client = client(broker, options("meter").will(will));
        client.connect().unwrap();
        let drop_acks = DropAcks::All;
        let faults = Faults {
            drop_acks,
            ..Faults::default()
        };
        broker.set_faults("meter", faults).unwrap();
        let publish = || Publish::to("t", "1").qos(QoS::AtLeastOnce).wait(Wait::Ack);
        let limit = Duration::from_secs(30);
        assert!(fiber::timeout(limit, || client.publish(publish())).is_err());
        let faults = Faults {
            cut_after_received: Some(0),
            ..Faults::default()
        };
        // Too late for this connection, which goes on.
        broker.set_faults("meter", faults).unwrap();
        client.publish(publish()).unwrap();
        broker.stop();
        assert_eq!(gone.recv().unwrap().payload(), b"meter");
        fiber::sleep(Duration::from_secs(1)).unwrap();
        assert!(
            client
                .publish(Publish::to("t", "3").wait(Wait::Sent))
                .is_err()
        );
    });
}

#[test]
fn a_half_open_connection_is_found_dead_by_the_client() {
    run(|broker| {
        let client = client(broker, options("meter").keep_alive(Duration::from_secs(10)));
        client.connect().unwrap();
        let faults = Faults {
            half_open: true,
            ..Faults::default()
        };
        broker.set_faults("meter", faults).unwrap();
        fiber::sleep(Duration::from_secs(60)).unwrap();
        let failed = client.publish(Publish::to("t", "1").wait(Wait::Sent));
        assert!(failed.is_err());
        assert_eq!(broker.stats().connections, 1, "the socket is kept");
    });
}

fn identity(of: &pki::Identity) -> Identity {
    Identity::from_pem(of.certificate.as_bytes(), of.key.as_bytes()).expect("a matching pair")
}

fn trust(authority: &pki::Authority) -> Trust {
    Trust::from_pem(authority.certificate().as_bytes()).expect("an authority to trust")
}

/// Connects over TLS, as the client that `tls` says, to a broker that asks for a certificate.
#[allow(
    clippy::unwrap_in_result,
    reason = "the error is the refusal that is tested; anything else panics"
)]
fn connect_over_tls(broker: &Broker, pki: &Pki, tls: &ClientTls) -> Result<Client, ()> {
    let server = ServerTlsOptions::new(identity(&pki.server))
        .require_client_certificate(trust(&pki.authority))
        .alpn(["mqtt"])
        .build()
        .expect("the options go together");
    let (ours, theirs) = fiber::net::pipe(PIPE_BYTES);
    let broker = broker.clone();
    fiber::spawn(move || {
        if let Ok(socket) = Socket::tls_server(theirs, &server) {
            assert_eq!(socket.alpn(), Some(&b"mqtt"[..]));
            broker.attach(socket).expect("a fiber is to be had");
        }
    })
    .expect("a fiber is to be had");
    let socket = Socket::tls_client(ours, tls, "localhost").map_err(drop)?;
    let client = Client::over(socket, options("meter"));
    client.connect().map_err(drop)?;
    Ok(client)
}

#[test]
fn clients_with_a_certificate_are_served_over_tls_and_others_are_not() {
    run(|broker| {
        let pki = Rc::new(Pki::new());
        let tls = || ClientTlsOptions::new(trust(&pki.authority));
        let good = tls().identity(identity(&pki.client)).alpn(["mqtt"]);
        let client = connect_over_tls(broker, &pki, &good.build().unwrap()).unwrap();
        let messages = client.subscribe_iter("t", QoS::AtLeastOnce).unwrap();
        broker
            .publish("t", "x".repeat(100_000), QoS::AtLeastOnce, false)
            .unwrap();
        assert_eq!(
            messages.take(1).next().unwrap().unwrap().data.len(),
            100_000
        );
        // A cut over TLS is one as well.
        let faults = Faults {
            cut_after_sent: Some(0),
            ..Faults::default()
        };
        broker.set_faults("meter", faults).unwrap();
        for bad in [
            tls().alpn(["mqtt"]),
            tls()
                .identity(identity(&pki.wrong_authority_client))
                .alpn(["mqtt"]),
            tls().identity(identity(&pki.client)).alpn(["other"]),
            tls().identity(identity(&pki.client)).alpn(["mqtt"]),
        ] {
            assert!(connect_over_tls(broker, &pki, &bad.build().unwrap()).is_err());
        }
        assert_eq!(broker.faults("meter"), Faults::default());
        // The last of them was welcome, and took over from the first one before it was cut.
        let failed = client.publish(Publish::to("t", "2").wait(Wait::Ack));
        assert!(failed.is_err());
    });
}

#[test]
fn a_refusal_arrives_at_the_client() {
    let reason = mqtt::ConnectReason::NotAuthorized;
    let options_of_broker = BrokerOptions::new().authenticate(move |_| Err(reason));
    crate::broker_harness::run_with(options_of_broker, move |broker| {
        let client = client(broker, options("meter"));
        match client.connect() {
            Err(Error::Refused(found)) => assert_eq!(found, reason),
            other => panic!("expected a refusal, found {other:?}"),
        }
    });
}
