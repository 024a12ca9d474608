//! Sessions that can be resumed, and how long what was found of their certificates stands.
//!
//! A handshake that resumes a session checks no certificate. rustls forgets a session when its ticket
//! is too old, if the ticket says so and the clock is not set back; and TLS 1.3 brings new tickets with
//! every handshake, so a device that reconnects could resume for ever. Here each session carries the
//! [`Judgement`] of the full handshake that it descends from, however many resumptions lie between, and
//! is offered and taken only while that holds.
//!
//! rustls tells a store neither which connection brings a session nor how that one began. So each
//! connection is given a store of its own, [`OneConnection`], before the one that all connections of a
//! configuration share. It holds back what comes during the handshake until that is over, and with it
//! known whether it was a full one. The locks are held while values move, and never across a wait.

use core::fmt;
use core::time::Duration;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fiber::Instant;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::StoresServerSessions;
use rustls::{CommonState, HandshakeKind, NamedGroup};
use zeroize::Zeroizing;

use super::config::{SERVER_SESSIONS_MAX, SESSIONS_MAX};
use super::x509::Facts;
use crate::clock::ClockFloor;
use crate::utc::seconds_of;

/// How long after a handshake that checked certificates its session, and those that come of resuming
/// it, can be resumed.
pub const SESSION_AGE_MAX: Duration = Duration::from_secs(24 * 3600);
/// Tickets of TLS 1.3 that are kept for one server, and taken from one handshake.
const TICKETS_MAX: usize = 4;

/// The times that a judgement is held against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// What certificates are judged at, in seconds of Unix time.
    judged_at: u64,
    /// The earliest time that it can be, likewise.
    floor: u64,
    instant: Instant,
}

impl Now {
    fn of(floor: &ClockFloor) -> Self {
        Self {
            judged_at: seconds_of(floor.judged_at(fiber::wall_time())),
            floor: seconds_of(floor.earliest()),
            instant: Instant::now(),
        }
    }
}

/// When the certificates of a full handshake were checked, and until when that is worth anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Judgement {
    at: Instant,
    /// The time they were judged at, in seconds of Unix time.
    judged_at: u64,
    /// The floor under that time, likewise.
    floor: u64,
    /// The last second in which none of them has expired.
    until: u64,
}

impl Judgement {
    /// Notes that the chain of a peer was found good just now.
    fn of(chain: &[CertificateDer<'_>], now: Now) -> Self {
        let until = chain
            .iter()
            .map(|der| Facts::of(der).and_then(|facts| facts.not_after))
            // One whose end is not known is as good as expired by the next second.
            .map(|not_after| not_after.unwrap_or(now.judged_at))
            // What has expired is not what made the chain good: a peer may send too much.
            .filter(|not_after| *not_after >= now.judged_at)
            .min();
        Self {
            at: now.instant,
            judged_at: now.judged_at,
            floor: now.floor,
            until: until.unwrap_or(u64::MAX),
        }
    }

    /// Returns whether the certificates, if they were checked now, need not be.
    ///
    /// A clock that is set back says that it was wrong, then or now. A floor that rose since says that
    /// it was wrong then, or lets a revocation list expire; asking again is cheap.
    fn holds(&self, now: Now) -> bool {
        now.floor <= self.floor
            && (self.judged_at..=self.until).contains(&now.judged_at)
            && now.instant - self.at <= SESSION_AGE_MAX
    }

    /// Returns what holds only while both do.
    fn and(self, other: Self) -> Self {
        Self {
            at: self.at.min(other.at),
            judged_at: self.judged_at.max(other.judged_at),
            floor: self.floor.min(other.floor),
            until: self.until.min(other.until),
        }
    }
}

/// A session, or what it takes to resume it, and the judgement that it stands on.
struct Kept<T> {
    session: T,
    judgement: Judgement,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in here can panic half way but for want of memory.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What all connections of one configuration share.
pub(super) trait Sessions {
    /// What a connection brings.
    type Session;

    fn floor(&self) -> &ClockFloor;

