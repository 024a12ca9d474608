//! A provisioning service by the contract of `docs/provisioning.md`, to be copied: one file, and no
//! framework. It keeps its devices in memory, and has its authority in the program.
//!
//! What a service of your own must add: devices in a database, an authority behind a wall, a page
//! where people claim devices, and, where it sees client certificates, the check that a renewal is
//! asked for by the certificate in use.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::rc::Rc;
use std::time::Duration;

use agent::local_cloud::LocalAuthority;
use safe_rt::{Error, Listener, ServeOptions, Socket};
use serde_json::{Value, json};

/// Longest request that is read.
const REQUEST_BYTES: u64 = 64 * 1024;

/// A device that has introduced itself.
#[derive(Clone, Debug, Default)]
pub struct Device {
    /// Whether a person said whose it is.
    pub claimed: bool,
    /// The certificate for each signing request, with its name: a request that comes again gets the
    /// same one.
    pub certificates: BTreeMap<String, (String, String)>,
    /// Whether it gave its identity up.
    pub released: bool,
}

/// The service. A clone is the same one.
#[derive(Clone)]
pub struct ProvisioningServer(Rc<Inner>);

struct Inner {
    authority: Rc<LocalAuthority>,
    token: Option<String>,
    life: Duration,
    /// Whether devices count as claimed when they introduce themselves.
    open: bool,
    devices: RefCell<BTreeMap<String, Device>>,
    /// Answered instead of the next requests: status, and `Retry-After`.
    trouble: RefCell<Vec<(u16, Option<String>)>>,
    /// The requests that came.
    asked: RefCell<Vec<String>>,
}

impl ProvisioningServer {
    /// Takes devices that know the token; without one, those whose certificate TLS has checked. The
    /// certificates that they get are of this authority, for this long.
    #[must_use]
    pub fn new(
        authority: Rc<LocalAuthority>,
        token: Option<&str>,
        life: Duration,
        open: bool,
    ) -> Self {
        Self(Rc::new(Inner {
            authority,
            token: token.map(str::to_owned),
            life,
            open,
            devices: RefCell::default(),
            trouble: RefCell::default(),
            asked: RefCell::default(),
        }))
    }

    /// Serves until the listener fails. Yields.
    ///
    /// # Errors
    ///
    /// As [`Listener::serve`].
    pub fn serve(&self, listener: &Listener) -> Result<Infallible, Error> {
        let server = self.clone();
        listener.serve(&ServeOptions::new(), move |socket| {
            server.connection(&socket)
        })
    }

    /// Says whose a device is.
    pub fn claim(&self, device_id: &str) {
        let mut devices = self.0.devices.borrow_mut();
        devices.entry(device_id.to_owned()).or_default().claimed = true;
    }

    /// What is known of a device.
    #[must_use]
    pub fn device(&self, device_id: &str) -> Option<Device> {
        self.0.devices.borrow().get(device_id).cloned()
    }

    /// The paths that were asked for, in order.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.0.asked.borrow().clone()
    }

    /// Answers the next request with this status, and with this `Retry-After`.
    pub fn trouble(&self, status: u16, retry_after: Option<&str>) {
        let retry_after = retry_after.map(str::to_owned);
        self.0.trouble.borrow_mut().push((status, retry_after));
    }

    /// Reads one request and answers it.
    fn connection(&self, socket: &Socket) -> io::Result<()> {
        let mut reader = BufReader::new(socket).take(REQUEST_BYTES);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let is_post = line.starts_with("POST ");
        let (mut length, mut token) = (0, None);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 || line.trim_end().is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').unwrap_or_default();
            match &*name.to_ascii_lowercase() {
                "content-length" => length = value.trim().parse().unwrap_or(0),
                "authorization" => token = value.trim().strip_prefix("Bearer ").map(str::to_owned),
                _ => {}
            }
        }
        let mut body = vec![0; length.min(REQUEST_BYTES as usize)];
        reader.read_exact(&mut body)?;
        let request = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let is_known = self.0.token.is_none() || token == self.0.token;
        let (status, retry_after, answer) = if !is_known {
            refused(401, "unauthorized", "the token is not known")
        } else if !is_post {
            refused(405, "method", "expected POST")
        } else {
            self.answer(&path, &request)
        };
        let retry_after = retry_after.map_or(String::new(), |s| format!("Retry-After: {s}\r\n"));
        let body = answer.to_string();
        let mut socket = socket;
        write!(
            socket,
            "HTTP/1.1 {status} Answer\r\nContent-Type: application/json\r\n{retry_after}\
             Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        socket.flush()
    }

    fn answer(&self, path: &str, request: &Value) -> Answer {
        self.0.asked.borrow_mut().push(path.to_owned());
        let trouble = self.0.trouble.borrow_mut().pop();
        if let Some((status, retry_after)) = trouble {
            let (_, _, body) = refused(status, "trouble", "come back later");
            return (status, retry_after, body);
        }
        let text = |name: &str| request.get(name).and_then(Value::as_str);
        let Some(id) = text("device_id") else {
            return refused(400, "device_id", "expected a device_id");
        };
        let mut devices = self.0.devices.borrow_mut();
        match path {
            "/v1/register" => {
                let device = devices.entry(id.to_owned()).or_default();
                device.claimed |= self.0.open;
                if device.claimed {
                    return (200, None, json!({ "status": "claimed" }));
                }
                let url = format!("https://cloud.example/claim/{id}");
                (
                    202,
                    Some("1".to_owned()),
                    json!({ "status": "waiting", "claim_url": url }),
                )
            }
            "/v1/provision" | "/v1/renew" => {
                let Some(device) = devices.get_mut(id).filter(|device| device.claimed) else {
                    return refused(403, "unclaimed", "this device is not claimed");
                };
                let Some(request) = text("csr") else {
                    return refused(400, "csr", "expected a csr");
                };
                if let Some((name, certificate)) = device.certificates.get(request) {
                    return granted(id, name, certificate);
                }
                let life = self.0.life;
                let certificate = match self.0.authority.sign(request, Some(id), life) {
                    Ok(certificate) => certificate,
                    Err(error) => return refused(400, "csr", &error.to_string()),
                };
                let name = format!("{id}-{}", device.certificates.len() + 1);
                let answer = granted(id, &name, &certificate);
                device
                    .certificates
                    .insert(request.to_owned(), (name, certificate));
                answer
            }
            "/v1/release" => {
                devices.entry(id.to_owned()).or_default().released = true;
                (200, None, json!({}))
            }
            _ => refused(404, "path", "there is no such request"),
        }
    }
}

/// Status, `Retry-After`, body.
type Answer = (u16, Option<String>, Value);

fn granted(id: &str, name: &str, certificate: &str) -> Answer {
    let answer = json!({
        "certificate": certificate,
        "certificate_id": name,
        "client_id": id,
    });
    (200, None, answer)
}

fn refused(status: u16, error: &str, message: &str) -> Answer {
    (status, None, json!({ "error": error, "message": message }))
}
