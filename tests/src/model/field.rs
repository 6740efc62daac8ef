//! Values from bytes, and back: whatever the bytes are they stand for a value, and one byte chooses among
//! what is likely.
//!
//! Random tests and the fuzzer both read their sequences by this, so that they choose alike; what has run
//! out counts as zeros. The bytes of one value are read from front to back, so that a mutation changes one
//! choice and leaves those before it alone.

/// Bytes that are read from front to back.
#[derive(Debug)]
pub(crate) struct Bytes<'d>(arbitrary::Unstructured<'d>);

impl<'d> Bytes<'d> {
    pub(crate) fn new(data: &'d [u8]) -> Self {
        Self(arbitrary::Unstructured::new(data))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next number; zero when there are no bytes left.
    fn number<T: arbitrary::Arbitrary<'d> + Default>(&mut self) -> T {
        self.0.arbitrary().unwrap_or_default()
    }

    /// A number below `total`, from one byte if that is enough.
    pub(super) fn below(&mut self, total: usize) -> usize {
        let wide = total > 1 << 8;
        let number =
            if wide { usize::from(self.number::<u16>()) } else { usize::from(self.number::<u8>()) };
        number % total.max(1)
    }
}

/// Writes a number so that [`Bytes::below`] reads it.
pub(super) fn put_below(number: usize, total: usize, to: &mut Vec<u8>) {
    assert!(number < total && total <= 1 << 16, "{number} of {total}");
    let wide = if total > 1 << 8 { 2 } else { 1 };
    to.extend(&number.to_le_bytes()[..wide]);
}

/// How a value is chosen.
pub(crate) trait Field<T>: Sync {
    /// The value that the next bytes stand for.
    fn get(&self, from: &mut Bytes<'_>) -> T;

    /// Writes bytes that stand for `value`; false, and nothing is written, if none do.
    #[must_use]
    fn put(&self, value: &T, to: &mut Vec<u8>) -> bool;
}

/// One of these, each as likely as it says.
pub(super) struct OneOf<T: 'static>(pub(super) &'static [(u8, T)]);

impl<T: Clone + PartialEq + Sync> Field<T> for OneOf<T> {
    fn get(&self, from: &mut Bytes<'_>) -> T {
        let (chosen, _) = weighted(self.0, from);
        chosen.clone()
    }

    fn put(&self, value: &T, to: &mut Vec<u8>) -> bool {
        let at = self.0.iter().position(|(_, it)| it == value);
        at.is_some_and(|at| {
            put_weighted(self.0, at, to);
            true
        })
    }
}

