//! Programs that run: what memory they take, and how long it is until the broker has let them in.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::child::{Program, Running};
use crate::error::Failure;
use crate::folder::Folder;
use crate::mqtt::task::{Kind, Task};
use crate::rounds::{self, Samples};

/// How long a flood lasts; it has filled what can be filled long before.
const FLOOD: Duration = Duration::from_secs(3);
/// Milliseconds that a handler takes for each message of it.
const SLOW: usize = 10;
/// After what is measured once: until nothing moves any more.
const REST: Duration = Duration::from_millis(100);

/// What is measured of each side in each round, in this order: milliseconds from the start until the
/// broker's answer, the most resident memory, of that what is the program's own, and what is of files; in
/// bytes.
pub(super) const VALUES: usize = 4;

/// The server for a suite of programs, and the file of its authority.
pub(super) struct Server {
    port: String,
    authority: Option<String>,
    _running: Running,
    _folder: Option<Folder>,
}

impl Server {
    pub(super) fn start(tls: bool) -> Result<Self, Failure> {
        let folder = tls.then(Folder::new).transpose()?;
        let program = match &folder {
            None => Program::ours("mqtt_sink"),
            Some(folder) => {
                let word = [folder.path().display().to_string()];
                Program::ours("mqtt_certificates").with(&word).run()?;
                Program::ours("mqtt_tls_sink").with(&word)
            }
        };
        let mut running = program.start()?;
        let port = running.wait_for("port")?.to_string();
        Ok(Self {
            port,
            authority: folder.as_ref().map(|folder| folder.file("authority.pem")),
            _running: running,
            _folder: folder,
        })
    }

    /// A program that subscribes to `filter` and takes `pause` milliseconds for each message.
    fn client(&self, program: &Path, filter: &str, pause: usize) -> Program {
        let mut words = vec![self.port.clone(), filter.to_owned(), pause.to_string()];
        words.extend(self.authority.clone());
        Program::at(program).with(&words)
    }
}

/// Starts each program in turns, ours first, and measures [`VALUES`].
pub(super) fn quiet(
    server: &Server,
    programs: &[&Path],
    rounds: usize,
) -> Result<Vec<Samples>, Failure> {
    rounds::measure(rounds, programs.len() - 1, VALUES, |side| {
        let program = server.client(programs[side], "size/#", 0);
        let began = Instant::now();
        let mut running = program.start()?;
        running.wait_for("connected")?;
        let took = began.elapsed();
        running.wait_for("acknowledged")?;
        thread::sleep(REST);
        let [most, own, file] = ["VmHWM", "RssAnon", "RssFile"]
            .map(|name| running.status(name).map(|kib| kib * 1024.0));
        Ok(vec![took.as_secs_f64() * 1e3, most?, own?, file?])
    })
}

/// The most memory, in bytes, that a program takes which gets messages far faster than it handles them.
pub(super) fn flooded(
    server: &Server,
    program: &Path,
    qos: u8,
    bytes: usize,
) -> Result<f64, Failure> {
    let flood = Task {
        kind: Kind::Receive,
        qos,
        bytes,
        window: 1_000,
        count: 10_000_000,
    };
    let mut running = server.client(program, &flood.filter(), SLOW).start()?;
    running.wait_for("connected")?;
    thread::sleep(FLOOD);
    Ok(running.status("VmHWM")? * 1024.0)
}
