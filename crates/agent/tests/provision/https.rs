//! The HTTPS contract, against the reference service.

use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use agent::args::Password;
use agent::identity::{Slot, Store};
use agent::local_cloud::FleetOptions;
use agent::provision::{HttpsService, Method, Options, deprovision, ensure_identity, renew_now};
use mqtt::{BrokerOptions, ClientId};
use safe_rt::{Listener, ServerTlsOptions, Utc};

use crate::provisioning_server::ProvisioningServer;
use crate::support::{Cloud, Folder, TEMPLATE, run};

const TOKEN: &str = "open sesame";
const DAY: Duration = Duration::from_secs(86_400);

struct Service {
    cloud: Cloud,
    server: ProvisioningServer,
    url: String,
}

impl Service {
    fn start(open: bool) -> Self {
        Self::start_for(open, Some(TOKEN))
    }

    /// Without a token, one that takes devices by their certificates.
    fn start_for(open: bool, token: Option<&str>) -> Self {
        let cloud = Cloud::start(BrokerOptions::new(), FleetOptions::new(TEMPLATE));
        let authority = Rc::clone(&cloud.authority);
        let server = ProvisioningServer::new(authority, token, DAY, open);
        let mut tls = ServerTlsOptions::new(cloud.authority.server("127.0.0.1").expect("it works"));
        if token.is_none() {
            let trust = cloud.authority.trust().expect("it works");
            tls = tls.require_client_certificate(trust);
        }
        let tls = tls.build().expect("it works");
        let listener = Listener::bind_tls(([127, 0, 0, 1], 0).into(), tls).expect("it works");
        let url = format!("https://{}/v1", listener.local_addr().expect("it works"));
        let serving = server.clone();
        drop(fiber::spawn(move || serving.serve(&listener)).expect("it works"));
        Self { cloud, server, url }
    }

    fn options(&self, folder: &Folder, token: &str) -> Options {
        let mut options = self.cloud.options(folder);
        let trust = self.cloud.authority.trust().expect("it works");
        let service = HttpsService::new(&self.url, trust).expect("it works");
        let token = Password(token.as_bytes().to_vec());
        options.method = Method::Https(service.token(Some(token)));
        options.claim = None;
        options.device_id = Some(ClientId::new("meter-17").expect("it works"));
        options
    }
}

#[test]
fn a_device_with_a_url_and_a_token_gets_an_identity_from_any_cloud() {
    run(|| {
        let (folder, service) = (Folder::new(), Service::start(true));
        let store = Store::open(folder.state()).unwrap();
        let active = ensure_identity(&store, &service.options(&folder, TOKEN)).unwrap();
        let about = active.about().unwrap();
        assert_eq!(
            (&*about.client_id, &*about.certificate_id),
            ("meter-17", "meter-17-1")
        );
        assert_eq!(active.facts().subject(), "\"CN=meter-17\"");
        assert_eq!(service.server.asked(), ["/v1/register", "/v1/provision"]);
    });
}

#[test]
fn a_device_waits_to_be_claimed_as_long_as_the_service_says() {
    run(|| {
        let (folder, service) = (Folder::new(), Service::start(false));
        let options = service.options(&folder, TOKEN);
        let store = Store::open(folder.state()).unwrap();
        let waited = fiber::timeout(Duration::from_millis(400), || {
            ensure_identity(&store, &options)
        });
        assert!(waited.is_err());
        let state = store.state();
        let failure = state.last_failure.unwrap();
        let expected = "the device waits to be claimed at https://cloud.example/claim/meter-17";
        assert_eq!(failure, expected);
        assert!(state.blocked_until.is_some(), "kept over a restart");
        assert_eq!(service.server.asked(), ["/v1/register"]);
        service.server.claim("meter-17");
        ensure_identity(&store, &options).unwrap();
        let device = service.server.device("meter-17").unwrap();
        assert_eq!(device.certificates.len(), 1);
    });
}

#[test]
fn a_service_that_wants_to_be_left_alone_is_and_the_next_start_knows() {
    run(|| {
        let (folder, service) = (Folder::new(), Service::start(true));
        let options = service.options(&folder, TOKEN);
        let store = Store::open(folder.state()).unwrap();
        service.server.trouble(429, Some("3600"));
        let limit = Duration::from_millis(300);
        assert!(fiber::timeout(limit, || ensure_identity(&store, &options)).is_err());
        let until = UNIX_EPOCH + Duration::from_secs(store.state().blocked_until.unwrap());
        let left = until.duration_since(fiber::wall_time()).unwrap();
        assert!(left > Duration::from_secs(3_500), "{left:?}");
        drop(store);
        let store = Store::open(folder.state()).unwrap();
        assert!(fiber::timeout(limit, || ensure_identity(&store, &options)).is_err());
        assert_eq!(
            service.server.asked(),
            ["/v1/register"],
            "and no other request"
        );
    });
}

#[test]
fn a_failure_of_the_service_costs_an_attempt_and_the_same_request_gets_the_same_certificate() {
    run(|| {
        let (folder, service) = (Folder::new(), Service::start(true));
        let options = service.options(&folder, TOKEN);
        let store = Store::open(folder.state()).unwrap();
        service.server.trouble(503, None);
        ensure_identity(&store, &options).unwrap();
        assert_eq!(service.server.asked().len(), 3);
        let device = service.server.device("meter-17").unwrap();
        assert_eq!(device.certificates.len(), 1);
    });
}

