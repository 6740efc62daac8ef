//! What can be wrong with an IVRS table as a whole.

use super::{
    super::{AcpiError, MAX_UNITS, Problem},
    Block, Blocks, Ivhd, Ivrs,
    ivhd::of_segment,
};

impl Ivrs<'_> {
    /// Reads everything once, and compares the units with each other.
    pub(super) fn check(&self) -> Result<(), AcpiError> {
        for block in Blocks::new(self.blocks) {
            let Block::Ivhd(unit) = block? else { continue };
            for entry in unit.unchecked_entries() {
                entry?;
            }
        }
        let mut units = 0usize;
        for unit in self.definitions() {
            let mut is_first = true;
            for other in self.definitions().take_while(|other| other.offset < unit.offset) {
                compare(&other, &unit)?;
                is_first &= other.function != unit.function;
            }
            units = units.saturating_add(usize::from(is_first));
            if units > MAX_UNITS {
                return Err(AcpiError::new(unit.offset, Problem::TooManyUnits));
            }
        }
        for unit in self.definitions().filter(|unit| self.is_highest(unit)) {
            for other in self.definitions().take_while(|other| other.offset < unit.offset) {
                // Asked second, because it seldom has to be.
                if let Err(error) = part(&other, &unit)
                    && self.is_highest(&other)
                {
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

/// Fails if two blocks are neither about one unit nor about two.
fn compare(one: &Ivhd<'_>, second: &Ivhd<'_>) -> Result<(), AcpiError> {
    let same_registers = one.registers == second.registers;
    let problem = match (one.function == second.function, same_registers) {
        (true, true) if one.kind == second.kind => {
            Problem::UnitTwice(second.function, second.kind.number())
        }
        (true, true) | (false, false) => return Ok(()),
        (true, false) => Problem::MovedUnit(second.function),
        (false, true) => Problem::SharedRegisters(second.registers),
    };
    Err(AcpiError::new(second.offset, problem))
}

/// Fails if blocks of two units have one id.
fn part(one: &Ivhd<'_>, second: &Ivhd<'_>) -> Result<(), AcpiError> {
    let segment = second.function.seg;
    if one.function == second.function || one.function.seg != segment {
        return Ok(());
    }
    if one.has_all_others() && second.has_all_others() {
        return Err(AcpiError::new(second.offset, Problem::SecondCatchAll(segment)));
    }
    for span in second.spans() {
        for other in one.spans() {
            let first = span.first.max(other.first);
            if first <= span.last.min(other.last) {
                let function = of_segment(segment, first);
                return Err(AcpiError::new(second.offset, Problem::TwoUnits(function)));
            }
        }
    }
    Ok(())
}
