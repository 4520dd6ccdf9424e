"""How the modules of orionfs may know each other, as data and as tests."""

from __future__ import annotations

import ast
import functools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "orionfs"

# Packages of the daemon, from top to bottom: what is in one imports from those below it, never from above.
LAYERS = ["xattrs", "vfs", "tree", "outgoing", "cache", "orion", "durable", "tables"]
# From top to bottom: a module imports from lower ranks only, not from its own. A name stands for a module,
# with or without a layer above it, or for a whole package; within one package (cli, bridge) imports are free.
RANKS: list[set[str]] = [
    {"__main__"},
    {"cli"},
    {"daemon", "transfers", "fs", "doctor"},
    {"login", "leftovers"},
    {"fuse", "state", "sessions", "toplevel", "about", "refusals"},
    {"removing", "whereabouts"},
    {"moves", "probe", "attributes"},
    {"item_attributes", "sharing"},
    {"progress", "deferral", "folder_moves"},
    {"litter", "readers"},
    {"files", "ahead", "contents_ahead", "forgetting", "refresh"},
    {"late_opens"},
    {"under_way"},
    {"opening", "collecting", "unsealed"},
    {"staging", "versions"},
    {"basis"},
    {"fetch", "preorder"},
    {"asides"},
    {"namespace"},
    {"doubts", "tagging"},
    {"folders", "views", "differences", "snapshots", "rivals", "places"},
    {"sync", "beliefs"},
    {"holding", "attempts", "removals", "renames", "moving"},
    {"carry", "relocating"},
    {"early"},
    {"early_upload"},
    {"contested", "sweeps"},
    {"late_tags"},
    {"upload"},
    {"lanes", "emptied", "behind", "pending_removals"},
    {"assigning", "relocated", "shard_carry", "parking", "conflicts", "shares", "staged_files"},
    {"changes", "metadata", "journal_thread", "uses", "freshness", "protection", "relocation", "partners"},
    {"glimpses"},
    {"journal", "content", "metacache", "walks", "shard_rules", "workspaces"},
    {"inodes", "crossover"},
    {"presence", "attribute_text", "leaving"},
    {
        "names",
        "resources",
        "ranges",
        "numbers",
        "finding",
        "windows",
        "runs",
        "parked_rows",
        "local_rows",
        "rename_rows",
        "order",
        "predecessors",
    },
    {"promises", "key_columns"},
    {"remote", "whole_calls"},
    {"share_calls"},
    {"details", "calling", "shard_calls"},
    {"parts", "listings", "knowledge", "descriptors", "unclear", "recent", "sightings", "health", "flights"},
    {"limiter", "paging", "particulars", "share_rows", "logs"},
    {"shapes", "failures", "tasks", "sizes", "packed"},
    {"bridge"},
]
# They may be imported from everywhere, and from each other downwards.
LEAVES: list[set[str]] = [
    {"config", "facts", "holds", "reports"},
    {"memory", "marks", "mountinfo", "notify", "private", "profiles", "localnames", "fuseconf"},
    {"metrics", "printable"},
    {"models"},
    {"errors"},
    {"__init__"},
]
# They know nothing of the rest, and only those named know them.
ISLANDS: dict[str, set[str]] = {"client": {"sessions"}, "server": {"cli"}}

# Third-party libraries (and sqlite3), each with the only places that import it.
DOORS: dict[str, set[str]] = {
    "pyfuse3": {"fuse"},
    "cachetools": {"metacache"},
    "sqlite3": {"journal", "glimpses", "server", "sizes"},
    "platformdirs": {"config"},
    "tomlkit": {"profiles"},
    "requests": {"client"},
    "urllib3": {"client"},
    "msgspec": {"client"},
    "starlette": {"server"},
    "uvicorn": {"server"},
    "click": {"cli"},
    "rich": {"cli"},
    "prometheus_client": {"daemon"},
    "fsspec": {"fs"},
}
# The mount is written in trio, so it has no door; where it may not be is tested below.
EVERYWHERE = {"trio"}

MODULE_LINES_MAX = 450
FUNCTION_LINES_MAX = 60


