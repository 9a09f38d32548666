"""Imports point only downward, and every file stays small: the house rules, held by the AST.

An import counts wherever it stands: at the top, inside a function, or under TYPE_CHECKING, because
a module that names an upper floor knows of it. Modules of one floor may import each other but not
in a circle. A new module is placed in TABLE in the commit that adds it.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "recoseg"
MAX_FILE_LINES = 250
MAX_FUNCTION_LINES = 50
BANNED_NAMES = {"utils", "util", "core", "helpers", "common", "misc"}

TABLE = {
    "0 vocabulary": "errors crf_settings similarity typecheck recipe _version",
    "1 files": "io cluster",
    "2 models, filters, pictures": "models crf drawing",
    "3 archives and datasets": "index embeddings servers datasets",
    "4 values": "concepts",
    "5 one image": "segmenting",
    "6 references": "building",
    "7 a student": "student",
    "8 many images": "runs",
    "9 measure": "evaluation",
    "10 learn and hand over": "learning exporting video reporting baselines",
    "11 doors": "cli web __init__ __main__",
}
# A bank's verbs are methods of the value, so that users learn one noun; the work is done above it.
FACADES = {("concepts.bank", "building.banks")}
FLOORS = tuple((name, frozenset(modules.split())) for name, modules in TABLE.items())


def module_name(path: Path, root: Path) -> str:
    """``models/lite.py`` -> ``models.lite``; a package is named by its folder, the root is ''."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def floor_of(module: str) -> int:
    """Index of the floor whose table holds the module or a package above it."""
    names = module.split(".")
    prefixes = [".".join(names[:end]) for end in range(len(names), 0, -1)]
    for prefix in prefixes:
        for floor, (_, members) in enumerate(FLOORS):
            if prefix in members:
                return floor
    raise KeyError(f"{module} is on no floor: place it in TABLE of tests/test_floors.py")


def sources(root: Path = SOURCE) -> dict[str, tuple[Path, ast.Module]]:
    return {
        module_name(path, root): (path, ast.parse(path.read_text(encoding="utf-8")))
        for path in sorted(root.rglob("*.py"))
    }


def imported(tree: ast.Module, module: str, known: Mapping[str, object]) -> Iterator[str]:
    """Modules of this package that ``tree`` imports, by their name in ``known``."""
    package = module.split(".") if _is_package(module, known) else module.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "recoseg":
                    yield _resolve(alias.name.split(".")[1:], known)
        elif isinstance(node, ast.ImportFrom):
            base = (node.module or "").split(".") if node.module else []
            if node.level:
                base = package[: len(package) - node.level + 1] + base
            elif base[:1] == ["recoseg"]:
                base = base[1:]
            else:
                continue
            for alias in node.names:
                if not base and alias.name == "__version__":
                    continue  # a constant, not a floor
                yield _resolve([*base, alias.name], known)


def _is_package(module: str, known: Mapping[str, object]) -> bool:
    return module == "__init__" or any(other.startswith(f"{module}.") for other in known)


def _resolve(parts: list[str], known: Mapping[str, object]) -> str:
    for end in range(len(parts), 0, -1):
        if ".".join(parts[:end]) in known:
            return ".".join(parts[:end])
    return "__init__"


def upward(root: Path) -> list[str]:
    """Every import of a higher floor under ``root``, in words."""
    tree = sources(root)
    found = []
    for module, (_, parsed) in tree.items():
        for target in imported(parsed, module, tree):
            if (module, target) in FACADES:
                continue
            if floor_of(target) > floor_of(module):
                here, there = FLOORS[floor_of(module)][0], FLOORS[floor_of(target)][0]
                found.append(f"{module} (floor {here}) imports {target} (floor {there})")
    return found


