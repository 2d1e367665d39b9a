//! The log in memory.

use super::Subject;
use crate::log::{Fenced, Log};

type Simulated = Log<u32, &'static str>;

impl Subject for Simulated {
    type Producer = (String, u64);

    fn init(&mut self, id: &str) -> Self::Producer {
        (id.to_owned(), Log::init(self, id))
    }

    fn append(&mut self, partition: u32, record: &'static str) {
        Log::append(self, partition, record);
    }

    fn begin(&mut self, (id, epoch): &Self::Producer) -> Result<(), Fenced> {
        Log::begin(self, id, *epoch)
    }

    fn add(
        &mut self,
        (id, epoch): &Self::Producer,
        partition: u32,
        record: &'static str,
    ) -> Result<(), Fenced> {
        Log::add(self, id, *epoch, partition, record).map(drop)
    }

    fn commit(&mut self, (id, epoch): &Self::Producer) -> Result<(), Fenced> {
        Log::commit(self, id, *epoch)
    }

    fn abort(&mut self, (id, epoch): &Self::Producer) -> Result<(), Fenced> {
        Log::abort(self, id, *epoch)
    }

    fn stable_end(&self, partition: u32) -> u64 {
        Log::stable_end(self, partition)
    }

    fn end(&self, partition: u32) -> u64 {
        self.end_of(partition)
    }

    fn committed(&self, partition: u32, from: u64) -> Vec<(u64, String)> {
        let records = Log::committed(self, partition, from);
        records.map(|(offset, record)| (offset, (*record).to_owned())).collect()
    }

    fn uncommitted(&self, partition: u32, from: u64) -> Vec<(u64, String)> {
        let records = Log::uncommitted(self, partition, from);
        records.map(|(offset, record)| (offset, (*record).to_owned())).collect()
    }

    fn compact(&mut self, partition: u32) {
        Log::compact(self, partition, |record| record.as_bytes()[0]);
    }
}

super::promises! { |_: &str| Some(Simulated::default()) }
