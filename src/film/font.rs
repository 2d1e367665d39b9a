//! A font of 5 × 7 dots, with the letters that the mark of generated films needs.

/// Dots of one letter across, without the gap to the next one.
pub(super) const LETTER_WIDTH: usize = 5;

/// Dots of one letter from top to bottom.
pub(super) const LETTER_HEIGHT: usize = 7;

/// From the left edge of one letter to that of the next.
pub(super) const ADVANCE: usize = LETTER_WIDTH + 1;

/// The letter's rows from the top, `#` for a dot; `None` for a letter that the font lacks. Drawn
/// rather than encoded, so that a reader sees what is burned in.
#[rustfmt::skip]
fn rows(letter: char) -> Option<[&'static str; LETTER_HEIGHT]> {
    Some(match letter {
        '-' => [".....", ".....", ".....", "#####", ".....", ".....", "....."],
        'A' => [".###.", "#...#", "#...#", "#####", "#...#", "#...#", "#...#"],
        'D' => ["####.", "#...#", "#...#", "#...#", "#...#", "#...#", "####."],
        'E' => ["#####", "#....", "#....", "####.", "#....", "#....", "#####"],
        'G' => [".###.", "#...#", "#....", "#.###", "#...#", "#...#", ".###."],
        'H' => ["#...#", "#...#", "#...#", "#####", "#...#", "#...#", "#...#"],
        'I' => ["#####", "..#..", "..#..", "..#..", "..#..", "..#..", "#####"],
        'N' => ["#...#", "##..#", "##..#", "#.#.#", "#..##", "#..##", "#...#"],
        'O' => [".###.", "#...#", "#...#", "#...#", "#...#", "#...#", ".###."],
        'P' => ["####.", "#...#", "#...#", "####.", "#....", "#....", "#...."],
        'R' => ["####.", "#...#", "#...#", "####.", "#.#..", "#..#.", "#...#"],
        'S' => [".####", "#....", "#....", ".###.", "....#", "....#", "####."],
        'T' => ["#####", "..#..", "..#..", "..#..", "..#..", "..#..", "..#.."],
        ' ' => [".....", ".....", ".....", ".....", ".....", ".....", "....."],
        _ => return None,
    })
}

/// Whether the font has this letter.
#[cfg(test)]
pub(super) fn has(letter: char) -> bool {
    rows(letter).is_some()
}

/// The dots (x, y) of a line of text, from its upper left corner.
pub(super) fn dots(text: &str) -> impl Iterator<Item = (usize, usize)> + '_ {
    text.chars().enumerate().flat_map(|(index, letter)| {
        let rows = rows(letter).unwrap_or_default();
        rows.into_iter().enumerate().flat_map(move |(y, row)| {
            let set = row.bytes().enumerate().filter(|&(_, dot)| dot == b'#');
            set.map(move |(x, _)| (index * ADVANCE + x, y))
        })
    })
}

/// Dots from the first letter's left edge to the last letter's right edge.
pub(super) fn width(text: &str) -> usize {
    (text.chars().count() * ADVANCE).saturating_sub(ADVANCE - LETTER_WIDTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_five_dots_wide_and_differ() {
        let letters: Vec<_> = ('A'..='Z').chain(['-', ' ']).filter_map(rows).collect();
        assert!(letters.iter().flatten().all(|row| row.len() == LETTER_WIDTH));
        let different: std::collections::BTreeSet<_> = letters.iter().collect();
        assert_eq!(different.len(), letters.len());
    }

    #[test]
    fn dots_stay_inside_the_line() {
        let text = "AI-GENERATED";
        assert!(dots(text).all(|(x, y)| x < width(text) && y < LETTER_HEIGHT));
        assert_eq!((width("II"), width("")), (11, 0));
    }
}
