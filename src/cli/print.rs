//! What the commands print: data, on stdout.

use std::{
    fmt::{self, Write as _},
    io::Write as _,
    ops::RangeInclusive,
};

use anyhow::Context as _;
use chrono::{DateTime, SecondsFormat, Utc};
use clap::ValueEnum;

/// The forms of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    Table,
    Json,
    Jsonl,
}

/// Writes to stdout. A reader that has seen enough (`| head`) is no failure.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to stdout"),
    }
}

/// Columns, each as wide as its widest cell.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(names: &[&str]) -> Self {
        Self { rows: vec![names.iter().map(|name| (*name).to_owned()).collect()] }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        // What a name holds must not steer the terminal.
        let plain =
            |cell: String| cell.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        self.rows.push(cells.into_iter().map(plain).collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.first().map_or(0, Vec::len);
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                write!(line, "{cell:width$}  ")?;
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// An instant, to the second.
pub(super) fn time(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// How long ago, in its largest unit.
pub(super) fn duration_since(instant: DateTime<Utc>) -> String {
    let seconds = (Utc::now() - instant).num_seconds().max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Ascending indexes as people write them: `0-99,105`. Of many ranges the first few.
pub(super) fn ranges(indexes: &[u64]) -> String {
    const FEW: usize = 5;
    let mut ranges: Vec<RangeInclusive<u64>> = Vec::new();
    for &index in indexes {
        match ranges.last_mut() {
            Some(last) if last.end().checked_add(1) == Some(index) => *last = *last.start()..=index,
            _ => ranges.push(index..=index),
        }
    }
    let text = |range: &RangeInclusive<u64>| match range.start() == range.end() {
        true => range.start().to_string(),
        false => format!("{}-{}", range.start(), range.end()),
    };
    let more = if ranges.len() > FEW { ",..." } else { "" };
    ranges.iter().take(FEW).map(text).collect::<Vec<_>>().join(",") + more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_its_columns_up_and_lets_no_cell_steer_the_terminal() {
        let mut table = Table::new(&["A", "LONG", "C"]);
        table.row(["1".to_owned(), "2".to_owned(), "3\u{1b}[2J".to_owned()]);
        table.row(["wide".to_owned(), String::new(), String::new()]);
        assert_eq!(table.to_string(), "A     LONG  C\n1     2     3\u{fffd}[2J\nwide\n");
    }

    #[test]
    fn indexes_are_written_as_ranges() {
        let some: Vec<u64> = (0..100).chain([105, 107, 108]).collect();
        assert_eq!(ranges(&some), "0-99,105,107-108");
        let many: Vec<u64> = (0..9).map(|n| 2 * n).collect();
        assert_eq!(ranges(&many), "0,2,4,6,8,...");
        assert_eq!(ranges(&[]), "");
    }
}
