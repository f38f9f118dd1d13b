//! The walls of the house: imports point downward, edge words stay at the edge, no file is two ideas.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Top to bottom: a module may use those below it, never one above.
const LAYERS: [&str; 16] = [
    "cli",
    "server",
    "operator",
    "config",
    "grpc",
    "campaigns",
    "ledger",
    "upstream",
    "access",
    "tls",
    "secret",
    "reload",
    "context",
    "clock",
    "model",
    "error",
];

/// What the layers' order alone would allow, and must not be.
const FORBIDDEN: [(&str, &str); 7] = [
    // The memory knows nothing of the road; the edge is not configured by flags.
    ("ledger", "upstream"),
    ("config", "grpc"),
    ("upstream", "secret"),
    // Who may call is settled at the edge.
    ("operator", "access"),
    ("campaigns", "access"),
    ("ledger", "access"),
    ("upstream", "access"),
];

/// Side leaves: they import nothing of ours, and only these may use them.
const LEAVES: [(&str, &[&str]); 4] = [
    ("sandbox", &["cli"]),
    ("telemetry", &["cli", "server", "grpc", "campaigns", "ledger", "upstream", "reload"]),
    ("admin", &["cli"]),
    ("pb", &["grpc"]),
];

/// Words that belong to one folder.
const WORDS: [(&str, &[&str]); 4] =
    [("tonic", &["grpc"]), ("prost", &["grpc"]), ("reqwest", &["upstream"]), ("axum", &["sandbox", "admin"])];

const MAX_LINES: usize = 400;

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every source file with its module (the first folder or file name below `src`) and its code, without
/// comments and tests.
fn modules() -> Vec<(PathBuf, String, String)> {
    let src = root().join("src");
    let is_test =
        |path: &Path| path.components().any(|part| part.as_os_str().to_string_lossy().starts_with("test"));
    rust_files(&src)
        .into_iter()
        .filter_map(|path| {
            let below = path.strip_prefix(&src).unwrap().to_owned();
            let first = below.components().next().unwrap().as_os_str().to_string_lossy().replace(".rs", "");
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap().to_owned();
            let code =
                code.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n");
            (!is_test(&below) && first != "lib" && first != "main").then_some((below, first, code))
        })
        .collect()
}

/// The modules of this crate that a piece of code names: `crate::x` and the first names in `use crate::{..}`.
fn imports(code: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if !rest.starts_with('{') {
            found.push(word(rest));
            continue;
        }
        let (mut depth, mut fresh) = (0, false);
        for (i, c) in rest.char_indices() {
            match c {
                '{' => {
                    depth += 1;
                    fresh = depth == 1;
                }
                '}' => depth -= 1,
                ',' => fresh = depth == 1,
                c if c.is_alphabetic() && fresh => {
                    found.push(word(&rest[i..]));
                    fresh = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    found
}

fn rank(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| *layer == module)
}

#[test]
fn every_module_has_a_place_and_its_imports_point_downward() {
    let mut faults = Vec::new();
    for (path, module, code) in modules() {
        let leaf = LEAVES.iter().any(|(name, _)| *name == module);
        assert!(leaf || rank(&module).is_some(), "{}: {module} has no place in LAYERS", path.display());
        for import in imports(&code).into_iter().filter(|import| *import != module) {
            let users = LEAVES.iter().find(|(name, _)| *name == import).map(|(_, users)| *users);
            let allowed = match (users, rank(&module), rank(&import)) {
                (Some(users), ..) => users.contains(&module.as_str()),
                (None, Some(from), Some(to)) => {
                    from < to && !FORBIDDEN.contains(&(module.as_str(), import.as_str()))
                }
                (None, ..) => false,
            };
            if !allowed {
                faults.push(format!("{}: {module} must not use {import}", path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn words_of_the_edges_stay_at_their_edges() {
    let mut faults = Vec::new();
    for (path, module, code) in modules() {
        for (word, homes) in WORDS.iter().filter(|(_, homes)| !homes.contains(&module.as_str())) {
            let named = code.match_indices(word).any(|(at, _)| {
                let before = code[..at].chars().next_back();
                let after = code[at + word.len()..].chars().next();
                before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != '"')
                    && (after == Some(':') || after == Some('_'))
            });
            if named {
                faults.push(format!("{}: {word} belongs to {homes:?}", path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn no_file_is_long_enough_to_be_two_ideas() {
    let mut faults = Vec::new();
    for dir in ["src", "tests"] {
        for path in rust_files(&root().join(dir)) {
            let lines = fs::read_to_string(&path).unwrap().lines().count();
            if lines > MAX_LINES {
                faults.push(format!("{}: {lines} lines", path.strip_prefix(root()).unwrap().display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_reader_of_imports_sees_nested_and_plain_ones() {
    let code = "use crate::{\n    error::{Error, Reason},\n    model::Item,\n    pb,\n};\nlet x = crate::clock::Clock::System;";
    assert_eq!(imports(code), ["error", "model", "pb", "clock"]);
}
