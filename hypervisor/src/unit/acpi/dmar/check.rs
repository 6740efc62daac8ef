//! What can be wrong with a DMAR table as a whole.

use super::{
    super::{AcpiError, MAX_UNITS, Problem},
    Dmar, Drhd, Structure, Structures,
};

impl Dmar<'_> {
    /// Reads everything once, and compares the units with each other.
    pub(super) fn check(&self) -> Result<(), AcpiError> {
        let mut units = 0usize;
        for structure in Structures::new(self.structures) {
            let structure = structure?;
            for scope in structure.unchecked_scopes().into_iter().flatten() {
                scope?;
            }
            if let Structure::Drhd(unit) = structure {
                units = units.saturating_add(1);
                if units > MAX_UNITS {
                    return Err(AcpiError::new(unit.offset, Problem::TooManyUnits));
                }
            }
        }
        for (id, unit) in self.units() {
            for (_, other) in self.units().take(usize::from(id.0)) {
                compare(&other, &unit)?;
            }
        }
        Ok(())
    }
}

/// Fails with what two units may not have both.
fn compare(one: &Drhd<'_>, second: &Drhd<'_>) -> Result<(), AcpiError> {
    let error = |problem| Err(AcpiError::new(second.offset, problem));
    if one.registers <= second.last_register() && second.registers <= one.last_register() {
        return error(Problem::SharedRegisters(second.registers));
    }
    if one.segment != second.segment {
        return Ok(());
    }
    if one.include_pci_all && second.include_pci_all {
        return error(Problem::SecondCatchAll(second.segment));
    }
    for scope in second.scopes() {
        if one.scopes().any(|other| other.names_what(&scope)) {
            let function = scope.begin(second.segment);
            return Err(AcpiError::new(scope.offset, Problem::TwoUnits(function)));
        }
    }
    Ok(())
}
