//! The recording, write after write, each before the world that was known when it was made.

use serde_json::Value;

use crate::recording::{is_by_person, kinds, recorded};
use crate::world::World;

/// Every write apart from those that made the baseline.
pub fn replay(mut visit: impl FnMut(&mut World, &Value)) {
    let requests = recorded();
    let mut world = World::new(kinds(&requests));
    for request in &requests {
        if !is_by_person(request) {
            if world.record(request) {
                continue;
            }
            world.discover(request);
        }
        visit(&mut world, request);
    }
}

/// What the system wrote, while Git followed the person.
pub fn replay_system(mut visit: impl FnMut(&mut World, &Value)) {
    replay(|world, request| {
        if is_by_person(request) {
            world.commit(request);
        } else {
            visit(world, request);
        }
    });
}
