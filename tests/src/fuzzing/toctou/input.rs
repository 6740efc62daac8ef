//! The bytes of an input, and the operations they stand for.

use arbitrary::Unstructured;

use crate::fuzzing::input::{ELEMENTS, Element, element, number};

/// Most operations of an input; what is behind them is not read.
const OPERATIONS: usize = 64;

/// Most changes during a call.
const CHANGES: usize = 16;

/// One input: a machine, and what is done on it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Input {
    /// Which machine, as in [`Input::machine`](crate::fuzzing::Input::machine); domains start with no map.
    pub machine: u8,
    /// What is done, in order.
    pub operations: Vec<Operation>,
}

/// One thing that happens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Operation {
    /// A hypercall, and what changes meanwhile.
    Call(Call),
    /// Calls of a platform method fail from now on, or it is time to give way.
    Fail {
        /// Which method; see `run`.
        step: u8,
        /// Bits 0 and 1: never, the nth, from the nth on, every nth.
        form: u8,
        /// Less one.
        number: u8,
    },
    /// DMA of 4096 bytes.
    Dma {
        /// Bits 0 and 1: the device. Bit 2: it writes.
        device: u8,
        /// Where, as [`Element::bfn`].
        bfn: u16,
    },
}

/// A hypercall.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Call {
    /// Bit 0: the domain. Bit 1: the CPU. Bit 2: for the other domain. Bit 3: of the pages of domain 0.
    pub caller: u8,
    /// Which subop; see `layout`.
    pub what: u8,
    /// The context.
    pub context: u8,
    /// Flags; of a batch bit 0: all elements are run, bit 1: from the second on.
    pub flags: u8,
    /// The array; of a call on one range, that range.
    pub elements: Vec<Element>,
    /// What the guest changes during the call.
    pub changes: Vec<Change>,
}

/// A change of the guest's memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Change {
    /// After which copy of the call.
    pub after: u8,
    /// Which field; see `changes`.
    pub place: u16,
    /// To what; see `changes`.
    pub value: u16,
}

impl Input {
    /// The input that `data` stands for; every slice stands for one.
    #[must_use]
    pub fn from_bytes(data: &[u8]) -> Self {
        let mut rest = Unstructured::new(data);
        let mut input = Self { machine: number(&mut rest), operations: Vec::new() };
        while !rest.is_empty() && input.operations.len() < OPERATIONS {
            input.operations.push(operation(&mut rest));
        }
        input
    }

    /// The bytes that stand for the input.
    ///
    /// # Panics
    /// If a list is too long for the form.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![self.machine];
        for operation in &self.operations {
            encode(operation, &mut out);
        }
        out
    }
}

fn operation(rest: &mut Unstructured<'_>) -> Operation {
    match number::<u8>(rest) % 4 {
        0..=1 => Operation::Call(Call {
            caller: number::<u8>(rest) & 0xf,
            what: number(rest),
            context: number(rest),
            flags: number(rest),
            elements: list(rest, ELEMENTS, element),
            changes: list(rest, CHANGES, |rest| {
                let (after, place) = (number(rest), number(rest));
                Change { after, place, value: number(rest) }
            }),
        }),
        2 => Operation::Fail { step: number(rest), form: number(rest), number: number(rest) },
        _ => Operation::Dma { device: number::<u8>(rest) & 7, bfn: number(rest) },
    }
}

/// A count and as many items, if there are.
fn list<'a, T>(
    rest: &mut Unstructured<'a>,
    most: usize,
    item: impl Fn(&mut Unstructured<'a>) -> T,
) -> Vec<T> {
    let count = usize::from(number::<u8>(rest)) % (most + 1);
    (0..count).map_while(|_| (!rest.is_empty()).then(|| item(rest))).collect()
}

fn encode(operation: &Operation, out: &mut Vec<u8>) {
    match operation {
        Operation::Call(call) => {
            out.extend([0, call.caller, call.what, call.context, call.flags]);
            assert!(call.elements.len() <= ELEMENTS && call.changes.len() <= CHANGES);
            out.push(call.elements.len() as u8);
            call.elements.iter().for_each(|element| element.encode(out));
            out.push(call.changes.len() as u8);
            for Change { after, place, value } in &call.changes {
                out.push(*after);
                out.extend(place.to_le_bytes());
                out.extend(value.to_le_bytes());
            }
        }
        Operation::Fail { step, form, number } => out.extend([2, *step, *form, *number]),
        Operation::Dma { device, bfn } => {
            out.extend([3, *device]);
            out.extend(bfn.to_le_bytes());
        }
    }
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
