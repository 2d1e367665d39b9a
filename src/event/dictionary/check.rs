//! From what the file says to a valid dictionary: every complaint is collected before any is
//! reported, because whoever edits the file wants to see them all.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Place;

use super::file::{Entry, File, KindEntry, NormalEntry, PairHalf, UnitEntry};
use super::{
    BySize, Columns, Cut, Dictionary, DictionaryError, GRID_COLUMNS, Item, Kind, Profile, Signal,
    StaticRules, Stuck, Unit, Variable,
};
use crate::ids::VariableId;
use crate::time::Span;

/// The version of the file's layout that this code reads.
const VERSION: u32 = 1;

/// The complaints found so far.
#[derive(Default)]
struct Complaints(Vec<String>);

impl Complaints {
    fn add(&mut self, whom: &str, what: impl AsRef<str>) {
        self.0.push(format!("{whom}: {}", what.as_ref()));
    }

    /// Enters `key` or complains that it is there already.
    fn enter<K: Ord + std::fmt::Display, V>(
        &mut self,
        map: &mut BTreeMap<K, V>,
        key: K,
        value: V,
        whom: &str,
    ) {
        match map.entry(key) {
            Place::Occupied(taken) => {
                self.add(whom, format!("{} is already taken; use it once", taken.key()));
            }
            Place::Vacant(free) => {
                free.insert(value);
            }
        }
    }
}

pub(super) fn dictionary(file: File, profile: Profile) -> Result<Dictionary, DictionaryError> {
    let mut complaints = Complaints::default();
    if file.version != VERSION {
        complaints.add("version", format!("is {}, this program reads {VERSION}", file.version));
    }
    if file.variable.len() > usize::from(u8::MAX) {
        complaints.add("variable", "more than 255 variables do not fit their id");
    }
    let statics = statics(&file, &mut complaints);
    let mut made = Dictionary {
        profile,
        columns: file.columns.unwrap_or(GRID_COLUMNS),
        variables: Vec::with_capacity(file.variable.len()),
        statics,
        by_code: BTreeMap::new(),
        by_loinc: BTreeMap::new(),
        by_item: BTreeMap::new(),
        refused_loinc: BTreeMap::new(),
        refused_items: BTreeMap::new(),
    };
    let mut channels = Vec::new();
    for (index, entry) in file.variable.into_iter().enumerate() {
        let id = VariableId(u8::try_from(index).unwrap_or(u8::MAX));
        channels.push(entry.channel);
        enter_codes(&mut made, &entry, id, &mut complaints);
        made.variables.push(variable(entry, id, profile, &mut complaints));
    }
    for (id, item) in &made.by_item {
        let unit = item.unit.as_deref();
        let known = made.variables.get(usize::from(item.variable.0));
        if let (Some(unit), Some(variable)) = (unit, known)
            && variable.unit_index(unit).is_none()
        {
            complaints.add(&variable.code, format!("item {id} has unit {unit}, not in units"));
        }
    }
    lay_out(&mut made, &channels, &mut complaints);
    match complaints.0.is_empty() {
        true => Ok(made),
        false => Err(DictionaryError(complaints.0.join("\n"))),
    }
}

fn enter_codes(made: &mut Dictionary, entry: &Entry, id: VariableId, complaints: &mut Complaints) {
    let whom = entry.code.as_str();
    complaints.enter(&mut made.by_code, entry.code.clone(), id, whom);
    for loinc in entry.loinc.iter().chain(&entry.refused_loinc) {
        if !is_loinc(loinc) {
            complaints.add(whom, format!("loinc {loinc} is not digits, a dash, a check digit"));
        }
    }
    for loinc in &entry.loinc {
        complaints.enter(&mut made.by_loinc, loinc.clone(), id, whom);
    }
    for loinc in &entry.refused_loinc {
        complaints.enter(&mut made.refused_loinc, loinc.clone(), id, whom);
    }
    for item in &entry.items {
        if item.profile.is_none_or(|only| only == made.profile) {
            let known = Item { variable: id, label: item.label.clone(), unit: item.unit.clone() };
            complaints.enter(&mut made.by_item, item.id, known, whom);
        } else {
            complaints.enter(&mut made.refused_items, item.id, id, whom);
        }
    }
}

/// Digits, a dash and the mod-10 check digit that LOINC uses.
fn is_loinc(code: &str) -> bool {
    let Some((number, check)) = code.split_once('-') else { return false };
    let digits: Option<Vec<u32>> = number.chars().map(|c| c.to_digit(10)).collect();
    let Some(digits) = digits.filter(|digits| (1..=7).contains(&digits.len())) else {
        return false;
    };
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, &d)| if i % 2 == 0 { 2 * d / 10 + 2 * d % 10 } else { d })
        .sum();
    check == ((10 - sum % 10) % 10).to_string()
}

