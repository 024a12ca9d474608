//! A broker that plays a provider, and clients of it with and without a profile.

use std::time::Duration;

use agent::profile::{Overrides, Profile, Provider};
use mqtt::{Broker, BrokerOptions, Client, ClientId, ClientOptions, EndCause, Error, WaitCause};
use safe_rt::Socket;

/// Room of a pipe.
const PIPE_BYTES: usize = 256 * 1024;

/// Runs a body in virtual time.
#[track_caller]
pub(crate) fn run(options: BrokerOptions, body: impl FnOnce(&Broker) + 'static) {
    fiber::Runtime::builder()
        .paused_clock(true)
        .run(move || body(&Broker::new(options)))
        .expect("the test body does not panic");
}

/// As [`run`], with the broker of a provider.
#[track_caller]
pub(crate) fn play(provider: Provider, body: impl FnOnce(&Broker) + 'static) {
    run(provider.broker_options(), body);
}

/// Options as a program makes them that knows nothing of its provider.
pub(crate) fn plain(client_id: &str) -> ClientOptions {
    ClientOptions::new(ClientId::new(client_id).expect("a client identifier"))
}

/// Options with the profile of a provider.
pub(crate) fn with_profile(provider: Provider, client_id: &str) -> ClientOptions {
    let profile = Profile::new(provider, Overrides::default());
    let keep_alive = Duration::from_secs(60);
    profile.apply(plain(client_id), keep_alive).options
}

/// A transport to the broker.
pub(crate) fn attach(broker: &Broker) -> Socket {
    let (ours, theirs) = fiber::net::pipe(PIPE_BYTES);
    broker.attach(theirs).expect("a fiber is to be had");
    ours.into()
}

/// A client that is connected; returns whether the broker had its session.
#[track_caller]
pub(crate) fn connect(broker: &Broker, options: ClientOptions) -> (Client, bool) {
    let client = Client::over(attach(broker), options);
    let session_present = client.connect().expect("the broker accepts the client");
    (client, session_present)
}

/// A client that makes its connections itself.
#[track_caller]
pub(crate) fn open(broker: &Broker, options: ClientOptions) -> Client {
    let broker = broker.clone();
    Client::open_by(move || Ok(attach(&broker)), options).expect("a client")
}

/// The connection was closed by the other end without a word.
#[track_caller]
pub(crate) fn expect_hang_up(client: &Client) {
    let ended = fiber::timeout(Duration::from_secs(30), || client.ended());
    let cause = ended.expect("it ends in time").expect("not stopped");
    assert!(matches!(*cause, EndCause::ClosedByPeer), "{cause}");
}

/// The call ended with the connection.
#[track_caller]
pub(crate) fn expect_lost<T: std::fmt::Debug>(result: Result<T, impl Into<Error>>) {
    let error = result.expect_err("the connection is closed").into();
    let lost = matches!(&error, Error::Wait(WaitCause::ConnectionLost(cause))
        if matches!(**cause, EndCause::ClosedByPeer));
    assert!(lost, "{error}");
}
