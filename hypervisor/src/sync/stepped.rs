//! Atomics that let shuttle choose, before each access, which thread goes on.
//!
//! Not shuttle's own: those are many times as large as a word, and a table is made of 512 words that the
//! embedder lends and a unit walks. As with shuttle's, every access is sequentially consistent, because one thread
//! runs at a time: what a weaker order permits is loom's to find.

use core::{
    sync::atomic::{self, Ordering},
    time::Duration,
};

/// Another thread may go on here.
fn step() {
    // Of shuttle's public calls the one that is a switch and nothing else: it knows no time, and
    // `yield_now` would say that this thread is waiting.
    shuttle::thread::sleep(Duration::ZERO);
}

macro_rules! stepped {
    ($name:ident, $word:ty) => {
        /// The atomic of the same name, with a step before each access.
        #[derive(Debug, Default)]
        #[repr(transparent)]
        pub struct $name(atomic::$name);

        impl $name {
            /// An atomic with this value.
            #[must_use]
            pub const fn new(value: $word) -> Self {
                Self(atomic::$name::new(value))
            }

            /// The atomic without steps: for who simulates the machine.
            #[must_use]
            pub const fn unstepped(&self) -> &atomic::$name {
                &self.0
            }

            /// The value.
            pub fn load(&self, order: Ordering) -> $word {
                step();
                self.0.load(order)
            }

            /// Stores a value.
            pub fn store(&self, value: $word, order: Ordering) {
                step();
                self.0.store(value, order);
            }

            /// Stores a value; the one before.
            pub fn swap(&self, value: $word, order: Ordering) -> $word {
                step();
                self.0.swap(value, order)
            }

            /// Adds, and wraps around; the value before.
            pub fn fetch_add(&self, value: $word, order: Ordering) -> $word {
                step();
                self.0.fetch_add(value, order)
            }

            /// Subtracts, and wraps around; the value before.
            pub fn fetch_sub(&self, value: $word, order: Ordering) -> $word {
                step();
                self.0.fetch_sub(value, order)
            }

            /// Sets the bits that both have; the value before.
            pub fn fetch_and(&self, value: $word, order: Ordering) -> $word {
                step();
                self.0.fetch_and(value, order)
            }

            /// Sets the bits that either has; the value before.
            pub fn fetch_or(&self, value: $word, order: Ordering) -> $word {
                step();
                self.0.fetch_or(value, order)
            }

            /// Stores the larger one; the value before.
            pub fn fetch_max(&self, value: $word, order: Ordering) -> $word {
                step();
                self.0.fetch_max(value, order)
            }

            /// Stores `new` if the value is `current`.
            ///
            /// # Errors
            /// The value, if it is another.
            pub fn compare_exchange(
                &self,
                current: $word,
                new: $word,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$word, $word> {
                step();
                self.0.compare_exchange(current, new, success, failure)
            }

            /// The same.
            ///
            /// # Errors
            /// The value, if it is another.
            pub fn compare_exchange_weak(
                &self,
                current: $word,
                new: $word,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$word, $word> {
                self.compare_exchange(current, new, success, failure)
            }

            /// Stores what `change` makes of the value, until nobody else has changed it meanwhile.
            ///
            /// # Errors
            /// The value of which `change` makes nothing.
            pub fn fetch_update(
                &self,
                success: Ordering,
                failure: Ordering,
                mut change: impl FnMut($word) -> Option<$word>,
            ) -> Result<$word, $word> {
                let mut value = self.load(failure);
                while let Some(new) = change(value) {
                    match self.compare_exchange(value, new, success, failure) {
                        Ok(before) => return Ok(before),
                        Err(now) => value = now,
                    }
                }
                Err(value)
            }
        }
    };
}

stepped!(AtomicU32, u32);
stepped!(AtomicU64, u64);
