//! What answers fleet provisioning: the topics under `$aws/` of a broker.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use fiber::{FiberBuilder, Instant};
use mqtt::{Broker, BrokerMessage, QoS};
use serde_json::{Value, json};

use super::CloudError;
use super::authority::{DEVICE_LIFE_DEFAULT, LocalAuthority};

/// Most certificates and things that a local cloud remembers.
pub const THINGS_MAX: usize = 10_000;

/// How long a token is good for.
const TOKEN_AGE: Duration = Duration::from_secs(3_600);
const CREATE: &str = "$aws/certificates/create/json";
const CREATE_FROM_CSR: &str = "$aws/certificates/create-from-csr/json";
const TEMPLATES: &str = "$aws/provisioning-templates/";

/// How a request is rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The status code.
    pub status: u16,
    /// Its name.
    pub code: String,
    /// In words.
    pub message: String,
}

impl Rejection {
    fn new(status: u16, code: &str, message: &str) -> Self {
        Self {
            status,
            code: code.to_owned(),
            message: message.to_owned(),
        }
    }
}

type Allow = Box<dyn FnMut(&BTreeMap<String, String>) -> Result<(), Rejection>>;

/// What a local cloud offers.
pub struct FleetOptions {
    template: String,
    life: Duration,
    allow: Allow,
}

impl FleetOptions {
    /// Starts with a template that takes every device that says a `SerialNumber`.
    #[must_use]
    pub fn new(template: &str) -> Self {
        Self {
            template: template.to_owned(),
            life: DEVICE_LIFE_DEFAULT,
            allow: Box::new(|_parameters| Ok(())),
        }
    }

    /// Sets how long certificates are valid, [`DEVICE_LIFE_DEFAULT`] at first.
    #[must_use]
    pub const fn life(mut self, life: Duration) -> Self {
        self.life = life;
        self
    }

    /// Asks this hook about every device that is to be registered. It must not wait.
    #[must_use]
    pub fn allow(
        mut self,
        hook: impl FnMut(&BTreeMap<String, String>) -> Result<(), Rejection> + 'static,
    ) -> Self {
        self.allow = Box::new(hook);
        self
    }
}

/// What a local cloud has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FleetStats {
    /// Certificates that were made.
    pub certificates: usize,
    /// Different keys among them.
    pub keys: usize,
    /// The things, and with how many certificates each was registered.
    pub things: BTreeMap<String, usize>,
    /// Requests that were rejected.
    pub rejected: usize,
}

/// A cloud that gives identities over a broker. A clone is the same cloud.
#[derive(Clone)]
pub struct Fleet(Rc<Inner>);

struct Inner {
    broker: Broker,
    authority: Rc<LocalAuthority>,
    options: RefCell<FleetOptions>,
    book: RefCell<Book>,
}

#[derive(Default)]
struct Book {
    stats: FleetStats,
    keys: std::collections::BTreeSet<String>,
    pending: BTreeMap<String, (String, Instant)>,
    number: u64,
}

impl Fleet {
    /// Answers requests that come through the broker, on a fiber of its own, for as long as that
    /// runs. Does not yield.
    ///
    /// # Errors
    ///
    /// [`CloudError::Broker`], [`CloudError::Spawn`].
    pub fn serve(
        broker: &Broker,
        authority: Rc<LocalAuthority>,
        options: FleetOptions,
    ) -> Result<Self, CloudError> {
        let certificates = broker.subscribe("$aws/certificates/+/json")?;
        let templates = broker.subscribe("$aws/provisioning-templates/+/provision/json")?;
        let fleet = Self(Rc::new(Inner {
            broker: broker.clone(),
            authority,
            options: RefCell::new(options),
            book: RefCell::default(),
        }));
        for requests in [certificates, templates] {
            let fleet = fleet.clone();
            let serve = move || {
                while let Ok(message) = requests.recv() {
                    fleet.answer(&message);
                }
            };
            let fiber = FiberBuilder::new().name("local cloud").spawn(serve);
            drop(fiber.map_err(CloudError::Spawn)?);
        }
        Ok(fleet)
    }

    /// Returns what it has done. Does not yield.
    #[must_use]
    pub fn stats(&self) -> FleetStats {
        self.0.book.borrow().stats.clone()
    }

