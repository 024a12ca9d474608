//! A server and its clients: two programs, the server's figures.

use crate::child::{Program, Values};
use crate::counts::Count;
use crate::error::Failure;
use crate::program::CPU_VARIABLE;
use crate::work::Work;

/// Long enough for a server that is being counted to wait.
const PAUSE_MICROS: usize = 500;

/// Where server and clients run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processors {
    /// Both on one: only one of them has something to do at a time.
    Same,
    /// On one each.
    OneEach,
    /// As the system likes.
    Any,
}

/// Runs a server's `work` with `load`, the words for the clients but for the port; the server's values.
///
/// # Errors
/// [`Failure`] of either.
pub fn serve(
    server: &Program,
    work: Work,
    load: &[String],
    processors: Processors,
) -> Result<Values, Failure> {
    let (of_server, of_load) = match processors {
        Processors::Same => (Some("0"), Some("0")),
        Processors::OneEach => (Some("0"), Some("1")),
        Processors::Any => (None, None),
    };
    let mut serving = on(server.clone(), of_server).with(&work.words()).start()?;
    let port = serving.wait_for("port")?;
    let mut words = load.to_vec();
    words.insert(1, port.to_string());
    on(Program::ours("load"), of_load).with(&words).run()?;
    serving.finish()
}

fn on(program: Program, processor: Option<&str>) -> Program {
    match processor {
        Some(number) => program.variable(CPU_VARIABLE, number),
        None => program,
    }
}

/// The words for clients that keep a message under way on each of `connections`, and wait for
/// `pause_micros` before each.
#[must_use]
pub fn requests(connections: usize, requests: usize, pause_micros: usize) -> Vec<String> {
    let numbers = [connections, requests, pause_micros];
    let mut words = vec!["echo".to_owned()];
    words.extend(numbers.iter().map(usize::to_string));
    words
}

/// What a server takes per request, counted: the difference between two numbers of requests.
///
/// # Errors
/// [`Failure`].
pub fn per_request(
    count: Count,
    server: &Program,
    connections: usize,
    (few, many): (usize, usize),
) -> Result<f64, Failure> {
    let server = count.over(server.clone());
    // What counts makes the server slow. With one connection it would find the next request whenever
    // it looks, and never wait for one.
    let pause = if connections == 1 { PAUSE_MICROS } else { 0 };
    let total = |number| -> Result<(f64, f64), Failure> {
        let work = Work::Echo { connections };
        let load = requests(connections, number, pause);
        let values = serve(&server, work, &load, Processors::Any)?;
        Ok((count.total(&values)?, values.get("requests")?))
    };
    let (few, many) = (total(few)?, total(many)?);
    Ok((many.0 - few.0) / (many.1 - few.1))
}
