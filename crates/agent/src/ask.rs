//! `agent status`, `agent fibers`, `agent queue`, `agent wait` and `agent reload`: what a running agent
//! is asked over its control socket, printed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fiber::Instant;
use serde_json::{Value, json};

use crate::args::{Ask, ControlArgs, Form, Goal};
use crate::control::{Control, ControlError, Request, SOCKET_NAME};
use crate::failure::Failure;
use crate::out;

/// The number of the form of what is printed as JSON; a change that a reader could notice raises it.
const SCHEMA: u32 = 1;
/// How often `agent wait` looks.
const LOOK_PAUSE: Duration = Duration::from_millis(200);

/// Asks, and prints the answer to the standard output. Yields; runs on a fiber.
///
/// # Errors
///
/// [`Failure::Control`], [`Failure::Output`] and [`Failure::Unread`], and [`Failure::WaitExpired`] of
/// `agent wait`.
pub fn run(args: &ControlArgs) -> Result<(), Failure> {
    let places = places(args.socket.as_deref());
    match args.ask {
        Ask::Wait { goal, timeout } => return wait(&places, goal, timeout),
        Ask::QueueList(form) => return queue(&places, form, |from| Request::QueueList { from }),
        Ask::QueueExport => {
            return queue(&places, Form::Json, |from| Request::QueueExport { from });
        }
        Ask::Status(_) | Ask::Fibers(_) | Ask::QueueDrop { .. } | Ask::Reload => {}
    }
    let mut control = connect(&places).map_err(Failure::Control)?;
    let mut ask = |request| control.ask(&request).map_err(Failure::Control);
    match args.ask {
        Ask::Status(Form::Json) => print_line(&ask(Request::Status)?["status"])?,
        Ask::Status(Form::Text) => print_text(&ask(Request::Text)?)?,
        Ask::Status(Form::Metrics) => print_text(&ask(Request::Metrics)?)?,
        Ask::Fibers(Form::Json) => {
            let fibers = ask(Request::Fibers)?["fibers"].take();
            print_line(&json!({ "schema": SCHEMA, "fibers": fibers }))?;
        }
        Ask::Fibers(_) => {
            let answer = ask(Request::Fibers)?;
            for line in answer["fibers"].as_array().into_iter().flatten() {
                out::text(&format!("{}\n", line.as_str().unwrap_or_default()))?;
            }
        }
        Ask::QueueDrop { count } => {
            let answer = ask(Request::QueueDrop { count })?;
            let (dropped, kept) = (&answer["dropped"], &answer["kept"]);
            out::text(&format!("{dropped} dropped, {kept} sent already\n"))?;
        }
        Ask::Reload => {
            let answer = ask(Request::Reload)?;
            let kinds = [
                ("changed", "now"),
                ("reconnect", "with the next connection"),
                ("restart", "after a restart"),
            ];
            for (name, what) in kinds {
                for setting in answer[name].as_array().into_iter().flatten() {
                    let setting = setting.as_str().unwrap_or_default();
                    out::text(&format!("{setting}: counts {what}\n"))?;
                }
            }
        }
        Ask::Wait { .. } | Ask::QueueList(_) | Ask::QueueExport => {}
    }
    Ok(())
}

/// Where the socket may be, in the order in which they are tried.
fn places(named: Option<&Path>) -> Vec<PathBuf> {
    if let Some(path) = named {
        return vec![path.to_owned()];
    }
    let of_variable = |name| std::env::var_os(name).map(PathBuf::from);
    let folders = [
        of_variable("RUNTIME_DIRECTORY"),
        of_variable("STATE_DIRECTORY"),
        Some(PathBuf::from("/run/agent")),
        Some(PathBuf::from("/var/lib/agent")),
    ];
    let folders = folders.into_iter().flatten();
    folders.map(|folder| folder.join(SOCKET_NAME)).collect()
}

/// Connects to the first agent that is there; the error of the first place if none is.
pub(crate) fn connect(places: &[PathBuf]) -> Result<Control, ControlError> {
    let mut first = None;
    for place in places {
        match Control::connect(place) {
            Ok(control) => return Ok(control),
            Err(error) => {
                first.get_or_insert(error);
            }
        }
    }
    Err(first.unwrap_or_else(|| ControlError::NoAgent(std::io::ErrorKind::NotFound.into())))
}

/// One object, and the line end.
fn print_line(value: &Value) -> Result<(), Failure> {
    out::text(&format!("{value}\n"))
}

fn print_text(answer: &Value) -> Result<(), Failure> {
    out::text(answer["text"].as_str().unwrap_or_default())
}

/// Prints the messages of the queue, page after page, a line for each.
fn queue(places: &[PathBuf], form: Form, request: impl Fn(u64) -> Request) -> Result<(), Failure> {
    let mut control = connect(places).map_err(Failure::Control)?;
    let mut from = 0;
    loop {
        let mut answer = control.ask(&request(from)).map_err(Failure::Control)?;
        for message in answer["messages"].as_array_mut().into_iter().flatten() {
            if let Form::Text = form {
                let text = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
                let (pos, bytes) = (&message["pos"], &message["bytes"]);
                out::text(&format!(
                    "{pos:>8} {:<7} {bytes:>7} bytes  {}\n",
                    text("state"),
                    text("topic")
                ))?;
            } else {
                // Each line is read by itself.
                message["schema"] = SCHEMA.into();
                print_line(message)?;
            }
        }
        match answer["next"].as_u64() {
            // A page that does not get on would be asked for again and again.
            Some(next) if next > from => from = next,
            _ => return Ok(()),
        }
    }
}

/// Looks until it is so. The agent need not run yet.
fn wait(places: &[PathBuf], goal: Goal, timeout: Duration) -> Result<(), Failure> {
    let deadline = Instant::now() + timeout;
    loop {
        let asked = connect(places).and_then(|mut control| control.ask(&Request::Status));
        match asked {
            Ok(answer) if is_reached(goal, &answer["status"]) => return Ok(()),
            Ok(_) | Err(ControlError::NoAgent(_) | ControlError::Io(_)) => {}
            Err(error) => return Err(Failure::Control(error)),
        }
        if Instant::now() >= deadline {
            return Err(Failure::WaitExpired);
        }
        fiber::sleep(LOOK_PAUSE.min(deadline - Instant::now()))?;
    }
}

fn is_reached(goal: Goal, status: &Value) -> bool {
    match goal {
        Goal::Online => status["link"]["state"] == "online",
        // While it is about to get one it does not answer yet.
        Goal::Provisioned => {
            let kind = status["identity"]["kind"].as_str();
            kind.is_some_and(|kind| kind != "none")
        }
        Goal::Drained => status["queue"]["messages"] == 0,
    }
}