    fn answer(&self, message: &BrokerMessage) {
        let topic = message.topic();
        let request = serde_json::from_slice(message.payload());
        let request: Value = request.unwrap_or(Value::Null);
        let answer = match topic {
            CREATE => self.create(None),
            CREATE_FROM_CSR => self.create(Some(&request)),
            _ => self.register(topic, &request),
        };
        let (under, payload) = match answer {
            Ok(value) => ("accepted", value),
            Err(rejection) => {
                self.0.book.borrow_mut().stats.rejected += 1;
                let value = json!({
                    "statusCode": rejection.status,
                    "errorCode": rejection.code,
                    "errorMessage": rejection.message,
                });
                ("rejected", value)
            }
        };
        let (topic, payload) = (format!("{topic}/{under}"), payload.to_string());
        // To nobody else: there may be a key in it.
        let Some(asker) = message.publisher() else {
            return;
        };
        let sent = self
            .0
            .broker
            .publish_to(asker, &topic, payload, QoS::AtLeastOnce);
        if let Err(error) = sent {
            log::warn!("local cloud: {topic}: {error}");
        }
    }

    fn create(&self, request: Option<&Value>) -> Result<Value, Rejection> {
        let invalid = |message: &str| Rejection::new(400, "InvalidRequest", message);
        let life = self.0.options.borrow().life;
        let mut book = self.0.book.borrow_mut();
        if book.stats.certificates == THINGS_MAX {
            return Err(Rejection::new(429, "Throttled", "too many certificates"));
        }
        let (chain, key, of_key) = match request {
            None => {
                let issued = self.0.authority.issue("device", life);
                let issued = issued.map_err(|error| invalid(&error.to_string()))?;
                (issued.chain, Some(issued.key.clone()), issued.key)
            }
            Some(request) => {
                let request = request.get("certificateSigningRequest");
                let request = request
                    .and_then(Value::as_str)
                    .ok_or_else(|| invalid("expected certificateSigningRequest"))?;
                let chain = self.0.authority.sign(request, None, life);
                let chain = chain.map_err(|error| invalid(&error.to_string()))?;
                (chain, None, request.to_owned())
            }
        };
        book.number += 1;
        book.stats.certificates += 1;
        book.keys.insert(of_key);
        book.stats.keys = book.keys.len();
        let id = format!("{:064x}", book.number);
        let token = random_token()?;
        book.pending
            .insert(token.clone(), (id.clone(), Instant::now()));
        let mut answer = json!({
            "certificateId": id,
            "certificatePem": chain,
            "certificateOwnershipToken": token,
        });
        if let Some(key) = key {
            answer["privateKey"] = key.into();
        }
        Ok(answer)
    }

    fn register(&self, topic: &str, request: &Value) -> Result<Value, Rejection> {
        let template = topic
            .strip_prefix(TEMPLATES)
            .and_then(|rest| rest.split('/').next());
        let mut options = self.0.options.borrow_mut();
        if template != Some(&options.template) {
            let message = "no such provisioning template";
            return Err(Rejection::new(404, "ResourceNotFound", message));
        }
        let token = request.get("certificateOwnershipToken");
        let token = token.and_then(Value::as_str).unwrap_or_default();
        let parameters: BTreeMap<String, String> = request
            .get("parameters")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
            .collect();
        let mut book = self.0.book.borrow_mut();
        let is_good = book
            .pending
            .get(token)
            .is_some_and(|(_, made)| made.elapsed() <= TOKEN_AGE);
        if !is_good {
            return Err(Rejection::new(
                400,
                "InvalidCertificateOwnershipToken",
                "the token is unknown, used or too old",
            ));
        }
        (options.allow)(&parameters)?;
        let serial = parameters
            .get("SerialNumber")
            .ok_or_else(|| Rejection::new(400, "InvalidParameters", "expected a SerialNumber"))?;
        book.pending.remove(token);
        *book.stats.things.entry(serial.clone()).or_default() += 1;
        Ok(json!({ "thingName": serial, "deviceConfiguration": {} }))
    }
}

fn random_token() -> Result<String, Rejection> {
    let mut bytes = [0; 24];
    match fiber::random::fill(&mut bytes) {
        Ok(()) => Ok(data_encoding::BASE64URL_NOPAD.encode(&bytes)),
        Err(error) => Err(Rejection::new(500, "InternalFailure", &error.to_string())),
    }
}
