import random, os, shutil
import pytest
from tests.mount.test_random import *
from tests.mount.conftest import *
from tests.mount.conftest import IMPATIENT
SEEDS = range(int(os.environ.get("FUZZ_FROM", "1000")), int(os.environ.get("FUZZ_TO", "1010")))

def go(stand, folder, tmp_path, seed, steps=250):
    chance = Chance(seed)
    log=[]
    for number in range(steps):
        step = chance.step()
        a=outcome(step, folder); b=outcome(step, tmp_path)
        assert a==b, f"step {number} {a!r:.100} {b!r:.100}"
    wanted = tree(tmp_path)
    assert tree(folder) == wanted
    stand.drain()
    for path, content in wanted.items():
        if content is not None:
            assert stand.direct.content(stand.orion_path(folder / path)) == content
    assert [n for n in stand.direct.names(stand.direct.home) if n.startswith(".orionfs")]==[]

@pytest.mark.parametrize("seed", SEEDS)
def test_impatient(impatient, request, tmp_path, seed):
    go(impatient, fresh_folder(impatient, request), tmp_path, seed)

@pytest.mark.parametrize("seed", SEEDS)
def test_odd(odd, request, tmp_path, seed):
    go(odd, fresh_folder(odd, request), tmp_path, seed)

@pytest.fixture(scope="session", params=["strict","lag","noassign","lagstrict"])
def habit(request): return request.param
@pytest.fixture(scope="session")
def hs(tmp_path_factory, habit, client):
    sw={"strict":{"duplicate_names":"refused"},"lag":{"read_lag_s":"1"},"noassign":{"folders_assignable":"no"},"lagstrict":{"read_lag_s":"1","duplicate_names":"refused"}}[habit]
    server=Server(tmp_path_factory.mktemp("server"), sw)
    stand=Stand(tmp_path_factory.mktemp("hs"), server, client, IMPATIENT)
    stand.mount()
    yield stand
    stand.close(); server.close()
@pytest.fixture
def habitual(request, hs): yield from watched(request, hs)
@pytest.mark.parametrize("seed", SEEDS)
def test_habit(habitual, habit, request, tmp_path, seed):
    if habit=="noassign":
        pytest.skip("x") 
    go(habitual, fresh_folder(habitual, request), tmp_path, seed)
