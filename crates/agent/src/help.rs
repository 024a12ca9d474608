//! The texts of `--help` and `--version`.

use crate::args::Tool;

/// What `--version` prints.
pub const VERSION: &str = concat!("agent ", env!("CARGO_PKG_VERSION"), "\n");

/// Returns what `--help` prints.
#[must_use]
pub const fn text(tool: Tool) -> &'static str {
    match tool {
        Tool::Agent => AGENT,
        Tool::Run => RUN,
        Tool::Pub => PUB,
        Tool::Sub => SUB,
        Tool::Demo => DEMO,
        Tool::Doctor => DOCTOR,
        Tool::Control => CONTROL,
    }
}

const AGENT: &str = "\
Usage: agent run ...    connect as a configuration file says, and stay connected
       agent pub ...    publish messages, as mosquitto_pub does
       agent sub ...    subscribe and print what arrives, as mosquitto_sub does
       agent status ... how a running agent is; also fibers, queue, wait and reload
       agent demo       a device, its cloud, and what may happen to both
       agent doctor     what stands between this device and its broker, and what helps
       agent run --help
       agent pub --help
       agent sub --help
       agent demo --help
       agent doctor --help
       agent --version
";

const RUN: &str = "\
Usage: agent run --config FILE [options]

Connects as the configuration says and stays connected until SIGTERM or SIGINT: publishes
telemetry and prints what arrives for its subscriptions, topic first. A message of QoS 1 or
2 is acknowledged after it was printed. SIGUSR1 prints what its fibers do to the standard
error output, a line for each.

     --config FILE        the configuration, TOML; docs/agent.example.toml shows every key
     --for TIME           end after this time, such as 30s, 5m or 12h
 -d, --debug              log everything that happens to the standard error output
     --help               print this
     --version            print the version

Exit codes: 0 ended by a signal, by --for, or because nobody reads the output any more;
1 the system refused something; 64 wrong usage; 78 faulty configuration.
";

const DOCTOR: &str = "\
Usage: agent doctor [--config FILE] [options]

Examines everything between this device and its broker, in order and in 30 s at most, and says
what is found, why, what helps, and what to fix first. While the agent runs, it stops short of
connecting, which would end the agent's own connection. What waits at the broker for the device
is not touched.

     --config FILE        the configuration (default: that of the system)
     --state-dir DIR      the folder for what is kept (default: that of the configuration)
     --only NAMES         these checks alone and what they need, with commas between them
     --skip NAMES         not these
     --list               list the checks
     --takeover           connect even while the agent runs
     --touch              publish an empty message to the topics themselves, and not only to
                          a leaf `doctor` below them
     --deny-warnings      warnings count for the exit code
     --json               print one JSON object, the form of which is stable
 -d, --debug              log everything that happens to the standard error output
     --help               print this
     --version            print the version

Exit codes: 0 nothing fails; 69 a check failed; 75 there are warnings and --deny-warnings;
76 a right is missing; 78 faulty configuration; 64 wrong usage.
";

const CONTROL: &str = "\
Usage: agent status [--json | --metrics]
       agent fibers [--json]
       agent queue ls [--json]
       agent queue export
       agent queue drop {--count N | --all}
       agent wait [--for online|provisioned|drained] [--timeout TIME]
       agent reload

