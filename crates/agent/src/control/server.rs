//! The agent's end of the control socket.

use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use data_encoding::BASE64;
use fiber::net::UnixStream;
use fiber::{Semaphore, Stopped};
use mqtt::Outcome;
use mqtt::store::{Store as _, StorePos, Stored};
use safe_rt::LocalListener;
use serde_json::Value;

use super::publish;
use super::request::{CONTROL_REQUEST_BYTES_MAX, Request};
use crate::agent::Agent;
use crate::doctor;
use crate::json;
use crate::status::Status;

/// Programs that may ask at one time; one more is answered that there are as many.
pub const CONTROL_CLIENTS_MAX: u32 = 8;
/// How long a program may take for its next request, and to read an answer.
pub const CONTROL_TIMEOUT: Duration = Duration::from_secs(30);
/// For how long a connection may be asked for whatever the schedule says.
const CONNECT_MAX: Duration = Duration::from_secs(24 * 3600);
/// Messages of one answer.
pub const QUEUE_PAGE_MAX: usize = 100;
/// Bytes of payloads in one answer, beyond which it ends early.
const PAGE_BYTES_MAX: usize = 1024 * 1024;

/// Answers until it is stopped: the body of a fiber. Yields. The socket is there once this waits, and is
/// removed at the end.
///
/// # Errors
///
/// [`Stopped`], when the agent leaves.
pub(crate) fn serve(agent: &Agent, path: &Path) -> Result<(), Stopped> {
    let listener = match LocalListener::bind(path) {
        Ok(listener) => listener,
        Err(error) => {
            // A device goes on without it.
            log::error!("there is no control socket: {error}");
            return Ok(());
        }
    };
    log::debug!("control socket at {}", path.display());
    let places = Rc::new(Semaphore::new(CONTROL_CLIENTS_MAX));
    let ended = loop {
        let stream = match listener.accept() {
            Ok(stream) => stream,
            Err(error) => match fiber::cause(&error) {
                Some(stopped) => break stopped,
                None => {
                    log::warn!("the control socket cannot take a connection: {error}");
                    match fiber::sleep(safe_rt::ACCEPT_PAUSE) {
                        Ok(()) => continue,
                        Err(stopped) => break stopped,
                    }
                }
            },
        };
        if !is_allowed(&stream) {
            log::warn!("a program of another user asked at the control socket");
            continue;
        }
        let Ok(place) = places.try_acquire() else {
            refuse(&stream);
            continue;
        };
        let asked = agent.clone();
        // It ends with the agent, which it would keep otherwise.
        let spawned = agent.spawn("control", move || {
            let _place = place;
            // Whatever ends it, the program on the other side sees it.
            let _ = converse(&asked, &stream);
            Ok(())
        });
        if let Err(error) = spawned {
            log::warn!("a program at the control socket is not answered: {error}");
        }
    };
    listener.close();
    Err(ended)
}

/// Whether the program on the other side is of our user, or of root.
fn is_allowed(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid();
    match rustix::net::sockopt::socket_peercred(stream) {
        Ok(peer) => peer.uid.is_root() || peer.uid == own,
        Err(_) => false,
    }
}

fn refuse(stream: &UnixStream) {
    let line = failed("as many programs as may ask do so already");
    let _ = fiber::timeout(Duration::from_millis(100), || {
        { stream }.write_all(line.as_bytes())
    });
}

/// Answers the requests of one program, until it ends or takes too long.
fn converse(agent: &Agent, stream: &UnixStream) -> io::Result<()> {
    let mut pending = Vec::new();
    loop {
        let read = fiber::timeout(CONTROL_TIMEOUT, || next_line(stream, &mut pending));
        let Ok(line) = read else { return Ok(()) };
        let answer = match line? {
            Line::End => return Ok(()),
            Line::TooLong => failed(&format!(
                "expected a request of at most {CONTROL_REQUEST_BYTES_MAX} bytes, found more"
            )),
            Line::Request(line) => match Request::parse(&line) {
                Ok(request) => answer(agent, request),
                Err(fault) => failed(&fault.to_string()),
            },
        };
        let written = fiber::timeout(CONTROL_TIMEOUT, || { stream }.write_all(answer.as_bytes()));
        match written {
            Ok(written) => written?,
            Err(_) => return Ok(()),
        }
        if pending.len() > CONTROL_REQUEST_BYTES_MAX {
            return Ok(());
        }
    }
}

