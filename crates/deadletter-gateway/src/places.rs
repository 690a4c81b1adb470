//! Connections by address, so that one address cannot take them all.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Open connections by address: never more addresses than connections.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// Guards the counts; never held across an await.
    counts: Mutex<HashMap<IpAddr, usize>>,
}

/// The right to one connection; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    of: Arc<Places>,
    peer: IpAddr,
}

impl Places {
    /// A place for `peer`, unless it has `most` by now.
    pub(crate) fn take(self: &Arc<Self>, peer: IpAddr, most: usize) -> Option<Place> {
        let mut counts = self.counts();
        let count = counts.entry(peer).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Place { of: Arc::clone(self), peer })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.of.counts();
        if let Some(count) = counts.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_share_and_what_is_gone_costs_no_memory() {
        let places = Arc::new(Places::default());
        let (one, other) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let held = [places.take(one, 2), places.take(one, 2)];
        assert!(held.iter().all(Option::is_some) && places.take(one, 2).is_none());
        assert!(places.take(other, 2).is_some());
        drop(held);
        assert!(places.take(one, 2).is_some());
        assert!(places.counts().is_empty());
    }
}
