//! The options of services and of small tools, and those that every tool has.

use super::{Flag, MOMENT, Opt, flag};
use crate::args::Tool;

const DOCTOR: &[Tool] = &[Tool::Doctor];
const CONTROL: &[Tool] = &[
    Tool::Status,
    Tool::Fibers,
    Tool::Queue,
    Tool::Wait,
    Tool::Reload,
];

/// The tools that read the configuration.
const CONFIGURED: &[Tool] = &[
    Tool::Run,
    Tool::CheckConfig,
    Tool::Config,
    Tool::Provision,
    Tool::Deprovision,
    Tool::Cert,
    Tool::Pub,
    Tool::Sub,
    Tool::Request,
    Tool::Doctor,
];
/// Those of them where `-c` is not a letter of Mosquitto's programs.
const CONFIGURED_BY_C: &[Tool] = &[
    Tool::Run,
    Tool::CheckConfig,
    Tool::Config,
    Tool::Provision,
    Tool::Deprovision,
    Tool::Cert,
    Tool::Doctor,
];

pub(super) const ROWS: &[Flag] = &[
    flag(
        &["-c", "--config"],
        "FILE",
        CONFIGURED_BY_C,
        Opt::Config,
        "the configuration, TOML, in the place of /etc/agent; `agent init` prints one with every key",
    ),
    flag(
        &["--config"],
        "FILE",
        MOMENT,
        Opt::Config,
        "the agent's configuration, in the place of /etc/agent: its broker, identity and proxy",
    ),
    flag(
        &["--set"],
        "SETTING",
        CONFIGURED,
        Opt::Set,
        "set something over all files, as cloud.keep_alive=30s; may be repeated",
    ),
    flag(
        &["--state-dir"],
        "DIR",
        CONFIGURED,
        Opt::StateDir,
        "the state directory: as --set state.dir=DIR",
    ),
    flag(
        &["--root"],
        "DIR",
        CONFIGURED,
        Opt::Root,
        "look for /etc/agent and /usr/lib/agent below this folder",
    ),
    flag(
        &["--level"],
        "LEVEL",
        &[Tool::CheckConfig],
        Opt::Level,
        "how much to check: syntax, or also the files that are named (default: files)",
    ),
    flag(
        &["--deny-warnings"],
        "",
        &[Tool::CheckConfig],
        Opt::DenyWarnings,
        "end with 78 for warnings as well",
    ),
    flag(
        &["--origin"],
        "",
        &[Tool::Config],
        Opt::Origin,
        "with show: also where each value comes from",
    ),
    flag(
        &["--json"],
        "",
        &[Tool::Config],
        Opt::Json,
        "with show: everything as one JSON object",
    ),
    flag(
        &["--doc"],
        "",
        &[Tool::Config],
        Opt::Doc,
        "with list: also what the keys mean and take",
    ),
    flag(
        &["--for"],
        "TIME",
        &[Tool::Run],
        Opt::For,
        "end after this time, such as 30s, 5m or 12h",
    ),
    flag(
        &["--dry-run"],
        "",
        &[Tool::Provision],
        Opt::DryRun,
        "check everything up to where something would be made, and make nothing",
    ),
    flag(
        &["--status"],
        "",
        &[Tool::Provision],
        Opt::Standing,
        "say what there is, what comes next and what a restart would do; also beside a running agent",
    ),
    flag(
        &["--timeout"],
        "TIME",
        &[Tool::Provision],
        Opt::Timeout,
        "how long to try, such as 90s or 10m (default: as long as it takes)",
    ),
    flag(
        &["--yes"],
        "",
        &[Tool::Deprovision],
        Opt::Yes,
        "ask nothing",
    ),
    flag(
        &["--now"],
        "",
        &[Tool::Deprovision],
        Opt::Now,
        "wipe what is in the trash at once, and not after 7 days",
    ),
    flag(
        &["--json"],
        "",
        &[Tool::Provision, Tool::Cert],
        Opt::Json,
        "print one JSON object, the form of which is stable",
    ),
    flag(
        &["--seed"],
        "N",
        &[Tool::Demo],
        Opt::Seed,
        "what decides when a fault comes (default: a random number)",
    ),
    flag(
        &["--for"],
        "TIME",
        &[Tool::Demo],
        Opt::For,
        "go on for so long, as 60s or 5m (default: each fault once)",
    ),
    flag(
        &["--fault"],
        "FAULT",
        &[Tool::Demo],
        Opt::Fault,
        "what to do, in this order; may be repeated (default: cut, power-cut): cut the link \
         inside a packet, stall it, drop-acks and then cut, kill-broker with all that it keeps, \
         power-cut to kill the device's process and start it again",
    ),
    flag(
        &["--interactive"],
        "",
        &[Tool::Demo],
        Opt::Interactive,
        "do what the keyboard says, a letter and Enter each",
    ),
    flag(
        &["--only"],
        "NAMES",
        DOCTOR,
        Opt::Only,
        "these checks alone and what they need, with commas between them",
    ),
    flag(&["--skip"], "NAMES", DOCTOR, Opt::Skip, "not these"),
    flag(&["--list"], "", DOCTOR, Opt::List, "list the checks"),
    flag(
        &["-v", "--verbose"],
        "",
        DOCTOR,
        Opt::Verbose,
        "print what shows it also where all is well",
    ),
    flag(
        &["--watch"],
        "TIME",
        DOCTOR,
        Opt::Watch,
        "examine again and again, at this interval, such as 1m; 5s at the least",
    ),
    flag(
        &["--takeover"],
        "",
        DOCTOR,
        Opt::Takeover,
        "connect even while the agent runs",
    ),
    flag(
        &["--touch"],
        "",
        DOCTOR,
        Opt::Touch,
        "publish an empty message to the topics themselves, and not only to a leaf `doctor` \
         below them",
    ),
    flag(
        &["--deny-warnings"],
        "",
        DOCTOR,
        Opt::DenyWarnings,
        "warnings count for the exit code",
    ),
    flag(
        &["--json"],
        "",
        DOCTOR,
        Opt::Json,
        "print one JSON object, the form of which is stable",
    ),
    flag(
        &["--json"],
        "",
        &[Tool::Status, Tool::Fibers, Tool::Queue],
        Opt::Json,
        "print JSON; it has \"schema\":1 and stays the same within that number",
    ),
    flag(
        &["--metrics"],
        "",
        &[Tool::Status],
        Opt::Metrics,
        "print in the text format of Prometheus",
    ),
    flag(
        &["--count"],
        "N",
        &[Tool::Queue],
        Opt::Count,
        "how many to withdraw",
    ),
    flag(&["--all"], "", &[Tool::Queue], Opt::All, "withdraw all"),
    flag(
        &["--for"],
        "WHAT",
        &[Tool::Wait],
        Opt::For,
        "what to wait for: online, provisioned or drained (default: online)",
    ),
    flag(
        &["--timeout"],
        "TIME",
        &[Tool::Wait],
        Opt::Timeout,
        "how long to wait, such as 30s or 5m (default: 60s)",
    ),
    flag(
        &["--socket"],
        "PATH",
        CONTROL,
        Opt::Socket,
        "the socket (default: control.sock in the agent's runtime or state directory)",
    ),
    flag(
        &["--state-dir"],
        "DIR",
        CONTROL,
        Opt::StateDir,
        "that of the agent with this state directory",
    ),
    flag(
        &["--markdown"],
        "",
        &[Tool::Explain, Tool::Config],
        Opt::Markdown,
        "print all of it as a document",
    ),
];