fn variable(entry: Entry, id: VariableId, profile: Profile, to: &mut Complaints) -> Variable {
    let whom = entry.code.clone();
    let units: Vec<Unit> = entry.units.iter().map(|unit| self::unit(unit, profile)).collect();
    for unit in &units {
        if !(unit.factor.is_finite() && unit.factor > 0.0 && unit.offset.is_finite()) {
            to.add(&whom, format!("unit {}: factor must be above 0, offset finite", unit.ucum));
        }
        check_range(unit.plausible, &format!("plausible of unit {}", unit.ucum), &whom, to);
    }
    let index_of = |name: &str, to: &mut Complaints| {
        units.iter().position(|unit| unit.ucum == name).unwrap_or_else(|| {
            to.add(&whom, format!("unit {name} is not one of units"));
            0
        })
    };
    let by_size = entry.by_size.as_ref().map(|by| BySize {
        limit: by.limit,
        upto: index_of(&by.upto, to),
        above: index_of(&by.above, to),
        rereads: by.rereads.iter().map(|name| index_of(name, to)).collect(),
        reference_text: by.reference_text.as_ref().map(|name| index_of(name, to)),
    });
    if entry.kind == KindEntry::Numeric {
        let canonical = index_of(&entry.unit, to);
        let identity = units.get(canonical).is_none_or(|u| u.factor == 1.0 && u.offset == 0.0);
        if !identity {
            to.add(&whom, "the canonical unit must have factor 1 and offset 0");
        }
    }
    let cut = cut(&entry, to);
    Variable {
        id,
        signal: signal(&entry, profile, to),
        kind: kind(&entry, to),
        code: entry.code,
        name: entry.name,
        unit: entry.unit,
        loinc: entry.loinc,
        columns: None,
        trained: entry.trained,
        by_size,
        pair: entry.pair.map(|half| if half == PairHalf::First { 0 } else { 1 }),
        cut,
        units,
    }
}

fn unit(entry: &UnitEntry, profile: Profile) -> Unit {
    let reference = entry.reference_factor.filter(|_| profile == Profile::Reference);
    Unit {
        ucum: entry.ucum.clone(),
        also: entry.also.clone(),
        factor: reference.unwrap_or(entry.factor),
        offset: entry.offset,
        plausible: entry.plausible.map(|[low, high]| (low, high)),
    }
}

fn kind(entry: &Entry, to: &mut Complaints) -> Kind {
    match (entry.kind, &entry.normal) {
        (KindEntry::Numeric, NormalEntry::Number(normal)) => numeric(entry, *normal, to),
        (KindEntry::Categorical, NormalEntry::Text(normal)) => categorical(entry, normal, to),
        _ => {
            to.add(&entry.code, "normal must be a number if numeric, a category's text if not");
            Kind::Categorical { categories: Vec::new(), normal: 0, scores: Vec::new() }
        }
    }
}

fn numeric(entry: &Entry, normal: f64, to: &mut Complaints) -> Kind {
    if entry.plausible.is_none() || entry.clamp.is_none() {
        to.add(&entry.code, "a numeric variable needs plausible and clamp");
    }
    if !entry.categories.is_empty() || !entry.scores.is_empty() || entry.cut.is_some() {
        to.add(&entry.code, "a numeric variable has no categories, scores or cut");
    }
    let range = |range: Option<[f64; 2]>| range.map_or((0.0, 1.0), |[low, high]| (low, high));
    let (plausible, clamp) = (range(entry.plausible), range(entry.clamp));
    check_range(Some(plausible), "plausible", &entry.code, to);
    check_range(Some(clamp), "clamp", &entry.code, to);
    if !(clamp.0..=clamp.1).contains(&normal) {
        to.add(&entry.code, format!("normal {normal} is outside clamp"));
    }
    Kind::Numeric { plausible, clamp, normal }
}

fn categorical(entry: &Entry, normal: &str, to: &mut Complaints) -> Kind {
    let numbers = entry.plausible.is_some() || entry.clamp.is_some() || !entry.units.is_empty();
    if numbers || entry.pair.is_some() || entry.by_size.is_some() {
        to.add(&entry.code, "a categorical variable has no ranges, units, pair or by_size");
    }
    if entry.categories.is_empty() {
        to.add(&entry.code, "a categorical variable needs categories");
    }
    let mut seen = BTreeMap::new();
    for (index, text) in entry.categories.iter().enumerate() {
        to.enter(&mut seen, text.to_ascii_lowercase(), index, &entry.code);
    }
    let mut scores = Vec::with_capacity(entry.scores.len());
    for (score, text) in &entry.scores {
        match score.parse::<f64>() {
            Ok(number) if number.is_finite() => {
                scores.push((number, category(entry, text, to)));
            }
            _ => to.add(&entry.code, format!("score {score} is not a number")),
        }
    }
    let normal = category(entry, normal, to);
    Kind::Categorical { categories: entry.categories.clone(), normal, scores }
}

