//! A file of settings: TOML, flat, a flag's name as the key.

use std::path::Path;

use toml::{Table, Value};

/// What stands behind a key, as the texts that its flag would take.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// A text, a whole number or a boolean.
    One(String),
    /// An array of such.
    Several(Vec<String>),
    /// Anything else: no flag takes it.
    Unusable,
}

/// The keys of the file at `path`, in the alphabet's order.
///
/// # Errors
/// What is wrong with the file as a whole. Never a word of what it holds: it may be the wrong file, a secret's.
pub(super) fn read(path: &Path) -> Result<Vec<(String, Said)>, String> {
    let text =
        std::fs::read_to_string(path).map_err(|fault| format!("cannot read {}: {fault}", path.display()))?;
    parse(&text).map_err(|problem| format!("{} is not TOML: {problem}", path.display()))
}

fn parse(text: &str) -> Result<Vec<(String, Said)>, String> {
    let table: Table = toml::from_str(text).map_err(|fault| {
        let before = fault.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        // Not the fault's own text, which shows what stands in the line.
        format!("line {}: {}", 1 + before.matches('\n').count(), fault.message().replace('\n', ", "))
    })?;
    Ok(table.into_iter().map(|(key, value)| (key, said(value))).collect())
}

fn said(value: Value) -> Said {
    let several = match value {
        Value::Array(values) => values.into_iter().map(one).collect::<Option<_>>().map(Said::Several),
        value => one(value).map(Said::One),
    };
    several.unwrap_or(Said::Unusable)
}

fn one(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Integer(number) => Some(number.to_string()),
        Value::Boolean(truth) => Some(truth.to_string()),
        Value::Float(_) | Value::Datetime(_) | Value::Array(_) | Value::Table(_) => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn texts_numbers_and_booleans_become_what_the_flag_would_take() {
        let keys = parse("# a comment\nb = 50\na = \"2s\"\nc = true\nd = [1, \"x\"]\n").unwrap();
        let one = |text: &str| Said::One(text.to_owned());
        let several = Said::Several(vec!["1".to_owned(), "x".to_owned()]);
        let expected = [("a", one("2s")), ("b", one("50")), ("c", one("true")), ("d", several)];
        assert_eq!(keys, expected.map(|(key, said)| (key.to_owned(), said)));
        assert!(parse("").unwrap().is_empty());
    }

    #[test]
    fn tables_dates_and_fractions_are_nothing_that_a_flag_takes() {
        for text in ["a = 1.5", "a = 2026-03-01", "[a]\nb = 1", "a = [[1]]", "a.b = 1"] {
            assert_eq!(parse(text).unwrap(), [("a".to_owned(), Said::Unusable)], "{text}");
        }
    }

    #[test]
    fn what_is_not_toml_is_told_by_its_line_and_without_a_word_of_it() {
        for (text, line) in [
            ("a = 1\n\ncanary", "line 3"),
            ("a = canary", "line 1"),
            ("a = 1\ncanary = 2\ncanary = 3\n", "line 3"),
            ("a = \"canary\nb = 1", "line 1"),
            ("4ca0a12fcanary\n", "line 1"),
        ] {
            let problem = parse(text).unwrap_err();
            assert!(problem.contains(line) && !problem.contains("canary"), "{text}: {problem}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let problem = read(Path::new("/not/there.toml")).unwrap_err();
        assert!(problem.contains("/not/there.toml"), "{problem}");
    }
}