const ALL: &[Tool] = &[
    Tool::Run,
    Tool::Pub,
    Tool::Sub,
    Tool::Request,
    Tool::CheckConfig,
    Tool::Config,
    Tool::Init,
    Tool::Explain,
    Tool::Demo,
    Tool::Provision,
    Tool::Deprovision,
    Tool::Cert,
    Tool::Doctor,
    Tool::Status,
    Tool::Fibers,
    Tool::Queue,
    Tool::Wait,
    Tool::Reload,
    Tool::Completions,
    Tool::Man,
];

pub(super) const GENERAL: &[Flag] = &[
    flag(
        &["-d", "--debug"],
        "",
        &[
            Tool::Run,
            Tool::Pub,
            Tool::Sub,
            Tool::Request,
            Tool::Provision,
            Tool::Doctor,
        ],
        Opt::Debug,
        "log everything that happens to the standard error output",
    ),
    flag(
        &["--quiet"],
        "",
        MOMENT,
        Opt::Quiet,
        "print no errors and no warnings; the exit code tells",
    ),
    flag(&["--help"], "", ALL, Opt::Help, "print this"),
    flag(&["--version"], "", ALL, Opt::Version, "print the version"),
];

/// Options that programs of this project give each other: nothing for people, so that they are not
/// told.
pub(super) const HIDDEN: &[Flag] = &[flag(
    &["--device"],
    "DIR",
    &[Tool::Demo],
    Opt::Device,
    "be the device of the demonstration in this folder",
)];
