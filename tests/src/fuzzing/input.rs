//! The bytes of an input, and the operations they stand for.

use arbitrary::Unstructured;

/// Most operations of an input; what is behind them is not read.
const OPERATIONS: usize = 96;

/// Longest argument.
const ARGUMENT: usize = 64;

/// Most elements of a batch.
pub(super) const ELEMENTS: usize = 64;

/// One input: a machine, and what is done on it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Input {
    /// Which machine: a bit each for caching of not-present entries, incoherent walks, a write
    /// buffer, refusal of unknown flags, and a fault behind what is not mapped; two for the maps that
    /// domains start with; and one for units of AMD's make.
    pub machine: u8,
    /// What is done, in order.
    pub operations: Vec<Operation>,
}

/// One thing that happens. Devices and domains are numbers in the machine's lists.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum Operation {
    /// A hypercall.
    Call(Call),
    /// A batch whose array is put together from numbers that mostly mean something.
    Batch(Batch),
    /// DMA: which device, what, where, how many bytes.
    Dma { device: u8, write: bool, address: u64, bytes: u16 },
    /// The unit of a device loads a translation on its own.
    Prefetch { device: u8, address: u64 },
    /// A guest writes its memory.
    Store { domain: u8, address: u16, bytes: Vec<u8> },
    /// Calls of a platform method fail from now on: which, how, and from or at which call.
    Fail { step: u8, form: u8, number: u8 },
    /// The rest of the hypervisor does something with a page or a device.
    Manage { what: u8, domain: u8, number: u16 },
}

/// The registers and the memory of a hypercall.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Call {
    /// Bit 0: the domain. Bits 1 and 2: the CPU; there are two. Bit 3: a 32-bit caller. Bit 4:
    /// the argument is left as it is in memory.
    pub caller: u8,
    /// The subop register, low half.
    pub subop: u32,
    /// The argument register.
    pub place: Place,
    /// What the guest puts there before.
    pub argument: Vec<u8>,
}

/// A batch. What its numbers mean is in `batch`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    /// As [`Call::caller`]; bit 4: for the other domain.
    pub caller: u8,
    /// The context.
    pub context: u8,
    /// Bit 0: all elements are run. Bit 1: from the second on. Bit 2: one of domain 0's pages.
    pub flags: u8,
    /// The array.
    pub elements: Vec<Element>,
}

/// An element of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Element {
    /// What it does.
    pub op: u8,
    /// The lower half of its flags.
    pub flags: u8,
    /// Which bus frame.
    pub bfn: u16,
    /// Which guest frame, or which part of the list.
    pub page: u8,
    /// How many pages.
    pub nr: u16,
}

/// Where an argument lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// At the start of a page.
    Aligned,
    /// Over the end of a page; its second half is elsewhere in the machine.
    Straddling,
    /// Over the end of the guest's memory.
    Leaving,
    /// Wherever the register points.
    Raw(u64),
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
    /// If an argument is too long for the form.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![self.machine];
        for operation in &self.operations {
            encode(operation, &mut out);
        }
        out
    }
}

/// The next number; zero when there are no bytes left.
pub(super) fn number<'a, T: arbitrary::Arbitrary<'a> + Default>(rest: &mut Unstructured<'a>) -> T {
    rest.arbitrary().unwrap_or_default()
}

fn bytes(rest: &mut Unstructured<'_>) -> Vec<u8> {
    let length = usize::from(number::<u8>(rest)) % (ARGUMENT + 1);
    rest.bytes(length.min(rest.len())).map(<[u8]>::to_vec).unwrap_or_default()
}

fn operation(rest: &mut Unstructured<'_>) -> Operation {
    match number::<u8>(rest) % 8 {
        0..=1 => Operation::Call(Call {
            caller: number::<u8>(rest) & 0x1f,
            subop: number(rest),
            place: match number::<u8>(rest) % 4 {
                0 => Place::Aligned,
                1 => Place::Straddling,
                2 => Place::Leaving,
                _ => Place::Raw(number(rest)),
            },
            argument: bytes(rest),
        }),
        2 => Operation::Batch(Batch {
            caller: number::<u8>(rest) & 0x1f,
            context: number(rest),
            flags: number(rest),
            elements: (0..usize::from(number::<u8>(rest)) % (ELEMENTS + 1))
                .map_while(|_| (!rest.is_empty()).then(|| element(rest)))
                .collect(),
        }),
        3 => {
            let word: u8 = number(rest);
            let device = word & 3;
            let (write, address, bytes) = (word & 4 != 0, number(rest), number(rest));
            Operation::Dma { device, write, address, bytes }
        }
        4 => Operation::Prefetch { device: number::<u8>(rest) & 3, address: number(rest) },
        5 => Operation::Store {
            domain: number::<u8>(rest) & 1,
            address: number(rest),
            bytes: bytes(rest),
        },
        6 => Operation::Fail { step: number(rest), form: number(rest), number: number(rest) },
        _ => Operation::Manage {
            what: number::<u8>(rest) % 16,
            domain: number::<u8>(rest) & 1,
            number: number(rest),
        },
    }
}

pub(super) fn element(rest: &mut Unstructured<'_>) -> Element {
    let (op, flags) = (number(rest), number(rest));
    Element { op, flags, bfn: number(rest), page: number(rest), nr: number(rest) }
}

impl Element {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend([self.op, self.flags]);
        out.extend(self.bfn.to_le_bytes());
        out.push(self.page);
        out.extend(self.nr.to_le_bytes());
    }
}

fn encode(operation: &Operation, out: &mut Vec<u8>) {
    let mut sized = |head: &[u8], bytes: &[u8]| {
        assert!(bytes.len() <= ARGUMENT, "the bytes are too many");
        out.extend_from_slice(head);
        out.push(u8::try_from(bytes.len()).unwrap());
        out.extend_from_slice(bytes);
    };
    match operation {
        Operation::Call(call) => {
            let mut head = vec![0, call.caller];
            head.extend(call.subop.to_le_bytes());
            match call.place {
                Place::Aligned => head.push(0),
                Place::Straddling => head.push(1),
                Place::Leaving => head.push(2),
                Place::Raw(address) => {
                    head.push(3);
                    head.extend(address.to_le_bytes());
                }
            }
            sized(&head, &call.argument);
        }
        Operation::Batch(batch) => {
            let count = u8::try_from(batch.elements.len()).unwrap();
            out.extend([2, batch.caller, batch.context, batch.flags, count]);
            batch.elements.iter().for_each(|element| element.encode(out));
        }
        Operation::Dma { device, write, address, bytes } => {
            out.extend([3, device | u8::from(*write) << 2]);
            out.extend(address.to_le_bytes());
            out.extend(bytes.to_le_bytes());
        }
        Operation::Prefetch { device, address } => {
            out.extend([4, *device]);
            out.extend(address.to_le_bytes());
        }
        Operation::Store { domain, address, bytes } => {
            let [low, high] = address.to_le_bytes();
            sized(&[5, *domain, low, high], bytes);
        }
        Operation::Fail { step, form, number } => out.extend([6, *step, *form, *number]),
        Operation::Manage { what, domain, number } => {
            out.extend([7, *what, *domain]);
            out.extend(number.to_le_bytes());
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

    #[test]
    fn every_slice_of_bytes_is_an_input() {
        for length in 0..300 {
            for step in 1..20_usize {
                let data: Vec<u8> = (0..length).map(|i| (i * step * 7) as u8).collect();
                assert!(Input::from_bytes(&data).operations.len() <= OPERATIONS);
            }
        }
    }
}
