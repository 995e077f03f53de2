# SPDX-License-Identifier: GPL-2.0
"""Mutants that nobody has thought up: what may go wrong with any code, at random places."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import tree_sitter_c
from tree_sitter import Language, Node, Parser

from lib.mutants.catalogue import Change, Mutant

_C = Language(tree_sitter_c.language())
# Operators, and what is put in their place.
_OPERATORS = """
    <:<= <:> <=:< <=:> >:>= >:< >=:> >=:< ==:!= !=:== &&:|| ||:&& +:- -:+ *:/ /:* %:/ &:| |:&
    <<:>> >>:<< +=:-= -=:+= |=:= &=:= ++:-- --:++
"""
_INSTEAD: dict[str, list[str]] = {}
for _pair in _OPERATORS.split():
    _INSTEAD.setdefault(_pair.split(":")[0], []).append(_pair.split(":")[1])
_HAVE_OPERATORS = ("binary_expression", "assignment_expression", "update_expression")
# What is an assertion, or a courtesy to others, is no part of what the code does.
_NOTHING = ("ASSERT_RTNL(", "lockdep_assert_held(", "sock_owned_by_me(", "cond_resched(")
# They have run before a mutant can be chosen, or never run.
_BOOT = ("__init", "__exit")
_CONDITIONS = ("if_statement", "while_statement", "for_statement", "conditional_expression")
# A value there is no expression that can be chosen when the kernel runs.
_CONSTANT = {"case_statement", "enumerator", "array_declarator", "bitfield_clause"}
_CONSTANT |= {"preproc_if", "preproc_ifdef", "preproc_def", "preproc_function_def", "attribute"}


def mutations(source: str, file: str, lines: set[int] | None = None) -> list[Change]:
    """Return every change of a file's functions, or only of some of its lines (from 1)."""
    tree = Parser(_C).parse(source.encode())
    found: list[Change] = []
    for function in _functions(tree.root_node):
        name = _name(function)
        body = function.child_by_field_name("body")
        head = _text(function).split("{", 1)[0].split()
        if any(word in head for word in _BOOT):
            continue
        for node in _nodes(body) if body else ():
            if lines is None or node.start_point.row + 1 in lines:
                found += (replace(change, file=file, function=name) for change in _of(node))
    return list(dict.fromkeys(found))


def mutants(changes: Iterable[Change], near: Iterable[Mutant], prefix: str) -> list[Mutant]:
    """Return a mutant for each change, beside which the catalogue's in that function are."""
    by_function: dict[tuple[str, str], set[str]] = {}
    for known in near:
        for change in known.changes:
            by_function.setdefault((change.file, change.function), set()).update(known.contract)
    return [
        Mutant(
            id=f"{prefix}-{number}",
            contract=(),
            what=f"{change.function}(): {_shown(change.old)} -> {_shown(change.new)}",
            changes=(change,),
            near=tuple(sorted(by_function.get((change.file, change.function), ()))),
        )
        for number, change in enumerate(changes)
    ]


def _shown(code: str) -> str:
    """Return code on a line, cut if there is much of it."""
    line = " ".join(code.split())
    return f"{line[:50]}..." if len(line) > 53 else line or "nothing"


def _functions(node: Node) -> Iterator[Node]:
    for child in node.children:
        if child.type == "function_definition":
            yield child
        elif child.type.startswith("preproc_"):
            yield from _functions(child)


def _name(function: Node) -> str:
    declarator = function.child_by_field_name("declarator")
    while declarator and declarator.type != "identifier":
        declarator = declarator.child_by_field_name("declarator")
    return _text(declarator) if declarator else ""


def _nodes(node: Node) -> Iterator[Node]:
    """Give a node and those within it, but for what has to be constant."""
    yield node
    for child in node.children:
        value = node.type == "case_statement" and child == node.child_by_field_name("value")
        if not value and (child.type not in _CONSTANT or child.type == "case_statement"):
            yield from _nodes(child)


def _text(node: Node) -> str:
    return (node.text or b"").decode()


def _of(node: Node) -> Iterator[Change]:
    """Give the changes of a node itself."""
    if node.has_error:
        return
    if node.type in _HAVE_OPERATORS:
        yield from _operator(node)
    elif node.type == "number_literal":
        yield from _constant(node)
    elif node.type == "return_statement":
        yield from _error(node)
    if node.type == "expression_statement" and not _text(node).startswith(_NOTHING):
        # An error that is set is one that goes unnoticed, not one that was set before.
        error = _is_error(node)
        yield _change(node, _text(node).split("=", 1)[0] + "= 0;" if error else "")
    condition = node.child_by_field_name("condition") if node.type in _CONDITIONS else None
    if condition:
        while condition.type == "parenthesized_expression":
            condition = condition.named_children[0]
        # The negation of a negation is found where that is.
        if not _text(condition).startswith("!") or condition.type != "unary_expression":
            yield _change(condition, f"!({_text(condition)})")
    if node.type == "unary_expression" and _text(node).startswith("!"):
        argument = node.child_by_field_name("argument")
        if argument:
            yield _change(node, f"!!({_text(argument)})")


def _operator(node: Node) -> Iterator[Change]:
    operator = node.child_by_field_name("operator")
    if not operator:
        return
    text, at = _text(node).encode(), operator.start_byte - node.start_byte
    for other in _INSTEAD.get(_text(operator), ()):
        new = text[:at] + other.encode() + text[at + len(_text(operator)) :]
        yield _change(node, new.decode())


def _constant(node: Node) -> Iterator[Change]:
    text = _text(node)
    for new in ("0", f"{text} + 1", f"{text} - 1"):
        if new != text and not (text == "0" and new.endswith("- 1")):
            yield _change(node, new)


def _error(node: Node) -> Iterator[Change]:
    """An error that is returned as success."""
    value = node.named_children[0] if node.named_children else None
    if value and _text(value).startswith("-E"):
        yield _change(value, "0")


def _is_error(node: Node) -> bool:
    inner = node.named_children[0] if node.named_children else None
    right = inner.child_by_field_name("right") if inner else None
    return bool(right and _text(right).startswith("-E"))


def _change(node: Node, new: str) -> Change:
    return Change("", _text(node), new, at=node.start_byte)