/// What a program sent.
enum Line {
    Request(Vec<u8>),
    TooLong,
    End,
}

/// Reads on to the next line end.
fn next_line(mut stream: &UnixStream, pending: &mut Vec<u8>) -> io::Result<Line> {
    let mut bytes = [0; 4 * 1024];
    let mut looked = 0;
    loop {
        let end = pending[looked..].iter().position(|byte| *byte == b'\n');
        if let Some(end) = end {
            let mut line: Vec<u8> = pending.drain(..=looked + end).collect();
            line.pop();
            return Ok(Line::Request(line));
        }
        if pending.len() > CONTROL_REQUEST_BYTES_MAX {
            return Ok(Line::TooLong);
        }
        looked = pending.len();
        match stream.read(&mut bytes)? {
            0 => return Ok(Line::End),
            read => pending.extend_from_slice(&bytes[..read]),
        }
    }
}

/// An answer of these parts, which are JSON, with its line end.
fn done(parts: &[(&str, String)]) -> String {
    let head = [("schema", "1".to_owned()), ("ok", "true".to_owned())];
    let all: Vec<_> = head.into_iter().chain(parts.iter().cloned()).collect();
    json::object_of(&all) + "\n"
}

fn failed(text: &str) -> String {
    let parts = [
        ("schema", Value::from(1)),
        ("ok", false.into()),
        ("error", text.into()),
    ];
    json::object(&parts) + "\n"
}

fn text(text: &str) -> String {
    Value::from(text).to_string()
}

/// Does what is asked. Yields.
fn answer(agent: &Agent, request: Request) -> String {
    match request {
        Request::Status => done(&[("status", Status::of(agent).to_json())]),
        Request::Text => done(&[("text", text(&Status::of(agent).to_text()))]),
        Request::Metrics => done(&[("text", text(&Status::of(agent).to_prometheus()))]),
        Request::Fibers => {
            let fibers = fiber::fibers().to_string();
            let fibers = json::array(fibers.lines().map(text));
            done(&[("fibers", fibers)])
        }
        Request::QueueList { from } => page(agent, from, false),
        Request::QueueExport { from } => page(agent, from, true),
        Request::QueueDrop { count } => drop_oldest(agent, count),
        Request::Connect { seconds } => {
            let length = Duration::from_secs(seconds);
            if length > CONNECT_MAX {
                let most = CONNECT_MAX.as_secs();
                return failed(&format!("expected at most {most} seconds, found {seconds}"));
            }
            if length.is_zero() {
                agent.connect_no_more();
            } else {
                agent.connect_for(length);
            }
            done(&[])
        }
        Request::Doctor => done(&[
            ("status", Status::of(agent).to_json()),
            (
                "checks",
                doctor::own_checks(agent.doctor_options()).to_string(),
            ),
        ]),
        Request::Publish(message) => match publish::publish(agent, &message) {
            Ok(outcome) => done(&[("outcome", text(outcome))]),
            Err(error) => failed(&error),
        },
        Request::Renew => match order_renewal(agent) {
            Some(order) => done(&[("order", order.to_string())]),
            None => failed("this agent has no identity that it renews"),
        },
        Request::Renewal => match renewal(agent) {
            Some(parts) => done(&parts),
            None => failed("this agent has no identity that it renews"),
        },
        Request::Reload => match agent.reload() {
            Ok(changes) => {
                let texts = |names: &[String]| json::array(names.iter().map(|name| text(name)));
                done(&[
                    ("changed", texts(&changes.changed)),
                    ("reconnect", texts(&changes.reconnect)),
                    ("restart", texts(&changes.restart)),
                ])
            }
            Err(error) => failed(&error),
        },
    }
}

/// Has the certificate renewed; nothing where there is none to renew.
#[cfg(feature = "provision")]
fn order_renewal(agent: &Agent) -> Option<u64> {
    Some(agent.attached()?.renewals()?.order())
}

#[cfg(not(feature = "provision"))]
const fn order_renewal(_: &Agent) -> Option<u64> {
    None
}

