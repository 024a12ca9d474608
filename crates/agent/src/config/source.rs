//! Where a configuration comes from: the layers, each over the one before.
//!
//! ```text
//! defaults
//!   < /usr/lib/agent/conf.d/*.toml     by the vendor, in the order of the names
//!   < /etc/agent/agent.toml            or the file of --config, and then nothing else of /etc
//!   < /etc/agent/conf.d/*.toml         in the order of the names
//!   < $CREDENTIALS_DIRECTORY           SECTION.KEY, and *.toml
//!   < AGENT_SECTION__KEY               of the environment
//!   < --set SECTION.KEY=VALUE
//! ```

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;

use zeroize::Zeroizing;

use super::build::{self, Draft, Surroundings};
use super::check;
use super::effective::Effective;
use super::error::{ConfigError, ConfigErrors, Problem};
use super::faults::{Faults, Layer, Source as Text, Whence, place};
use super::layers::{CONFIG_BYTES_MAX, Layers, at_start};
use super::load;
use super::secret::{Places, SECRET_BYTES_MAX};
use super::settings::Settings;
use super::table::{Key, Kind, Section};

/// The variables of the service manager that name the folders for what is kept, and for the socket.
pub(super) const MANAGERS: [&str; 2] = ["STATE_DIRECTORY", "RUNTIME_DIRECTORY"];

/// How variables of the environment begin that are settings.
const VARIABLE_PREFIX: &str = "AGENT_";

/// Where a configuration comes from.
///
/// # Examples
///
/// ```
/// use agent::config::Source;
///
/// // Nothing of this system, one setting.
/// let source = Source::system().root("/nonexistent").variables([]);
/// let source = source.set("cloud.endpoint=mqtts://broker.example")?;
/// let effective = fiber::run(move || source.load())??;
/// assert_eq!(effective.config().cloud.endpoint.host(), "broker.example");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Source {
    root: PathBuf,
    file: Option<PathBuf>,
    /// Whether there is nothing but `file`, with the environment for secrets alone.
    is_alone: bool,
    variables: Vec<(OsString, OsString)>,
    flags: Vec<Assignment>,
}

impl fmt::Debug for Source {
    /// Leaves out what variables and options are set to.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("root", &self.root)
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

/// A setting as it is given on the command line, `SECTION.KEY=VALUE`.
#[derive(Clone, PartialEq, Eq)]
pub struct Assignment {
    name: String,
    value: Zeroizing<String>,
}

impl fmt::Debug for Assignment {
    /// Leaves out the value, which may be a secret at the wrong place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=..", self.name)
    }
}

impl Assignment {
    /// Says where the state directory is.
    #[must_use]
    pub fn state_dir(path: &str) -> Self {
        Self {
            name: "state.dir".to_owned(),
            value: Zeroizing::new(path.to_owned()),
        }
    }
}

impl FromStr for Assignment {
    type Err = NoSetting;

    fn from_str(text: &str) -> Result<Self, NoSetting> {
        match text.split_once('=') {
            Some((name, value)) if name.contains('.') => Ok(Self {
                name: name.trim().to_owned(),
                value: Zeroizing::new(value.to_owned()),
            }),
            // What follows the name may be a secret.
            _ => {
                let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
                let end = text.find(|c| !is_name(c)).unwrap_or(text.len());
                Err(NoSetting(text[..end].to_owned()))
            }
        }
    }
}

/// A text is no setting: it is not `SECTION.KEY=VALUE`. What follows the `=` is not told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoSetting(String);

impl fmt::Display for NoSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "expected SECTION.KEY=VALUE, such as cloud.keep_alive=30s, found {:?}",
            self.0
        )
    }
}

impl std::error::Error for NoSetting {}

/// How much is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// The layers alone.
    Syntax,
    /// Also the files that they name.
    Files,
}

impl Source {
    /// The layers of this system, with the environment of this process.
    #[must_use]
    pub fn system() -> Self {
        Self {
            root: PathBuf::from("/"),
            file: None,
            is_alone: false,
            variables: env::vars_os().collect(),
            flags: Vec::new(),
        }
    }

    /// Looks for `/usr/lib/agent` and `/etc/agent` below another folder.
    #[must_use]
    pub fn root(mut self, root: impl Into<PathBuf>) -> Self {
        self.root = root.into();
        self
    }

    /// Takes this file instead of what is in `/etc/agent`; it must be there.
    #[must_use]
    pub fn file(mut self, file: impl Into<PathBuf>) -> Self {
        self.file = Some(file.into());
        self
    }

    /// Takes these variables for the environment.
    #[must_use]
    pub fn variables(mut self, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        self.variables = variables.into_iter().collect();
        self
    }

