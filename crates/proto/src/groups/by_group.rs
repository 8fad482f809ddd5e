//! Something for each group, found by its name.
//!
//! A hash table grows all at once, and with a million groups that takes longer than others wait for the token. So there
//! are many tables, each of which grows by itself. Which of them a group is in anybody can work out; where in it,
//! nobody can.

use std::collections::HashMap;

use antiphon_wire::names::GroupName;

use crate::NameHash;

/// How many tables: a power of two.
const TABLES: usize = 1 << TABLES_BITS;
const TABLES_BITS: u32 = 6;

/// See the module documentation.
#[derive(Debug)]
pub(super) struct ByGroup<T> {
    tables: [HashMap<GroupName, T, NameHash>; TABLES],
    len: usize,
}

/// The table that a group is in: the upper bits of a product with this factor differ for names that are
/// close together (Knuth, TAOCP 3, section 6.4).
fn table_of(group: &GroupName) -> usize {
    let words = group.as_field().as_chunks().0.iter().map(|word| u64::from_le_bytes(*word));
    let mixed = words.fold(0, |mixed, word| mixed ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> (u64::BITS - TABLES_BITS)) as usize
}

impl<T> ByGroup<T> {
    /// Nothing for any group.
    pub(super) fn new(hash: &NameHash) -> Self {
        Self { tables: std::array::from_fn(|_| HashMap::with_hasher(hash.clone())), len: 0 }
    }

    /// For how many groups there is something.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// What there is for a group.
    pub(super) fn get(&self, group: &GroupName) -> Option<&T> {
        self.tables.get(table_of(group))?.get(group)
    }

    /// What there is for a group.
    pub(super) fn get_mut(&mut self, group: &GroupName) -> Option<&mut T> {
        self.tables.get_mut(table_of(group))?.get_mut(group)
    }

    /// Adds something for a group for which there is nothing.
    pub(super) fn insert(&mut self, group: GroupName, value: T) {
        let table = self.tables.get_mut(table_of(&group));
        let before = table.and_then(|table| table.insert(group, value));
        self.len += usize::from(before.is_none());
    }

    /// Takes away what there is for a group.
    pub(super) fn remove(&mut self, group: &GroupName) {
        let removed = self.tables.get_mut(table_of(group)).and_then(|table| table.remove(group));
        self.len -= usize::from(removed.is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: usize) -> GroupName {
        GroupName::new(format!("group-{number}").as_bytes()).expect("legal")
    }

    #[test]
    fn names_in_a_row_are_spread_over_all_tables() {
        const GROUPS: usize = 64_000;
        let mut by_group = ByGroup::new(&NameHash::fixed());
        (0..GROUPS).for_each(|number| by_group.insert(name(number), number));
        let even = GROUPS / TABLES;
        let uneven =
            by_group.tables.iter().map(HashMap::len).find(|len| !(even / 2..=even * 2).contains(len));
        assert_eq!(uneven, None, "of {even}");
        assert!((0..GROUPS).all(|number| by_group.get(&name(number)) == Some(&number)));
        (0..GROUPS).step_by(2).for_each(|number| by_group.remove(&name(number)));
        by_group.remove(&name(0));
        assert_eq!(by_group.len(), GROUPS / 2);
        assert!((0..GROUPS).all(|number| by_group.get(&name(number)).is_some() == (number % 2 == 1)));
    }
}
