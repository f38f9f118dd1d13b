//! The layers that a setting's value can come from: its default, a file, the environment, the command line, each
//! of which outweighs the ones before. clap weighs them: a file's values are the defaults of the command that it
//! parses. So whatever flag a command has, a file can say.

use std::{ffi::OsString, fmt, path::PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, builder::Resettable, error::ErrorKind, parser::ValueSource};

use super::{
    ConfigError,
    command::{FILE, argument, at, find, is_setting, lax, lax_arg, leaf, nearest, reason},
    file::{self, Said},
    settings::{self, Origin, Setting, Settings},
};

/// What a command line says, with what the file and the environment say beside it.
#[derive(Debug)]
pub struct Reading {
    /// All of it, for clap to make the arguments of.
    pub matches: ArgMatches,
    /// The settings that the named command has; none where it reads no file.
    pub settings: Settings,
}

/// Why there is nothing to go on with.
#[derive(Debug)]
pub enum Refused {
    /// The command line is wrong, or asks for help or the version: clap says so itself.
    Usage(Box<clap::Error>),
    /// Some of what was said is of no use.
    Settings(Box<Useless>),
}

/// What was said and is of no use.
#[derive(Debug)]
pub struct Useless {
    /// All of it.
    pub problems: Vec<Problem>,
    /// The rest, which may hold more problems, of another kind.
    pub rest: Option<Reading>,
}

/// Something that was said and is of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, as who said it knows it.
    place: String,
    /// The setting, where it is one.
    name: Option<String>,
    problem: String,
    /// Whether it was said on the command line.
    pub is_usage: bool,
}

impl Problem {
    /// Whether the other error may only follow from this one.
    pub fn may_cause(&self, other: &ConfigError) -> bool {
        self.name
            .as_ref()
            .is_some_and(|name| settings::names(other.flag, name) || settings::names(&other.problem, name))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}

/// Reads a command line, the environment, and the file that one of the two names with `--config`. The keys that a
/// file may have are the settings of the subcommand `server`; of them each command takes those that it has.
///
/// # Errors
/// clap's own error about the command line, or everything that was said and is of no use.
pub fn read(command: &Command, server: &str, words: &[OsString]) -> Result<Reading, Refused> {
    let strict = |command: Command| {
        command.try_get_matches_from(words).map_err(|error| Refused::Usage(Box::new(error)))
    };
    // First without a look at the values: which command it is, which file it reads, what is said at all.
    let told = match lax(command.clone()).try_get_matches_from(words) {
        Ok(told) => told,
        Err(error) => {
            strict(command.clone())?;
            return Err(Refused::Usage(Box::new(error)));
        }
    };
    let (path, told) = leaf(&told);
    let Some(chosen) = find(command, &path).filter(|command| argument(command, FILE).is_some()) else {
        return Ok(Reading { matches: strict(command.clone())?, settings: Settings::default() });
    };
    let source = told.get_raw(FILE).and_then(|mut values| values.next()).map(PathBuf::from);
    let known = find(command, &[server]).unwrap_or(chosen);
    let mut layers = Layers { command, chosen, told, path, source, file: Vec::new(), problems: Vec::new() };
    layers.read_file(known);
    layers.try_the_rest();
    if layers.problems.is_empty() {
        let matches = strict(layers.with_file())?;
        return Ok(Reading { settings: layers.settings(&matches), matches });
    }
    if let [Problem { is_usage: true, .. }] = layers.problems.as_slice() {
        // clap says best what is wrong with its command line.
        strict(layers.with_file())?;
    }
    let rest = layers.rest();
    Err(Refused::Settings(Box::new(Useless { problems: layers.problems, rest })))
}

struct Layers<'a> {
    command: &'a Command,
    /// The command that is meant, by its names.
    path: Vec<&'a str>,
    chosen: &'a Command,
    /// What its command line says, values as they are.
    told: &'a ArgMatches,
    source: Option<PathBuf>,
    /// What the file says that can be used.
    file: Vec<(&'a Arg, Vec<String>)>,
    problems: Vec<Problem>,
}

impl<'a> Layers<'a> {
    fn read_file(&mut self, known: &Command) {
        let Some(source) = self.source.clone() else { return };
        let keys = file::read(&source).unwrap_or_else(|problem| {
            if let Some(arg) = argument(self.chosen, FILE) {
                let problem = Problem { is_usage: false, ..self.problem(arg, &self.origin(arg), problem) };
                self.problems.push(problem);
            }
            Vec::new()
        });
        let origin = Origin::File(source);
        for (key, said) in keys {
            let Some(arg) = argument(known, &key).filter(|arg| is_setting(arg)) else {
                let near = nearest(known, &key).filter(|near| near != FILE);
                let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                self.problems.push(Problem {
                    place: settings::place(&key, "", &origin),
                    name: None,
                    problem: format!("there is no such setting{near}"),
                    is_usage: false,
                });
                continue;
            };
            // What this command does not have is not its business.
            let Some(arg) = argument(self.chosen, &key).filter(|own| own.get_env() == arg.get_env()) else {
                continue;
            };
            let (values, fault) = match said {
                Said::One(value) => (vec![value], None),
                Said::Several(values) if settings::is_list(arg) => (values, None),
                Said::Several(_) => (Vec::new(), Some("expected one value".to_owned())),
                Said::Unusable => {
                    let problem = "expected a text in quotes, a whole number, true or false";
                    (Vec::new(), Some(problem.to_owned()))
                }
            };
            let raw: Vec<OsString> = values.iter().map(OsString::from).collect();
            match fault.or_else(|| self.fault(arg, &raw)) {
                Some(problem) => self.problems.push(self.problem(arg, &origin, problem)),
                None => self.file.push((arg, values)),
            }
        }
    }

