//! `C###`: what can be wrong with a configuration, one entry for each code of
//! [`ConfigError`](crate::config::ConfigError).

use super::Explanation;

/// The table, in the order of the codes.
pub(super) const TABLE: &[Explanation] = &[
    Explanation {
        code: "C001",
        title: "the configuration cannot be read",
        cause: "The file that `--config` names is not there, or this user may not read it, or the \
                disk failed.",
        verify: "Run `ls -l` on the path as the user that the agent runs as, and `namei -l` for the \
                folders on the way.",
        fix: "Correct the path, or give the agent's user the right to read the file.",
        notes: &[],
    },
    Explanation {
        code: "C002",
        title: "the configuration is not UTF-8",
        cause: "The file was saved in another encoding, or it is no text at all.",
        verify: "Run `file` on it; it should say ASCII or UTF-8.",
        fix: "Save the file as UTF-8, for example with `iconv -t UTF-8`.",
        notes: &[],
    },
    Explanation {
        code: "C003",
        title: "the configuration is not TOML",
        cause: "A quote, a bracket or an equals sign is missing, or a key or a table is there \
                twice.",
        verify: "Look at the line and the column that the message names, and at the line above it.",
        fix: "Texts stand in quotes, tables in brackets on a line of their own; https://toml.io \
                shows every form.",
        notes: &[],
    },
    Explanation {
        code: "C004",
        title: "there is no such table",
        cause: "The name in brackets is misspelled, or belongs to another version of the agent.",
        verify: "Compare it with the names that the message lists.",
        fix: "Correct the name, or remove the table.",
        notes: &[],
    },
    Explanation {
        code: "C005",
        title: "there is no such key",
        cause: "The key is misspelled, stands in the wrong table, or belongs to another version of \
                the agent.",
        verify: "Compare it with the names that the message lists, and look which table it stands \
                under.",
        fix: "Correct the name, move it below its table, or remove it.",
        notes: &[],
    },
    Explanation {
        code: "C006",
        title: "a table is missing",
        cause: "The configuration has no table that the agent cannot do without.",
        verify: "Look whether the name of the table is commented out.",
        fix: "Add the line with the table's name and, below it, the keys that the message names.",
        notes: &[],
    },
    Explanation {
        code: "C007",
        title: "a key is missing",
        cause: "A table lacks a key that has no default.",
        verify: "Look whether the line is commented out or stands below another table.",
        fix: "Add the line that the message shows, with your own value.",
        notes: &[],
    },
    Explanation {
        code: "C008",
        title: "what should be a table is none",
        cause: "The name of a table is used for a plain value, or a single table is written where \
                a list of tables is meant, or the other way round.",
        verify: "Look at the line that the message names: one bracket makes a table, two make one \
                of several.",
        fix: "Write the name in brackets on a line of its own, and its keys below.",
        notes: &[],
    },
    Explanation {
        code: "C009",
        title: "a length of time has no unit",
        cause: "A bare number does not say whether it means seconds, minutes or milliseconds, so \
                it is not taken.",
        verify: "Look at the value that the message names.",
        fix: "Write the number and its unit in quotes, such as `\"30s\"`, `\"5m\"` or `\"12h\"`.",
        notes: &[],
    },
    Explanation {
        code: "C010",
        title: "a text does not have the form that it must have",
        cause: "A length of time, a size or a rate has no number, a fraction, a blank or an unknown \
                unit; or a path or a name is none.",
        verify: "Compare the value with what the message expects.",
        fix: "Write a whole number and its unit in quotes, such as `\"1500ms\"`, `\"64KiB\"` or \
                `\"10/s\"`; or what the message shows as an example.",
        notes: &[],
    },
    Explanation {
        code: "C011",
        title: "a value is out of range",
        cause: "The value is smaller or larger than what the agent or the provider allows.",
        verify: "Compare it with the range in the message.",
        fix: "Write a value inside the range.",
        notes: &[],
    },
    Explanation {
        code: "C012",
        title: "a value is of another type",
        cause: "A number stands where a text is wanted, a text where a list is wanted, or the \
                like.",
        verify: "Compare the value with the example in the message.",
        fix: "Write it as in the example: texts in quotes, lists in brackets, numbers bare.",
        notes: &[],
    },
    Explanation {
        code: "C013",
        title: "a quality of service is none",
        cause: "MQTT has the qualities of service 0, 1 and 2, and no others.",
        verify: "Look at the value that the message shows.",
        fix: "Write 0 (at most once), 1 (at least once) or 2 (exactly once).",
        notes: &[],
    },
    Explanation {
        code: "C014",
        title: "the device's name is empty",
        cause: "The broker knows a device by its name, and an empty one is no name.",
        verify: "Look at `id` in `[device]`.",
        fix: "Write a name that no other device has, or remove the line.",
        notes: &[],
    },
    Explanation {
        code: "C015",
        title: "the device's name cannot be sent",
        cause: "The name is longer than a packet has room for, or it contains a character that \
                MQTT does not allow.",
        verify: "Look at the name that the message shows; a null character does not show in an \
                editor.",
        fix: "Write a shorter name of letters, digits, dots and dashes.",
        notes: &[],
    },
    Explanation {
        code: "C016",
        title: "the address of the broker is none",
        cause: "The address lacks its scheme or its host, or the port is no number from 1 to \
                65535, or it contains credentials.",
        verify: "Compare it with `mqtts://HOST:PORT`.",
        fix: "Write for example `mqtts://broker.example:8883`; user and password have keys of \
                their own.",
        notes: &[],
    },
    Explanation {
        code: "C017",
        title: "a topic or a filter of topics is none",
        cause: "Topics have no wildcards; in a filter `+` stands for one whole level, and `#` for \
                all the rest and at the end only.",
        verify: "Look at the topic that the message shows, level by level.",
        fix: "Put wildcards alone between slashes, or remove them where a single topic is meant.",
        notes: &[],
    },
    Explanation {
        code: "C018",
        title: "a session is neither kept nor clean",
        cause: "The value is none of the two that there are.",
        verify: "Look at `session` in `[cloud]`.",
        fix: "Write `\"kept\"` to lose nothing while the device is away, or `\"clean\"` to start \
                anew each time.",
        notes: &[],
    },
    Explanation {
        code: "C019",
        title: "the name of an application protocol is empty or too long",
        cause: "TLS has room for names of 1 to 255 bytes.",
        verify: "Look at `alpn` in `[cloud]`.",
        fix: "Write the name that the provider documents, such as `\"mqtt\"`, or remove the key.",
        notes: &[],
    },
    Explanation {
        code: "C020",
        title: "there are too many application protocols",
        cause: "More names are given than are offered in one handshake.",
        verify: "Count the names in `alpn` in `[cloud]`.",
        fix: "Keep the one that the broker speaks.",
        notes: &[],
    },
    Explanation {
        code: "C021",
        title: "there is more than one password or token",
        cause: "Two keys of one file give a password or a token, and it is not clear which one \
                counts.",
        verify: "Look for `password`, `password_file`, `password_env` and `credential` in \
                `[cloud]`, or for the like with `token` in `[provision]`.",
        fix: "Keep one of them, best `password_file` or `credential`.",
        notes: &[],
    },
    Explanation {
        code: "C022",
        title: "a password has no user",
        cause: "MQTT 3.1.1 sends no password without a user name (section 3.1.2.9).",
        verify: "Look for `user` in `[cloud]`.",
        fix: "Add `user`; it may be empty if the broker wants none.",
        notes: &[],
    },
    Explanation {
        code: "C023",
        title: "a password or a token stands in a file that others may read",
        cause: "Whoever may read the configuration can then connect as this device.",
        verify: "Run `ls -l` on the file: its mode should be 600.",
        fix: "Run `chmod 600` on it, or move the password to a file of its own and write \
                `password_file`.",
        notes: &[],
    },
    Explanation {
        code: "C024",
        title: "the variable for a password or a token is not set",
        cause: "The environment that the agent was started with lacks the variable.",
        verify: "Run `systemctl show agent -p Environment`, or look where the agent is started.",
        fix: "Set the variable there, or write `password_file`.",
        notes: &[],
    },
    Explanation {
        code: "C025",
        title: "there is only one of certificate and key",
        cause: "A certificate without its private key proves nothing, and neither does a key \
                without its certificate.",
        verify: "Look for `certificate` and `key` in `[cloud]`.",
        fix: "Give both, or neither.",
        notes: &[],
    },
    Explanation {
        code: "C026",
        title: "there are settings for TLS, and the endpoint is plain text",
        cause: "The address begins with `mqtt://`, `ws://` or `unix:`, which protect nothing, and \
                a setting says that TLS was meant.",
        verify: "Look at `endpoint` in `[cloud]`.",
        fix: "Write `mqtts://` or `wss://` in the endpoint, or remove the setting.",
        notes: &[],
    },
    Explanation {
        code: "C028",
        title: "a file that the configuration names cannot be read",
        cause: "The path is wrong, or the agent's user may not read the file or one of the folders \
                on the way.",
        verify: "Run `ls -l` on the path as the agent's user; a relative path starts at the folder \
                of the configuration.",
        fix: "Correct the path, or give the agent's user the right to read it.",
        notes: &[],
    },
    Explanation {
        code: "C029",
        title: "a file for TLS does not hold what it should",
        cause: "The file is empty, is no PEM, holds something else, or is a key that is locked by \
                a password or belongs to another certificate.",
        verify: "Run `openssl x509 -noout -subject -in FILE` on a certificate, or `openssl pkey \
                -noout -in FILE` on a key.",
        fix: "Put the right file there; convert DER with `openssl x509 -inform der`.",
        notes: &[],
    },
    Explanation {
        code: "C030",
        title: "the program was built without WebSockets",
        cause: "The address begins with `ws://` or `wss://`, and this build cannot speak that.",
        verify: "Run `agent --version` and ask whoever built the program.",
        fix: "Use a port of the broker for MQTT without WebSocket, or build the agent with \
                `--features ws`.",
        notes: &[],
    },
    Explanation {
        code: "C031",
        title: "a text is none of the words that it may be",
        cause: "The key takes one of a few words, and another one stands there.",
        verify: "Compare it with the words that the message lists.",
        fix: "Write one of them, in small letters and in quotes.",
        notes: &[],
    },
    Explanation {
        code: "C032",
        title: "the address of the provisioning service is none",
        cause: "`url` in `[provision]` does not begin with `https://`, has no host, or has a user \
                and a password in it.",
        verify: "Look at `url`; the message does not repeat it, because a secret may stand in it.",
        fix: "Write `https://`, the host and the path. A token belongs in `token_file`.",
        notes: &[],
    },
    Explanation {
        code: "C033",
        title: "the address of the proxy is none",
        cause: "`proxy` in `[cloud]` is no address of an HTTP proxy, or of a kind of proxy that \
                this program does not speak.",
        verify: "Look at `proxy`; the message tells the rule that is broken, and does not repeat \
                what may be a password.",
        fix: "Write `http://HOST:PORT`, `none`, or `environment` for what `https_proxy` says.",
        notes: &[],
    },
    Explanation {
        code: "C034",
        title: "the name of a credential is none",
        cause: "A credential of the service manager is a file in one folder, so that its name has \
                no slash and is not empty.",
        verify: "Look at `credential`.",
        fix: "Write the name as it is in `LoadCredential=` of the unit.",
        notes: &[],
    },
    Explanation {
        code: "C035",
        title: "there are no credentials",
        cause: "A credential is asked for, and the service manager did not hand any over: \
                `CREDENTIALS_DIRECTORY` is not set.",
        verify: "Run `systemctl cat agent` and look for `LoadCredential=` or \
                `SetCredentialEncrypted=`; started by hand there are none.",
        fix: "Add the line to the unit, or write `password_file` or `token_file`.",
        notes: &[],
    },
    Explanation {
        code: "C036",
        title: "a key that this way of provisioning needs is missing",
        cause: "`method` in `[provision]` chooses a contract, and that needs a key that is not \
                there.",
        verify: "Look whether the line is commented out.",
        fix: "Add the line that the message shows, with your own value.",
        notes: &[],
    },
    Explanation {
        code: "C037",
        title: "a key belongs to another way of provisioning",
        cause: "The key has a meaning with the other `method` alone, so that it would be passed \
                over in silence.",
        verify: "Look at `method` in `[provision]`.",
        fix: "Remove the key, or write the other method.",
        notes: &[],
    },
    Explanation {
        code: "C038",
        title: "renewal ends before it begins",
        cause: "`renew_until` in `[provision]` is a smaller part of a certificate's life than \
                `renew_from`.",
        verify: "Run `agent config show --origin` and compare the two; one of them may be the \
                default.",
        fix: "Write a `renew_until` that is not below `renew_from`.",
        notes: &[],
    },
    Explanation {
        code: "C039",
        title: "a table is there twice",
        cause: "Two tables of one file have the same topic or the same name, and only one of them \
                could count.",
        verify: "Look for the other one in the same file.",
        fix: "Remove one of the two, or give it a name of its own.",
        notes: &[],
    },
    Explanation {
        code: "C040",
        title: "a list is empty",
        cause: "The key needs at least one entry to mean anything.",
        verify: "Look at the line that the message names.",
        fix: "Write at least one entry, or remove the table.",
        notes: &[],
    },
    Explanation {
        code: "C041",
        title: "a secret stands on the command line",
        cause: "Everybody on the machine can read the command lines of all programs.",
        verify: "Look for `--set` where the agent is started.",
        fix: "Move the secret to a file and name that, and give it a new value: the old one was \
                readable.",
        notes: &[],
    },
    Explanation {
        code: "C042",
        title: "a table can be set in files alone",
        cause: "A table that may be there several times cannot be meant by a variable or an \
                option.",
        verify: "Look for the variable or the option that the message names.",
        fix: "Write the table in a file, such as one in `/etc/agent/conf.d`.",
        notes: &[],
    },
    Explanation {
        code: "C043",
        title: "there are too many files",
        cause: "A folder of the configuration has more files than the agent reads.",
        verify: "Run `ls` on the folder: something else may write there.",
        fix: "Put the files together, or remove what does not belong there.",
        notes: &[],
    },
    Explanation {
        code: "C044",
        title: "a secret stands in the configuration itself",
        cause: "It is allowed in a file that nobody but its owner may read, and it is copied \
                wherever the file is copied, backups and reports of faults included.",
        verify: "Look at the line that the message names.",
        fix: "Move the secret to a file of its own and name that, or hand it over as a credential \
                of systemd.",
        notes: &[],
    },
];
