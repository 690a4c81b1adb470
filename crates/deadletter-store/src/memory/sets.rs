//! A map of ordered sets that keeps no empty set: the shape of every index here.

use std::collections::{BTreeMap, BTreeSet};

/// Members by key.
#[derive(Debug)]
pub(super) struct Sets<K, V>(BTreeMap<K, BTreeSet<V>>);

impl<K, V> Default for Sets<K, V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord, V: Ord> Sets<K, V> {
    /// Puts a member in, or takes it out.
    pub(super) fn put(&mut self, key: K, member: V, is_in: bool) {
        if is_in {
            self.0.entry(key).or_default().insert(member);
        } else if let Some(set) = self.0.get_mut(&key) {
            set.remove(&member);
            if set.is_empty() {
                self.0.remove(&key);
            }
        }
    }

    /// Takes members out from the first on, as long as `is_wanted`.
    pub(super) fn take_while(&mut self, key: &K, is_wanted: impl Fn(&V) -> bool) -> Vec<V> {
        let Some(set) = self.0.get_mut(key) else { return Vec::new() };
        let mut taken = Vec::new();
        while set.first().is_some_and(&is_wanted) {
            taken.extend(set.pop_first());
        }
        if set.is_empty() {
            self.0.remove(key);
        }
        taken
    }

    pub(super) fn get(&self, key: &K) -> Option<&BTreeSet<V>> {
        self.0.get(key)
    }

    pub(super) fn members(&self, key: &K) -> impl Iterator<Item = &V> + use<'_, K, V> {
        self.0.get(key).into_iter().flatten()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.keys()
    }
}
