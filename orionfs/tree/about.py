"""The text of `.orion/about`: what this mount is of, as whom, through what, and what is known of the stack.

For people and scripts (`jq`); holds no secret. A leaf but for the facts it tells.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from orionfs import __version__
from orionfs.facts import StackFacts, as_json
from orionfs.models import Account
from orionfs.profiles import Profile


def about_text(
    account: Account, profile: Profile, client_version: str | None, facts: StackFacts, tree: Mapping[str, str]
) -> str:
    """One JSON object. `tree` is the Orion path of each folder at the top (`/`: of the mount itself).

    `probe` is what is known of this stack now, empty where nobody has found out anything.
    """
    told: dict[str, Any] = {
        "orionfs": __version__,
        "stack": account.stack,
        "url": profile.url,
        "profile": profile.name,
        "user": {"name": account.username, "id": account.user_id},
        "project": {"name": account.project_name, "id": account.project_id},
        "client": {"name": profile.client, "version": client_version},
        "tree": dict(tree),
        "probe": as_json(facts),
    }
    return json.dumps(told, indent=2, ensure_ascii=False) + "\n"
