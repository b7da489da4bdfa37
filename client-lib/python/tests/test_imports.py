"""The modules of the package import each other in one direction. Imports for type checkers count too."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import gramd

MODULES = {path.stem: ast.parse(path.read_text()) for path in Path(gramd.__file__).parent.glob("*.py")}


def imported(module: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            names |= {node.module} if node.module else {alias.name for alias in node.names}
    return names


def test_there_is_no_circle() -> None:
    graph = {name: imported(module) for name, module in MODULES.items()}
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError
    assert set(order) == set(MODULES)
    assert order.index("request") < order.index("caller") < order.index("session") < order.index("client")
