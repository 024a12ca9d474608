//! The words after `agent provision`, `agent deprovision` and `agent cert`.

use std::time::Duration;

use super::control::timeout;
use super::flags::Opt;
use super::words::{Word, Words};
use super::{Command, SourceArgs, Tool, UsageError};

/// What `agent provision` is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvisionArgs {
    /// Where the configuration comes from.
    pub source: SourceArgs,
    /// What is wanted.
    pub order: ProvisionOrder,
    /// Whether to print JSON.
    pub json: bool,
    /// How long to try (`--timeout`); `None` for as long as it takes.
    pub timeout: Option<Duration>,
    /// Whether to log everything.
    pub debug: bool,
}

/// What is wanted of `agent provision`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProvisionOrder {
    /// An identity.
    #[default]
    Get,
    /// To know whether the device could get one (`--dry-run`).
    DryRun,
    /// To know what it has (`--status`).
    Status,
}

/// What `agent deprovision` is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeprovisionArgs {
    /// Where the configuration comes from.
    pub source: SourceArgs,
    /// Whether nothing is asked (`--yes`).
    pub yes: bool,
    /// Whether the trash is wiped at once (`--now`).
    pub now: bool,
}

/// What `agent cert` is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertArgs {
    /// Where the configuration comes from.
    pub source: SourceArgs,
    /// What is wanted.
    pub order: CertOrder,
    /// Whether to print JSON.
    pub json: bool,
}

/// What is wanted of `agent cert`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertOrder {
    /// To see the certificates.
    Show,
    /// To know whether the one in use is due.
    NeedsRenewal,
    /// Another one in its place.
    Renew,
    /// A signing request.
    Csr,
}

pub(super) fn provision(words: &mut Words) -> Result<Command, UsageError> {
    let mut args = ProvisionArgs {
        source: SourceArgs::default(),
        order: ProvisionOrder::Get,
        json: false,
        timeout: None,
        debug: false,
    };
    let mut orders = Vec::new();
    while let Some((opt, value)) = words.next_flag()? {
        let Some(mut value) = args.source.take(opt, value)? else {
            continue;
        };
        match opt {
            Opt::Help => return Ok(Command::Help(Tool::Provision)),
            Opt::Version => return Ok(Command::Version),
            Opt::DryRun => orders.push(ProvisionOrder::DryRun),
            Opt::Standing => orders.push(ProvisionOrder::Status),
            Opt::Json => args.json = true,
            Opt::Timeout => args.timeout = Some(timeout(value.text()?)?),
            Opt::Debug => args.debug = true,
            _ => return Err(value.unexpected()),
        }
    }
    orders.dedup();
    args.order = match orders[..] {
        [] => ProvisionOrder::Get,
        [order] => order,
        _ => return Err(UsageError::DryRunAndStatus),
    };
    Ok(Command::Provision(Box::new(args)))
}

pub(super) fn deprovision(words: &mut Words) -> Result<Command, UsageError> {
    let mut args = DeprovisionArgs {
        source: SourceArgs::default(),
        yes: false,
        now: false,
    };
    while let Some((opt, value)) = words.next_flag()? {
        let Some(value) = args.source.take(opt, value)? else {
            continue;
        };
        match opt {
            Opt::Help => return Ok(Command::Help(Tool::Deprovision)),
            Opt::Version => return Ok(Command::Version),
            Opt::Yes => args.yes = true,
            Opt::Now => args.now = true,
            _ => return Err(value.unexpected()),
        }
    }
    Ok(Command::Deprovision(Box::new(args)))
}

