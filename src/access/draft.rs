//! The access file's text: what stands in it, and all that is wrong with its form.
//!
//! Read by hand, not by serde: that stops at the first problem, and quotes values, which may be keys or tokens
//! that were put in the wrong place.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
};

use toml::{Table, Value};

use super::{Right, TokenDigest};

/// The longest name of a workspace or a caller, in bytes.
const MAX_NAME: usize = 64;

/// What stands in the file.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) workspaces: BTreeMap<String, DraftWorkspace>,
    pub(super) callers: BTreeMap<String, DraftCaller>,
}

#[derive(Debug)]
pub(super) struct DraftWorkspace {
    pub(super) key_file: PathBuf,
    pub(super) first_key_file: Option<PathBuf>,
}

#[derive(Debug)]
pub(super) struct DraftCaller {
    pub(super) tokens: Vec<TokenDigest>,
    pub(super) certificates: Vec<String>,
    pub(super) workspaces: BTreeMap<String, Right>,
}

/// Reads the text. What has problems may be missing from the draft.
pub(super) fn parse(text: &str, problems: &mut Vec<String>) -> Draft {
    let top = match text.parse::<Table>() {
        Ok(top) => top,
        Err(error) => {
            let line = error.span().map_or(1, |span| text[..span.start].lines().count().max(1));
            // Without the line itself, which the error's own display would show.
            problems.push(format!("line {line}: {}", error.message()));
            return Draft::default();
        }
    };
    let mut reader = Reader { problems };
    reader.knows(&top, "the file", &["workspaces", "callers"]);
    let mut draft = Draft::default();
    for (name, place, table) in reader.tables(&top, "workspaces") {
        if let Some(workspace) = reader.workspace(&place, table) {
            draft.workspaces.insert(name.to_owned(), workspace);
        }
    }
    for (name, place, table) in reader.tables(&top, "callers") {
        let caller = reader.caller(&place, table, &top);
        draft.callers.insert(name.to_owned(), caller);
    }
    reader.shared(&draft.callers);
    draft
}

struct Reader<'a> {
    problems: &'a mut Vec<String>,
}

