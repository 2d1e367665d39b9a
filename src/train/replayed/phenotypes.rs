//! Which of the 25 phenotypes a hospital stay's diagnoses amount to (`reference/ddl-cxr.md` 1.2).

use std::collections::BTreeMap;

use crate::event::risk::N_PHENOTYPES;
use crate::replay::IcdCode;

/// Codes by phenotype, in a form that a person can read.
const TABLE: &str = include_str!("phenotypes.txt");

/// Phenotypes by code.
pub(crate) struct Phenotypes(BTreeMap<String, Vec<usize>>);

impl Phenotypes {
    /// The published table. It is one for both versions of ICD, as the published lookup is: a
    /// code's version is not asked (defect B14 names what follows from that).
    pub(crate) fn published() -> Self {
        let mut codes: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let mut group = None;
        for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
            if let Some(name) = line.strip_prefix("= ") {
                let number = name.split(' ').next().and_then(|n| n.parse::<usize>().ok());
                group = number.and_then(|n| n.checked_sub(1)).filter(|&n| n < N_PHENOTYPES);
            } else if let (Some((stem, ends)), Some(group)) = (line.split_once(": "), group) {
                for end in ends.split(' ') {
                    let code = format!("{stem}{}", if end == "." { "" } else { end });
                    codes.entry(code).or_default().push(group);
                }
            }
        }
        Phenotypes(codes)
    }

    /// The names of the groups, in order.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        let heads = TABLE.lines().filter_map(|line| line.strip_prefix("= "));
        heads.filter_map(|head| head.split_once(' ')).map(|(_, name)| name)
    }

    /// Presence of any code of a group makes it true.
    pub(crate) fn of(&self, diagnoses: &[IcdCode]) -> [bool; N_PHENOTYPES] {
        let mut found = [false; N_PHENOTYPES];
        for group in diagnoses.iter().filter_map(|icd| self.0.get(&icd.code)).flatten() {
            found[*group] = true;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(codes: &[&str]) -> Vec<usize> {
        let icd = |code: &&str| IcdCode { version: 10, code: (*code).to_owned() };
        let found = Phenotypes::published().of(&codes.iter().map(icd).collect::<Vec<_>>());
        (0..N_PHENOTYPES).filter(|&i| found[i]).collect()
    }

    #[test]
    fn the_table_is_whole() {
        let codes = Phenotypes::published();
        let counted: usize = codes.0.values().map(Vec::len).sum();
        let groups: std::collections::BTreeSet<usize> =
            codes.0.values().flatten().copied().collect();
        assert_eq!((groups.len(), Phenotypes::names().count()), (N_PHENOTYPES, N_PHENOTYPES));
        assert!((1_200..1_500).contains(&counted), "{counted}");
    }

    #[test]
    fn codes_of_both_versions_are_found() {
        assert_eq!(of(&["N179", "5849", "A419", "Z999"]), [0, 23]);
        assert_eq!(of(&["I10", "E1165", "R6521"]), [10, 13, 24]);
        assert!(of(&["", "N1", "n179"]).is_empty());
    }
}
