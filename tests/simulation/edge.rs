//! The producers of the input topics: each feed's records in order, in transactions that are
//! committed, aborted, left hanging or repeated because nobody said what became of them.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use nowcxr::ids::Topic;
use nowcxr::time::WallTime;

use crate::people::People;
use crate::ward::{Logged, Ward};
use crate::world::{Entry, Place, World, set_wall};

/// Minutes of the wall clock by which the marks are behind it, in milliseconds.
const BEHIND: i64 = 60_000;

/// What is still to be sent into each partition of each topic.
pub struct Edge {
    left: BTreeMap<(Topic, u32), VecDeque<Vec<Rc<Logged>>>>,
    /// Producers whose transaction is open: the epoch.
    hanging: BTreeMap<(Topic, u32), u64>,
    people: People,
    wall: i64,
}

impl Edge {
    pub fn new(ward: &Ward) -> Self {
        let shared = |segments: &Vec<Vec<Logged>>| {
            segments.iter().map(|s| s.iter().cloned().map(Rc::new).collect()).collect()
        };
        let left = ward.feeds.iter().map(|(place, segments)| (*place, shared(segments))).collect();
        Edge { left, hanging: BTreeMap::new(), people: People::new(ward), wall: 0 }
    }

    pub fn is_done(&self) -> bool {
        self.hanging.is_empty() && self.left.values().all(VecDeque::is_empty)
    }

    /// Sends the next segment of some topic and partition: mostly of the one that is behind.
    pub fn push(&mut self, world: &World) {
        let open: Vec<(Topic, u32)> = self
            .left
            .iter()
            .filter(|(place, left)| !left.is_empty() || self.hanging.contains_key(place))
            .map(|(place, _)| *place)
            .collect();
        if open.is_empty() {
            return;
        }
        let most = |place: &&(Topic, u32)| self.left.get(place).map_or(0, VecDeque::len);
        let behind = open.iter().max_by_key(most).copied();
        let chosen = open[world.below(open.len())];
        let place = if world.chance(0.6) { behind.unwrap_or(chosen) } else { chosen };
        if self.hanging.contains_key(&place) {
            self.settle(place, world);
        } else if let Some(mut segment) = self.left.get_mut(&place).and_then(VecDeque::pop_front) {
            if place.0 == Topic::Acknowledgement {
                let at = segment.last().map_or(WallTime::from_millis(0), |last| last.appended_at);
                let done = self.people.react(place.1, at, world).into_iter().map(Rc::new);
                segment.splice(0..0, done);
            }
            self.send(place, segment, world);
        }
    }

    fn send(&mut self, place: (Topic, u32), segment: Vec<Rc<Logged>>, world: &World) {
        let at = segment.last().map_or(0, |logged| logged.appended_at.as_millis());
        self.wall = self.wall.max(at + BEHIND);
        set_wall(self.wall);
        let (faults, to) = (world.faults.get(), Place::Input(place.0, place.1));
        if !faults.edge_transactions {
            for logged in &segment {
                world.log.borrow_mut().append(to, Entry::Input(Rc::clone(logged)));
            }
            if world.happens("segment sent again", faults.edge_repeat) {
                self.again(place, segment);
            }
            return;
        }
        let id = format!("edge-{}-{}", place.0.name(), place.1);
        let mut log = world.log.borrow_mut();
        let epoch = log.init(&id);
        let begun = log.begin(&id, epoch);
        assert!(begun.is_ok(), "nobody else has this id");
        for logged in &segment {
            let added = log.add(&id, epoch, to, Entry::Input(Rc::clone(logged)));
            assert!(added.is_ok(), "nobody else has this id");
        }
        drop(log);
        if world.happens("feed's transaction left open", faults.edge_hang) {
            self.hanging.insert(place, epoch);
            self.again(place, segment);
            return;
        }
        if world.happens("feed's transaction aborted", faults.edge_abort) {
            let _ = world.log.borrow_mut().abort(&id, epoch);
            self.again(place, segment);
            return;
        }
        let _ = world.log.borrow_mut().commit(&id, epoch);
        if world.happens("segment sent again", faults.edge_repeat) {
            self.again(place, segment);
        }
    }

    /// Ends a transaction that was left open: it comes to be, or is sent anew.
    fn settle(&mut self, place: (Topic, u32), world: &World) {
        let Some(epoch) = self.hanging.remove(&place) else { return };
        let id = format!("edge-{}-{}", place.0.name(), place.1);
        if world.chance(0.5) {
            let _ = world.log.borrow_mut().commit(&id, epoch);
            self.left.entry(place).or_default().pop_front();
        } else {
            let _ = world.log.borrow_mut().abort(&id, epoch);
        }
    }

    fn again(&mut self, place: (Topic, u32), segment: Vec<Rc<Logged>>) {
        self.left.entry(place).or_default().push_front(segment);
    }
}