pub(super) fn cert(words: &mut Words) -> Result<Command, UsageError> {
    let (mut source, mut order, mut json) = (SourceArgs::default(), None, None);
    while let Some(word) = words.next()? {
        let (opt, value) = match word {
            Word::Flag(opt, value) => (opt, value),
            Word::Operand(word) => {
                let word = word.to_string_lossy().into_owned();
                if order.is_some() {
                    return Err(UsageError::UnknownOption(word));
                }
                order = Some(cert_order(&word).ok_or(UsageError::CertWord(word))?);
                continue;
            }
        };
        let Some(value) = source.take(opt, value)? else {
            continue;
        };
        match opt {
            Opt::Help => return Ok(Command::Help(Tool::Cert)),
            Opt::Version => return Ok(Command::Version),
            Opt::Json => json = Some(value.unexpected()),
            _ => return Err(value.unexpected()),
        }
    }
    let order = order.ok_or_else(|| UsageError::CertWord(String::new()))?;
    match json {
        // The others have nothing to print, or PEM.
        Some(unexpected) if order != CertOrder::Show => Err(unexpected),
        json => Ok(Command::Cert(Box::new(CertArgs {
            source,
            order,
            json: json.is_some(),
        }))),
    }
}

fn cert_order(word: &str) -> Option<CertOrder> {
    Some(match word {
        "show" => CertOrder::Show,
        "needs-renewal" => CertOrder::NeedsRenewal,
        "renew" => CertOrder::Renew,
        "csr" => CertOrder::Csr,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn refused(words: &[&str]) -> UsageError {
        let rejected = parse(words.iter().copied()).unwrap_err();
        assert_eq!(Some(rejected.tool), Tool::find(words[0]), "{words:?}");
        rejected.error
    }

    #[test]
    fn provisioning_is_ordered_or_rehearsed_or_looked_at() {
        for (words, order, json) in [
            (&["provision"][..], ProvisionOrder::Get, false),
            (&["provision", "--dry-run"], ProvisionOrder::DryRun, false),
            (
                &["provision", "--json", "--status"],
                ProvisionOrder::Status,
                true,
            ),
        ] {
            match parse(words.iter().copied()) {
                Ok(Command::Provision(args)) => {
                    assert_eq!((args.order, args.json, args.timeout), (order, json, None));
                }
                other => panic!("{words:?}: {other:?}"),
            }
        }
        let both = refused(&["provision", "--dry-run", "--status"]);
        assert_eq!(both, UsageError::DryRunAndStatus);
        let words = ["provision", "--timeout", "5m", "-c", "a.toml"];
        match parse(words) {
            Ok(Command::Provision(args)) => {
                assert_eq!(args.timeout, Some(Duration::from_secs(300)));
                assert_eq!(args.source.file, Some("a.toml".into()));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn giving_up_is_not_asked_about_only_where_that_is_said() {
        for (words, yes, now) in [
            (&["deprovision"][..], false, false),
            (&["deprovision", "--yes"], true, false),
            (&["deprovision", "--now", "--yes"], true, true),
        ] {
            match parse(words.iter().copied()) {
                Ok(Command::Deprovision(args)) => {
                    assert_eq!((args.yes, args.now), (yes, now), "{words:?}");
                }
                other => panic!("{words:?}: {other:?}"),
            }
        }
        let json = refused(&["deprovision", "--json"]);
        assert_eq!(json, UsageError::UnknownOption("--json".to_owned()));
    }

    #[test]
    fn a_certificate_is_shown_asked_about_renewed_or_requested() {
        for (word, order) in [
            ("show", CertOrder::Show),
            ("needs-renewal", CertOrder::NeedsRenewal),
            ("renew", CertOrder::Renew),
            ("csr", CertOrder::Csr),
        ] {
            match parse(["cert", word, "--state-dir", "/a"]) {
                Ok(Command::Cert(args)) => assert_eq!((args.order, args.json), (order, false)),
                other => panic!("{word}: {other:?}"),
            }
        }
        assert!(parse(["cert", "--json", "show"]).is_ok());
        let json = refused(&["cert", "renew", "--json"]);
        assert_eq!(json, UsageError::UnknownOption("--json".to_owned()));
        assert_eq!(refused(&["cert"]), UsageError::CertWord(String::new()));
        let eaten = UsageError::CertWord("eat".to_owned());
        assert_eq!(refused(&["cert", "eat"]), eaten);
        let twice = UsageError::UnknownOption("csr".to_owned());
        assert_eq!(refused(&["cert", "show", "csr"]), twice);
    }
}
