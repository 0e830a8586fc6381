"""Who may import whom, and how large a file may be: the rules that keep the core free of the world."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted([*(ROOT / "schemas").rglob("*.py"), *(ROOT / "worker").rglob("*.py")])

# The rooms from left to right; each may import from itself and from those to its left.
ROOMS = ("schemas", "worker/context", "worker/pipeline", "worker/runtime")
CORE = ROOMS[:3]
SHARED = {"worker.errors"}  # names of what went wrong, no room
WORLD = {"confluent_kafka", "logging", "time", "random", "os", "threading", "asyncio", "socket", "subprocess"}
PUBLIC_STORES = {  # thin classes with a lock and a default clock around the core
    "worker/context/context_store.py": {"threading", "time"},
    "worker/context/user_session_index.py": {"threading", "time"},
}
KAFKA_CLIENT = "worker/kafka.py"
VIEW_STANDS_ON = ("worker.view", "worker.kafka", "worker.errors", "worker.settings", "worker.secret_files")
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50
EMPTY_NAMES = {"utils", "util", "common", "helpers", "helper", "manager", "managers", "misc", "base"}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def is_in(path: Path, *rooms: str) -> bool:
    return any(name_of(path).startswith(f"{room}/") for room in rooms)


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of everything a file imports, wherever in the file; a relative import begins with a dot."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield node.lineno, module
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def within(imported: str, package: str) -> bool:
    return imported == package or imported.startswith(f"{package}.")


def places(path: Path, *packages: str) -> list[str]:
    """Where a file imports from one of the packages."""
    found = {
        (line, imported) for line, imported in imports(path) if any(within(imported, package) for package in packages)
    }
    return [f"{name_of(path)}:{line} imports {imported}" for line, imported in sorted(found)]


def test_there_are_files_to_look_at() -> None:
    assert {"schemas/codec.py", "worker/context/user_memory.py", "worker/kafka.py"} <= set(map(name_of, FILES))


@pytest.mark.parametrize("path", [path for path in FILES if is_in(path, *CORE)], ids=name_of)
def test_the_core_imports_nothing_that_touches_the_world(path: Path) -> None:
    allowed = PUBLIC_STORES.get(name_of(path), set())
    assert places(path, *(WORLD - allowed)) == []


@pytest.mark.parametrize("path", [path for path in FILES if is_in(path, *ROOMS)], ids=name_of)
def test_a_room_imports_from_itself_and_the_rooms_to_its_left(path: Path) -> None:
    at = max(number for number, room in enumerate(ROOMS) if is_in(path, room))
    left = [room.replace("/", ".") for room in ROOMS[: at + 1]]
    if at == len(ROOMS) - 1:  # the Kafka shell stands on single modules of `worker` too, but on no command and no view
        assert places(path, "worker.cli", "worker.app", "worker.demo", "worker.view", "worker.settings") == []
        return
    beyond = [
        f"{name_of(path)}:{line} imports {imported}"
        for line, imported in imports(path)
        if within(imported, "worker") and not any(within(imported, ok) for ok in [*left, *SHARED])
    ]
    assert beyond == []


def test_the_view_stands_on_the_wire_contract_and_the_client_alone() -> None:
    views = [path for path in FILES if is_in(path, "worker/view")]
    assert views
    beyond = [
        f"{name_of(path)}:{line} imports {imported}"
        for path in views
        for line, imported in imports(path)
        if within(imported, "worker") and not any(within(imported, ok) for ok in VIEW_STANDS_ON)
    ]
    assert beyond == []


def test_what_the_view_holds_and_says_of_itself_is_values_in_values_out() -> None:
    pure = [ROOT / "worker" / "view" / name for name in ("table.py", "status.py", "liveness.py")]
    assert [place for path in pure for place in places(path, *WORLD, "worker.kafka")] == []


def test_importing_the_package_costs_no_kafka_client() -> None:
    code = "import sys, worker; print([name for name in sys.modules if name.startswith('confluent_kafka')])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_one_module_imports_the_kafka_client() -> None:
    others = [place for path in FILES if name_of(path) != KAFKA_CLIENT for place in places(path, "confluent_kafka")]
    assert others == []


def test_schemas_import_three_libraries_only() -> None:
    libraries = {"pydantic", "orjson", "msgspec"}
    standard = {"__future__", "collections", "dataclasses", "enum", "math", "pathlib", "re", "typing"}
    for path in FILES:
        if is_in(path, "schemas"):
            roots = {imported.split(".")[0] for _, imported in imports(path)}
            assert roots <= {*libraries, *standard, "schemas"}, name_of(path)


def test_imports_are_absolute() -> None:
    assert [name_of(path) for path in FILES for _, imported in imports(path) if imported.startswith(".")] == []


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_is_named_for_what_it_holds_and_stays_small(path: Path) -> None:
    assert path.stem not in EMPTY_NAMES
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_FILE_LINES


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_functions_stay_small(path: Path) -> None:
    functions = [
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    lengths = {node.name: (node.end_lineno or node.lineno) - node.lineno + 1 for node in functions}
    assert {name: length for name, length in lengths.items() if length > MAX_FUNCTION_LINES} == {}