def circles(root: Path) -> list[str]:
    """Import circles, each as one line, found by depth-first search."""
    tree = sources(root)
    graph = {
        module: sorted(
            {
                t
                for t in imported(parsed, module, tree)
                if t != module and (module, t) not in FACADES
            }
        )
        for module, (_, parsed) in tree.items()
    }
    found: list[str] = []
    done: set[str] = set()

    def visit(module: str, trail: list[str]) -> None:
        if module in trail:
            found.append(" -> ".join([*trail[trail.index(module) :], module]))
        elif module not in done:
            for target in graph[module]:
                visit(target, [*trail, module])
            done.add(module)

    for module in graph:
        visit(module, [])
    return found


def write(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / f"{name.replace('__in__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return root


def test_every_module_has_a_floor():
    assert [module for module in sources() if floor_of(module) < 0] == []


def test_no_module_is_on_two_floors():
    names = [name for _, members in FLOORS for name in members]
    assert len(names) == len(set(names))


def test_imports_point_only_downward():
    assert upward(SOURCE) == []


def test_facades_import_when_they_are_called():
    """A facade at the top of its module would load the floors above with every bank."""
    for module, target in FACADES:
        top = ast.Module(
            [n for n in sources()[module][1].body if not isinstance(n, ast.ClassDef)], []
        )
        assert target not in set(imported(top, module, sources()))


def test_every_package_says_what_goes_in_and_what_comes_out():
    inits = [path for path, _ in sources().values() if path.name == "__init__.py"]
    assert [str(p) for p in inits if not ast.get_docstring(ast.parse(p.read_text()))] == []


def test_no_import_circles():
    assert circles(SOURCE) == []


@pytest.mark.parametrize(
    "line",
    [
        "from recoseg.segmenting.segmenter import Segmenter",
        "import recoseg.segmenting",
        "from recoseg import segmenting",
        "from . import segmenting",
        "from .segmenting import Segmenter",
        "from recoseg import Segmenter",
        "import recoseg",
        "def f():\n    from recoseg.segmenting.segmenter import Segmenter",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import recoseg.segment",
    ],
)
def test_an_upward_import_is_caught_however_it_is_written(tmp_path, line):
    write(tmp_path, __init__="", io=line, segmenting="")
    assert len(upward(tmp_path)) == 1


def test_downward_and_foreign_imports_pass(tmp_path):
    segment = """
        import numpy
        from recoseg import __version__
        from recoseg.io import images
        from recoseg.models.base import JointModel
        from .io.images import read
    """
    files = {"io__in__images": "", "models__in__base": "import torch"}
    write(tmp_path, __init__="", segmenting=segment, **files)
    assert upward(tmp_path) == []


def test_relative_imports_inside_a_package_are_resolved(tmp_path):
    base = "from ..concepts import Concept\nfrom . import registry"
    write(tmp_path, __init__="", concepts="", models__in__base=base, models__in__registry="")
    assert upward(tmp_path) == [
        "models.base (floor 2 models, filters, pictures) imports concepts (floor 4 values)"
    ]


def test_a_circle_on_one_floor_is_caught(tmp_path):
    write(tmp_path, index="from recoseg import datasets", datasets="import recoseg.index")
    assert circles(tmp_path) == ["datasets -> index -> datasets"]


def test_an_unplaced_module_is_refused():
    with pytest.raises(KeyError, match="place it in TABLE"):
        floor_of("novelty")


def test_no_print_and_no_assert():
    found = [
        f"{path.name}:{node.lineno}"
        for path, parsed in sources().values()
        for node in ast.walk(parsed)
        if isinstance(node, ast.Assert)
        or (isinstance(node, ast.Call) and getattr(node.func, "id", None) == "print")
    ]
    assert found == []


def test_no_module_is_a_drawer():
    assert [name for name in sources() if BANNED_NAMES & set(name.split("."))] == []


def test_files_stay_short():
    long = {
        module: lines
        for module, (path, _) in sources().items()
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > MAX_FILE_LINES
    }
    assert long == {}


def test_functions_stay_short():
    long = {
        f"{module}.{node.name}": length
        for module, (_, parsed) in sources().items()
        for node in ast.walk(parsed)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > MAX_FUNCTION_LINES
    }
    assert long == {}
