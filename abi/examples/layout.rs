//! Prints the layout of every structure and the value of every constant, one a line.
//!
//! With `--c`, prints the C program that prints the same as its compiler sees it. `check-header.sh`
//! compares the two.

use pviommu_abi::layout;

fn main() {
    let as_c = std::env::args().nth(1).as_deref() == Some("--c");
    print!("{}", if as_c { c_program() } else { list() });
}

fn list() -> String {
    let mut out = String::new();
    for layout in layout::structs() {
        let name = layout.c_name;
        out.push_str(&format!("struct {name} size {} align {}\n", layout.size, layout.align));
        for field in layout.fields {
            out.push_str(&format!(
                "field {name}.{} offset {} size {}\n",
                field.name, field.offset, field.size
            ));
        }
    }
    for group in layout::groups() {
        for constant in group.constants {
            out.push_str(&format!(
                "const {}{} {}\n",
                group.c_prefix, constant.name, constant.value
            ));
        }
    }
    out
}

fn c_program() -> String {
    let mut out = String::from(
        "#include <stddef.h>\n#include <stdio.h>\n#include \"pviommu_abi.h\"\n\n\
         int main(void)\n{\n",
    );
    for layout in layout::structs() {
        let name = layout.c_name;
        let tag = format!("struct pviommu_{name}");
        // An alignment that is the same in C99 and C++11: the offset behind a single byte.
        out.push_str(&format!(
            "    {{\n        struct probe {{ char byte; {tag} it; }};\n        \
             printf(\"struct {name} size %lu align %lu\\n\",\n            \
             (unsigned long)sizeof({tag}), (unsigned long)offsetof(struct probe, it));\n    }}\n"
        ));
        for field in layout.fields {
            out.push_str(&format!(
                "    printf(\"field {name}.{field} offset %lu size %lu\\n\",\n        \
                 (unsigned long)offsetof({tag}, {field}),\n        \
                 (unsigned long)sizeof((({tag} *)0)->{field}));\n",
                field = field.name
            ));
        }
    }
    for group in layout::groups() {
        for constant in group.constants {
            let name = format!("{}{}", group.c_prefix, constant.name);
            out.push_str(&format!(
                "    printf(\"const {name} %lu\\n\", (unsigned long)PVIOMMU_{name});\n"
            ));
        }
    }
    out.push_str("    return 0;\n}\n");
    out
}
