//! Aligned columns under headings, for people; programs have `--json`.

#[cfg(test)]
mod tests;

use crate::cli::error::CommandError;
use crate::cli::operate::plain;

/// The widest that a column is made, in characters. A longer value is shown whole and moves the
/// rest of its own row only, so that one long URL doesn't push a whole table off the screen.
const WIDEST: usize = 64;
/// The gap between columns.
const GAP: &str = "  ";

/// A column's heading, and the alignment of its values.
pub(super) enum Column {
    Left(&'static str),
    /// For numbers.
    Right(&'static str),
}

impl Column {
    fn heading(&self) -> &'static str {
        match self {
            Self::Left(heading) | Self::Right(heading) => heading,
        }
    }
}

/// The lines of a table, its headings first; only the headings if there are no rows. Control
/// characters are escaped.
pub(super) fn lines<const N: usize>(columns: &[Column; N], rows: &[[String; N]]) -> Vec<String> {
    let rows: Vec<[String; N]> = rows
        .iter()
        .map(|row| row.each_ref().map(|cell| plain(cell)))
        .collect();
    let headings = columns.each_ref().map(|column| column.heading().to_owned());
    let width = |at: usize| {
        let cells = rows.iter().map(|row| row[at].chars().count());
        let widest = cells.max().unwrap_or(0).min(WIDEST);
        widest.max(headings[at].len())
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let mut line = String::new();
        for ((cell, column), width) in row.iter().zip(columns).zip(&widths) {
            let padding = width.saturating_sub(cell.chars().count());
            let padding = std::iter::repeat_n(' ', padding);
            match column {
                Column::Left(_) => {
                    line.push_str(cell);
                    line.extend(padding);
                }
                Column::Right(_) => {
                    line.extend(padding);
                    line.push_str(cell);
                }
            }
            line.push_str(GAP);
        }
        line.truncate(line.trim_end().len());
        line
    };
    std::iter::once(&headings).chain(&rows).map(line).collect()
}

/// Prints a table on standard output.
pub(super) fn print<const N: usize>(
    columns: &[Column; N],
    rows: &[[String; N]],
) -> Result<(), CommandError> {
    for line in lines(columns, rows) {
        say!("{line}");
    }
    Ok(())
}