    /// Each value of the environment and of the command line by itself: clap would stop at the first that is wrong.
    fn try_the_rest(&mut self) {
        for arg in self.chosen.get_arguments().filter(|arg| arg.get_long().is_some()) {
            let said = self.told.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine);
            let words = if said && arg.get_action().takes_values() { self.raw(arg) } else { Vec::new() };
            let variable = settings::in_environment(arg).into_iter().collect();
            for (origin, values) in [(Origin::Environment, variable), (Origin::Flag, words)] {
                if let Some(problem) = self.fault(arg, &values) {
                    self.problems.push(self.problem(arg, &origin, problem));
                }
            }
        }
    }

    fn raw(&self, arg: &Arg) -> Vec<OsString> {
        self.told.get_raw(arg.get_id().as_str()).into_iter().flatten().map(Into::into).collect()
    }

    fn problem(&self, arg: &Arg, origin: &Origin, problem: String) -> Problem {
        let name = arg.get_long().unwrap_or_default();
        let variable = arg.get_env().unwrap_or_default().to_string_lossy();
        Problem {
            place: settings::place(name, &variable, origin),
            name: Some(name.to_owned()),
            problem,
            is_usage: *origin == Origin::Flag,
        }
    }

    /// What is wrong with the values, by the argument's own parser: in its command, where all others take anything.
    fn fault(&self, arg: &Arg, values: &[OsString]) -> Option<String> {
        if values.is_empty() {
            return None;
        }
        let words = values.iter().map(|value| {
            let mut word = OsString::from(format!("--{}=", arg.get_long().unwrap_or_default()));
            word.push(value);
            word
        });
        let alone = |other: Arg| match other.get_id() == arg.get_id() {
            false => lax_arg(other).env(Resettable::Reset),
            true if other.get_action().takes_values() => other.env(Resettable::Reset),
            // A switch has a value in a file and in the environment.
            true => other.env(Resettable::Reset).action(ArgAction::Set).num_args(1),
        };
        let command = self.chosen.clone().no_binary_name(true).mut_args(alone);
        let error = command.try_get_matches_from(words).err()?;
        // Alone it lacks the others' company, which is no fault of its value.
        let is_company = matches!(
            error.kind(),
            ErrorKind::MissingRequiredArgument | ErrorKind::ArgumentConflict | ErrorKind::MissingSubcommand
        );
        (!is_company).then(|| reason(&error))
    }

    /// The command with the file's values for defaults.
    fn with_file(&self) -> Command {
        at(self.command.clone(), &self.path, &|command| {
            self.file.iter().fold(command, |command, (arg, values)| {
                command.mut_arg(arg.get_id().as_str(), |arg| arg.default_values(values.clone()))
            })
        })
    }

    /// What can be used, without what cannot.
    fn rest(&self) -> Option<Reading> {
        let is_bad = |arg: &Arg, origin: &Origin| {
            let place = self.problem(arg, origin, String::new()).place;
            self.problems.iter().any(|problem| problem.place == place)
        };
        let mut words: Vec<OsString> = vec![self.command.get_name().into()];
        words.extend(self.path.iter().map(OsString::from));
        for arg in self.chosen.get_arguments().filter(|arg| !is_bad(arg, &Origin::Flag)) {
            let said = self.told.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine);
            let (Some(long), true) = (arg.get_long(), said) else { continue };
            if !arg.get_action().takes_values() {
                words.push(format!("--{long}").into());
                continue;
            }
            for value in self.raw(arg) {
                let mut word = OsString::from(format!("--{long}="));
                word.push(value);
                words.push(word);
            }
        }
        let command = at(self.with_file(), &self.path, &|command| {
            command.mut_args(|arg| match is_bad(&arg, &Origin::Environment) {
                true => arg.env(Resettable::Reset),
                false => arg,
            })
        });
        let matches = command.try_get_matches_from(words).ok()?;
        Some(Reading { settings: self.settings(&matches), matches })
    }

    fn origin(&self, arg: &Arg) -> Origin {
        origin(self.told, arg, None)
    }

    fn settings(&self, matches: &ArgMatches) -> Settings {
        let (_, matches) = leaf(matches);
        let setting = |arg: &Arg| {
            let in_file = self.file.iter().any(|(named, _)| named.get_id() == arg.get_id());
            let origin = origin(matches, arg, self.source.as_ref().filter(|_| in_file));
            let values = matches.get_raw(arg.get_id().as_str()).into_iter().flatten();
            Setting::new(arg, values.map(Into::into).collect(), origin)
        };
        Settings(self.chosen.get_arguments().filter(|arg| is_setting(arg)).filter_map(setting).collect())
    }
}

fn origin(matches: &ArgMatches, arg: &Arg, file: Option<&PathBuf>) -> Origin {
    match (matches.value_source(arg.get_id().as_str()), file) {
        (Some(ValueSource::CommandLine), _) => Origin::Flag,
        (Some(ValueSource::EnvVariable), _) => Origin::Environment,
        (_, Some(file)) => Origin::File(file.clone()),
        (_, None) => Origin::Default,
    }
}