fn cut(entry: &Entry, to: &mut Complaints) -> Option<Cut> {
    let cut = entry.cut.as_ref()?;
    Some(Cut {
        unit: cut.unit.clone(),
        limit: cut.limit,
        then: category(entry, &cut.then, to),
        otherwise: category(entry, &cut.otherwise, to),
    })
}

/// Copies are a matter of `clinical`: the published pipeline uses whatever was charted.
fn signal(entry: &Entry, profile: Profile, to: &mut Complaints) -> Signal {
    let (stuck, change, copied) = (&entry.stuck, entry.max_change, entry.copied_within);
    let is_silent = stuck.is_none() && change.is_none() && copied.is_none();
    if entry.kind == KindEntry::Categorical && !is_silent {
        to.add(&entry.code, "a categorical variable has no stuck, max_change or copied_within");
    }
    if let Some(stuck) = stuck
        && !(stuck.times >= 2 && stuck.hours > 0.0 && stuck.hours.is_finite())
    {
        to.add(&entry.code, "stuck needs 2 times or more, and hours above 0");
    }
    if change.is_some_and(|change| !(change > 0.0 && change.is_finite())) {
        to.add(&entry.code, "max_change must be above 0");
    }
    if copied.is_some_and(|copied| !(copied >= 0.0 && copied.is_finite())) {
        to.add(&entry.code, "copied_within must be 0 or more");
    }
    Signal {
        stuck: stuck.as_ref().map(|stuck| Stuck {
            times: stuck.times,
            over: Span::from_millis((stuck.hours * Span::HOUR.as_millis() as f64) as i64),
            below: stuck.below,
        }),
        max_change: change,
        copied_within: copied.filter(|_| profile == Profile::Clinical),
    }
}

/// The index of a category, 0 with a complaint if there is none.
fn category(entry: &Entry, text: &str, to: &mut Complaints) -> usize {
    entry.categories.iter().position(|known| known == text).unwrap_or_else(|| {
        to.add(&entry.code, format!("{text:?} is not one of categories"));
        0
    })
}

fn check_range(range: Option<(f64, f64)>, what: &str, whom: &str, to: &mut Complaints) {
    if let Some((low, high)) = range
        && !(low.is_finite() && high.is_finite() && low < high)
    {
        to.add(whom, format!("{what} must be two finite numbers, the lower first"));
    }
}

fn statics(file: &File, to: &mut Complaints) -> StaticRules {
    let pair = |[low, high]: [f64; 2]| (low, high);
    check_range(Some(pair(file.age.plausible)), "plausible", "age", to);
    check_range(Some(pair(file.age.clamp)), "clamp", "age", to);
    if file.age.unit != "a" {
        to.add("age", "its unit must be a (UCUM for years)");
    }
    if file.sex.categories.len() != 2 {
        to.add("sex", "needs two categories, female first");
    }
    for code in file.age.loinc.iter().chain(&file.sex.loinc).filter(|code| !is_loinc(code)) {
        to.add("age, sex", format!("loinc {code} is not digits, a dash, a check digit"));
    }
    let normal = file.sex.categories.iter().position(|text| *text == file.sex.normal);
    if normal.is_none() {
        to.add("sex", "normal is not one of categories");
    }
    StaticRules {
        sex_column: 0,
        sex_normal: normal.unwrap_or(0),
        age_column: 0,
        age_plausible: pair(file.age.plausible),
        age_clamp: pair(file.age.clamp),
        age_normal: file.age.normal,
        age_loinc: file.age.loinc.clone(),
        sex_loinc: file.sex.loinc.clone(),
    }
}

/// Gives every channel its columns: values in channel order, sex, age, masks in channel order.
fn lay_out(made: &mut Dictionary, channels: &[Option<usize>], to: &mut Complaints) {
    let n = channels.iter().flatten().count();
    let mut next = 0;
    let mut order = Vec::with_capacity(n);
    for channel in 0..n {
        let mut holders = (0..channels.len()).filter(|&i| channels[i] == Some(channel));
        match (holders.next(), holders.next()) {
            (Some(only), None) => order.push(only),
            (None, _) => to.add("channel", format!("no variable has channel {channel}")),
            _ => to.add("channel", format!("{channel} is held by more than one variable")),
        }
    }
    for &index in &order {
        let variable = &mut made.variables[index];
        variable.columns = Some(Columns { first: next, mask: 0 });
        next += match &variable.kind {
            Kind::Numeric { .. } => 1,
            Kind::Categorical { categories, .. } => categories.len(),
        };
    }
    made.statics.sex_column = next;
    made.statics.age_column = next + 2;
    next += 3;
    for &index in &order {
        if let Some(columns) = &mut made.variables[index].columns {
            columns.mask = next;
        }
        next += 1;
    }
    if next != made.columns {
        let wanted = made.columns;
        to.add("channel", format!("the grid has {next} columns, models read {wanted}"));
    }
}
