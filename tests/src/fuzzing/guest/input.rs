//! The bytes of an input: a hypervisor, and what a driver does while it lies.

use arbitrary::Unstructured;

use crate::fuzzing::input::number;

/// Most operations of an input; what is behind them is not read.
const OPERATIONS: usize = 96;

/// Most lies during an operation.
const LIES: usize = 12;

/// One input.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Input {
    /// What the hypervisor has: bit 0: RFC v7 only. Bits 1 and 2: how many elements a batch may have. Bits 3 and 4:
    /// pages of an element. Bits 5 and 6: how many bus frames there are. Bit 7: unmaps wait for others sooner.
    pub hypervisor: u8,
    /// What is done, in order. The first four are for opening the space and attaching three devices.
    pub operations: Vec<Operation>,
}

/// Something that a driver does, and what its hypercalls are answered.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Operation {
    /// Which; see `driver`.
    pub what: u8,
    /// Of which buffer, mapping or call.
    pub which: u8,
    /// More of it.
    pub number: u16,
    /// Answers that are not as they should be, one after the other.
    pub lies: Vec<Lie>,
}

/// A wrong answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lie {
    /// Calls that are answered well before.
    pub skip: u8,
    /// What is wrong; see `liar`.
    pub kind: u8,
    /// Where.
    pub place: u16,
    /// What stands there.
    pub value: u16,
}

impl Input {
    /// The input that `data` stands for; every slice stands for one.
    #[must_use]
    pub fn from_bytes(data: &[u8]) -> Self {
        let mut rest = Unstructured::new(data);
        let mut input = Self { hypervisor: number(&mut rest), operations: Vec::new() };
        while !rest.is_empty() && input.operations.len() < OPERATIONS {
            let (what, which, number_) = (number(&mut rest), number(&mut rest), number(&mut rest));
            let count = usize::from(number::<u8>(&mut rest)) % (LIES + 1);
            let lies = (0..count).map_while(|_| (!rest.is_empty()).then(|| lie(&mut rest)));
            let lies = lies.collect();
            input.operations.push(Operation { what, which, number: number_, lies });
        }
        input
    }

    /// The bytes that stand for the input.
    ///
    /// # Panics
    /// If an operation has too many lies for the form.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![self.hypervisor];
        for Operation { what, which, number, lies } in &self.operations {
            assert!(lies.len() <= LIES, "the lies are too many");
            out.extend([*what, *which]);
            out.extend(number.to_le_bytes());
            out.push(lies.len() as u8);
            for Lie { skip, kind, place, value } in lies {
                out.extend([*skip, *kind]);
                out.extend(place.to_le_bytes());
                out.extend(value.to_le_bytes());
            }
        }
        out
    }
}

fn lie(rest: &mut Unstructured<'_>) -> Lie {
    let (skip, kind, place) = (number(rest), number(rest), number(rest));
    Lie { skip, kind, place, value: number(rest) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_reads_back_as_it_was_written() {
        for (name, input) in super::super::seeds() {
            assert_eq!(Input::from_bytes(&input.to_bytes()), input, "{name}");
        }
    }
}