@functools.cache
def modules() -> dict[str, ast.Module]:
    """Trees of all modules there are, by dotted name below the package ("cli.main", "fuse")."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text("utf-8"), str(path))
    return found


def layer_of(module: str) -> str | None:
    """The layer that a module is in; the rest of the name is what the tables speak of."""
    package, _, rest = module.partition(".")
    return package if rest and package in LAYERS else None


def unit_of(module: str) -> str:
    """The name under which the tables speak of a module."""
    return module.split(".")[1 if layer_of(module) else 0]


def imports_of(module: str) -> Iterator[str]:
    """Absolute dotted names that a module imports, wherever in it, for typing alone or not."""
    for node in ast.walk(modules()[module]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = ".".join([*_package_above(module, node.level), *filter(None, [node.module])])
            # `from orionfs import config` imports a module, `from orionfs.config import X` names one.
            if source == "orionfs" or source.removeprefix("orionfs.") in LAYERS:
                yield from (f"{source}.{alias.name}" for alias in node.names)
            else:
                yield source


def _package_above(module: str, level: int) -> list[str]:
    """What the dots of a relative import stand for."""
    if level == 0:
        return []
    is_package = (PACKAGE / module.replace(".", "/") / "__init__.py").exists()
    parts = ["orionfs", *module.split(".")]
    return parts[: len(parts) - level + (1 if is_package else 0)]


def own_imports_of(module: str) -> set[str]:
    """Units of this package that a module imports."""
    names = (name.partition(".") for name in imports_of(module))
    units = {unit_of(rest) if rest else "__init__" for root, _, rest in names if root == "orionfs"}
    # `from orionfs import __version__` and `from .. import __version__` read the package itself.
    return {"__init__" if unit == "__version__" else unit for unit in units}


def rank_of(unit: str) -> int | None:
    """Counted from the top; None for what is in no table, which is a failure of its own."""
    return next((rank for rank, units in enumerate([*RANKS, *LEAVES]) if unit in units), None)


def test_every_module_is_in_exactly_one_table() -> None:
    units = [unit for rank in (*RANKS, *LEAVES, set(ISLANDS)) for unit in rank]
    named = [unit_of(module) for module in modules() if module not in LAYERS]
    assert len(units) == len(set(units))
    assert set(units) == set(named)


def test_layers_point_downwards() -> None:
    wrong = [
        f"{module} imports {imported}"
        for module in modules()
        for name in imports_of(module)
        if (above := layer_of(module)) and (below := layer_of(imported := name.removeprefix("orionfs.")))
        if LAYERS.index(below) < LAYERS.index(above)
    ]
    assert wrong == []


@pytest.mark.parametrize("layer", LAYERS)
def test_layer_itself_is_a_sentence_and_nothing_else(layer) -> None:
    """Who wants something of it names the module, so that the tables see what is imported."""
    (sentence,) = modules()[layer].body
    assert isinstance(sentence, ast.Expr)


def test_imports_point_downwards() -> None:
    leaves = set[str]().union(*LEAVES)
    wrong = []
    for module in modules():
        unit = unit_of(module)
        if unit in ISLANDS:
            continue
        for imported in own_imports_of(module) - {unit} - set(ISLANDS):
            if unit in leaves and imported not in leaves:
                wrong.append(f"{module} is a leaf and imports {imported}")
                continue
            above, below = rank_of(unit), rank_of(imported)
            if above is not None and below is not None and below <= above:
                wrong.append(f"{module} imports {imported}, which is not below it")
    assert wrong == []


def test_client_and_server_know_nothing_of_the_rest() -> None:
    wrong = [
        f"{module} imports {imported}"
        for module in modules()
        if unit_of(module) in ISLANDS
        for imported in own_imports_of(module) - {unit_of(module), "__init__"}
    ]
    assert wrong == []


def test_only_who_may_knows_client_and_server() -> None:
    wrong = [
        f"{module} imports {imported}"
        for module in modules()
        for imported in own_imports_of(module) & set(ISLANDS) - {unit_of(module)}
        if unit_of(module) not in ISLANDS[imported]
    ]
    assert wrong == []


def test_each_library_has_one_door() -> None:
    wrong = []
    for module in modules():
        for library in {name.partition(".")[0] for name in imports_of(module)}:
            is_own_or_standard = library == "orionfs" or library in sys.stdlib_module_names
            if library in DOORS:
                if unit_of(module) not in DOORS[library]:
                    wrong.append(f"{module} imports {library}, whose door is {DOORS[library]}")
            elif not is_own_or_standard and library not in EVERYWHERE:
                wrong.append(f"{module} imports {library}, which is in no table")
    assert wrong == []


@pytest.mark.parametrize(
    "unit", ["changes", "client", "server", "journal", "inodes", "models", "errors", "fs", "paging"]
)
def test_modules_that_wait_for_nothing_or_block_do_not_know_trio(unit) -> None:
    wrong = [module for module in modules() if unit_of(module) == unit and "trio" in imports_of(module)]
    assert wrong == []


@pytest.mark.parametrize("module", ["bridge.worker", "bridge.program"])
def test_bridge_worker_stands_alone(module) -> None:
    """It runs under another interpreter: standard library only."""
    # At module level; what is imported within a function is for our own interpreter.
    tree = modules()[module]
    names = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module).partition(".")[0])
    assert names <= set(sys.stdlib_module_names)


def test_daemon_never_loads_the_server() -> None:
    parts = ["orionfs.cli.main", "orionfs.__main__", "orionfs.daemon", "orionfs.fuse", "orionfs.client"]
    there = [name for name in parts if name.removeprefix("orionfs.") in modules()]
    program = (
        "import importlib, json, sys\n"
        f"for name in {there!r}: importlib.import_module(name)\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=PACKAGE.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout))
    assert set(there) <= loaded
    assert {name for name in loaded if name.startswith(("orionfs.server", "starlette", "uvicorn"))} == set()


def test_command_line_starts_without_the_heavy_parts() -> None:
    """`orionfs --help` is quick: what a command needs is imported by that command."""
    program = "import sys, orionfs.cli.main; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=PACKAGE.parent, capture_output=True, text=True, check=True
    )
    heavy = {"trio", "pyfuse3", "requests", "sqlite3", "starlette", "uvicorn", "orionfs.daemon"}
    assert heavy & set(done.stdout.split()) == set()


def test_kernel_is_never_told_to_forget_data() -> None:
    """A full invalidation during a read hangs the daemon in a state that SIGKILL does not end."""
    wrong = []
    for module, tree in modules().items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Attribute | ast.Name):
                continue
            name = node.attr if isinstance(node, ast.Attribute) else node.id
            if name == "invalidate_inode" and node not in good_invalidations(tree):
                wrong.append(f"{module}: line {node.lineno}")
    assert wrong == []


def good_invalidations(tree: ast.Module) -> list[ast.expr]:
    """What is called as `invalidate_inode(..., attr_only=True)`, or handed on with it."""
    return [
        callee
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and any(
            keyword.arg == "attr_only"
            and isinstance(keyword.value, ast.Constant)
            and keyword.value.value is True
            for keyword in call.keywords
        )
        for callee in (call.func, *call.args[:1])
    ]


@pytest.mark.parametrize(
    ("code", "is_good"),
    [
        ("pyfuse3.invalidate_inode(1, attr_only=True)", True),
        ("functools.partial(pyfuse3.invalidate_inode, 1, attr_only=True)", True),
        ("pyfuse3.invalidate_inode(1)", False),
        ("pyfuse3.invalidate_inode(1, True)", False),
        ("pyfuse3.invalidate_inode(1, attr_only=flag)", False),
        ("run(pyfuse3.invalidate_inode, 1)", False),
    ],
)
def test_full_invalidation_is_recognised(code, is_good) -> None:
    tree = ast.parse(code)
    found = [
        node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr == "invalidate_inode"
    ]
    assert len(found) == 1
    assert (found[0] in good_invalidations(tree)) is is_good


def test_every_module_says_what_it_is_for() -> None:
    assert [module for module, tree in modules().items() if not ast.get_docstring(tree)] == []


def test_modules_and_functions_are_short() -> None:
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        lines = len(path.read_text("utf-8").splitlines())
        if lines > MODULE_LINES_MAX:
            wrong.append(f"{path.relative_to(PACKAGE)} has {lines} lines")
    for module, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > FUNCTION_LINES_MAX:
                    wrong.append(f"{module}: {node.name} has {lines} lines")
    assert wrong == []


def test_no_unfinished_business_is_shipped() -> None:
    marks = ("TO" + "DO", "FIX" + "ME", "NotImplemented" + "Error")
    wrong = [
        f"{path.relative_to(PACKAGE)}: {mark}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for mark in marks
        if mark in path.read_text("utf-8")
    ]
    assert wrong == []
