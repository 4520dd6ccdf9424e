"""`orionfs serve`: options reach the server, the server's words reach people."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from orionfs import server
from orionfs.cli.main import cli


def info_at(url: str) -> dict[str, object]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{url}/api/v1/orionfs", timeout=20) as answer:
        info: dict[str, object] = json.load(answer)
        return info


def test_every_option_reaches_the_server(monkeypatch, tmp_path) -> None:
    seen: list[server.ServeOptions] = []
    monkeypatch.setattr(server, "serve", seen.append)
    options = {
        "--data": tmp_path / "data",
        "--port": 8470,
        "--host": "127.0.0.2",
        "--token-file": tmp_path / "t",
        "--latency": 0.25,
        "--access-log": tmp_path / "log",
        "--faults": tmp_path / "faults",
        "--import": tmp_path,
        "--users": tmp_path / "users",
        "--set": "list_sizes=no",
    }
    arguments = [str(word) for pair in options.items() for word in pair]
    result = CliRunner().invoke(cli, ["serve", *arguments, "--set", "page_max=7", "--sample", "--until-eof"])
    assert result.exit_code == 0, result.output
    (found,) = seen
    assert [found.data, found.port, found.host, found.token_file, found.latency_s] == list(options.values())[
        :5
    ]
    assert [found.access_log, found.faults, found.import_dir, found.users] == list(options.values())[5:9]
    assert found.switches == {"list_sizes": "no", "page_max": "7"}
    assert (found.sample, found.until_eof) == (True, True)


def test_token_lies_in_the_data_folder_unless_told_otherwise(monkeypatch, tmp_path) -> None:
    seen: list[server.ServeOptions] = []
    monkeypatch.setattr(server, "serve", seen.append)
    CliRunner().invoke(cli, ["serve", "--data", str(tmp_path)])
    assert seen[0].token_file == tmp_path / "token"


def test_switches_and_settings_are_listed_in_the_help() -> None:
    output = CliRunner().invoke(cli, ["serve", "--help"]).output
    switches, settings = output.split("Settings of --set")
    for line in server.describe_switches():
        assert line.split()[0] in switches
    for line in server.describe_settings():
        assert line.split()[0] in settings


def test_what_keeps_the_server_from_starting_is_one_line(orionfs, tmp_path) -> None:
    (tmp_path / "file").touch()
    done = orionfs("serve", "--data", tmp_path / "file" / "data")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"orionfs: .+\n", done.stderr)
    done = orionfs("serve", "--data", tmp_path / "data", "--set", "moon=full")
    assert done.returncode == 1
    assert "unknown switch 'moon'" in done.stderr


def test_server_without_its_libraries_says_what_to_install(orionfs, tmp_path) -> None:
    (tmp_path / "starlette.py").write_text("raise ModuleNotFoundError('gone', name='starlette')")
    orionfs.environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path), orionfs.environment["PYTHONPATH"]])
    done = orionfs("serve", "--data", tmp_path / "data")
    assert done.returncode == 1
    assert done.stderr.endswith("pip install 'orionfs[server]' (starlette is missing)\n")


@pytest.mark.started
def test_server_says_where_it_is_and_ends_at_sigterm(orionfs, tmp_path) -> None:
    data = tmp_path / "data"
    with orionfs.start("serve", "--data", data) as process:
        line = process.stdout.readline()
        where = rf"\(data in {data}, token in {data}/token\)"
        match = re.fullmatch(rf"orionfs: serving Orion on (http://127\.0\.0\.1:\d+) {where}\n", line)
        assert match is not None, line
        assert info_at(match[1])["server"] == "orionfs"
        token = (data / "token").read_text().strip()
        assert (data / "token").stat().st_mode & 0o777 == 0o600
        assert token.encode() not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "")
    assert token not in err


def test_server_ends_with_its_stdin(orionfs, tmp_path) -> None:
    reader, writer = os.pipe()
    command = [*orionfs.command("serve"), "--data", str(tmp_path / "data"), "--until-eof"]
    with subprocess.Popen(
        command,
        env=orionfs.environment,
        stdin=reader,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        os.close(reader)
        assert process.stdout is not None
        assert process.stdout.readline().startswith("orionfs: serving")
        os.close(writer)
        out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "")
