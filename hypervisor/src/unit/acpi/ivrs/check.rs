//! What can be wrong with an IVRS table as a whole.

use super::{
    super::{AcpiError, MAX_UNITS, Problem},
    Block, Blocks, Ivhd, Ivrs,
    ivhd::of_segment,
};

/// Types of blocks that describe a unit.
const TYPES: usize = 3;

impl Ivrs<'_> {
    /// Reads everything once, and compares the units with each other.
    pub(super) fn check(&self) -> Result<(), AcpiError> {
        let mut definitions = 0usize;
        for block in Blocks::new(self.blocks) {
            let Block::Ivhd(unit) = block? else { continue };
            for entry in unit.unchecked_entries() {
                entry?;
            }
            definitions = definitions.saturating_add(1);
            if definitions > MAX_UNITS.saturating_mul(TYPES) {
                return Err(AcpiError::new(unit.offset, Problem::TooManyUnits));
            }
        }
        for unit in self.definitions() {
            for other in self.definitions().take_while(|other| other.offset < unit.offset) {
                compare(&other, &unit)?;
            }
        }
        for (id, unit) in self.units() {
            if usize::from(id.0) >= MAX_UNITS {
                return Err(AcpiError::new(unit.offset, Problem::TooManyUnits));
            }
            for (other_id, other) in self.units() {
                if other_id.0 < id.0 {
                    part(&other, &unit)?;
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

/// Fails if two units have one id.
fn part(one: &Ivhd<'_>, second: &Ivhd<'_>) -> Result<(), AcpiError> {
    let segment = second.function.seg;
    if one.function.seg != segment {
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