Asks a running agent at its control socket, which only its own user and root may.

     status            how the connection stands, what waits and what is wrong
     fibers            what its fibers do, a line for each
     queue ls          the messages that wait, the oldest first
     queue export      the same with their payloads in Base64, a line of JSON for each
     queue drop        withdraw the oldest that were not sent
     wait              wait for a connection, for an identity, or until the broker has everything
     reload            read the configuration again

     --json            print JSON; it has \"schema\":1 and stays the same within that number
     --metrics         print in the text format of Prometheus
     --count N, --all  how many to withdraw
     --for WHAT        what to wait for (default: online)
     --timeout TIME    how long to wait, such as 30s or 5m (default: 60s)
     --socket PATH     the socket (default: control.sock in the agent's runtime or state directory)
     --state-dir DIR   that of the agent with this state directory
     --help            print this
     --version         print the version

Exit codes: 0 done; 1 the agent refused; 64 wrong usage; 69 no agent runs here, or it does not
answer; 75 it did not come about in time.
";

const DEMO: &str = "\
Usage: agent demo [--seed N] [--for TIME] [--fault NAME]... [--interactive]

A device and its cloud on the loopback interface: nothing else is needed, and nothing stays.
The device is a process of its own. It makes a key and has the cloud certify it, publishes
telemetry, kept on the disk until the cloud has it, and obeys commands over TLS. Its link is
cut inside a packet, with messages in flight; then its process is killed and started again.
In the end two counts are compared: what the device published, what the cloud received.

     --seed N       what decides when a fault comes (default: a random number)
     --for TIME     go on for so long, as 60s or 5m (default: each fault once)
     --fault NAME   what to do, in this order; may be repeated (default: cut, power-cut):
                    cut          cut the link inside a packet
                    stall        let nothing pass for a while; the link stays
                    drop-acks    leave acknowledgements out, then cut the link
                    kill-broker  kill the broker with all that it keeps
                    power-cut    kill the device's process, start it again
     --interactive  do what the keyboard says, a letter and Enter each
     --help         print this
     --version      print the version

Exit codes: 0 nothing is lost, and nothing doubled that must not be; 1 something is, or an
error; 3 it was not shown: the cut was not inside a packet, fewer than five messages were
in flight, or the device did not come back.
";

/// The options that both tools have, in one place.
macro_rules! connection_options {
    () => {
        " -h, --host HOST          broker (default: localhost)
 -p, --port PORT          port (default: 1883, with TLS 8883)
 -u, --username NAME      user name
 -P, --pw PASSWORD        password
 -i, --id ID              client id (default: a random one)
 -k, --keepalive SECS     keep-alive, 5 to 65535 (default: 60)
 -c, --disable-clean-session
                          keep the session at the broker; needs -i
     --cafile FILE        trusted authorities, PEM: turns TLS on
     --cert FILE          own certificate chain, PEM; needs --key
     --key FILE           own private key, PEM; needs --cert
     --tls-alpn PROTOCOL  application protocol to offer
     --will-topic TOPIC   topic of a message that the broker publishes when the connection is lost
     --will-payload TEXT  that message (default: an empty one); needs --will-topic
     --will-qos QOS       its QoS: 0, 1 or 2 (default: 0); needs --will-topic
     --will-retain        ask the broker to keep it for later subscribers; needs --will-topic
     --timeout SECS       how long the connection may take (default: 30; 0: for ever)
 -d, --debug              log what happens to the standard error output
     --help               print this
     --version            print the version
"
    };
}

const PUB: &str = concat!(
    "\
Usage: agent pub [options] -t TOPIC {-m TEXT | -f FILE | -l | -n}

Publishes messages and ends once they are delivered: at QoS 1 and 2, once the broker has
acknowledged each of them.

 -t, --topic TOPIC        where to publish
 -m, --message TEXT       one message
 -f, --file FILE          one message with the bytes of a file
 -l, --stdin-line         one message for each line of the standard input
 -n, --null-message       one empty message
 -q, --qos QOS            0, 1 or 2 (default: 0)
 -r, --retain             ask the broker to keep the message for later subscribers
",
    connection_options!(),
    "
Exit codes: 0 done; 1 wrong usage, unreadable file or no connection; 1 to 5 the broker
refused the connection with this code; 7 connection lost; 8 TLS failed.
"
);

const SUB: &str = concat!(
    "\
Usage: agent sub [options] -t FILTER [-t FILTER ...]

Prints the payload of every message that arrives, and a line end. A message of QoS 1 or 2
is acknowledged after it was printed.

 -t, --topic FILTER       what to subscribe to; may be repeated
 -q, --qos QOS            0, 1 or 2 (default: 0)
 -C COUNT                 end after so many messages
 -W SECS                  end so long after the connection was made, with code 27
 -v, --verbose            print the topic before the payload
",
    connection_options!(),
    "
Exit codes: 0 done; 1 wrong usage, unreadable file or no connection; 1 to 5 the broker
refused the connection with this code; 7 connection lost; 8 TLS failed; 27 the time of -W
is over; 76 the broker refused the subscription.
"
);
