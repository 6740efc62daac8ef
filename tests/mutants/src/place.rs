//! Where each mutant goes in a file: a branch, at run time, around the smallest thing that can have one.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use anyhow::Result;
use syn::{
    Arm, Attribute, BinOp, Block, Expr, ExprBinary, ExprConst, ExprMatch, ExprRepeat, ExprUnary,
    GenericArgument, ImplItemConst, ImplItemFn, ItemConst, ItemFn, ItemMod, ItemStatic, MetaList,
    Pat, Signature, TraitItemConst, TraitItemFn, Type, Variant, spanned::Spanned, visit,
    visit::Visit,
};

use crate::{
    list::{Genre, Mutant, Position, number},
    rewrite::{Edit, Part},
};

/// What is known of a file's mutants without compiling them.
#[derive(Default)]
pub(crate) struct Placed {
    pub(crate) edits: Vec<Edit>,
    pub(crate) placed: HashSet<usize>,
    pub(crate) not_viable: HashSet<usize>,
}

/// Places those of `mutants`, which are the file's with their indices.
pub(crate) fn place(source: &str, mutants: &[(usize, &Mutant)]) -> Result<Placed> {
    let mut at: HashMap<Position, Vec<(usize, &Mutant)>> = HashMap::new();
    for &(index, mutant) in mutants {
        at.entry(mutant.span.start).or_default().push((index, mutant));
    }
    let lines = source.split_inclusive('\n').scan(0, |next, line| {
        let start = *next;
        *next += line.len();
        Some(start)
    });
    let mut placer = Placer { source, lines: lines.collect(), at, out: Placed::default() };
    placer.visit_file(&syn::parse_file(source)?);
    Ok(placer.out)
}

struct Placer<'s> {
    source: &'s str,
    /// Where each line starts.
    lines: Vec<usize>,
    at: HashMap<Position, Vec<(usize, &'s Mutant)>>,
    out: Placed,
}

impl<'s> Placer<'s> {
    fn at(&self, node: &impl Spanned, genre: Genre) -> Vec<(usize, &'s Mutant)> {
        let start = node.span().start();
        let start = Position { line: start.line, column: start.column + 1 };
        let all = self.at.get(&start).map_or(&[][..], Vec::as_slice);
        all.iter().filter(|(_, mutant)| mutant.genre == genre).copied().collect()
    }

    fn offset(&self, at: Position) -> usize {
        let start = self.lines[at.line - 1];
        let line = &self.source[start..];
        start + line.char_indices().nth(at.column - 1).map_or(line.len(), |(bytes, _)| bytes)
    }

    /// The source of `span`, as the mutant changes it.
    fn mutated(&self, span: &Range<usize>, mutant: &Mutant) -> String {
        let (from, to) = (self.offset(mutant.span.start), self.offset(mutant.span.end));
        let (before, after) = (&self.source[span.start..from], &self.source[to..span.end]);
        format!("{before}{}{after}", mutant.replacement)
    }

    /// A branch for each, and the source if none is on. In each but that only one thing is changed, for
    /// of all mutants only one is on. `value` says what the expression is in a branch.
    fn branches(
        &mut self,
        span: Range<usize>,
        mutants: &[(usize, &Mutant)],
        value: impl Fn(&Self, &Mutant) -> String,
    ) -> Vec<Part> {
        let mut parts = vec![Part::Text("(")];
        for &(index, mutant) in mutants {
            let (n, value) = (number(index), value(self, mutant));
            let branch = format!("if crate::mutant::on({n}) {{ ({value}) }} else ");
            parts.push(Part::Mutant(index, branch));
            self.out.placed.insert(index);
        }
        parts.extend([Part::Text("{ ("), Part::Source(span), Part::Text(") })")]);
        parts
    }

    /// Has `node` changed as a whole, since what an operator applies to depends on those beside it.
    fn operators(&mut self, node: &impl Spanned, mutants: &[(usize, &Mutant)]) {
        if mutants.is_empty() {
            return;
        }
        let span = node.span().byte_range();
        let parts =
            self.branches(span.clone(), mutants, |this, mutant| this.mutated(&span, mutant));
        self.out.edits.push(Edit { span, parts });
    }

    /// Only `&&` may join a `let` to anything.
    fn let_chain(&mut self, node: &ExprBinary) {
        let mutants = self.at(&node.op, Genre::BinaryOperator);
        self.out.not_viable.extend(mutants.iter().map(|(index, _)| index));
        for side in [&*node.left, &*node.right] {
            match side {
                Expr::Binary(inner) if matches!(inner.op, BinOp::And(_)) => self.let_chain(inner),
                other => self.visit_expr(other),
            }
        }
    }

