//! The program `agent`: parses its arguments, runs the tool asked for, ends with its exit code.

#![forbid(unsafe_code)]

use std::env;
use std::process::ExitCode;

use agent::args::{self, Command, ConnectionArgs, ExplainArgs, PasswordSource};
use agent::config::commands;
use agent::exit::Exit;
use agent::failure::Failure;
use agent::{
    ask, completions, doctor, explain, help, logging, man, out, publish, request, run, subscribe,
};

fn main() -> ExitCode {
    let command = match args::parse(env::args_os().skip(1)) {
        Ok(command) => command,
        Err(rejected) => {
            out::rejected(&rejected);
            return Exit::Usage.into();
        }
    };
    let outcome = match command {
        Command::Help(tool) => out::text(&help::text(tool)),
        Command::Version => out::text(help::VERSION),
        Command::Run(args) => {
            // A service tells what happens to its connection.
            logging::start(args.debug, "warn,agent=info");
            on_fibers(move || run::run(&args))
        }
        Command::Control(args) => {
            logging::start(false, "warn");
            on_fibers(move || ask::run(&args))
        }
        Command::Pub(args) => {
            prepare(&args.connection);
            on_fibers(move || publish::run(&args))
        }
        Command::Sub(args) => {
            prepare(&args.connection);
            on_fibers(move || subscribe::run(&args))
        }
        Command::Request(args) => {
            prepare(&args.connection);
            on_fibers(move || request::run(&args))
        }
        Command::CheckConfig(args) => {
            logging::start(false, "warn");
            on_fibers(move || {
                commands::check(&args.source.source(), args.level, args.deny_warnings)
            })
        }
        Command::Config(args) => {
            logging::start(false, "warn");
            on_fibers(move || commands::print(&args))
        }
        Command::Init => commands::init(),
        Command::Explain(args) => explain(&args),
        Command::Completions(args) => out::text(&completions::script(args.shell)),
        Command::Man => out::text(&man::page()),
        Command::Demo(args) => return demo(args).into(),
        command @ (Command::Provision(_) | Command::Deprovision(_) | Command::Cert(_)) => {
            return identity_tool(command).into();
        }
        Command::Doctor(args) => {
            logging::start(args.debug, "error");
            let examined = fiber::run(move || doctor::run(&args));
            match examined {
                Ok(exit) => return exit.into(),
                Err(error) => Err(Failure::Runtime(error)),
            }
        }
    };
    match outcome {
        Ok(()) => Exit::Done,
        Err(failure) => {
            out::failure(&failure);
            failure.exit()
        }
    }
    .into()
}

#[cfg(feature = "demo")]
fn demo(args: args::DemoArgs) -> Exit {
    // What happens to the device's link is told by the demonstration.
    let is_device = args.device.is_some();
    logging::start(false, if is_device { "error" } else { "warn" });
    match fiber::run(move || agent::demo::run(&args)) {
        Ok(Ok(())) => Exit::Done,
        Ok(Err(error)) => {
            out::error(&error);
            error.exit()
        }
        Err(error) => {
            let failure = Failure::Runtime(error);
            out::failure(&failure);
            failure.exit()
        }
    }
}

#[cfg(not(feature = "demo"))]
fn demo(_: args::DemoArgs) -> Exit {
    out::error("this program was built without `demo`");
    Exit::Failed
}

#[cfg(feature = "provision")]
fn identity_tool(command: Command) -> Exit {
    use agent::identity_tools::{self, ToolError};
    logging::start(
        matches!(&command, Command::Provision(args) if args.debug),
        "error",
    );
    let run = move || match &command {
        Command::Provision(args) => identity_tools::provision(args),
        Command::Deprovision(args) => identity_tools::deprovision(args),
        Command::Cert(args) => identity_tools::cert(args),
        _ => Ok(Exit::Internal),
    };
    match fiber::run(run).map_err(|error| ToolError::Failure(Failure::Runtime(error))) {
        Ok(Ok(exit)) => exit,
        Ok(Err(error)) | Err(error) => {
            match &error {
                ToolError::Failure(failure) => out::failure(failure),
                error => out::error_and_help(error, error.remedy()),
            }
            error.exit()
        }
    }
}

#[cfg(not(feature = "provision"))]
fn identity_tool(_: Command) -> Exit {
    out::error("this program was built without `provision`");
    // Not that of `cert needs-renewal` for one that is not due.
    Exit::Unavailable
}

/// Explains every code, or lists all.
fn explain(args: &ExplainArgs) -> Result<(), Failure> {
    if args.markdown {
        out::text(&explain::markdown())?;
    } else if args.codes.is_empty() {
        out::text(&explain::overview())?;
    }
    for (n, code) in args.codes.iter().enumerate() {
        let Some(explanation) = explain::find(code) else {
            return Err(Failure::UnknownCode(code.clone()));
        };
        let gap = if n == 0 { "" } else { "\n" };
        out::text(&format!("{gap}{explanation}"))?;
    }
    Ok(())
}

/// What the tools for a moment do first.
fn prepare(args: &ConnectionArgs) {
    if args.quiet {
        out::be_quiet();
    }
    let password = args.credentials.as_ref().map(|who| &who.password);
    // A script has its reasons, and a log would repeat it for ever.
    if let Some(Some(PasswordSource::Given(_))) = password
        && out::is_watched()
    {
        out::warning(
            "everybody on this machine can see a password in the list of processes; --pw-file and \
             --pw-env hide it",
        );
    }
    if args.tls.as_ref().is_some_and(|tls| tls.insecure) {
        out::warning("--insecure: whoever has any trusted certificate can be the broker");
    }
    logging::start(args.debug, "warn");
}

fn on_fibers(tool: impl FnOnce() -> Result<(), Failure> + 'static) -> Result<(), Failure> {
    fiber::run(tool).map_err(Failure::Runtime)?
}
