//! What counts with the next connection, or waits for the next start.

use std::cell::RefCell;
use std::rc::Rc;

use mqtt::{Broker, BrokerOptions};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use safe_rt::{Identity, Listener, ServerTlsOptions, Trust};

use crate::support::{on_fibers, with_broker};
use crate::temp_dir::TempDir;
use crate::{Device, throw_out};

#[test]
fn another_password_counts_with_the_next_connection_and_not_before() {
    let seen: Rc<RefCell<Vec<Vec<u8>>>> = Rc::default();
    let noted = Rc::clone(&seen);
    let options = BrokerOptions::new().authenticate(move |connect| {
        let password = connect.fields().password.unwrap_or_default();
        if connect.fields().user_name == Some("device") {
            noted.borrow_mut().push(password.to_vec());
        }
        Ok(())
    });
    with_broker(options, move |broker, endpoint| {
        let folder = TempDir::new("agent-password");
        folder.write("password", "one");
        let rest = "user = \"device\"\npassword_file = \"password\"\n";
        let device = Device::start(folder, endpoint, rest);
        device.folder.write("password", "two");
        let told = device.reload(rest);
        let expected = "cloud.password_file: counts with the next connection\n";
        assert_eq!(told, expected);
        throw_out(broker);
        device.wait_logged("connected to", 2);
        assert_eq!(*seen.borrow(), [b"one".to_vec(), b"two".to_vec()]);

        // A client that had a name cannot go without.
        let told = device.reload("");
        let waits = "cloud.user: counts after a restart\n";
        assert!(told.contains(waits) && !told.contains("next"), "{told}");
    });
}

/// An authority, and what it signs.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Self { pem, issuer }
    }

    /// A certificate and its key.
    fn sign(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let made = params.signed_by(&key, &self.issuer).unwrap();
        (made.pem(), key.serialize_pem())
    }

    /// Writes these into the folder of a device.
    fn equip(&self, folder: &TempDir) {
        let (certificate, key) = self.sign("meter-17");
        folder.write("device.pem", certificate);
        folder.write("device.key", key);
    }

    fn trust(&self) -> Trust {
        Trust::from_pem(self.pem.as_bytes()).unwrap()
    }
}

#[test]
fn another_certificate_is_shown_with_the_next_connection() {
    on_fibers(|| {
        let (first, second) = (Authority::new(), Authority::new());
        let (chain, key) = first.sign("localhost");
        let identity = Identity::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
        let tls = ServerTlsOptions::new(identity);
        let tls = tls
            .require_client_certificate(first.trust())
            .build()
            .unwrap();
        let listener = Listener::bind_tls(([127, 0, 0, 1], 0).into(), tls.clone()).unwrap();
        let port = listener.local_addr().unwrap().port();
        let broker = Broker::new(BrokerOptions::new());
        broker.serve(listener).unwrap();

        let folder = TempDir::new("agent-certificate");
        folder.write("ca.pem", &first.pem);
        first.equip(&folder);
        let rest = "authority = \"ca.pem\"\ncertificate = \"device.pem\"\nkey = \"device.key\"\n";
        let device = Device::start(folder, &format!("mqtts://localhost:{port}"), rest);

        // A key that does not fit is refused, and nothing is changed.
        device.folder.write("device.key", second.sign("meter-17").1);
        assert!(!device.try_ask(&["reload"]).0);
        second.equip(&device.folder);
        let told = device.reload(rest);
        for key in ["certificate", "key"] {
            let line = format!("cloud.{key}: counts with the next connection\n");
            assert!(told.contains(&line), "{told}");
        }
        // From now on the first one would be refused.
        tls.set_client_trust(second.trust()).unwrap();
        throw_out(&broker);
        device.wait_logged("connected to", 2);
        broker.stop();
    });
}

#[test]
fn what_needs_a_start_is_told_until_there_was_one() {
    with_broker(BrokerOptions::new(), |_, endpoint| {
        let device = Device::start(TempDir::new("agent-restart"), endpoint, "");
        let queue = "[queue]\nmax_messages = 7\n";
        let waits = "queue.max_messages: counts after a restart\n";
        assert_eq!(device.reload(queue), waits);
        let limits = format!("{queue}[limits]\npublish_rate = \"5/s\"\n");
        let told = device.reload(&limits);
        assert_eq!(told, format!("limits.publish_rate: counts now\n{waits}"));
        // As it was at the start.
        assert_eq!(device.reload(""), "limits.publish_rate: counts now\n");
        assert_eq!(device.reload(""), "");
    });
}
