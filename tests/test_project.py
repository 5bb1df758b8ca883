"""What must hold for the whole project: quick imports, commands that start, pins that agree, short files."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import moltc

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("align", "data_prep", "graphrec", "moltc")
COMMANDS = ("align", "data-prep", "graphrec", "moltc")
HEAVY = ("lightning", "matplotlib", "pandas", "peft", "polars", "rdkit", "sklearn", "torch", "transformers")
LONGEST_FILE = 400
IMPORT_SECONDS = 0.5

SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def fresh_python(code: str, *arguments: str) -> str:
    """What ``code`` prints in an interpreter of its own."""
    run = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def pins() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {name.lower().replace("_", "-"): Version(pin) for name, pin in pairs}


class TestStart:
    IMPORT = (
        "import sys, time; start = time.perf_counter(); import align, data_prep, graphrec, moltc; "
        "print(time.perf_counter() - start); print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )

    def test_importing_the_packages_is_quick_and_loads_nothing_heavy(self) -> None:
        seconds = []
        for _ in range(3):
            elapsed, modules = fresh_python(self.IMPORT).splitlines()
            assert not set(modules.split()) & set(HEAVY)
            seconds.append(float(elapsed))
        assert min(seconds) < IMPORT_SECONDS

    @pytest.mark.parametrize("command", COMMANDS)
    def test_help_loads_nothing_heavy(self, command: str) -> None:
        code = (
            "import sys; from importlib.metadata import entry_points\n"
            "main = entry_points(group='console_scripts')[sys.argv[1]].load()\n"
            "try: main(['--help'])\n"
            "except SystemExit as stop: assert not stop.code, stop.code\n"
            "print('loaded:', *sorted({name.split('.')[0] for name in sys.modules}))"
        )
        *shown, loaded = fresh_python(code, command).splitlines()
        assert any(command in line for line in shown)
        assert not set(loaded.split()) & set(HEAVY)

    def test_every_command_is_installed(self) -> None:
        ours = {script.name: script.value for script in entry_points(group="console_scripts")}
        assert {name: ours.get(name) for name in COMMANDS} == PROJECT["scripts"]


class TestVersions:
    def test_the_package_carries_the_version_of_the_project(self) -> None:
        assert moltc.__version__ == PROJECT["version"] == version("moltc")

    def test_changelog_has_an_entry_for_it(self) -> None:
        assert re.search(
            rf"^## \[?{re.escape(PROJECT['version'])}", (ROOT / "CHANGELOG.md").read_text(), re.M
        )

    def test_pins_lie_within_the_ranges(self) -> None:
        pinned = pins()
        extras = PROJECT["optional-dependencies"]
        for text in PROJECT["dependencies"] + extras["dev"]:
            requirement = Requirement(text)
            assert requirement.specifier.contains(pinned[requirement.name.lower()]), text

    def test_the_conda_environment_takes_the_same_pins(self) -> None:
        environment = (ROOT / "environment.yml").read_text()
        assert re.search(r"^ +- --requirement constraints\.txt$", environment, re.M)
        python = re.search(r"python=([\d.]+)$", environment, re.M)
        assert python is not None
        assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(python[1])
        for name, pin in re.findall(r"([\w-]+)==([\w.]+)", environment):
            assert pins()[name] == Version(pin)

    def test_pins_name_published_versions_only(self) -> None:
        assert "moltc" not in pins()
        assert not [name for name, pin in pins().items() if pin.local]


class TestFiles:
    @pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
    def test_is_short_enough_to_read(self, path: Path) -> None:
        assert len(path.read_text().splitlines()) <= LONGEST_FILE

    def test_the_readme_names_every_module(self) -> None:
        named = Counter(re.findall(r"[\w-]+\.py\b", (ROOT / "README.md").read_text()))
        there = Counter(path.name for path in SOURCES if path.name != "__init__.py")
        missing = there - named
        assert not missing, f"not in the README's tree, or too seldom: {dict(missing)}"

    def test_no_file_speaks_of_one_machine(self) -> None:
        if shutil.which("git") is None or not (ROOT / ".git").exists():
            pytest.skip("not a git checkout: there is no list of the project's files")
        listing = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        home = re.compile(r"(?<![\w.])/(?:home|root|work|Users)/\w+")
        found = []
        for name in listing.stdout.splitlines():
            path = ROOT / name
            if path.suffix in {".png", ".svg", ".npz", ".parquet"} or not path.is_file():
                continue
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
                if home.search(line):
                    found.append(f"{name}:{number}: {line.strip()}")
        assert not found, "\n".join(found)
