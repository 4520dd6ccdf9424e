"""The probe finds every value of every switch of the embedded server, and leaves nothing behind."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest

from orionfs.client.wire_file import dump_wire
from orionfs.facts import CHOICES, StackFacts
from orionfs.probe import QUESTIONS
from orionfs.server.switches import Switches
from tests.component.probe_host import Host, Hosted, hosted_servers
from tests.component.probing import SMALL_PACE, probed
from tests.server.renamed import renamed_wire

DEFAULTS: dict[str, str] = {name: getattr(Switches(), name) for name in CHOICES}

_OTHER_VALUES = [
    (name, value)
    for name, values in CHOICES.items()
    for value in values
    if value not in (DEFAULTS[name], "other")
]
# Every second one each time: the probe of real servers and the covering rows see the others as well.
OTHER_VALUES = [
    pytest.param(*each, marks=[pytest.mark.long] if number % 2 else [])
    for number, each in enumerate(_OTHER_VALUES)
]

SEEDS = [*range(2), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 40))]

# What one value hides of another switch: the probe has nothing to see there, or sees what a mount sees.
MASKS: Mapping[tuple[str, str], Mapping[str, str | None]] = {
    ("folder_ids", "no"): {"folders_assignable": None},
    ("duplicate_names", "refused"): {"remove_equal": None},
    # Names that the documentation does not know are handed through, and nobody can read them.
    ("wire", "renamed"): {"list_sizes": "no", "list_times": "no", "list_tags": "no", "keys": None},
}


def expected(switches: Mapping[str, str]) -> dict[str, str | None]:
    """What a probe that may write has to find under these switches."""
    values: dict[str, str | None] = {**DEFAULTS, **{k: v for k, v in switches.items() if k in CHOICES}}
    shown = [hidden for (name, value), hidden in MASKS.items() if {**DEFAULTS, **switches}.get(name) == value]
    for hidden in shown:
        values.update(hidden)
    return values


def found(facts: StackFacts) -> dict[str, str | None]:
    return {name: getattr(facts, name) for name in CHOICES}


def drawn_switches(drawn: random.Random) -> dict[str, str]:
    return {name: drawn.choice([v for v in values if v != "other"]) for name, values in CHOICES.items()}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with hosted_servers(tmp_path_factory.mktemp("servers")) as host:
        yield host


@pytest.fixture(scope="module")
def usual(host: Host) -> Hosted:
    """A server with the default of every switch."""
    return host.start({})


def test_every_choice_of_the_server_is_a_question() -> None:
    for name, values in CHOICES.items():
        choices = Switches.__dataclass_fields__[name].metadata["choices"]
        assert choices == tuple(value for value in values if value != "other")


def test_default_of_every_switch_is_found(usual) -> None:
    outcome = probed(usual.profile(), ranges=True)
    assert found(outcome.facts) == expected({})
    assert outcome.facts.page_max == 1000
    assert outcome.facts.read_lag_s == 0.0
    assert outcome.facts.ranged_reads is True
    assert outcome.facts.kind_literals == {"file": "file", "folder": "folder"}
    assert [each.name for each in outcome.findings] == list(QUESTIONS)


@pytest.mark.some(5)
@pytest.mark.parametrize(("name", "value"), OTHER_VALUES)
def test_other_value_of_a_switch_is_found(host, name, value) -> None:
    server = host.start({name: value, "page_max": "9"})
    outcome = probed(server.profile())
    assert found(outcome.facts) == expected({name: value})
    assert outcome.facts.page_max == (None if value == "all" and name == "paging" else 9)


@pytest.mark.parametrize("rows", [1, 7])
def test_small_pages_are_measured(host, rows) -> None:
    outcome = probed(host.start({"page_max": str(rows)}).profile())
    assert outcome.facts.page_max == rows
    assert found(outcome.facts) == expected({})


def test_lag_of_replicas_is_measured_and_waited_for(host) -> None:
    outcome = probed(host.start({"read_lag_s": "0.25", "page_max": "9"}).profile())
    assert found(outcome.facts) == expected({})
    assert outcome.facts.read_lag_s is not None
    assert 0.2 <= outcome.facts.read_lag_s < 5


@pytest.mark.parametrize(
    "seed", [*range(2), *(pytest.param(n, marks=pytest.mark.long) for n in range(2, 40))]
)
def test_values_are_found_in_any_combination(host, seed) -> None:
    drawn = random.Random(seed)
    switches = drawn_switches(drawn)
    outcome = probed(host.start({**switches, "page_max": "9"}).profile())
    assert found(outcome.facts) == expected(switches)


@pytest.mark.parametrize("seed", [1, 10])
def test_values_are_found_through_the_documented_calls_alone(host, monkeypatch, seed) -> None:
    monkeypatch.setenv("DOCUMENTED_SHAPES_SEED", "plain")
    switches = drawn_switches(random.Random(seed))
    outcome = probed(host.start({**switches, "page_max": "9"}).documented(), pace=SMALL_PACE)
    assert found(outcome.facts) == {**expected(switches), "auth_status": None}
    assert outcome.facts.page_max == (9 if switches["paging"] == "pages" else None)


def test_values_are_found_whatever_the_form_of_the_answers(host) -> None:
    """The documented session may draw a form of its own, which is none that has a name."""
    outcome = probed(host.start({"page_max": "9"}).documented(), pace=SMALL_PACE)
    form = dict.fromkeys(("envelope", "keys", "literals", "auth_status"))
    assert {**found(outcome.facts), **form} == {**expected({}), **form}


def test_values_are_found_in_another_dialect_throughout(host, tmp_path) -> None:
    """What a site says of the routes and keys of its stack serves the probe as well."""
    wire = tmp_path / "wire.toml"
    wire.write_text(dump_wire(renamed_wire()))
    switches = {"wire": "renamed", "assign_path": "full"}
    server = host.start({**switches, "page_max": "9"})
    outcome = probed(replace(server.profile(), wire=wire), pace=SMALL_PACE, ranges=True)
    assert found(outcome.facts) == expected(switches)
    assert (outcome.facts.page_max, outcome.facts.ranged_reads) == (9, True)
