//! What commands print: tables for people, JSON for programs.

use std::fmt::Arguments;
use std::io::Write as _;

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use serde_json::Value;

/// A table with headings, sized to the terminal.
pub(crate) fn table(headings: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(headings.to_vec());
    for row in rows {
        table.add_row(row);
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// Prints a line.
pub(crate) fn line(text: Arguments<'_>) {
    self::text(format_args!("{text}\n"));
}

/// Prints text, and ends the process where nobody reads any more.
pub(crate) fn text(text: Arguments<'_>) {
    match std::io::stdout().lock().write_fmt(text) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        // There is nowhere else to say it.
        Err(error) => drop(writeln!(std::io::stderr(), "error: the output cannot be written: {error}")),
        Ok(()) => {}
    }
}

/// A document as JSON, for programs.
pub(crate) fn json(value: &Value) {
    println!("{value:#}");
}

/// A field of a document as a cell.
pub(crate) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => printable(text),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

/// Text of somebody else's, without control characters: a terminal obeys them.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A time in milliseconds since the epoch, as RFC 3339 in UTC.
pub(crate) fn time(value: &Value) -> String {
    let Some(ms) = value.as_u64() else { return String::new() };
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_millis(ms);
    humantime::format_rfc3339_seconds(at).to_string()
}

/// Bytes in a unit that reads well.
pub(crate) fn bytes(value: &Value) -> String {
    indicatif::BinaryBytes(value.as_u64().unwrap_or_default()).to_string()
}