    /// Keeps a session whose judgement holds, and forgets those whose does not any more.
    fn keep(&self, session: Self::Session, judgement: Judgement, now: Now);
}

/// The sessions of a configuration as one connection sees them.
pub(super) struct OneConnection<S: Sessions> {
    shared: Arc<S>,
    stage: Mutex<Stage<S::Session>>,
}

enum Stage<T> {
    /// What was lent to be resumed, and what came of it so far.
    Handshake {
        lent: Option<Judgement>,
        brought: Vec<T>,
    },
    /// What all that comes stands on.
    Done(Judgement),
    /// Nothing is kept that comes.
    Worthless,
}

impl<S: Sessions> OneConnection<S> {
    pub(super) fn new(shared: &Arc<S>) -> Arc<Self> {
        Arc::new(Self {
            shared: Arc::clone(shared),
            stage: Mutex::new(Stage::Handshake {
                lent: None,
                brought: Vec::new(),
            }),
        })
    }

    /// Learns from a connection whose handshake is done what its sessions are worth.
    pub(super) fn settle(&self, connection: &CommonState) {
        let now = self.now();
        let is_resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
        let chain = connection.peer_certificates().unwrap_or_default();
        self.settle_as((!is_resumed).then(|| Judgement::of(chain, now)), now);
    }

    /// As [`settle`](Self::settle), with the judgement of a full handshake.
    fn settle_as(&self, full: Option<Judgement>, now: Now) {
        let mut stage = lock(&self.stage);
        let Stage::Handshake { lent, brought } = core::mem::replace(&mut *stage, Stage::Worthless)
        else {
            return;
        };
        let Some(judgement) = full.or(lent) else {
            return;
        };
        *stage = Stage::Done(judgement);
        drop(stage);
        for session in brought {
            self.keep(session, judgement, now);
        }
    }

    fn keep(&self, session: S::Session, judgement: Judgement, now: Now) {
        if judgement.holds(now) {
            self.shared.keep(session, judgement, now);
        }
    }

    /// Takes a session that the peer can be asked to resume, or will ask for.
    fn bring(&self, session: S::Session) {
        let judgement = match &mut *lock(&self.stage) {
            Stage::Handshake { brought, .. } => {
                if brought.len() < TICKETS_MAX {
                    brought.push(session);
                }
                return;
            }
            Stage::Done(judgement) => *judgement,
            Stage::Worthless => return,
        };
        self.keep(session, judgement, self.now());
    }

    /// Lends a session that may be resumed; of several it is not known which one will be.
    fn lend<T>(&self, kept: Option<Kept<T>>) -> Option<T> {
        let Kept { session, judgement } = kept?;
        if let Stage::Handshake { lent, .. } = &mut *lock(&self.stage) {
            *lent = Some(lent.map_or(judgement, |other| other.and(judgement)));
        }
        Some(session)
    }

