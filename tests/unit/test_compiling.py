"""What the workers of a run find compiled."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.compiling import is_compiled


def test_module_that_pytest_has_kept_is_compiled_until_it_is_changed(tmp_path) -> None:
    module = tmp_path / "test_something.py"
    module.write_text("def test_it():\n    assert True\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    assert not is_compiled(module)
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", "--rootdir", tmp_path, module]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    assert is_compiled(module)
    later_s = module.stat().st_mtime + 60
    os.utime(module, (later_s, later_s))
    assert not is_compiled(module)