/// What became of renewals.
#[cfg(feature = "provision")]
fn renewal(agent: &Agent) -> Option<Vec<(&'static str, String)>> {
    let attached = agent.attached()?;
    let report = attached.renewals()?.report();
    let mut parts = vec![
        ("busy", report.is_busy.to_string()),
        ("ended", report.ended.to_string()),
    ];
    if let Some(failure) = report.failure {
        parts.push(("failure", text(&failure)));
    }
    let active = attached.store().active();
    if let Some(about) = active.as_ref().and_then(|active| active.about()) {
        parts.push(("certificate_id", text(&about.certificate_id)));
    }
    Some(parts)
}

#[cfg(not(feature = "provision"))]
const fn renewal(_: &Agent) -> Option<Vec<(&'static str, String)>> {
    None
}

/// The messages that wait, from a position on, in their order.
fn page(agent: &Agent, from: u64, with_payload: bool) -> String {
    let Some(store) = agent.queue_store() else {
        return failed("the queue is in memory, and cannot be looked into");
    };
    let (stored, more) = next_of(store, StorePos(from));
    let mut next = more.map(|pos| pos.0);
    let mut messages = Vec::new();
    let mut bytes = 0;
    for entry in stored {
        if bytes > PAGE_BYTES_MAX {
            next = Some(entry.pos.0);
            break;
        }
        let message = match store.read(entry.pos) {
            Ok(Some(message)) => message,
            // It was acknowledged meanwhile.
            Ok(None) => continue,
            Err(error) => {
                log::warn!("a message of the queue cannot be read: {error}");
                continue;
            }
        };
        bytes += message.payload.len();
        let state = if entry.packet_id.is_some() {
            "sent"
        } else {
            "waiting"
        };
        let mut parts = vec![
            ("pos", Value::from(entry.pos.0)),
            ("state", state.into()),
            ("topic", message.topic.as_str().into()),
            ("qos", message.qos.bits().into()),
            ("retain", message.retain.into()),
            ("bytes", message.payload.len().into()),
            ("published", message.published.into()),
        ];
        if message.expires != 0 {
            parts.push(("expires", message.expires.into()));
        }
        if with_payload {
            parts.push(("payload", BASE64.encode(&message.payload).into()));
        }
        messages.push(json::object(&parts));
    }
    let mut parts = vec![("messages", json::array(messages))];
    if let Some(next) = next {
        parts.push(("next", next.to_string()));
    }
    done(&parts)
}

/// The next [`QUEUE_PAGE_MAX`] messages from a position on, and the position of the one behind.
fn next_of(store: &mqtt::store::File, from: StorePos) -> (Vec<Stored>, Option<StorePos>) {
    let in_part = store.recovered_in_part();
    let begun = [in_part.released, in_part.in_flight, in_part.queued];
    let mut stored: Vec<Stored> = begun.into_iter().flatten().collect();
    let last = stored.iter().map(|stored| stored.pos.0).max();
    // Those that were published after all of these.
    let rest = last.map_or(0, |last| last + 1).max(from.0);
    stored.retain(|stored| stored.pos >= from);
    stored.sort_unstable_by_key(|stored| stored.pos);
    if stored.len() <= QUEUE_PAGE_MAX {
        stored.extend(store.queued(StorePos(rest), QUEUE_PAGE_MAX + 1));
    }
    let more = stored.get(QUEUE_PAGE_MAX).map(|stored| stored.pos);
    stored.truncate(QUEUE_PAGE_MAX);
    (stored, more)
}

/// Withdraws the oldest messages that were not sent.
fn drop_oldest(agent: &Agent, count: u64) -> String {
    if agent.queue_store().is_none() {
        return failed("the queue is in memory, and nothing of it can be dropped");
    }
    let (mut dropped, mut kept) = (0_u64, 0_u64);
    for (_, ticket) in agent.mqtt().stored() {
        if dropped >= count {
            break;
        }
        match ticket.abandon() {
            Ok(()) if ticket.poll() == Some(Outcome::Withdrawn) => dropped += 1,
            Ok(()) => {}
            Err(_) => kept += 1,
        }
    }
    if dropped > 0 {
        log::warn!("{dropped} messages of the queue were dropped at the control socket");
    }
    done(&[("dropped", dropped.to_string()), ("kept", kept.to_string())])
}
