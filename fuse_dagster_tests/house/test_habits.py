"""Habits that a reviewer would otherwise have to remember."""

from __future__ import annotations

import ast
import re

from fuse_dagster_tests.house.source import Module, package_modules

MODULE_LINES = 400
FUNCTION_LINES = 60
LOGS = {"debug", "info", "warning", "error", "exception", "critical"}


def test_modules_stay_readable_in_one_sitting() -> None:
    long = {module.name: lines for module in package_modules() if (lines := module.text.count("\n")) > MODULE_LINES}
    assert not long, f"split by verb: {long}"


def _body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
    return (node.end_lineno or 0) - body[0].lineno + 1


def test_functions_stay_short() -> None:
    long = [
        f"{module.where(node)}: {node.name} has {_body_lines(node)} lines"
        for module in package_modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _body_lines(node) > FUNCTION_LINES
    ]
    assert not long, "\n".join(long)


def test_nothing_is_left_for_later() -> None:
    later = re.compile(r"\b(TO" + "DO|FIX" + "ME|XX" + r"X)\b|NotImplemented" + "Error")
    found = [
        f"{module.path.name}:{number}: {line.strip()}"
        for module in package_modules()
        for number, line in enumerate(module.text.splitlines(), start=1)
        if later.search(line)
    ]
    assert not found, "\n".join(found)


def _is_broad(handler: ast.ExceptHandler) -> bool:
    names = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(
        name is None or (isinstance(name, ast.Name) and name.id in {"Exception", "BaseException"}) for name in names
    )


def _explains_itself(module: Module, handler: ast.ExceptHandler) -> bool:
    """The failure goes on, or is logged with a comment that says why it is harmless."""
    nodes = list(ast.walk(handler))
    if any(isinstance(node, ast.Raise) for node in nodes):
        return True
    logs = any(isinstance(node, ast.Attribute) and node.attr in LOGS for node in nodes)
    lines = module.text.splitlines()[handler.lineno - 2 : (handler.end_lineno or handler.lineno)]
    return logs and any("#" in line for line in lines)


def test_no_error_is_swallowed() -> None:
    wrong = [
        module.where(node)
        for module in package_modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ExceptHandler) and _is_broad(node) and not _explains_itself(module, node)
    ]
    assert not wrong, "a broad except needs a log line and a comment that says why it is harmless: " + ", ".join(wrong)


def test_every_public_function_says_what_it_does() -> None:
    wrong = [
        f"{module.where(node)}: {node.name}"
        for module in package_modules()
        for node in [
            *module.tree.body,
            *(inner for outer in module.tree.body if isinstance(outer, ast.ClassDef) for inner in outer.body),
        ]
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not node.name.startswith("test_")  # of the suites that others inherit: names of tests are sentences
        and not ast.get_docstring(node)
        and not any(
            "overload" in ast.dump(decorator) or "override" in ast.dump(decorator) for decorator in node.decorator_list
        )
    ]
    assert not wrong, "\n".join(wrong)