/// Chosen in one of these ways, each as likely as it says.
pub(super) struct Either<T: 'static>(pub(super) &'static [(u8, &'static dyn Field<T>)]);

impl<T> Field<T> for Either<T> {
    fn get(&self, from: &mut Bytes<'_>) -> T {
        let (way, _) = weighted(self.0, from);
        way.get(from)
    }

    fn put(&self, value: &T, to: &mut Vec<u8>) -> bool {
        for (at, (_, way)) in self.0.iter().enumerate() {
            let mut bytes = Vec::new();
            if way.put(value, &mut bytes) {
                put_weighted(self.0, at, to);
                to.extend(bytes);
                return true;
            }
        }
        false
    }
}

fn total<T>(of: &[(u8, T)]) -> usize {
    of.iter().map(|(weight, _)| usize::from(*weight)).sum()
}

fn weighted<'a, T>(of: &'a [(u8, T)], from: &mut Bytes<'_>) -> (&'a T, usize) {
    let mut number = from.below(total(of));
    for (at, (weight, value)) in of.iter().enumerate() {
        match number.checked_sub(usize::from(*weight)) {
            None => return (value, at),
            Some(rest) => number = rest,
        }
    }
    unreachable!("it is below the sum of all weights")
}

fn put_weighted<T>(of: &[(u8, T)], at: usize, to: &mut Vec<u8>) {
    put_below(total(&of[..at]), total(of), to);
}

/// A number from the first on, one of so many.
pub(super) struct In(pub(super) u64, pub(super) usize);

macro_rules! number {
    ($($type:ty),*) => {$(
        impl Field<$type> for In {
            fn get(&self, from: &mut Bytes<'_>) -> $type {
                <$type>::try_from(self.0 + from.below(self.1) as u64).unwrap()
            }

            fn put(&self, value: &$type, to: &mut Vec<u8>) -> bool {
                let offset = (*value as u64).checked_sub(self.0).filter(|it| *it < self.1 as u64);
                offset.is_some_and(|offset| {
                    put_below(offset as usize, self.1, to);
                    true
                })
            }
        }
    )*};
}

number!(u16, u32, u64, usize);

/// Any number of 32 bits.
pub(super) struct Any;

impl Field<u64> for Any {
    fn get(&self, from: &mut Bytes<'_>) -> u64 {
        u64::from(from.number::<u32>())
    }

    fn put(&self, value: &u64, to: &mut Vec<u8>) -> bool {
        let Ok(number) = u32::try_from(*value) else { return false };
        to.extend(number.to_le_bytes());
        true
    }
}

/// The sum of two choices: a place, and how far behind it.
pub(super) struct Near(pub(super) &'static [u64], pub(super) u8);

impl Field<u64> for Near {
    fn get(&self, from: &mut Bytes<'_>) -> u64 {
        let number = from.below(self.0.len() * usize::from(self.1));
        self.0[number / usize::from(self.1)] + (number % usize::from(self.1)) as u64
    }

    fn put(&self, value: &u64, to: &mut Vec<u8>) -> bool {
        let (places, more) = (self.0, usize::from(self.1));
        let all = places.iter().flat_map(|place| *place..*place + more as u64);
        let mut all = all.enumerate().filter(|(_, it)| it == value);
        all.next().is_some_and(|(number, _)| {
            put_below(number, places.len() * more, to);
            true
        })
    }
}

/// Nothing, or something once in so many times.
pub(super) struct Maybe<F>(pub(super) u8, pub(super) F);

impl<T, F: Field<T>> Field<Option<T>> for Maybe<F> {
    fn get(&self, from: &mut Bytes<'_>) -> Option<T> {
        let is_there = from.below(usize::from(self.0)) == usize::from(self.0) - 1;
        is_there.then(|| self.1.get(from))
    }

    fn put(&self, value: &Option<T>, to: &mut Vec<u8>) -> bool {
        let number = if value.is_some() { usize::from(self.0) - 1 } else { 0 };
        let mut bytes = Vec::new();
        let can = value.as_ref().is_none_or(|value| self.1.put(value, &mut bytes));
        if can {
            put_below(number, usize::from(self.0), to);
            to.extend(bytes);
        }
        can
    }
}

/// At least one, and at most so many.
pub(super) struct ListOf<F>(pub(super) usize, pub(super) F);

impl<T, F: Field<T>> Field<Vec<T>> for ListOf<F> {
    fn get(&self, from: &mut Bytes<'_>) -> Vec<T> {
        let count = 1 + from.below(self.0);
        (0..count).map(|_| self.1.get(from)).collect()
    }

    fn put(&self, value: &Vec<T>, to: &mut Vec<u8>) -> bool {
        if value.is_empty() || value.len() > self.0 {
            return false;
        }
        let begin = to.len();
        put_below(value.len() - 1, self.0, to);
        let can = value.iter().all(|it| self.1.put(it, to));
        if !can {
            to.truncate(begin);
        }
        can
    }
}

/// Both.
pub(super) struct Both<A, B>(pub(super) A, pub(super) B);

impl<S, T, A: Field<S>, B: Field<T>> Field<(S, T)> for Both<A, B> {
    fn get(&self, from: &mut Bytes<'_>) -> (S, T) {
        (self.0.get(from), self.1.get(from))
    }

    fn put(&self, (first, second): &(S, T), to: &mut Vec<u8>) -> bool {
        let mut bytes = Vec::new();
        let can = self.0.put(first, &mut bytes) && self.1.put(second, &mut bytes);
        if can {
            to.extend(bytes);
        }
        can
    }
}

/// Yes or no.
pub(super) const FLAG: OneOf<bool> = OneOf(&[(1, false), (1, true)]);

/// Makes `$name` choose among variants of an enum, each as likely as it says and with its fields as they
/// say.
macro_rules! variants {
    (
        $(#[$meta:meta])*
        $vis:vis $name:ident of $type:ident:
        $($weight:literal $variant:ident { $($field:ident: $how:expr),* $(,)? }),* $(,)?
    ) => {
        $(#[$meta])*
        $vis struct $name;

        impl $crate::model::field::Field<$type> for $name {
            fn get(&self, from: &mut $crate::model::field::Bytes<'_>) -> $type {
                const TOTAL: usize = 0 $(+ $weight)*;
                let mut chosen = from.below(TOTAL);
                $(
                    if chosen < $weight {
                        return $type::$variant { $($field: $how.get(from)),* };
                    }
                    chosen -= $weight;
                )*
                unreachable!("{chosen} is beyond the sum of all weights")
            }

            fn put(&self, value: &$type, to: &mut Vec<u8>) -> bool {
                const TOTAL: usize = 0 $(+ $weight)*;
                let mut before = 0;
                $(
                    if let $type::$variant { $($field),* } = value {
                        // It is written behind the tag, and taken back with it if it cannot be.
                        let begin = to.len();
                        $crate::model::field::put_below(before, TOTAL, to);
                        let can = true $(&& $how.put($field, to))*;
                        if !can {
                            to.truncate(begin);
                        }
                        return can;
                    }
                    before += $weight;
                )*
                let _ = before;
                false
            }
        }
    };
}
pub(super) use variants;
