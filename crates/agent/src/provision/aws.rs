//! Fleet provisioning of AWS IoT by a claim certificate.
//!
//! ```text
//!   $aws/certificates/create-from-csr/json            ─► certificate, id, token (for an hour)
//!   $aws/provisioning-templates/TEMPLATE/provision/json ─► the name of the thing
//! ```
//!
//! Each answer comes under the topic of its request with `/accepted` or `/rejected` behind it, and is
//! subscribed to before the request is sent.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use fiber::{Event, timeout};
use mqtt::{Client, ClientId, ClientOptions, Publish, QoS, Subscribe, Wait};
use safe_rt::DialOptions;
use serde_json::{Map, Value, json};

use super::answer::{self, Granted};
use super::error::ProvisionError;
use super::{Cloud, Options, Progress};
use crate::identity::About;

/// How long an answer may take.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the connection may take, CONNACK included.
pub const CLAIM_CONNECT_TIMEOUT: Duration = Duration::from_secs(60);
/// Largest packet that is taken from the cloud: a chain, a key, a token.
const ANSWER_BYTES_MAX: usize = 128 * 1024;
const LEAVE: Duration = Duration::from_secs(2);

const CREATE_FROM_CSR: &str = "$aws/certificates/create-from-csr/json";
const CREATE: &str = "$aws/certificates/create/json";
const ASK_CERTIFICATE: &str = "asking for a certificate";
const REGISTER: &str = "registering the device";

/// How long a connection must stay after the answers were subscribed to.
const SETTLE: Duration = Duration::from_secs(2);

/// The topics of the answers to a request.
fn answers_of(topic: &str) -> [String; 2] {
    ["accepted", "rejected"].map(|under| format!("{topic}/{under}"))
}

/// Whether a request was accepted, and what came with that.
struct Answer(bool, Vec<u8>);

/// What follows the device's client identifier in that of a conversation about its identity.
const CLAIM_ID_SUFFIX: &str = "-claim";

/// One attempt's connection with the claim, made when it is needed.
pub(super) struct Aws<'a> {
    options: &'a Options,
    template: &'a str,
    endpoint: &'a safe_rt::Endpoint,
    dial: DialOptions,
    device_id: &'a ClientId,
    client: Option<Client>,
}

impl<'a> Aws<'a> {
    pub(super) const fn new(
        options: &'a Options,
        template: &'a str,
        endpoint: &'a safe_rt::Endpoint,
        dial: DialOptions,
        device_id: &'a ClientId,
    ) -> Self {
        Self {
            options,
            template,
            endpoint,
            dial,
            device_id,
            client: None,
        }
    }

    fn client(&mut self) -> Result<Client, ProvisionError> {
        if let Some(client) = self.client.clone().filter(Client::is_connected) {
            return Ok(client);
        }
        // Not that of the device: its own connection and session go on while it renews.
        let id = ClientId::new(format!("{}{CLAIM_ID_SUFFIX}", self.device_id.as_str()))
            .unwrap_or_else(|_| self.device_id.clone());
        let connect = || -> Result<Client, ProvisionError> {
            let socket = safe_rt::dial(self.endpoint, &self.dial).map_err(ProvisionError::Dial)?;
            let options = ClientOptions::new(id)
                .clean_start(true)
                .connect_timeout(ANSWER_TIMEOUT)
                .maximum_packet_size(ANSWER_BYTES_MAX);
            let client = Client::over(socket, options);
            client.connect()?;
            Ok(client)
        };
        let client = timeout(CLAIM_CONNECT_TIMEOUT, connect).unwrap_or_else(|elapsed| elapsed.0)?;
        self.options.tell(&Progress::Connected {
            to: self.endpoint.to_string(),
            with: "the claim",
        });
        self.client = Some(client.clone());
        Ok(client)
    }

    /// Connects, and asks for nothing.
    pub(super) fn greet(&mut self) -> Result<(), ProvisionError> {
        self.client().map(drop)
    }

    /// Subscribes to what would be the answers, and asks for nothing. Returns their topics.
    pub(super) fn listen(&mut self) -> Result<Vec<String>, ProvisionError> {
        let create = match self.options.method {
            super::Method::Aws {
                key: super::KeyOrigin::Cloud,
                ..
            } => CREATE,
            _ => CREATE_FROM_CSR,
        };
        let requests = [create.to_owned(), self.provision_topic()];
        let topics = requests.iter().flat_map(|request| answers_of(request));
        let topics: Vec<String> = topics.collect();
        let client = self.client()?;
        let filters = topics.iter().map(|topic| (&**topic, QoS::AtLeastOnce));
        let filters: Vec<(&str, QoS)> = filters.collect();
        let subscribe = Subscribe::to_all(&filters).wait(Wait::Ack);
        client.subscribe_as(subscribe, |_client, _message| Ok(()))?;
        // What forbids it may hang up a moment later.
        match timeout(SETTLE, || client.ended()) {
            Err(fiber::Elapsed(Err(_))) => Ok(topics),
            Ok(Err(stopped)) => Err(ProvisionError::Stopped(stopped)),
            Ok(Ok(end)) | Err(fiber::Elapsed(Ok(end))) => Err(ProvisionError::Mqtt(
                mqtt::Error::Wait(mqtt::WaitCause::ConnectionLost(end)),
            )),
        }
    }

