"""What is missing on this machine for a mount, and the command that mends it.

`facts` is what was found, `gathering` finds it, `checks` judges it: pure functions from facts to findings.
It changes nothing, works offline, without a config, without pyfuse3, as anybody, and shows no secret.
"""

from __future__ import annotations

from orionfs.doctor.checks import Finding, Verdict, judge
from orionfs.doctor.facts import Facts
from orionfs.doctor.gathering import gather

__all__ = ["Facts", "Finding", "Verdict", "gather", "judge"]