impl Reader<'_> {
    fn refuse(&mut self, place: &str, problem: &str) {
        self.problems.push(format!("{place}: {problem}"));
    }

    fn knows(&mut self, table: &Table, place: &str, keys: &[&str]) {
        for key in table.keys().filter(|key| !keys.contains(&key.as_str())) {
            self.refuse(place, &format!("there is no setting {key:?}, only {}", keys.join(", ")));
        }
    }

    /// The tables of a section, with their names and places.
    fn tables<'t>(&mut self, top: &'t Table, section: &str) -> Vec<(&'t str, String, &'t Table)> {
        let mut tables = Vec::new();
        let Some(Value::Table(entries)) =
            top.get(section).filter(|found| *found != &Value::Table(Table::new()))
        else {
            self.refuse("the file", &format!("there must be at least one [{section}.NAME]"));
            return tables;
        };
        for (name, entry) in entries {
            let place = format!("{section}.{name}");
            let is_name = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
            if !(1..=MAX_NAME).contains(&name.len()) || !name.bytes().all(is_name) {
                self.refuse(&place, "a name has 1 to 64 letters, digits, dots, dashes and underscores");
            }
            match entry {
                Value::Table(table) => tables.push((name.as_str(), place, table)),
                _ => self.refuse(&place, "must be a table"),
            }
        }
        tables
    }

    fn workspace(&mut self, place: &str, table: &Table) -> Option<DraftWorkspace> {
        self.knows(table, place, &["key_file", "first_key_file"]);
        let key_file = self.path(table, place, "key_file");
        let first_key_file = self.path(table, place, "first_key_file");
        if !table.contains_key("key_file") {
            self.refuse(place, "key_file is missing: the file that holds its API key");
        }
        Some(DraftWorkspace { key_file: key_file?, first_key_file })
    }

    fn path(&mut self, table: &Table, place: &str, key: &str) -> Option<PathBuf> {
        match table.get(key)? {
            Value::String(path) if !path.is_empty() => Some(path.into()),
            _ => {
                self.refuse(&format!("{place}.{key}"), "must be a file's path, in quotes");
                None
            }
        }
    }

    fn caller(&mut self, place: &str, table: &Table, top: &Table) -> DraftCaller {
        self.knows(table, place, &["token_sha256", "certificates", "workspaces"]);
        let mut caller =
            DraftCaller { tokens: Vec::new(), certificates: Vec::new(), workspaces: BTreeMap::new() };
        let digests = self.texts(table, place, "token_sha256");
        let names = self.texts(table, place, "certificates");
        if digests.is_empty() && names.is_empty() {
            self.refuse(place, "needs a token_sha256 or a certificate, or nobody can be this caller");
        }
        for (at, digest) in digests {
            match TokenDigest::from_hex(digest) {
                Some(digest) => caller.tokens.push(digest),
                None => self.refuse(
                    &at,
                    "must be a token's SHA-256 in 64 hex digits, as `blubash-grpc access new-token` prints it \
                     (never the token itself)",
                ),
            }
        }
        for (at, name) in names {
            let is_uri =
                name.split_once(':').is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty());
            if !is_uri || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
                self.refuse(&at, "must be a certificate's URI name as it stands there, or dns:NAME");
            } else if name.starts_with("dns:") && name.contains('*') {
                self.refuse(&at, "names are compared as they are: there are no wildcards");
            } else {
                caller.certificates.push(name.to_owned());
            }
        }
        self.rights(&mut caller, place, table, top);
        caller
    }

    fn rights(&mut self, caller: &mut DraftCaller, place: &str, table: &Table, top: &Table) {
        let place = format!("{place}.workspaces");
        let Some(Value::Table(rights)) =
            table.get("workspaces").filter(|found| *found != &Value::Table(Table::new()))
        else {
            return self.refuse(&place, "must name at least one workspace: { NAME = \"read\" } or \"write\"");
        };
        for (name, right) in rights {
            let at = format!("{place}.{name}");
            if top.get("workspaces").and_then(|workspaces| workspaces.get(name)).is_none() {
                self.refuse(&at, &format!("there is no [workspaces.{name}]"));
            }
            match right.as_str() {
                Some("read") => drop(caller.workspaces.insert(name.clone(), Right::Read)),
                Some("write") => drop(caller.workspaces.insert(name.clone(), Right::Write)),
                _ => self.refuse(&at, "must be \"read\" or \"write\""),
            }
        }
    }

    /// A list's texts, each with its place.
    fn texts<'t>(&mut self, table: &'t Table, place: &str, key: &str) -> Vec<(String, &'t str)> {
        let place = format!("{place}.{key}");
        match table.get(key) {
            None => Vec::new(),
            Some(Value::Array(values)) => {
                let mut texts = Vec::new();
                for (n, value) in (1..).zip(values) {
                    let at = format!("{place}, number {n}");
                    match value.as_str() {
                        Some(text) => texts.push((at, text)),
                        None => self.refuse(&at, "must be a text, in quotes"),
                    }
                }
                texts
            }
            Some(_) => {
                self.refuse(&place, "must be a list of texts: [\"...\"]");
                Vec::new()
            }
        }
    }

    /// Refuses what names more than one caller, or one caller twice.
    fn shared(&mut self, callers: &BTreeMap<String, DraftCaller>) {
        let (mut tokens, mut certificates) = (HashMap::new(), HashMap::new());
        for (name, caller) in callers {
            for token in &caller.tokens {
                if let Some(other) = tokens.insert(token, name) {
                    self.refuse(
                        &format!("callers.{name}.token_sha256"),
                        &format!("a digest stands at callers.{other} already"),
                    );
                }
            }
            for certificate in &caller.certificates {
                if let Some(other) = certificates.insert(certificate, name) {
                    self.refuse(
                        &format!("callers.{name}.certificates"),
                        &format!("{certificate} stands at callers.{other} already"),
                    );
                }
            }
        }
    }
}