    fn provision_topic(&self) -> String {
        let template = self.template;
        format!("$aws/provisioning-templates/{template}/provision/json")
    }

    /// Sends a request, and returns the answer, accepted or rejected.
    fn ask(
        &mut self,
        what: &'static str,
        topic: &str,
        request: &Value,
        sent: String,
    ) -> Result<Value, ProvisionError> {
        let client = self.client()?;
        let [accepted, rejected] = answers_of(topic);
        let answer: Rc<RefCell<Option<Answer>>> = Rc::default();
        let told = Event::new();
        let (got, tell, good) = (Rc::clone(&answer), told.clone(), accepted.clone());
        let filters = [
            (&*accepted, QoS::AtLeastOnce),
            (&*rejected, QoS::AtLeastOnce),
        ];
        let subscribe = Subscribe::to_all(&filters).wait(Wait::Ack);
        let id = client.subscribe_as(subscribe, move |_client, message| {
            let is_good = *message.topic == *good;
            got.borrow_mut()
                .get_or_insert_with(|| Answer(is_good, message.data.to_vec()));
            tell.set();
            Ok(())
        })?;
        let ended = told.clone();
        client.on_event(move |_client, event| {
            if let mqtt::Event::Disconnected { .. } = event {
                ended.set();
            }
        });
        let payload = request.to_string();
        let publish = Publish::to(topic, &payload).qos(QoS::AtLeastOnce);
        let publish = client.publish(publish.wait(Wait::Sent));
        publish.map_err(ProvisionError::Publish)?;
        let waited = timeout(ANSWER_TIMEOUT, || told.wait());
        let answer = answer.borrow_mut().take();
        match (answer, waited) {
            (Some(Answer(is_accepted, bytes)), _) => {
                // The next request has answers of its own.
                drop(client.unsubscribe_id(id, Wait::None));
                let value = answer::object(what, &bytes)?;
                if is_accepted {
                    Ok(value)
                } else {
                    let refusal = answer::rejected(what, &value, sent);
                    Err(ProvisionError::Refused(refusal))
                }
            }
            (None, Ok(Err(stopped))) => Err(ProvisionError::Stopped(stopped)),
            (None, Ok(Ok(()))) => Err(match client.ended() {
                Ok(end) => {
                    ProvisionError::Mqtt(mqtt::Error::Wait(mqtt::WaitCause::ConnectionLost(end)))
                }
                Err(stopped) => ProvisionError::Stopped(stopped),
            }),
            (None, Err(_)) => Err(ProvisionError::Silent { what }),
        }
    }

    fn parameters(&self) -> Map<String, Value> {
        let parameters = self.options.parameters_for(self.device_id.as_str());
        parameters
            .into_iter()
            .map(|(name, value)| (name, Value::from(value)))
            .collect()
    }
}

impl Cloud for Aws<'_> {
    fn certificate(&mut self, request: Option<&str>) -> Result<Granted, ProvisionError> {
        let (topic, body) = match request {
            Some(request) => (
                CREATE_FROM_CSR,
                json!({ "certificateSigningRequest": request }),
            ),
            None => (CREATE, json!({})),
        };
        let value = self.ask(ASK_CERTIFICATE, topic, &body, String::new())?;
        answer::granted(ASK_CERTIFICATE, &value, request.is_none())
    }

    fn register(
        &mut self,
        certificate_id: &str,
        token: Option<&str>,
        _request: Option<&str>,
    ) -> Result<About, ProvisionError> {
        let topic = self.provision_topic();
        let body = json!({
            "certificateOwnershipToken": token.unwrap_or_default(),
            "parameters": self.parameters(),
        });
        let sent = self.options.parameters_for(self.device_id.as_str());
        let sent = answer::parameters_shown(sent.iter());
        let value = self.ask(REGISTER, &topic, &body, sent)?;
        let thing = answer::text(&value, "thingName").ok_or(ProvisionError::Answer {
            what: REGISTER,
            expected: "thingName",
        })?;
        Ok(About::new(thing, certificate_id))
    }

    fn leave(&mut self) {
        if let Some(client) = self.client.take() {
            // What matters was waited for.
            let _ = client.close(LEAVE);
        }
    }
}
