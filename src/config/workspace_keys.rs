//! The list of API keys that open the same workspace. A workspace is named by a digest of its key, so a
//! new key would be a new workspace, and every request_id of the old one forgotten: unless the two are
//! named as one here.

use std::{collections::HashMap, path::Path};

use crate::{model::ApiKey, secret};

/// Room for some thousand workspaces.
const MAX_BYTES: usize = 1 << 20;

/// Reads the list: a line a workspace, its keys separated by spaces, the one that names it first.
///
/// # Errors
/// What is wrong with the file or with which of its lines. Never a key.
pub(super) fn load(path: &Path) -> Result<Vec<Vec<ApiKey>>, String> {
    let content = secret::read_private(path, MAX_BYTES).map_err(|fault| fault.to_string())?;
    let content = content.ok_or_else(|| format!("there is no file {}", path.display()))?;
    if content.len() >= MAX_BYTES {
        return Err(format!("{} has 1 MiB or more: is it the right file?", path.display()));
    }
    let text = std::str::from_utf8(&content).map_err(|_| format!("{} is not a text", path.display()))?;
    parse(text).map_err(|problem| format!("{}, {problem}", path.display()))
}

fn parse(text: &str) -> Result<Vec<Vec<ApiKey>>, String> {
    let mut workspaces = Vec::new();
    let mut lines: HashMap<&str, usize> = HashMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut keys = Vec::new();
        for key in line.split_ascii_whitespace() {
            if !ApiKey::is_well_formed(key) {
                return Err(format!(
                    "line {number}: a key has only visible ASCII characters, at most {} of them; a comment \
                     needs a line of its own",
                    ApiKey::MAX_BYTES
                ));
            }
            if let Some(other) = lines.insert(key, number) {
                return Err(format!("line {number}: a key stands in line {other} already"));
            }
            keys.push(ApiKey::new(key));
        }
        if keys.len() < 2 {
            return Err(format!(
                "line {number}: one key alone says nothing; write the keys of a workspace, the oldest first, \
                 with spaces between them"
            ));
        }
        workspaces.push(keys);
    }
    Ok(workspaces)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_workspace_and_comments_and_empty_lines_are_none() {
        let lists = parse("# acme, renewed in May\nold new\r\n\n  a\tb   c \n").unwrap();
        let lists: Vec<Vec<&str>> =
            lists.iter().map(|keys| keys.iter().map(ApiKey::expose).collect()).collect();
        assert_eq!(lists, [vec!["old", "new"], vec!["a", "b", "c"]]);
        assert!(parse("").unwrap().is_empty());
    }

    #[test]
    fn what_is_wrong_is_told_by_its_line_and_never_by_a_key() {
        let long = format!("a {}", "k".repeat(ApiKey::MAX_BYTES + 1));
        for (text, parts) in [
            ("canary", ["line 1", "alone"]),
            ("a b\n\n# c\ncanary canary", ["line 4", "line 4 already"]),
            ("a canary\nb c\nd canary", ["line 3", "line 1 already"]),
            ("a canary\u{fc}", ["line 1", "visible ASCII"]),
            (&long, ["line 1", "at most 512"]),
        ] {
            let problem = parse(text).unwrap_err();
            assert!(!problem.contains("canary"), "{problem}");
            assert!(parts.iter().all(|part| problem.contains(part)), "{problem}");
        }
    }

    #[test]
    fn a_file_that_others_can_read_or_that_is_not_there_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        assert!(load(&path).unwrap_err().contains("there is no file"));
        std::fs::write(&path, "canary other\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(load(&path).unwrap_err().contains("chmod 600"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
        assert_eq!(load(&path).unwrap().len(), 1);
    }
}