    fn now(&self) -> Now {
        Now::of(self.shared.floor())
    }
}

impl<S: Sessions> fmt::Debug for OneConnection<S> {
    /// Shows nothing: sessions are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sessions(..)")
    }
}

/// The sessions of a client configuration, at most [`SESSIONS_MAX`] servers'.
pub(super) struct ClientSessions {
    floor: ClockFloor,
    /// The one last heard of last.
    servers: Mutex<VecDeque<Server>>,
}

struct Server {
    name: ServerName<'static>,
    /// Which key exchange it chose.
    group: Option<NamedGroup>,
    tls12: Option<Kept<Tls12ClientSessionValue>>,
    /// The newest last; each is good for one handshake.
    tls13: VecDeque<Kept<Tls13ClientSessionValue>>,
}

/// What a server lets a client resume.
pub(super) enum ClientSession {
    Tls12(ServerName<'static>, Tls12ClientSessionValue),
    Tls13(ServerName<'static>, Tls13ClientSessionValue),
}

impl ClientSessions {
    pub(super) fn new(floor: ClockFloor) -> Arc<Self> {
        Arc::new(Self {
            floor,
            servers: Mutex::default(),
        })
    }

    /// Looks at a server that is there.
    fn of<T>(&self, name: &ServerName<'_>, body: impl FnOnce(&mut Server) -> T) -> Option<T> {
        let mut servers = lock(&self.servers);
        servers
            .iter_mut()
            .find(|server| server.name == *name)
            .map(body)
    }

    /// As [`of`](Self::of), also for a server that is new.
    fn with(&self, name: ServerName<'static>, body: impl FnOnce(&mut Server)) {
        let mut servers = lock(&self.servers);
        let at = servers.iter().position(|server| server.name == name);
        let mut server = at
            .and_then(|at| servers.remove(at))
            .unwrap_or_else(|| Server {
                name,
                group: None,
                tls12: None,
                tls13: VecDeque::new(),
            });
        body(&mut server);
        if servers.len() == SESSIONS_MAX {
            servers.pop_front();
        }
        servers.push_back(server);
    }
}

impl Server {
    fn forget_stale(&mut self, now: Now) {
        self.tls13.retain(|kept| kept.judgement.holds(now));
        self.tls12.take_if(|kept| !kept.judgement.holds(now));
    }
}

impl Sessions for ClientSessions {
    type Session = ClientSession;

    fn floor(&self) -> &ClockFloor {
        &self.floor
    }

    fn keep(&self, session: ClientSession, judgement: Judgement, now: Now) {
        for server in &mut *lock(&self.servers) {
            server.forget_stale(now);
        }
        match session {
            ClientSession::Tls12(name, session) => self.with(name, |server| {
                server.tls12 = Some(Kept { session, judgement });
            }),
            ClientSession::Tls13(name, session) => self.with(name, |server| {
                if server.tls13.len() == TICKETS_MAX {
                    server.tls13.pop_front();
                }
                server.tls13.push_back(Kept { session, judgement });
            }),
        }
    }
}

impl ClientSessionStore for OneConnection<ClientSessions> {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        self.shared.with(name, |server| server.group = Some(group));
    }

    fn kx_hint(&self, name: &ServerName<'_>) -> Option<NamedGroup> {
        self.shared.of(name, |server| server.group)?
    }

    fn set_tls12_session(&self, name: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.bring(ClientSession::Tls12(name, session));
    }

    fn tls12_session(&self, name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        let now = self.now();
        let kept = self.shared.of(name, |server| {
            server.forget_stale(now);
            server.tls12.as_ref().map(|kept| Kept {
                session: kept.session.clone(),
                judgement: kept.judgement,
            })
        });
        self.lend(kept?)
    }

    fn remove_tls12_session(&self, name: &ServerName<'static>) {
        self.shared.of(name, |server| server.tls12 = None);
    }

    fn insert_tls13_ticket(&self, name: ServerName<'static>, session: Tls13ClientSessionValue) {
        self.bring(ClientSession::Tls13(name, session));
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let now = self.now();
        let kept = self.shared.of(name, |server| {
            server.forget_stale(now);
            server.tls13.pop_back()
        });
        self.lend(kept?)
    }
}

/// As rustls encodes it, with the secret of the session.
type ServerSession = Kept<Zeroizing<Vec<u8>>>;

/// The sessions of a server configuration, at most [`SERVER_SESSIONS_MAX`].
pub(super) struct ServerSessions {
    floor: ClockFloor,
    /// By what the client names them with; the newest last.
    sessions: Mutex<VecDeque<(Vec<u8>, ServerSession)>>,
}

impl ServerSessions {
    pub(super) fn new(floor: ClockFloor) -> Arc<Self> {
        Arc::new(Self {
            floor,
            sessions: Mutex::default(),
        })
    }

    /// Takes a session out, if what it stands on still holds.
    fn take(&self, key: &[u8], now: Now) -> Option<ServerSession> {
        let mut sessions = lock(&self.sessions);
        let at = sessions.iter().position(|(found, _)| found == key)?;
        let (_, kept) = sessions.remove(at)?;
        kept.judgement.holds(now).then_some(kept)
    }
}

impl Sessions for ServerSessions {
    type Session = (Vec<u8>, Zeroizing<Vec<u8>>);

    fn floor(&self) -> &ClockFloor {
        &self.floor
    }

    fn keep(&self, (key, session): Self::Session, judgement: Judgement, now: Now) {
        let mut sessions = lock(&self.sessions);
        sessions.retain(|(found, kept)| *found != key && kept.judgement.holds(now));
        if sessions.len() == SERVER_SESSIONS_MAX {
            sessions.pop_front();
        }
        sessions.push_back((key, Kept { session, judgement }));
    }
}

impl StoresServerSessions for OneConnection<ServerSessions> {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.bring((key, Zeroizing::new(value)));
        true
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let now = self.now();
        let kept = self.shared.take(key, now)?;
        let (session, judgement) = (kept.session.clone(), kept.judgement);
        self.shared.keep((key.to_vec(), session), judgement, now);
        self.lend(Some(kept)).map(|session| session.to_vec())
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        let kept = self.shared.take(key, self.now());
        self.lend(kept).map(|session| session.to_vec())
    }

    fn can_cache(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests;
