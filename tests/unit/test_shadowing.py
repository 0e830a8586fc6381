"""What a user is told whose own `schemas` or `worker` stands in the way of ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def python(code: str, *, first_on_path: Path) -> subprocess.CompletedProcess[str]:
    paths = f"import sys; sys.path[:0] = {[str(first_on_path), str(ROOT)]}\n"
    return subprocess.run([sys.executable, "-c", paths + code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("theirs", ["schemas.py", "schemas/__init__.py"])
def test_another_schemas_is_named_with_what_was_expected_and_what_to_do(tmp_path: Path, theirs: str) -> None:
    found = tmp_path / theirs
    found.parent.mkdir(exist_ok=True)
    found.write_text("ActionsPayload = None\n")
    result = python("import worker", first_on_path=tmp_path)
    assert result.returncode == 1
    assert "ImportError" in result.stderr
    assert f"found:    {found}" in result.stderr
    assert f"expected: {ROOT / 'schemas' / '__init__.py'}" in result.stderr
    assert "rename" in result.stderr


def test_a_folder_that_is_no_package_does_not_shadow(tmp_path: Path) -> None:
    (tmp_path / "schemas").mkdir()
    assert python("import worker", first_on_path=tmp_path).returncode == 0


def test_a_folder_of_that_name_where_ours_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "schemas").mkdir()
    (tmp_path / "worker").symlink_to(ROOT / "worker")
    code = f"sys.path[:] = [p for p in sys.path if p not in ('', {str(ROOT)!r})]\nimport worker"
    result = python(code, first_on_path=tmp_path)
    assert "ImportError" in result.stderr
    assert str(tmp_path / "schemas") in result.stderr


def test_another_worker_is_named_by_python_itself(tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text("")
    result = python("from worker import ContextStore", first_on_path=tmp_path)
    assert result.returncode == 1
    assert str(tmp_path / "worker.py") in result.stderr


@pytest.mark.parametrize("name", ["worker", "schemas"])
def test_the_command_names_the_other_package_and_what_to_do(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.py").write_text("")
    result = python("from user_context_worker import main\nmain()", first_on_path=tmp_path)
    assert result.returncode == 1
    assert f"found:    {tmp_path / name}.py" in result.stderr
    assert f"expected: {ROOT / name / '__init__.py'}" in result.stderr
    assert "rename" in result.stderr


def test_the_command_runs_where_nothing_shadows(tmp_path: Path) -> None:
    code = "sys.argv[1:] = ['--help']\nfrom user_context_worker import main\nmain()"
    result = python(code, first_on_path=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "demo" in result.stdout


def test_importing_the_stores_loads_no_kafka_client(tmp_path: Path) -> None:
    result = python("import worker\nprint('confluent_kafka' in sys.modules)", first_on_path=tmp_path)
    assert result.stdout == "False\n", result.stderr