    /// The guard of an arm, and whether the arm is there, if it `may_go`.
    fn arm(&mut self, arm: &Arm, may_go: bool) {
        let mut deleted = self.at(arm, Genre::MatchArm);
        deleted.retain(|_| may_go);
        self.out.placed.extend(deleted.iter().map(|(index, _)| index));
        let kept = deleted.first().map(|&(index, _)| (index, number(index)));
        match (&arm.guard, kept) {
            (Some((_, guard)), kept) => {
                let span = guard.span().byte_range();
                let guards = self.at(guard, Genre::MatchArmGuard);
                let value = |_: &Self, mutant: &Mutant| mutant.replacement.clone();
                let mut parts = self.branches(span.clone(), &guards, value);
                if let Some((index, n)) = kept {
                    parts.insert(0, Part::Mutant(index, format!("!crate::mutant::on({n}) && ")));
                }
                self.out.edits.push(Edit { span, parts });
            }
            (None, Some((index, n))) => {
                let end = arm.pat.span().byte_range().end;
                let parts = vec![Part::Mutant(index, format!(" if !crate::mutant::on({n})"))];
                self.out.edits.push(Edit { span: end..end, parts });
            }
            (None, None) => {}
        }
    }

    fn function(&mut self, signature: &Signature, body: &Block) {
        if signature.constness.is_some() {
            return;
        }
        if let Some(first) = body.stmts.first() {
            let start = body.brace_token.span.open().byte_range().end;
            let mut parts = Vec::new();
            for (index, mutant) in self.at(first, Genre::FnValue) {
                if mutant.loses_type() {
                    self.out.not_viable.insert(index);
                    continue;
                }
                let (n, value) = (number(index), &mutant.replacement);
                let text = format!(" if crate::mutant::on({n}) {{ return {value}; }}");
                parts.push(Part::Mutant(index, text));
                self.out.placed.insert(index);
            }
            self.out.edits.push(Edit { span: start..start, parts });
        }
        self.visit_block(body);
    }
}

/// The operators of expressions that are not put apart by brackets, and what they apply to.
fn chain<'e>(node: &'e ExprBinary, operators: &mut Vec<&'e BinOp>, of: &mut Vec<&'e Expr>) {
    operators.push(&node.op);
    for side in [&*node.left, &*node.right] {
        match side {
            Expr::Binary(inner) => chain(inner, operators, of),
            other => of.push(other),
        }
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|it| {
        let is_test = |list: &MetaList| list.tokens.to_string().contains("test");
        it.path().is_ident("cfg") && it.meta.require_list().is_ok_and(is_test)
    })
}

impl<'ast> Visit<'ast> for Placer<'_> {
    fn visit_expr_binary(&mut self, node: &'ast ExprBinary) {
        let (mut operators, mut operands) = (Vec::new(), Vec::new());
        chain(node, &mut operators, &mut operands);
        if operands.iter().any(|it| matches!(it, Expr::Let(_))) {
            return self.let_chain(node);
        }
        let found = |it: &&BinOp| self.at(*it, Genre::BinaryOperator);
        let mutants: Vec<_> = operators.iter().flat_map(found).collect();
        self.operators(node, &mutants);
        for operand in operands {
            self.visit_expr(operand);
        }
    }

    fn visit_expr_unary(&mut self, node: &'ast ExprUnary) {
        let mutants = self.at(&node.op, Genre::UnaryOperator);
        self.operators(node, &mutants);
        visit::visit_expr_unary(self, node);
    }

    fn visit_expr_match(&mut self, node: &'ast ExprMatch) {
        self.visit_expr(&node.expr);
        // Without an arm for the rest, a match is not whole if any has a condition.
        let is_rest = |arm: &Arm| matches!(arm.pat, Pat::Wild(_)) && arm.guard.is_none();
        let may_go = node.arms.iter().any(is_rest);
        for arm in &node.arms {
            self.arm(arm, may_go);
            visit::visit_arm(self, arm);
        }
    }

    fn visit_item_fn(&mut self, node: &'ast ItemFn) {
        if !is_test(&node.attrs) {
            self.function(&node.sig, &node.block);
        }
    }

    fn visit_impl_item_fn(&mut self, node: &'ast ImplItemFn) {
        if !is_test(&node.attrs) {
            self.function(&node.sig, &node.block);
        }
    }

    fn visit_trait_item_fn(&mut self, node: &'ast TraitItemFn) {
        if let Some(body) = &node.default {
            self.function(&node.sig, body);
        }
    }

    fn visit_item_mod(&mut self, node: &'ast ItemMod) {
        if !is_test(&node.attrs) {
            visit::visit_item_mod(self, node);
        }
    }

    // What is computed at compile time cannot be switched later.

    fn visit_expr_repeat(&mut self, node: &'ast ExprRepeat) {
        self.visit_expr(&node.expr);
    }

    fn visit_expr_const(&mut self, _: &'ast ExprConst) {}
    fn visit_item_const(&mut self, _: &'ast ItemConst) {}
    fn visit_impl_item_const(&mut self, _: &'ast ImplItemConst) {}
    fn visit_trait_item_const(&mut self, _: &'ast TraitItemConst) {}
    fn visit_item_static(&mut self, _: &'ast ItemStatic) {}
    fn visit_variant(&mut self, _: &'ast Variant) {}
    fn visit_generic_argument(&mut self, _: &'ast GenericArgument) {}
    fn visit_pat(&mut self, _: &'ast Pat) {}
    fn visit_type(&mut self, _: &'ast Type) {}
}

#[cfg(test)]
mod tests;
