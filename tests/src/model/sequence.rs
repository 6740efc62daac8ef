//! A machine and what happens on it, as bytes.

use super::{
    chaos::{Event, Events},
    field::{Bytes, Field},
    setup::Machine,
};

/// A machine and a sequence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sequence {
    /// The machine.
    pub machine: Machine,
    /// What happens on it.
    pub events: Vec<Event>,
}

impl Sequence {
    /// What bytes stand for, of which no more than `steps` steps are read; every slice stands for something.
    #[must_use]
    pub fn from_bytes(data: &[u8], steps: usize) -> Self {
        let mut from = Bytes::new(data);
        let machine = Machine::get(&mut from);
        let mut events = Vec::new();
        while !from.is_empty() && events.len() < steps {
            events.push(Events.get(&mut from));
        }
        Self { machine, events }
    }

    /// Bytes that stand for it, or the first step that none stand for.
    ///
    /// # Errors
    /// That step, or `None` if it is the machine.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Option<&Event>> {
        let mut bytes = Vec::new();
        if !self.machine.put(&mut bytes) {
            return Err(None);
        }
        match self.events.iter().find(|event| !Events.put(event, &mut bytes)) {
            Some(event) => Err(Some(event)),
            None => Ok(bytes),
        }
    }
}
