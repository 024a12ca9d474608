//! The servers of the suite, and a client's run against one.

use crate::child::{Program, Running, Values};
use crate::error::Failure;
use crate::mosquitto::Mosquitto;
use crate::mqtt::address::Address;
use crate::mqtt::task::{Kind, Task};
use crate::program::CPU_VARIABLE;

/// The server that only answers.
const SINK: &str = "mqtt_sink";
/// What publishes to a client of a server that only passes messages on.
const FEEDER: &str = "mqtt_feeder";

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// One that only answers.
    Sink,
    /// Mosquitto, over TCP.
    Mosquitto,
    /// Mosquitto, over TLS.
    Tls,
}

/// Whether programs stay on processors of their own: the client on the first, all others on the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pinned {
    No,
    Yes,
}

impl Pinned {
    fn apply(self, program: Program, cpu: usize) -> Program {
        match self {
            Self::No => program,
            Self::Yes => program.variable(CPU_VARIABLE, &cpu.to_string()),
        }
    }
}

/// A server, until this is dropped.
pub(super) struct Server {
    address: Address,
    pinned: Pinned,
    feeds: bool,
    _running: Process,
}

/// Kept for its end, which is that of the server.
enum Process {
    Sink { _running: Running },
    Mosquitto { _running: Mosquitto },
}

impl Server {
    /// Starts one for a task.
    pub(super) fn start(place: Place, task: Task, pinned: Pinned) -> Result<Self, Failure> {
        let (address, running) = if place == Place::Sink {
            let mut sink = pinned.apply(Program::ours(SINK), 1).start()?;
            let port = sink.wait_for("port")?;
            let address = Address::parse(&port.to_string());
            let address = address.ok_or_else(|| Failure::NoValue {
                command: SINK.to_owned(),
                name: "port".to_owned(),
            })?;
            (address, Process::Sink { _running: sink })
        } else {
            let server = Mosquitto::start(place == Place::Tls, task.window)?;
            if pinned == Pinned::Yes {
                server.keep_on(1);
            }
            let address = server.address().clone();
            (address, Process::Mosquitto { _running: server })
        };
        Ok(Self {
            address,
            pinned,
            feeds: place == Place::Sink,
            _running: running,
        })
    }

    /// Runs a client to its end; `over` puts it under a tool.
    pub(super) fn run(
        &self,
        client: &Program,
        task: Task,
        over: impl FnOnce(Program) -> Program,
    ) -> Result<Values, Failure> {
        let asked = |program: Program, cpu| {
            let program = program.with(&[self.address.to_string()]);
            self.pinned.apply(program.with(&task.words()), cpu)
        };
        let receives = matches!(task.kind, Kind::Receive | Kind::Inline);
        let _feeder = if receives && !self.feeds {
            Some(asked(Program::ours(FEEDER), 1).start()?)
        } else {
            None
        };
        over(asked(client.clone(), 0)).run()
    }
}
