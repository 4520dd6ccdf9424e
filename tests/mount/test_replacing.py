"""Files that one process replaces all the time, and others open, read, list and copy without any error."""

from __future__ import annotations

import pytest

from tests.mount.conftest import IMPATIENT
from tests.mount.replacing import replace_while_others_look
from tests.mount.stand import Client

pytestmark = [pytest.mark.timeout(120)]


@pytest.mark.own_first
def test_files_that_are_replaced_can_be_looked_at_all_the_time(folder, tmp_path) -> None:
    replace_while_others_look(folder, tmp_path / "stop", times=4, lookers=1)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("options", [[], IMPATIENT], ids=["usual", "impatient"])
@pytest.mark.parametrize("arguments", [[], ["--write-back"]], ids=["through", "back"])
@pytest.mark.parametrize("client", list(Client), ids=lambda client: client.name.lower())
def test_files_that_are_replaced_thousands_of_times_can_be_looked_at(
    make_stand, tmp_path, client, arguments, options
) -> None:
    stand = make_stand(client, options=options, is_mounted=False)
    stand.mount(arguments=arguments)
    (stand.mine / "replaced").mkdir()
    replace_while_others_look(stand.mine / "replaced", tmp_path / "stop", times=1000, lookers=3)
    stand.drain()
