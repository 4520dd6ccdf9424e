"""What is built and handed out: wheel and sdist, conda recipe, container, and the README's words on them."""

from __future__ import annotations

import email
import functools
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import orionfs
from tests.docs import readme
from tests.docs.readme import REPOSITORY

BUILD = "import sys; from hatchling import build; print(getattr(build, sys.argv[1])(sys.argv[2]))"
CONDA_NAMES = {"prometheus-client": "prometheus_client"}
SHARE = "share/bash-completion/completions/orionfs share/fish/vendor_completions.d/orionfs.fish"
# What pip says where something is missing, and what makes it so.
NO_GCC, NO_PKG_CONFIG, NO_FUSE = (
    "error: [Errno 2] No such file or directory: 'gcc'",
    "FileNotFoundError: [Errno 2] No such file or directory: 'pkg-config'",
    "Package fuse3 was not found in the pkg-config search path.",
)


@functools.cache
def project() -> dict[str, object]:
    found: dict[str, object] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    return found


def requirements(*extras: str) -> set[str]:
    """Those of the project, without markers and without what is ours."""
    told: dict = project()["project"]  # type: ignore[assignment]
    listed = [
        *told["dependencies"],
        *(each for extra in extras for each in told["optional-dependencies"][extra]),
    ]
    return {each.partition(";")[0].strip() for each in listed}


def build(kind: str, source: Path, target: Path) -> Path:
    """An sdist or a wheel of what is in a folder."""
    done = subprocess.run(
        [sys.executable, "-c", BUILD, f"build_{kind}", str(target)],
        cwd=source,
        capture_output=True,
        text=True,
        check=True,
    )
    return target / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory) -> Path:
    return build("sdist", REPOSITORY, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory) -> Path:
    """Built of the sdist alone, as an installer does it."""
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    return build("wheel", next(folder.iterdir()), tmp_path_factory.mktemp("wheel"))


