//! How many connections may be open at a time.
//!
//! An API server keeps a few, through which all of its reviews go; each that somebody else opens takes memory and a file
//! descriptor before it has shown what it is. Nobody has all places from one address: an API server finds some left.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use prometheus::IntGauge;

/// Far more than all API servers of a cluster open together.
pub(super) const PLACES: usize = 512;
/// Half of them: API servers may come through one proxy.
pub(super) const PLACES_OF_ADDRESS: usize = PLACES / 2;

/// Owned by the one task that accepts connections, so that nothing is locked: a place is counted by its references.
#[derive(Debug)]
pub(super) struct Places {
    all: Arc<()>,
    by_address: HashMap<IpAddr, Arc<()>>,
    most: usize,
    most_of_address: usize,
    open: IntGauge,
}

/// Taken until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _all: Arc<()>,
    _address: Arc<()>,
    open: IntGauge,
}

impl Places {
    pub fn new(most: usize, most_of_address: usize, open: IntGauge) -> Self {
        Self { all: Arc::default(), by_address: HashMap::new(), most, most_of_address, open }
    }

    /// None: there is no place left, or not for this address.
    pub fn take(&mut self, address: IpAddr) -> Option<Place> {
        let taken = |places: &Arc<()>| Arc::strong_count(places) - 1;
        if taken(&self.all) >= self.most {
            return None;
        }
        // No longer than the places: an address without one is forgotten.
        self.by_address.retain(|known, places| taken(places) > 0 || *known == address);
        let of_address = self.by_address.entry(address).or_default();
        if taken(of_address) >= self.most_of_address {
            return None;
        }
        self.open.inc();
        Some(Place { _all: Arc::clone(&self.all), _address: Arc::clone(of_address), open: self.open.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn places_are_few_and_come_back() {
        let mut places = Places::new(3, 2, IntGauge::new("open", "connections").unwrap());
        let first = places.take(address(1)).unwrap();
        let _second = places.take(address(1)).unwrap();
        assert!(places.take(address(1)).is_none(), "an address has a share");
        let _third = places.take(address(2)).unwrap();
        assert!(places.take(address(3)).is_none(), "there are no more");
        assert_eq!(places.open.get(), 3);
        drop(first);
        assert_eq!(places.open.get(), 2);
        assert!(places.take(address(1)).is_some());
    }

    #[test]
    fn addresses_without_a_place_are_forgotten() {
        let mut places = Places::new(8, 2, IntGauge::new("open", "connections").unwrap());
        for last in 0..100 {
            drop(places.take(address(last)).unwrap());
        }
        assert_eq!(places.by_address.len(), 1);
    }
}
