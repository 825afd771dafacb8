//! What inference gave, as people look at it: a table, text, JSON, an image.

use std::time::Duration;

use aimass_core::{ElementType, Tensor};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, html};

use super::super::parts;
use super::tensors::{self, Grid};

/// Elements of a BYTES tensor that are shown.
const ELEMENTS: usize = 20;

/// Bytes of one element that are shown as text.
const TEXT: usize = 16 << 10;

/// Bytes of an image that is put into the page.
const IMAGE: usize = 8 << 20;

/// Numbers that are shown as JSON.
const NUMBERS: usize = 1_000;

/// Rows and columns of a table.
const ROWS: usize = 50;
const COLUMNS: usize = 16;

/// The whole answer.
pub(super) fn page(outputs: &[Tensor], took: Duration, (version, request): (u64, &str)) -> Markup {
    let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
    html! {
        p.notice.good {
            "Version " (version) " answered in " strong { (parts::millis(ns)) } ", request " code { (request) }
        }
        @for output in outputs { (tensor(output)) }
        @if outputs.is_empty() { p.hint { "There are no outputs." } }
    }
}

fn tensor(output: &Tensor) -> Markup {
    let shape: Vec<_> = output.shape().iter().map(u64::to_string).collect();
    let shape = if shape.is_empty() { "scalar".to_owned() } else { format!("[{}]", shape.join(", ")) };
    html! {
        article.output {
            h3 { code { (output.name()) } " " span.hint { (output.element_type()) " " (shape) } }
            @if output.element_type() == ElementType::Bytes { (elements(output)) } @else { (numbers(output)) }
        }
    }
}

fn elements(output: &Tensor) -> Markup {
    let elements = output.bytes_elements().unwrap_or_default();
    html! {
        @for element in elements.iter().take(ELEMENTS) { (element_view(element)) }
        @if elements.len() > ELEMENTS { p.hint { "… and " (elements.len() - ELEMENTS) " more elements" } }
        @if elements.is_empty() { p.hint { "No elements" } }
    }
}

/// Bytes as what they are: an image, JSON, text, or bytes.
pub(in super::super) fn element_view(bytes: &[u8]) -> Markup {
    if let Some(kind) = image_kind(bytes).filter(|_| bytes.len() <= IMAGE) {
        let url = format!("data:{kind};base64,{}", STANDARD.encode(bytes));
        return html! { img.result src=(url) alt={ "An image of " (parts::bytes(bytes.len() as u64)) }; };
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => text_view(text),
        Err(_) => {
            let shown = &bytes[..bytes.len().min(256)];
            html! { pre { (hex::encode(shown)) @if shown.len() < bytes.len() { "…" } } p.hint { (parts::bytes(bytes.len() as u64)) " that are no text" } }
        }
    }
}

fn text_view(text: &str) -> Markup {
    // Only what is structured gains by it.
    let structured = text.trim_start().starts_with(['{', '[']) && text.len() <= TEXT;
    let pretty = structured.then(|| serde_json::from_str::<serde_json::Value>(text).ok()).flatten();
    let text = pretty.map_or_else(|| text.to_owned(), |value| format!("{value:#}"));
    let end = text.char_indices().map(|(i, _)| i).find(|i| *i >= TEXT).unwrap_or(text.len());
    html! { pre { (text[..end]) } @if end < text.len() { p.hint { "… of " (parts::bytes(text.len() as u64)) } } }
}

/// Only what browsers draw without running anything.
fn image_kind(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => None,
    }
}

fn numbers(output: &Tensor) -> Markup {
    let count = tensors::count(output);
    let values = tensors::values(output, NUMBERS);
    let json = format!("[{}{}]", values.join(", "), if count > values.len() { ", …" } else { "" });
    html! {
        @if let Some(bitmap) = tensors::bitmap(output) {
            img.result.values src={ "data:image/bmp;base64," (STANDARD.encode(bitmap)) } alt={ "The values of " (output.name()) " as an image" };
        }
        @if let Some(grid) = Grid::of(output) { (grid_view(output, &grid)) }
        @if count != 1 {
            details open[count <= 64 && Grid::of(output).is_none()] {
                summary { "JSON" }
                pre { (json) }
                @if count > values.len() { p.hint { "The first " (values.len()) " of " (count) " values" } }
            }
        }
    }
}

fn grid_view(output: &Tensor, grid: &Grid) -> Markup {
    let (rows, columns) = (grid.rows.min(ROWS), grid.columns.min(COLUMNS));
    let largest = tensors::largest(output, 5).filter(|_| grid.rows == 1 && grid.columns > COLUMNS);
    html! {
        @if grid.rows * grid.columns == 1 {
            pre { (tensors::values(output, 1).concat()) }
        } @else if let Some(largest) = largest {
            (parts::table("The largest values", &["Index", "Value#"], &html! {
                @for (index, value) in largest { tr { th scope="row" { (index) } td.number { (value) } } }
            }))
            p.hint { "The largest of " (grid.columns) " values" }
        } @else {
            div.scroll role="region" aria-label={ "Values of " (output.name()) } tabindex="0" {
                table {
                    @if columns > 1 { thead { tr { @if rows > 1 { th {} } @for column in 0..columns { th.number scope="col" { (column) } } } } }
                    tbody {
                        @for row in 0..rows {
                            tr {
                                @if rows > 1 { th scope="row" { (row) } }
                                @for value in grid.row(output, row, columns) { td.number { (value) } }
                            }
                        }
                    }
                }
            }
            @if rows < grid.rows || columns < grid.columns {
                p.hint { "The first " (rows) " of " (grid.rows) " rows, " (columns) " of " (grid.columns) " columns" }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_a_plugin_answers_cannot_become_markup() {
        let hostile = Tensor::from_bytes_elements("<b>", [2], &[b"<img src=x onerror=alert(1)>".as_slice(), b"\xff<"]);
        let html = page(&[hostile.unwrap()], Duration::from_millis(3), (1, "r")).0;
        assert!(!html.contains("<img") && !html.contains("<b>") && html.contains("&lt;img"), "{html}");
        assert!(html.contains("ff3c") && html.contains("3.00 ms"), "{html}");
        // An SVG can hold a script: it stays text.
        assert!(element_view(b"<svg xmlns='http://www.w3.org/2000/svg'/>").0.contains("<pre>"));
        assert!(element_view(b"\x89PNG\r\n").0.contains("data:image/png;base64,"));
    }

    #[test]
    fn numbers_become_tables() {
        let html = page(
            &[Tensor::from_elements("y", [2, 2], &[1f32, 2.5, -3.0, f32::NAN]).unwrap()],
            Duration::ZERO,
            (1, "r"),
        )
        .0;
        assert!(html.contains("<td class=\"number\">2.5</td>") && html.contains("NaN"), "{html}");
        let scores: Vec<f32> = (0..100).map(|i| if i == 7 { 0.9 } else { 0.001 }).collect();
        let html = page(&[Tensor::from_elements("y", [1, 100], &scores).unwrap()], Duration::ZERO, (1, "r")).0;
        assert!(html.find("<th scope=\"row\">7</th>").is_some(), "{html}");
    }
}
