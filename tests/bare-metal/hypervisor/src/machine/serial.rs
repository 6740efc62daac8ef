//! What is logged goes to the first serial port, a line a record.

use core::fmt::{self, Write};

use log::{LevelFilter, Log, Metadata, Record};
use spin::Mutex;

use super::port;

const COM1: u16 = 0x3f8;
/// Line status; bit 5: there is room for a byte.
const STATUS: u16 = COM1 + 5;

struct Serial;

impl Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            // Nobody may hang for the log: after a while the byte is sent all the same.
            for _ in 0..10_000 {
                if port::read8(STATUS) & 1 << 5 != 0 {
                    break;
                }
            }
            port::write8(COM1, byte);
        }
        Ok(())
    }
}

/// Lines of two processors are not mixed.
static TURN: Mutex<()> = Mutex::new(());

struct Logger;

impl Log for Logger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        print(format_args!("{:<5} {}", record.level(), record.args()));
    }

    fn flush(&self) {}
}

/// Prints a line by itself: what scripts look for.
pub fn print(line: fmt::Arguments<'_>) {
    // Whoever has it for so long has failed while printing, and that is to be told.
    const PATIENCE: u32 = 1_000_000;
    let _turn = (0..PATIENCE).find_map(|_| TURN.try_lock());
    // The port does not refuse.
    let _ = Serial.write_fmt(format_args!("{line}\n"));
}

/// From here on `log` works.
pub fn start_logging() {
    // There is no logger yet, so it is not refused.
    let _ = log::set_logger(&Logger);
    log::set_max_level(LevelFilter::Info);
}
