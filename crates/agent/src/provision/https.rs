//! The HTTPS contract of `docs/provisioning.md`: register, wait to be claimed, provision, renew,
//! release.

use std::time::Duration;

use fiber::timeout;
use mqtt::ClientId;
use safe_rt::{ClientTlsOptions, ClockVerdict, DialOptions, Endpoint, Identity, Scheme};
use serde_json::{Value, json};
use ureq_proto::http::{HeaderValue, Request};
use zeroize::Zeroizing;

use super::answer::{self, Granted};
use super::error::{ProvisionError, Refusal};
use super::http::{self, Reply};
use super::{Cloud, HttpsService, Options, Progress};
use crate::identity::About;

/// How long one request may take, from the look-up of the name to the end of the answer.
pub const HTTPS_TIMEOUT: Duration = Duration::from_secs(60);

const REGISTER: &str = "registering the device";
const PROVISION: &str = "asking for a certificate";
const RENEW: &str = "renewing the certificate";
const RELEASE: &str = "releasing the device";

/// One attempt with the service.
pub(super) struct Https<'a> {
    options: &'a Options,
    service: &'a HttpsService,
    device_id: &'a ClientId,
    /// The claim, or the identity in use.
    identity: Option<Identity>,
    /// Whether there is an identity that is to be renewed.
    renews: bool,
    /// What the last answer with a certificate said of the device.
    about: Option<About>,
}

impl<'a> Https<'a> {
    pub(super) const fn new(
        options: &'a Options,
        service: &'a HttpsService,
        device_id: &'a ClientId,
        identity: Option<Identity>,
        renews: bool,
    ) -> Self {
        Self {
            options,
            service,
            device_id,
            identity,
            renews,
            about: None,
        }
    }

    /// Tells the service that the device gives its identity up.
    pub(super) fn release(&self) -> Result<(), ProvisionError> {
        let body = json!({ "device_id": self.device_id.as_str() });
        self.post(RELEASE, "release", &body).map(drop)
    }

    /// Introduces the device, which may be done any number of times.
    fn introduce(&self) -> Result<(), ProvisionError> {
        let body = json!({
            "device_id": self.device_id.as_str(),
            "agent": concat!("agent/", env!("CARGO_PKG_VERSION")),
            "parameters": self.options.parameters_for(self.device_id.as_str()),
        });
        let (reply, value) = self.post(REGISTER, "register", &body)?;
        self.options.tell(&Progress::Connected {
            to: self.service.url.clone(),
            with: self.shown(),
        });
        if reply.status != 202 {
            return Ok(());
        }
        Err(ProvisionError::Unclaimed {
            claim_url: answer::text(&value, "claim_url").map(|url| answer::shown(Some(url))),
            retry_after: reply.retry_after,
        })
    }

    /// What the device introduces itself with.
    const fn shown(&self) -> &'static str {
        match (&self.service.token, self.renews) {
            (_, true) => "the identity in use",
            (Some(_), false) => "the token",
            (None, false) => "the claim",
        }
    }

    /// Asks for the certificate of this request: the same request has the same certificate.
    fn provision(&mut self, request: &str) -> Result<Granted, ProvisionError> {
        let (what, path) = match self.renews {
            true => (RENEW, "renew"),
            false => (PROVISION, "provision"),
        };
        let body = json!({
            "device_id": self.device_id.as_str(),
            "csr": request,
            "parameters": self.options.parameters_for(self.device_id.as_str()),
        });
        let (_, value) = self.post(what, path, &body)?;
        let must = |expected: &'static str| {
            let text = answer::text(&value, expected);
            text.ok_or(ProvisionError::Answer { what, expected })
        };
        let certificate_id = must("certificate_id")?;
        let client_id = answer::text(&value, "client_id");
        let client_id = client_id.unwrap_or_else(|| self.device_id.as_str().to_owned());
        let about = About::new(client_id, &*certificate_id);
        self.about = Some(about.endpoint(answer::text(&value, "endpoint")));
        Ok(Granted {
            chain: must("certificate")?,
            certificate_id,
            token: None,
            key: None,
        })
    }

    fn post(
        &self,
        what: &'static str,
        path: &str,
        body: &Value,
    ) -> Result<(Reply, Value), ProvisionError> {
        let body = Zeroizing::new(body.to_string());
        let ask = || -> Result<Reply, ProvisionError> {
            let request = self.request(path, body.len())?;
            let socket = safe_rt::dial(&self.service.endpoint, &self.dial()?)
                .map_err(ProvisionError::Dial)?;
            let wall = fiber::wall_time();
            let verdict = self.options.floor.check(wall);
            let now = matches!(verdict, ClockVerdict::Plausible).then_some(wall);
            http::exchange(&socket, request, body.as_bytes(), now).map_err(ProvisionError::Http)
        };
        let reply = match timeout(HTTPS_TIMEOUT, ask) {
            Ok(reply) => reply?,
            Err(fiber::Elapsed(Ok(reply))) => reply,
            Err(fiber::Elapsed(Err(_))) => return Err(ProvisionError::Silent { what }),
        };
        if (200..300).contains(&reply.status) {
            let value = if reply.body.is_empty() {
                Value::Null
            } else {
                answer::object(what, &reply.body)?
            };
            return Ok((reply, value));
        }
        // A captive portal answers too, and says nothing that is understood.
        let said = serde_json::from_slice(&reply.body).unwrap_or(Value::Null);
        let sent = self.options.parameters_for(self.device_id.as_str());
        Err(ProvisionError::Refused(Refusal {
            what,
            status: reply.status,
            code: answer::shown(answer::text(&said, "error")),
            message: answer::shown(answer::text(&said, "message")),
            sent: answer::parameters_shown(sent.iter()),
            retry_after: reply.retry_after,
        }))
    }

    /// Connects, and asks for nothing.
    pub(super) fn reach(&self) -> Result<(), ProvisionError> {
        let dial = self.dial()?;
        let reach = || safe_rt::dial(&self.service.endpoint, &dial).map(drop);
        let reached = timeout(HTTPS_TIMEOUT, reach).unwrap_or_else(|elapsed| elapsed.0);
        reached.map_err(ProvisionError::Dial)
    }

    fn request(&self, path: &str, len: usize) -> Result<Request<()>, ProvisionError> {
        let bad = |_| ProvisionError::NoClaim {
            reason: "the token or the address of the service cannot be sent".to_owned(),
        };
        let mut request = Request::post(format!("{}/{path}", self.service.url))
            .header("content-type", "application/json")
            .header("content-length", len)
            .header("accept", "application/json")
            .header("connection", "close");
        if let Some(token) = &self.service.token {
            let mut value = Zeroizing::new(b"Bearer ".to_vec());
            value.extend_from_slice(&token.0);
            let mut value = HeaderValue::from_bytes(&value).map_err(|error| bad(error.into()))?;
            value.set_sensitive(true);
            request = request.header("authorization", value);
        }
        request.body(()).map_err(bad)
    }

    fn dial(&self) -> Result<DialOptions, ProvisionError> {
        let mut tls = ClientTlsOptions::new(self.service.trust.clone())
            .clock_floor(self.options.floor.clone());
        if let Some(identity) = &self.identity {
            tls = tls.identity(identity.clone());
        }
        let tls = tls.build().map_err(ProvisionError::Tls)?;
        Ok(self.options.dial.clone().tls(tls))
    }
}