    /// Sets something over everything else: `cloud.keep_alive=30s`.
    ///
    /// # Errors
    ///
    /// [`NoSetting`] for a text of another form. Whether there is such a key is seen by
    /// [`load`](Self::load).
    pub fn set(self, setting: &str) -> Result<Self, NoSetting> {
        Ok(self.assign(setting.parse()?))
    }

    /// Sets something over everything else.
    #[must_use]
    pub fn assign(mut self, assignment: Assignment) -> Self {
        self.flags.push(assignment);
        self
    }

    /// Reads all layers and every file that they name. Yields.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, in the order of the layers. Where a text is no TOML, what can be
    /// told without it.
    pub fn load(&self) -> Result<Effective, ConfigErrors> {
        let Read {
            settings,
            draft,
            mut faults,
        } = self.read()?;
        let loaded = self.complete(draft, &settings, &mut faults);
        match loaded {
            Some(loaded) if faults.is_empty() => Ok(Effective::new(&settings, loaded, &mut faults)),
            _ => Err(faults.into_errors()),
        }
    }

    /// Checks all layers, and with [`Level::Files`] every file that they name; nothing is kept.
    /// Yields. Returns warnings.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn check(&self, level: Level) -> Result<Vec<Problem>, ConfigErrors> {
        match level {
            Level::Files => {
                let Read {
                    settings,
                    draft,
                    mut faults,
                } = self.read()?;
                let credentials = self.folder_variable("CREDENTIALS_DIRECTORY");
                let loaded = self.complete(draft, &settings, &mut faults);
                if credentials.is_none() && self.variable("INVOCATION_ID").is_none() {
                    // Outside of the unit there are none.
                    let is_of_unit =
                        |error: &ConfigError| matches!(error, ConfigError::NoCredentials { .. });
                    faults.only_warn(0, is_of_unit);
                }
                if let Some(loaded) = &loaded {
                    check::files(&settings, &loaded.config, &mut faults);
                }
                checked(faults)
            }
            Level::Syntax => self.read().and_then(|read| checked(read.faults)),
        }
    }

    /// Reads what the settings name.
    fn complete(
        &self,
        draft: Draft,
        settings: &Settings,
        faults: &mut Faults,
    ) -> Option<load::Loaded> {
        let credentials = self.folder_variable("CREDENTIALS_DIRECTORY");
        let places = Places {
            variable: &|name| self.variable(name).cloned(),
            credentials: credentials.as_deref(),
        };
        load::complete(draft, settings, &places, faults)
    }

    /// Whether any layer has a table `[cloud]`, or cannot be read so far that one could tell.
    /// Yields.
    #[must_use]
    pub fn is_there(&self) -> bool {
        let layers = self.layers();
        layers.is_broken || layers.settings.table(Section::Cloud).is_some()
    }

    /// The same, of one file and no other layer.
    pub(super) fn alone(&self, file: PathBuf) -> Self {
        Self {
            file: Some(file),
            is_alone: true,
            ..self.clone()
        }
    }

    /// Where the state directory is, as far as can be told of a configuration with faults. Yields.
    pub(crate) fn state_dir(&self) -> PathBuf {
        let layers = self.layers();
        build::state(&layers.settings, &self.surroundings()).dir
    }

    fn surroundings(&self) -> Surroundings {
        Surroundings {
            state: self.folder_variable("STATE_DIRECTORY"),
            runtime: self.folder_variable("RUNTIME_DIRECTORY"),
        }
    }

    /// Takes all layers in.
    fn layers(&self) -> Layers {
        let mut read = Layers::default();
        if let (true, Some(file)) = (self.is_alone, &self.file) {
            read.file(file, None);
            return read;
        }
        self.read_folders(&mut read);
        self.read_files(&mut read);
        self.read_credentials(&mut read);
        self.read_variables(&mut read);
        for Assignment { name, value } in &self.flags {
            read.setting(Whence::Flag(name.clone()), Layer::Flags, name, value);
        }
        read
    }

    /// Reads the layers.
    fn read(&self) -> Result<Read, ConfigErrors> {
        let read = self.layers();
        if read.is_broken {
            return Err(read.faults.into_errors());
        }
        let Layers {
            settings,
            mut faults,
            ..
        } = read;
        let around = self.surroundings();
        let main = self.main_file();
        let draft = build::build(&settings, &around, Some(&main), &mut faults);
        Ok(Read {
            settings,
            draft,
            faults,
        })
    }

    /// The file that a person would look into first.
    fn main_file(&self) -> PathBuf {
        match &self.file {
            Some(file) => file.clone(),
            None => self.root.join("etc/agent/agent.toml"),
        }
    }

    /// What the service manager says of folders: below everything else that is set.
    fn read_folders(&self, read: &mut Layers) {
        let places = [("state.dir", ""), ("control.socket", build::SOCKET)];
        for (name, (path, file)) in MANAGERS.iter().zip(places) {
            if let Some(folder) = self.folder_variable(name) {
                let whence = Whence::Variable((*name).to_owned());
                let value = if file.is_empty() {
                    folder
                } else {
                    folder.join(file)
                };
                read.setting(whence, Layer::Manager, path, &value.to_string_lossy());
            }
        }
    }

    fn read_files(&self, read: &mut Layers) {
        read.folder(&self.root.join("usr/lib/agent/conf.d"));
        let main = self.main_file();
        match &self.file {
            Some(file) => read.file(file, None),
            None => {
                // What is there, and that may be nothing.
                match fiber::fs::read_at_most(main.as_path(), CONFIG_BYTES_MAX) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    other => read.text_file(&main, other, None),
                }
                read.folder(&self.root.join("etc/agent/conf.d"));
            }
        }
    }

    /// What the service manager handed over: a file for each setting, and whole configurations.
    fn read_credentials(&self, read: &mut Layers) {
        let Some(folder) = self.folder_variable("CREDENTIALS_DIRECTORY") else {
            return;
        };
        for name in read.names(&folder) {
            let path = folder.join(&name);
            let Some(name) = name.to_str() else { continue };
            if name.ends_with(".toml") {
                read.file(&path, Some(Layer::Credentials));
                continue;
            }
            // Others have names of their own, and are asked for by name.
            let Some((section, key)) = name.split_once('.') else {
                continue;
            };
            let Some(section) = Section::by_name(section) else {
                continue;
            };
            // Of a table of texts, what is below it.
            let key = key.split('.').next().unwrap_or(key);
            let Some(key) = Key::find(section, key) else {
                continue;
            };
            if key.kind == Kind::Path {
                let text = path.to_string_lossy().into_owned();
                read.setting(Whence::File(path), Layer::Credentials, name, &text);
                continue;
            }
            let found = fiber::fs::read_at_most(path.as_path(), SECRET_BYTES_MAX);
            match found.map(Zeroizing::new) {
                Ok(bytes) => match std::str::from_utf8(&bytes) {
                    Ok(text) => {
                        let text = text.strip_suffix('\n').unwrap_or(text);
                        let text = text.strip_suffix('\r').unwrap_or(text);
                        read.setting(Whence::File(path), Layer::Credentials, name, text);
                    }
                    Err(error) => {
                        let at = place(&bytes, error.valid_up_to());
                        read.faults.note_place(&path, at, ConfigError::NotText);
                    }
                },
                Err(error) => {
                    read.faults
                        .note_whole(Some(&path), ConfigError::Unreadable(error));
                }
            }
        }
    }

    fn read_variables(&self, read: &mut Layers) {
        let mut given: Vec<_> = self.variables.iter().collect();
        given.sort();
        for (name, value) in given {
            let name = name.to_string_lossy();
            let Some((section, key)) = name
                .strip_prefix(VARIABLE_PREFIX)
                .and_then(|rest| rest.split_once("__"))
            else {
                continue;
            };
            let path = format!("{section}.{key}").to_ascii_lowercase();
            let whence = Whence::Variable(name.clone().into_owned());
            if Section::by_name(&section.to_ascii_lowercase()).is_none() {
                // It may be a setting of another program of that name.
                read.foreign(whence, section);
                continue;
            }
            match value.to_str() {
                Some(value) => read.setting(whence, Layer::Environment, &path, value),
                None => {
                    let text = Zeroizing::new(String::new());
                    let source = read.faults.add(Text {
                        whence,
                        layer: Layer::Environment,
                        text,
                    });
                    read.faults.note(&at_start(source), ConfigError::NotText);
                }
            }
        }
    }

    fn variable(&self, name: &str) -> Option<&OsString> {
        let found = self.variables.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value)
    }

    /// A folder that the service manager made; of several the first.
    fn folder_variable(&self, name: &str) -> Option<PathBuf> {
        let value = self.variable(name)?.as_encoded_bytes();
        let first = value.split(|byte| *byte == b':').next()?;
        let first = std::str::from_utf8(first).ok()?;
        (!first.is_empty()).then(|| PathBuf::from(first))
    }
}

/// What was found by looking at everything.
fn checked(mut faults: Faults) -> Result<Vec<Problem>, ConfigErrors> {
    match faults.is_empty() {
        true => Ok(faults.take_warnings()),
        false => Err(faults.into_errors()),
    }
}

/// The layers, read.
struct Read {
    settings: Settings,
    draft: Draft,
    faults: Faults,
}
