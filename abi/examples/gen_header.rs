//! Prints `include/pviommu_abi.h` from the declarations in this crate.
//!
//! ```text
//! cargo run -q -p pviommu-abi --example gen_header > abi/include/pviommu_abi.h
//! ```

use std::collections::BTreeMap;

use pviommu_abi::argument;
use pviommu_abi::layout::{self, Field, Group, Layout};

/// Columns of the header.
const WIDTH: usize = 96;

fn main() {
    print!("{}", header());
}

fn header() -> String {
    let mut out = String::from(OPENING);
    for group in layout::groups().filter(|group| !group.constants.is_empty()) {
        out.push_str(&group_text(group));
    }
    let subops: BTreeMap<&str, &str> =
        argument::C_TYPES.iter().map(|(subop, c_type)| (*c_type, *subop)).collect();
    for layout in layout::structs() {
        out.push_str(&struct_text(layout, &subops));
    }
    out.push_str(CHECKS);
    for Layout { c_name, size, .. } in layout::structs() {
        out.push_str(&format!(
            "typedef char pviommu_check_{c_name}\n    \
             [sizeof(struct pviommu_{c_name}) == {size} ? 1 : -1];\n"
        ));
    }
    out.push_str("\n#endif /* PVIOMMU_ABI_H */\n");
    out
}

fn group_text(group: &Group) -> String {
    let mut out = comment("", &plain(group.doc));
    for constant in group.constants {
        out.push_str(&comment("", &plain(constant.doc)));
        let name = format!("PVIOMMU_{}{}", group.c_prefix, constant.name);
        out.push_str(&format!("#define {name:<41} {}\n", constant.c_value));
    }
    out.push('\n');
    out
}

fn struct_text(layout: &Layout, subops: &BTreeMap<&str, &str>) -> String {
    let mut text = plain(layout.doc);
    let c_type = format!("struct pviommu_{}", layout.c_name);
    text.push(String::new());
    if let Some(subop) = subops.get(c_type.as_str()) {
        text.push(format!("PVIOMMU_SUBOP_{subop}; {} bytes.", layout.size));
    } else {
        text.push(format!("{} bytes.", layout.size));
    }
    let mut out = comment("", &text);
    out.push_str(&format!("{c_type} {{\n"));
    for field in layout.fields {
        out.push_str(&field_text(field));
    }
    out.push_str("};\n\n");
    out
}

fn field_text(field: &Field) -> String {
    let mut text = plain(field.doc);
    if let Some(first) = text.first_mut() {
        first.insert_str(0, &format!("@{}: ", field.offset));
    }
    let array = field.array_len.map(|len| format!("[{len}]")).unwrap_or_default();
    format!("{}    {} {}{array};\n", comment("    ", &text), field.c_type, field.name)
}

/// Markdown to paragraphs of plain text.
fn plain(doc: &[&str]) -> Vec<String> {
    let mut paragraphs = vec![String::new()];
    for line in doc {
        let line = line.trim().replace(['`', '*'], "");
        let Some(last) = paragraphs.last_mut() else { continue };
        if let Some(heading) = line.strip_prefix("# ") {
            last.push_str(&format!("{heading}:"));
        } else if line.is_empty() {
            // A heading and its text are one paragraph.
            if !last.ends_with("Errors:") {
                paragraphs.push(String::new());
            }
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(&line);
        }
    }
    paragraphs
}

/// A C comment with wrapped paragraphs; an empty one separates.
fn comment(indent: &str, paragraphs: &[String]) -> String {
    let width = WIDTH - indent.len() - "/*  */".len();
    let mut lines = Vec::new();
    for (i, paragraph) in paragraphs.iter().enumerate() {
        if i > 0 && !paragraph.is_empty() {
            lines.push(String::new());
        }
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && line.len() + 1 + word.len() > width {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        if !line.is_empty() {
            lines.push(line);
        }
    }
    match lines.as_slice() {
        [] => String::new(),
        [line] => format!("{indent}/* {line} */\n"),
        lines => {
            let body: String = lines
                .iter()
                .map(|line| format!("{indent} * {line}").trim_end().to_owned() + "\n")
                .collect();
            format!("{indent}/*\n{body}{indent} */\n")
        }
    }
}

const OPENING: &str = "\
/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The hypercall ABI of the pviommu service, for C and C++.
 *
 * Printed by abi/examples/gen_header.rs from the Rust declarations. Do not edit:
 * abi/check-header.sh fails if this file differs.
 *
 * A call is iommu_op(subop, arg): hypercall PVIOMMU_HYPERCALL_IOMMU_OP with a subop number and the
 * address of the subop's structure. It returns 0 or a negative error code; results are written into
 * the structure. On x86-64 the number of the hypercall is in rax, the arguments are in rdi and rsi,
 * and the result is in rax; rdi and rsi are clobbered (Xen public/arch-x86/xen-x86_64.h).
 *
 * All fields are little-endian. Callers are 64-bit. The number after @ is the offset of a field.
 * Structures of subops below PVIOMMU_SUBOP_BATCH are those of PV-IOMMU RFC v7, public/pv-iommu.h,
 * with their padding written out: it is ignored on input and preserved on output. Those from there
 * on begin with their size in bytes; their reserved fields must be 0, unknown flags are refused.
 */
#ifndef PVIOMMU_ABI_H
#define PVIOMMU_ABI_H

#include <stdint.h>

";

const CHECKS: &str = "\
/* A compiler that lays the structures out differently stops here. */
";