def test_wheel_holds_all_that_is_installed(wheel) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    package = REPOSITORY / "orionfs"
    ours = {
        str(path.relative_to(REPOSITORY))
        for path in package.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert ours <= names
    assert {"orionfs/units/user/orionfs@.service", "orionfs/units/system/orionfs@.service"} <= names
    data = f"orionfs-{orionfs.__version__}.data/data"
    installed = ("share/man/man1/orionfs.1", "share/zsh/site-functions/_orionfs", *SHARE.split())
    assert {f"{data}/{name}" for name in installed} <= names
    about = f"orionfs-{orionfs.__version__}.dist-info"
    assert {f"{about}/licenses/LICENSE", f"{about}/licenses/NOTICE"} <= names
    assert {name for name in names if not name.startswith(("orionfs/", data, about))} == set()


def test_wheel_tells_version_requirements_and_entry_points(wheel) -> None:
    about = f"orionfs-{orionfs.__version__}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        told = email.message_from_bytes(archive.read(f"{about}/METADATA"))
        entry_points = archive.read(f"{about}/entry_points.txt").decode()
        manual = archive.read(f"orionfs-{orionfs.__version__}.data/data/share/man/man1/orionfs.1").decode()
    assert told["Version"] == orionfs.__version__
    listed = told.get_all("Requires-Dist") or []
    needed = {each.partition(";")[0].strip() for each in listed if "extra ==" not in each}
    assert {_sorted(each) for each in needed} == {_sorted(each) for each in requirements()}
    for line in (
        "orionfs = orionfs.cli.main:main",
        "mount.orionfs = orionfs.cli.mount_helper:main",
        "orion = orionfs.fs:OrionFileSystem",
    ):
        assert line in entry_points.splitlines()
    assert orionfs.__version__ in manual


def _sorted(requirement: str) -> str:
    """A requirement with its bounds in one order."""
    name, bounds = re.fullmatch(r"([\w-]+)(.*)", requirement.replace(" ", "")).groups()  # type: ignore[union-attr]
    return f"{name}{','.join(sorted(bounds.split(',')))}"


def test_version_stands_in_one_place() -> None:
    tracked = subprocess.run(
        ["git", "grep", "-lF", f'"{orionfs.__version__}"', "--", ".", ":!tests"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert tracked.stdout.split() == ["orionfs/__init__.py"]


# -- conda and the container --------------------------------------------------------------------


def _conda(text: str, heading: str) -> set[str]:
    """The items of a list of a conda file, spelled as pip spells them."""
    indent, items = re.search(rf"^( *){heading}:\n((?:\1 +- .*\n|\1 *#.*\n)+)", text, re.MULTILINE).groups()  # type: ignore[union-attr]
    assert indent is not None
    return {line.strip().removeprefix("- ").replace(" ", "") for line in items.splitlines() if "- " in line}


def _of_conda(listed: set[str]) -> set[str]:
    for pip, conda in CONDA_NAMES.items():
        listed = {each.replace(pip, conda) for each in listed}
    return listed


def test_conda_recipe_needs_what_the_project_needs() -> None:
    recipe = (REPOSITORY / "scripts/conda/meta.yaml").read_text()
    assert _conda(recipe, "run") == _of_conda(requirements()) | {"python"}
    assert _conda(recipe, "run_constrained") == _of_conda(
        requirements("server", "fsspec", "metrics") - requirements()
    )
    needed: list[str] = project()["build-system"]["requires"]  # type: ignore[index]
    assert _conda(recipe, "host") == {*needed, "python", "pip"}
    pattern = re.search(r"regex_pattern='(.*)'", recipe)
    assert pattern is not None
    version = re.search(pattern[1], (REPOSITORY / "orionfs/__init__.py").read_text())
    assert version is not None
    assert version[1] == orionfs.__version__


def test_conda_environment_holds_what_the_project_needs() -> None:
    text = (REPOSITORY / "scripts/conda/environment.yml").read_text()
    everything = _of_conda(requirements("server", "fsspec", "metrics"))
    assert _conda(text, "dependencies") == everything | {
        "python>=3.11",
        "pip",
        "pip:",
        "../..[server,fsspec,metrics]",
    }
    assert project()["project"]["requires-python"] == ">=3.11"  # type: ignore[index]


def test_container_takes_what_is_there_and_nothing_of_the_vendors() -> None:
    text = (REPOSITORY / "scripts/Containerfile").read_text()
    for sources in re.findall(r"^COPY (?!--from)(.*) /\S*$", text, re.MULTILINE):
        for source in sources.split():
            assert (REPOSITORY / source).exists(), source
    commands = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    assert not re.search("openeye|orionclient|oechem", commands, re.IGNORECASE)
    setup = (REPOSITORY / "scripts/setup").read_text()
    packages = re.findall(r"recommends ([^\n&]+)", text)
    named = {package for line in packages for package in line.replace("\\", "").split()} - {"ca-certificates"}
    assert named <= set(re.findall(r"[\w-]+", setup))


# -- what the README says -----------------------------------------------------------------------


def test_readme_names_the_packages_that_the_scripts_install() -> None:
    install = readme.chapter("Install")
    debian = re.search(r"^sudo apt install (.*?) +#", install, re.MULTILINE)
    assert debian is not None
    setup = (REPOSITORY / "scripts/setup").read_text()
    assert set(debian[1].split()) - {"pipx"} <= set(re.findall(r"[\w-]+", setup))


def test_failed_build_is_found_in_the_readme_by_its_own_line() -> None:
    rows = readme.chapter("Install")
    assert [line for line in (NO_GCC, NO_PKG_CONFIG, NO_FUSE) if f"| `{line}` |" not in rows] == []


@pytest.mark.long
@pytest.mark.parametrize(
    ("line", "missing", "environment"),
    [
        (NO_GCC, {"gcc", "cc"}, {}),
        (NO_PKG_CONFIG, {"pkg-config"}, {}),
        (NO_FUSE, set(), {"PKG_CONFIG_LIBDIR": "/nonexistent", "PKG_CONFIG_PATH": ""}),
    ],
    ids=["gcc", "pkg-config", "libfuse"],
)
def test_build_of_pyfuse3_fails_with_the_line_of_the_readme(tmp_path, line, missing, environment) -> None:
    programs = {"gcc", "cc", "pkg-config", "ld", "as", "sh"} - missing
    for name in programs:
        found = shutil.which(name)
        if found is not None:
            (tmp_path / name).symlink_to(found)
    done = subprocess.run(
        [
            *PIP,
            "wheel",
            "--no-cache-dir",
            "--no-binary",
            "pyfuse3",
            "--no-deps",
            "-w",
            str(tmp_path),
            "pyfuse3>=3.4",
        ],
        env={**os.environ, "PATH": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert line in done.stdout + done.stderr


PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]


@pytest.mark.long
@pytest.mark.timeout(600)
def test_wheel_is_installed_into_an_empty_environment(wheel, tmp_path) -> None:
    prefix = tmp_path / "empty"
    subprocess.run([sys.executable, "-m", "venv", str(prefix)], check=True)
    wanted = f"{wheel}[server,fsspec,metrics]"
    subprocess.run([str(prefix / "bin/pip"), "install", "-q", wanted], check=True, cwd=tmp_path)
    environment = {"PATH": f"{prefix}/bin:/usr/bin:/bin", "HOME": str(tmp_path)}

    def said(*command: str) -> str:
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return done.stdout

    assert said("orionfs", "--version").splitlines()[0] == f"orionfs {orionfs.__version__}"
    assert "pyfuse3 3." in said("orionfs", "--version")
    assert said("orionfs", "man") == (prefix / "share/man/man1/orionfs.1").read_text()
    program = "import fsspec; print(fsspec.get_filesystem_class('orion').protocol)"
    assert said("python", "-c", program) == "orion\n"
    assert "profile" in said("orionfs", "install-units", "--help")
    assert (prefix / "bin/mount.orionfs").exists()
