//! What was said of each setting, and where.

use std::{
    borrow::Cow,
    ffi::{OsStr, OsString},
    fmt,
    path::PathBuf,
};

use clap::{Arg, ArgAction};
use url::Url;

use super::ConfigError;

/// What stands for what is not to be shown.
const MASK: &str = "***";

/// Where a value comes from; a later one outweighs the earlier ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// This file.
    File(PathBuf),
    /// The variable of the setting's name.
    Environment,
    /// The command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Environment => f.write_str("environment"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// A setting, which is a flag that has a variable, and what was said of it.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The flag's name without its dashes, which is the file's key too.
    pub name: String,
    /// Where the values come from.
    pub origin: Origin,
    /// Whether it may have several values.
    pub is_list: bool,
    variable: String,
    is_url: bool,
    values: Vec<OsString>,
}

impl Setting {
    /// `None`: the flag is no setting.
    pub(super) fn new(arg: &Arg, values: Vec<OsString>, origin: Origin) -> Option<Self> {
        Some(Self {
            name: arg.get_long()?.to_owned(),
            origin,
            is_list: is_list(arg),
            variable: arg.get_env()?.to_str()?.to_owned(),
            is_url: arg.get_value_names().is_some_and(|names| names.iter().any(|name| name == "URL")),
            values,
        })
    }

    /// Its values, as texts that can be shown. None, where it has no value.
    pub fn shown(&self) -> Vec<Cow<'_, str>> {
        let shown = |value: &'_ OsString| match value.to_string_lossy() {
            text if self.is_url && !is_clean(&text) => Cow::Borrowed(MASK),
            // Of the borrow of the value, not of the closure.
            text => Cow::Owned(text.into_owned()),
        };
        self.values.iter().map(shown).collect()
    }

    /// Whether a text can say it.
    pub fn is_text(&self) -> bool {
        self.values.iter().all(|value| value.to_str().is_some())
    }

    /// Its name where it was said: how who said it finds the place.
    fn place(&self) -> String {
        place(&self.name, &self.variable, &self.origin)
    }
}

pub(super) fn place(name: &str, variable: &str, origin: &Origin) -> String {
    match origin {
        Origin::File(path) => format!("in {}: {name}", path.display()),
        Origin::Environment => variable.to_owned(),
        Origin::Default | Origin::Flag => format!("--{name}"),
    }
}

/// Whether a flag takes more than one value.
pub(super) fn is_list(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
        || arg.get_value_delimiter().is_some()
        || arg.get_num_args().is_some_and(|number| number.max_values() > 1)
}

/// Whether a URL surely holds no password.
fn is_clean(text: &str) -> bool {
    match Url::parse(text) {
        Ok(url) => {
            url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.has_host()
        }
        Err(_) => !text.contains(['@', '?']),
    }
}

/// All settings of a command.
#[derive(Clone, Debug, Default)]
pub struct Settings(pub(super) Vec<Setting>);

impl Settings {
    /// Each of them, in the order of the help text.
    pub fn iter(&self) -> impl Iterator<Item = &Setting> {
        self.0.iter()
    }

    /// A problem, by the place where the setting was said.
    pub fn tell(&self, error: &ConfigError) -> String {
        let setting = self.0.iter().find(|setting| error.flag.strip_prefix("--") == Some(&setting.name));
        match setting {
            Some(setting) => format!("{}: {}", setting.place(), error.problem),
            None => error.to_string(),
        }
    }

    #[cfg(test)]
    pub(super) fn of(&self, name: &str) -> Option<(Vec<Cow<'_, str>>, &Origin)> {
        let setting = self.0.iter().find(|setting| setting.name == name)?;
        Some((setting.shown(), &setting.origin))
    }
}

/// The settings' texts hold this flag's name as a word.
pub(super) fn names(text: &str, flag: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
        .any(|word| word.strip_prefix("--") == Some(flag))
}

/// The variable of a setting, where it is set.
pub(super) fn in_environment(arg: &Arg) -> Option<OsString> {
    arg.get_env().and_then(|name: &OsStr| std::env::var_os(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_only_where_it_surely_holds_no_password() {
        for clean in ["https://api.blubash.io/a", "http://[::1]:80", "api.blubash.io"] {
            assert!(is_clean(clean), "{clean}");
        }
        for hidden in [
            "https://user:canary@example.com",
            "https:user:canary@example.com",
            "https://canary@example.com/",
            "https://user:can/ary@example.com",
            "user:canary@example.com",
            "https://example.com?key=canary",
            "//user:canary@example.com",
        ] {
            assert!(!is_clean(hidden), "{hidden}");
        }
    }

    #[test]
    fn a_flag_is_named_as_a_whole_word_only() {
        assert!(names("must not be below --poll-interval", "poll-interval"));
        assert!(!names("see --poll-interval-idle", "poll-interval"));
    }
}
