//! Changes JSON as a tree: bytes that change by themselves are seldom JSON any more.

use serde_json::{Map, Value, json};

/// A course of numbers that a seed decides (SplitMix64).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u32) -> Self {
        Dice(seed.into())
    }

    /// A number below `n`, which is not 0.
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ bits >> 31) % n.max(1) as u64) as usize
    }
}

/// Changes one value of a tree: into a word, a number, another value of the tree, nothing, or into
/// what `text` makes of it where it is a text.
pub fn change(
    tree: &mut Value,
    words: &[&str],
    dice: &mut Dice,
    mut text: impl FnMut(String) -> String,
) {
    let count = count(tree);
    let (place, other) = (dice.below(count), dice.below(count));
    let other = nth(tree, &mut { other }).map(|value| value.clone()).unwrap_or_default();
    let word = words[dice.below(words.len())];
    let number = [0.0, -1.0, 0.5, 1e-9, 1e9, 1e308, -273.15, 120.0][dice.below(8)];
    let Some(value) = nth(tree, &mut { place }) else { return };
    let choice = dice.below(8);
    match (choice, value) {
        (0..=2, Value::String(old)) => *old = text(std::mem::take(old)),
        (3, Value::Array(list)) => list.push(other),
        (3, Value::Object(fields)) => drop(fields.insert(word.to_owned(), other)),
        (4, Value::Array(list)) if !list.is_empty() => drop(list.remove(dice.below(list.len()))),
        (4, Value::Object(fields)) if !fields.is_empty() => take_out(fields, dice),
        (5, value) => *value = json!(number),
        (6, value) => *value = json!(word),
        (7, value) => *value = other,
        (_, value @ Value::String(_)) => *value = json!(word),
        (0, value) => *value = Value::Null,
        _ => {}
    }
}

fn take_out(fields: &mut Map<String, Value>, dice: &mut Dice) {
    let name = fields.keys().nth(dice.below(fields.len())).cloned();
    name.map(|name| fields.remove(&name));
}

/// Values of a tree, itself among them.
fn count(tree: &Value) -> usize {
    1 + match tree {
        Value::Array(list) => list.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        _ => 0,
    }
}

/// The `left`th value of a tree, counted through.
fn nth<'a>(tree: &'a mut Value, left: &mut usize) -> Option<&'a mut Value> {
    if *left == 0 {
        return Some(tree);
    }
    *left -= 1;
    match tree {
        Value::Array(list) => list.iter_mut().find_map(|value| nth(value, left)),
        Value::Object(fields) => fields.values_mut().find_map(|value| nth(value, left)),
        _ => None,
    }
}