impl Cloud for Https<'_> {
    fn certificate(&mut self, request: Option<&str>) -> Result<Granted, ProvisionError> {
        let request = request.ok_or(ProvisionError::Answer {
            what: PROVISION,
            expected: "a signing request",
        })?;
        if !self.renews {
            self.introduce()?;
        }
        self.provision(request)
    }

    fn register(
        &mut self,
        _certificate_id: &str,
        _token: Option<&str>,
        request: Option<&str>,
    ) -> Result<About, ProvisionError> {
        // The answer that had the certificate had this as well, unless that was another start.
        if self.about.is_none() {
            self.provision(request.unwrap_or_default())?;
        }
        self.about.take().ok_or(ProvisionError::Answer {
            what: PROVISION,
            expected: "certificate_id",
        })
    }

    fn leave(&mut self) {}
}

/// Returns where a service with this address is: only `https://`, for a token goes there.
pub(super) fn endpoint_of(url: &str) -> Option<(Endpoint, String)> {
    let url = url.trim_end_matches('/');
    // The scheme is written in either case (RFC 3986, 3.1).
    let (scheme, rest) = url.split_at_checked("https://".len())?;
    if !scheme.eq_ignore_ascii_case("https://") {
        return None;
    }
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if path.contains(['?', '#']) || host.contains('@') {
        return None;
    }
    let has_port = host
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
    let at = if has_port {
        host.to_owned()
    } else {
        format!("{host}:443")
    };
    // The scheme says that there is TLS; what is spoken is HTTP.
    let endpoint = Endpoint::new(Scheme::Mqtts, &at).ok()?;
    Some((endpoint, format!("https://{rest}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_perhaps_a_port_and_a_path_and_nothing_to_hide() {
        for (url, at, kept) in [
            ("https://cloud.test", "cloud.test:443", "https://cloud.test"),
            (
                "https://cloud.test/",
                "cloud.test:443",
                "https://cloud.test",
            ),
            (
                "https://cloud.test:8443/v1/",
                "cloud.test:8443",
                "https://cloud.test:8443/v1",
            ),
            ("https://[::1]/v1", "[::1]:443", "https://[::1]/v1"),
            ("https://[::1]:8443", "[::1]:8443", "https://[::1]:8443"),
        ] {
            let (endpoint, url) = endpoint_of(url).unwrap();
            let host = endpoint.authority();
            let found = match endpoint.port() {
                443 | 8443 => host,
                other => panic!("{other}"),
            };
            assert!(found.starts_with(at.rsplit_once(':').unwrap().0), "{found}");
            let port: u16 = at.rsplit_once(':').unwrap().1.parse().unwrap();
            assert_eq!((endpoint.port(), &*url), (port, kept));
        }
        for url in [
            "http://cloud.test",
            "https://",
            "https://user:word@cloud.test",
            "https://cloud.test/?a",
            "cloud.test",
        ] {
            assert!(endpoint_of(url).is_none(), "{url}");
        }
    }
}
