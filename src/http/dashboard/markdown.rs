//! As much Markdown as a model card has: headings, paragraphs, lists, tables, fences, bold text
//! and code. Everything else stays as it was written, and everything is escaped.

use maud::{Markup, html};

/// One block of a text.
#[derive(Debug, PartialEq)]
enum Block<'a> {
    /// Depth, from 1.
    Heading(usize, &'a str),
    Fence(Vec<&'a str>),
    List(Vec<&'a str>),
    Table(Vec<Vec<&'a str>>),
    Paragraph(Vec<&'a str>),
}

/// The text as a part of a page that has a heading of its own: its first level is the page's
/// second.
pub fn markdown(text: &str) -> Markup {
    html! { @for block in blocks(text) { (shown(&block)) } }
}

fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut found = Vec::new();
    let mut open = false;
    let mut fence = false;
    for line in text.lines() {
        let start = line.trim_start();
        if start.starts_with("```") {
            fence = !fence;
            if fence {
                found.push(Block::Fence(Vec::new()));
            }
            open = false;
            continue;
        }
        match (found.last_mut(), classified(start)) {
            (Some(Block::Fence(lines)), _) if fence => lines.push(line),
            (_, None) => open = false,
            (Some(Block::Table(rows)), Some(Block::Table(row))) if open => rows.extend(row),
            (Some(Block::List(items)), Some(Block::List(item))) if open => items.extend(item),
            (Some(Block::Paragraph(lines)), Some(Block::Paragraph(line))) if open => {
                lines.extend(line);
            }
            (_, Some(block)) => {
                open = true;
                found.push(block);
            }
        }
    }
    found
}

/// What a line by itself begins; `None` for an empty one.
fn classified(line: &str) -> Option<Block<'_>> {
    let line = line.trim_end();
    let depth = line.len() - line.trim_start_matches('#').len();
    if line.is_empty() {
        return None;
    }
    if let Some(title) = line.get(depth..).and_then(|rest| rest.strip_prefix(' '))
        && (1..=6).contains(&depth)
    {
        return Some(Block::Heading(depth, title.trim()));
    }
    if let Some(item) = line.strip_prefix("- ").or_else(|| line.strip_prefix("* ")) {
        return Some(Block::List(vec![item]));
    }
    if line.starts_with('|') {
        let cells = line.trim_matches('|').split('|').map(str::trim).collect();
        return Some(Block::Table(vec![cells]));
    }
    Some(Block::Paragraph(vec![line]))
}

fn shown(block: &Block<'_>) -> Markup {
    match block {
        Block::Heading(1, title) => html! { h2 { (inline(title)) } },
        Block::Heading(2, title) => html! { h3 { (inline(title)) } },
        Block::Heading(_, title) => html! { h4 { (inline(title)) } },
        Block::Fence(lines) => html! { pre tabindex="0" { (lines.join("\n")) } },
        Block::List(items) => html! { ul { @for item in items { li { (inline(item)) } } } },
        Block::Paragraph(lines) => html! { p { (inline(&lines.join(" "))) } },
        Block::Table(rows) => table(rows),
    }
}

fn table(rows: &[Vec<&str>]) -> Markup {
    let is_rule = |row: &&Vec<&str>| {
        row.iter().all(|cell| !cell.is_empty() && cell.chars().all(|c| matches!(c, '-' | ':')))
    };
    let mut rows = rows.iter().filter(|row| !is_rule(row));
    let head = rows.next();
    html! {
        div.scroll tabindex="0" role="group" aria-label="Table" { table {
            thead { tr { @for cell in head.into_iter().flatten() {
                th scope="col" { (inline(cell)) } } } }
            tbody { @for row in rows { tr { @for cell in row { td { (inline(cell)) } } } } }
        } }
    }
}

/// Code in backticks and bold text in pairs of stars; a mark without its partner stays.
fn inline(text: &str) -> Markup {
    html! { @for (inside, part) in parted(text, "`") {
        @if inside { code { (part) } } @else {
            @for (inside, part) in parted(part, "**") {
                @if inside { strong { (part) } } @else { (part) }
            }
        }
    } }
}

/// The parts between marks, and whether each stands inside a pair.
fn parted<'a>(text: &'a str, mark: &str) -> Vec<(bool, &'a str)> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(mark)
        && let Some((inside, behind)) = after.split_once(mark)
    {
        parts.push((false, before));
        parts.push((true, inside));
        rest = behind;
    }
    parts.push((false, rest));
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_card_is_shown_as_it_is_meant() {
        let text = "# A **card**\nText with `a < b` and\na second line.\n\n- one\n- two\n\n\
                    | a | b |\n|---|:-:|\n| 1 | `2` |\n\n```\nx | y\n\n# no heading\n```\nEnd * 2";
        let html = markdown(text).into_string();
        for said in [
            "<h2>A <strong>card</strong></h2>",
            "<p>Text with <code>a &lt; b</code> and a second line.</p>",
            "<ul><li>one</li><li>two</li></ul>",
            "<th scope=\"col\">a</th><th scope=\"col\">b</th>",
            "<td>1</td><td><code>2</code></td>",
            "x | y\n\n# no heading</pre>",
            "<p>End * 2</p>",
        ] {
            assert!(html.contains(said), "{said} is not in {html}");
        }
        assert!(!html.contains("---"));
    }

    proptest! {
        #[test]
        fn nothing_gets_out(text in "[<>\"'&`*|#\\- a\n]{0,60}") {
            let html = markdown(&format!("{text}<script>alert(1)</script>\n{text}")).into_string();
            prop_assert!(!html.contains("<script"));
        }
    }
}