#[test]
fn a_token_that_is_not_known_is_said_and_not_shown() {
    run(|| {
        let (folder, service) = (Folder::new(), Service::start(true));
        let options = service.options(&folder, "wrong sesame");
        let store = Store::open(folder.state()).unwrap();
        let limit = Duration::from_millis(200);
        assert!(fiber::timeout(limit, || ensure_identity(&store, &options)).is_err());
        let failure = store.state().last_failure.unwrap();
        let expected = "registering the device: refused with status 401 unauthorized the token is \
                        not known (sent: SerialNumber=meter-17)";
        assert_eq!(failure, expected);
        assert!(!format!("{options:?}").contains("sesame"));
    });
}

#[test]
fn a_service_may_say_the_date_at_which_it_wants_to_be_asked_again() {
    run(|| {
        let (folder, service) = (Folder::new(), Service::start(true));
        let options = service.options(&folder, TOKEN);
        let store = Store::open(folder.state()).unwrap();
        // Some time tomorrow, as HTTP writes it.
        let tomorrow = fiber::wall_time() + DAY;
        let text = Utc(tomorrow).to_string();
        let (day, month) = (&text[8..10], &text[5..7]);
        let months = "JanFebMarAprMayJunJulAugSepOctNovDec";
        let month = 3 * (month.parse::<usize>().unwrap() - 1);
        let days = tomorrow.duration_since(UNIX_EPOCH).unwrap().as_secs() / 86_400;
        let week = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        let date = format!(
            "{}, {day} {} {} {} GMT",
            week[usize::try_from(days % 7).unwrap()],
            &months[month..month + 3],
            &text[..4],
            &text[11..19],
        );
        service.server.trouble(503, Some(&date));
        let limit = Duration::from_millis(300);
        assert!(fiber::timeout(limit, || ensure_identity(&store, &options)).is_err());
        let until = UNIX_EPOCH + Duration::from_secs(store.state().blocked_until.unwrap());
        let left = until.duration_since(fiber::wall_time()).unwrap();
        assert!(left > DAY - Duration::from_secs(100), "{date}: {left:?}");
        assert_eq!(service.server.asked(), ["/v1/register"]);
    });
}

#[test]
fn a_renewal_has_a_new_key_and_is_asked_for_again_with_the_same_request() {
    run(|| {
        let (folder, service) = (Folder::new(), Service::start(true));
        let options = service.options(&folder, TOKEN);
        let store = Store::open(folder.state()).unwrap();
        ensure_identity(&store, &options).unwrap();
        service.server.trouble(503, None);
        assert!(renew_now(&store, &options).is_err());
        let active = store.active().unwrap();
        assert_eq!(active.slot(), Slot::A, "what is in use stays");
        // What was refused was noted: the other way is tried, and with the same request.
        let renewed = renew_now(&store, &options).unwrap();
        assert_eq!(renewed.about().unwrap().certificate_id, "meter-17-2");
        assert_eq!(renewed.slot(), Slot::B);
        let asked = service.server.asked();
        let expected = ["/v1/renew", "/v1/register", "/v1/provision"];
        assert_eq!(asked[2..], expected);
        renew_now(&store, &options).unwrap();
        assert_eq!(service.server.asked().last().unwrap(), "/v1/renew");
        let device = service.server.device("meter-17").unwrap();
        assert_eq!(device.certificates.len(), 3, "a key for each, and no more");
    });
}

#[test]
fn a_device_is_known_by_its_claim_certificate_and_then_by_its_own() {
    run(|| {
        let (folder, service) = (Folder::new(), Service::start_for(true, None));
        let mut options = service.options(&folder, TOKEN);
        let store = Store::open(folder.state()).unwrap();
        let limit = Duration::from_millis(300);
        let trust = service.cloud.authority.trust().unwrap();
        options.method = Method::Https(HttpsService::new(&service.url, trust).unwrap());
        assert!(fiber::timeout(limit, || ensure_identity(&store, &options)).is_err());
        let failure = store.state().last_failure;
        assert!(service.server.asked().is_empty(), "{failure:?}");
        options.claim = service.cloud.options(&folder).claim;
        ensure_identity(&store, &options).unwrap();
        // The claim is of no use for that.
        options.claim = None;
        renew_now(&store, &options).unwrap();
        assert_eq!(
            service.server.asked(),
            ["/v1/register", "/v1/provision", "/v1/renew"]
        );
    });
}

#[test]
fn a_device_that_gives_its_identity_up_tells_the_service_and_does_it_in_any_case() {
    run(|| {
        for trouble in [false, true] {
            let (folder, service) = (Folder::new(), Service::start(true));
            let options = service.options(&folder, TOKEN);
            let store = Store::open(folder.state()).unwrap();
            ensure_identity(&store, &options).unwrap();
            if trouble {
                service.server.trouble(500, None);
            }
            let is_told = deprovision(&store, Some(&options)).unwrap();
            assert_eq!(is_told, !trouble);
            assert_eq!(service.server.asked().last().unwrap(), "/v1/release");
            let device = service.server.device("meter-17").unwrap();
            assert_eq!(device.released, !trouble);
            assert!(store.active().is_none() && store.state().given_up);
        }
    });
}
