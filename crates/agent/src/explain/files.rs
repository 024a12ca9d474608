//! `C###` of what `check-config` finds in files, modes and dates, and against the broker's limits.

use super::Explanation;

/// The table, in the order of the codes.
pub(super) const TABLE: &[Explanation] = &[
    Explanation {
        code: "C045",
        title: "a window of the schedule is no cron expression",
        cause: "A field is missing or out of its range, or the day that it means does not exist; the \
                device would never connect.",
        verify: "Compare it with crontab(5): minute, hour, day of the month, month, day of the week.",
        fix: "Correct the expression; `0 */4 * * *` is every four hours. Times are in UTC.",
        notes: &[],
    },
    Explanation {
        code: "C046",
        title: "there are too many of something",
        cause: "The configuration has more entries of a kind than the agent takes.",
        verify: "Look whether a program writes them, or a file is there several times.",
        fix: "Leave some out, or put them together: one filter with `#` stands for many.",
        notes: &[],
    },
    Explanation {
        code: "C047",
        title: "a certificate has ended",
        cause: "The time until which the certificate is valid has passed, so that brokers refuse it.",
        verify: "Run `openssl x509 -noout -dates -in FILE`, and `date -u` for the clock.",
        fix: "Put a new certificate in its place; SIGHUP has it used with the next connection.",
        notes: &[],
    },
    Explanation {
        code: "C048",
        title: "a certificate ends soon",
        cause: "The certificate is valid for less than thirty days, or a third of its life, from now \
                on.",
        verify: "Run `openssl x509 -noout -dates -in FILE`.",
        fix: "Put a new certificate in its place before that; one that provisioning made is renewed by \
                itself.",
        notes: &[],
    },
    Explanation {
        code: "C049",
        title: "a file with a secret may be read by others",
        cause: "Everybody on the machine may read or change the key, the password or the token in it.",
        verify: "Run `ls -l` on the file.",
        fix: "Run `chmod o=` on it, and have the secret replaced if others could have read it.",
        notes: &[],
    },
    Explanation {
        code: "C050",
        title: "a file with a secret is of another user",
        cause: "Its owner, who is neither the agent's user nor root, may read and change it.",
        verify: "Run `ls -ln` on the file, as the user that the agent runs as.",
        fix: "Run `chown` on it.",
        notes: &[],
    },
    Explanation {
        code: "C051",
        title: "a folder cannot be written",
        cause: "The agent keeps identity, queue and socket there, and this user may not write to it. It \
                runs all the same, with its queue in memory.",
        verify: "Run `namei -l` on the folder, as the user that the agent runs as.",
        fix: "Give the folder to that user, or have the service manager make it \
                (`StateDirectory=agent`).",
        notes: &[],
    },
    Explanation {
        code: "C052",
        title: "a setting is beyond what the broker takes",
        cause: "The profile of the endpoint, or `[limits]`, knows a limit that the setting is beyond. \
                Such a message or subscription is left out, or the value is replaced by the nearest one.",
        verify: "Look up the limits of the provider; what is only assumed is told as a warning.",
        fix: "Change the setting, or say in `[limits]` what this broker takes; `profile` chooses \
                another profile.",
        notes: &[],
    },
    Explanation {
        code: "C053",
        title: "a key of another version",
        cause: "The key has another name now, means nothing any more, or belongs to a later version. \
                The agent starts all the same.",
        verify: "Compare the version of the agent with that of the configuration.",
        fix: "Rename or remove the key as the message says.",
        notes: &[],
    },
    Explanation {
        code: "C054",
        title: "a secret is empty",
        cause: "The file, the variable or the credential is there and has nothing in it, as after a loss \
                of power while it was written.",
        verify: "Run `wc -c` on the file, or look at the variable where the agent is started.",
        fix: "Write the secret anew.",
        notes: &[],
    },
    Explanation {
        code: "C055",
        title: "no command is allowed",
        cause: "`[commands]` says where commands arrive, and there is no `[[command]]` that says what \
                they may start.",
        verify: "Look for `[[command]]` in all files of the configuration.",
        fix: "Add a table for each program that may be started, or remove `[commands]`.",
        notes: &[],
    },
];
