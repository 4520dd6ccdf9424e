"""Every documented name of the session's page: what it does, what it raises, what tests it.

The methods of a session come from the cases. What else is documented, functions, types and links, stands
here with the tests that hold it. The README shows the whole as one table.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.contract.cases import CONTRACTS

CASES = "tests/contract/test_contract.py"


@dataclass(frozen=True)
class Row:
    """One documented name. `tests` are files, or files and the names of tests in them."""

    name: str
    does: str
    raises: tuple[str, ...]
    tests: tuple[str, ...]

    def in_markdown(self) -> str:
        """The line of the README."""
        raises = ", ".join(f"`{name}`" for name in self.raises) or "nothing of its own"
        tests = ", ".join(f"`{test.removeprefix('tests/')}`" for test in self.tests)
        return f"| `{self.name}` | {self.does} | {raises} | {tests} |"


_DISK = ("NotEnoughDiskError", "OrionServiceError")

ROWS = (
    *(Row(each.method, each.does, tuple(each.raises), (CASES,)) for each in CONTRACTS),
    Row(
        "OrionSession",
        "a session with a stack, as one user; safe for threads",
        ("OrionError", "InvalidAPIVersion"),
        ("tests/client/test_session_faults.py", "tests/client/test_many_threads.py"),
    ),
    Row(
        "APISession",
        "a session that is made when it is first used",
        ("OrionError",),
        ("tests/client/test_accounts.py::test_ready_made_session_asks_nothing_before_it_is_used",),
    ),
    Row(
        "in_orion",
        "whether the program runs in a job of Orion",
        (),
        ("tests/client/test_accounts.py::test_inside_of_orion_is_known_by_the_environment",),
    ),
    Row(
        "get_profile_config",
        "the configuration of a profile",
        ("OrionError",),
        ("tests/client/test_profiles.py",),
    ),
    Row(
        "get_session",
        "a requests session that tries again by itself",
        (),
        ("tests/client/test_retry.py", "tests/client/test_network.py"),
    ),
    Row(
        "File.upload",
        "uploads a local file, in parts where it is large",
        ("ValidationError", "NotFoundResponse", "AuthorizationRequired"),
        ("tests/client/test_upload.py",),
    ),
    Row("File.download_to_file", "downloads a file", _DISK, ("tests/client/test_download.py",)),
    Row(
        "Dataset.create",
        "makes an empty dataset",
        ("ValidationError", "NotFoundResponse"),
        ("tests/client/test_datasets.py::test_create_puts_an_empty_dataset_into_a_folder",),
    ),
    Row(
        "Dataset.upload",
        "makes records of a local file",
        ("ValidationError",),
        ("tests/client/test_embedded_types.py::test_file_of_records_becomes_a_dataset",),
    ),
    Row(
        "Dataset.write",
        "appends a record, sent in batches",
        ("BadResponse", "ValidationError"),
        ("tests/client/test_datasets.py::test_records_are_buffered_and_sent_in_batches",),
    ),
    Row(
        "Dataset.finalize",
        "ends the writing of a dataset",
        ("NotFoundResponse",),
        ("tests/client/test_embedded_types.py::test_records_that_were_written_are_read",),
    ),
    Row(
        "Dataset.download",
        "all records or some, in one of several forms",
        ("DatasetDimensionsTooLargeError", "ValidationError"),
        ("tests/client/test_datasets.py::test_download_asks_for_the_records_that_are_wanted",),
    ),
    Row("Dataset.download_to_file", "the same, to a local file", _DISK, ("tests/client/test_datasets.py",)),
    Row(
        "ShardCollection.create",
        "makes an open collection",
        ("ValidationError", "NotFoundResponse"),
        ("tests/client/test_shards.py::test_collection_is_made_opened_and_closed",),
    ),
    Row(
        "ShardCollection.list_shards",
        "lists shards, page by page",
        ("NotFoundResponse",),
        ("tests/client/test_shards.py::test_shards_are_listed_incomplete_and_completed_by_refresh",),
    ),
    Row(
        "ShardCollection.open",
        "lets shards be added again",
        ("NotFoundResponse", "AuthorizationRequired"),
        (
            "tests/client/test_embedded_types.py::test_collection_that_is_closed_takes_no_shards_until_it_is_opened",
        ),
    ),
    Row(
        "ShardCollection.close",
        "lets no more shards be added",
        ("NotFoundResponse", "AuthorizationRequired"),
        ("tests/client/test_shards.py::test_collection_is_made_opened_and_closed",),
    ),
    Row(
        "Shard.create",
        "makes an open shard in an open collection",
        ("ValidationError", "BadResponse"),
        ("tests/client/test_shards.py", "tests/client/test_embedded_types.py"),
    ),
    Row(
        "Shard.from_msg",
        "the shard that a message names",
        ("ValidationError",),
        ("tests/client/test_shards.py::test_shard_comes_out_of_a_message",),
    ),
    Row(
        "Shard.upload_file",
        "gives a shard its contents, in parts where they are large",
        ("ValidationError", "BadResponse"),
        ("tests/client/test_shards.py::test_large_contents_go_in_parts_without_the_token",),
    ),
    Row(
        "Shard.download",
        "the contents in order, chunk by chunk",
        ("BadResponse", "OrionServiceError"),
        ("tests/client/test_shards.py::test_download_streams_in_order_and_goes_on_where_it_broke_off",),
    ),
    Row(
        "Shard.download_to_file",
        "the contents to a local file",
        _DISK,
        ("tests/client/test_shards.py::test_download_to_file_writes_all",),
    ),
    Row(
        "Shard.close",
        "makes a shard readable and unchangeable",
        ("BadResponse", "NotFoundResponse"),
        ("tests/client/test_embedded_types.py::test_shard_goes_up_and_comes_back_byte_for_byte",),
    ),
    Row(
        "OrionLink",
        "link to a file, dataset or collection",
        ("OrionLinkError", "NotFoundResponse"),
        ("tests/client/test_links.py::test_link_to_a_file_fetches_it",),
    ),
    Row(
        "RecordLink",
        "link to a record of a dataset",
        ("OrionLinkError", "NotFoundResponse"),
        ("tests/client/test_links.py::test_link_to_a_record_fetches_its_fields",),
    ),
    Row(
        "ShardLink",
        "link to a shard",
        ("OrionLinkError", "NotFoundResponse"),
        ("tests/client/test_links.py::test_link_to_a_shard_fetches_it_from_its_collection",),
    ),
    Row(
        "WorkFloeSpec",
        "a workflow's description, without its specification until it is refreshed",
        (),
        ("tests/client/test_embedded_types.py::test_workfloes_are_found_by_title_and_completed",),
    ),
    Row(
        "Project, OrionUser, UserProfile, CurrentBalance",
        "people and what they work in",
        (),
        ("tests/client/test_accounts.py",),
    ),
)
