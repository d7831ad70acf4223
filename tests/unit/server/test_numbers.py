"""Each number of a server's configuration is tested at its edge, or says why not."""

import re
from pathlib import Path

import pytest

ACCOUNT = "integration/server/test_account_limits.py"
CONNECTION = "integration/server/test_connection_limits.py"
CIRCUIT = "integration/server/test_onion_circuits.py"
STRANGER = "integration/server/test_stranger_limits.py"
KEPT = "integration/server/test_what_is_kept.py"

# The setting, and the test that goes to its edge.
TESTED = {
    "gc": "integration/server/test_prosody_process.py"
    "::test_memory_is_cleaned_when_it_has_doubled_and_not_all_the_time",
    "s2s_stanza_size_limit": f"{CONNECTION}"
    "::test_a_stanza_of_another_server_has_528_kibibytes",
    "c2s_stanza_size_limit": f"{CONNECTION}::test_a_stanza_has_512_kibibytes",
    "c2s_timeout": f"{CONNECTION}"
    "::test_who_does_not_log_in_is_sent_away_after_a_minute",
    "smacks_max_queue_size": f"{ACCOUNT}"
    "::test_a_session_that_is_away_keeps_five_hundred_stanzas",
    "default_iteration_count": "integration/server/test_names_quiet.py"
    "::test_a_name_that_is_there_and_one_that_is_not_are_answered_alike",
    "invite_expiry": "integration/server/test_registration.py"
    "::test_an_invite_ends_when_it_says",
    "onion_circuit_connections": f"{CIRCUIT}"
    "::test_a_circuit_with_too_many_connections_is_cut_and_no_other",
    "onion_circuit_unauthenticated": f"{CIRCUIT}"
    "::test_a_circuit_has_eight_connections_without_a_login",
    "onion_circuit_connection_burst": f"{CONNECTION}"
    "::test_120_connections_in_a_row_and_two_a_second",
    "onion_circuit_connections_per_second": f"{CONNECTION}"
    "::test_120_connections_in_a_row_and_two_a_second",
    "onion_circuit_failed_logins": f"{CIRCUIT}::test_ten_logins_may_fail",
    "onion_circuit_registrations": f"{CIRCUIT}::test_ten_accounts_may_be_asked_for",
    "onion_circuit_stanza_burst": f"{CIRCUIT}"
    "::test_a_burst_is_answered_and_a_flood_ends_it",
    "onion_circuit_stanzas_per_second": f"{CIRCUIT}"
    "::test_who_asks_for_acks_is_held_back_and_not_cut",
    "onion_circuit_byte_burst": f"{CONNECTION}::test_a_circuit_carries_so_many_bytes",
    "onion_circuit_s2s_stanza_burst": f"{CONNECTION}"
    "::test_another_server_says_so_many_things",
    "onion_unauthenticated_connections": f"{CONNECTION}"
    "::test_a_thousand_wait_to_log_in_and_then_the_oldest_goes",
    "onion_unauthenticated_bytes": f"{CONNECTION}"
    "::test_who_has_not_logged_in_says_64_kibibytes",
    "onion_account_byte_burst": f"{CONNECTION}"
    "::test_an_account_says_so_many_bytes_by_all_its_circuits",
    "account_contacts": f"{ACCOUNT}::test_two_thousand_contacts_and_no_more",
    "account_nodes": f"{ACCOUNT}::test_two_hundred_nodes_and_no_more",
    "account_private": f"{ACCOUNT}"
    "::test_fifty_things_in_private_storage_and_no_more",
    "account_sessions": f"{ACCOUNT}"
    "::test_what_waits_longest_for_its_circuit_makes_room",
    "account_rooms": f"{ACCOUNT}::test_fifty_rooms_and_no_more",
    "stranger_messages": f"{STRANGER}::test_a_stranger_says_sixty_things_at_once",
    "stranger_server_messages": f"{STRANGER}"
    "::test_names_of_one_server_share_a_ceiling_and_all_servers_another",
    "stranger_recipient_messages": f"{STRANGER}"
    "::test_names_of_one_server_share_a_ceiling_and_all_servers_another",
    "stranger_requests": f"{STRANGER}"
    "::test_of_ten_thousand_requests_two_hundred_wait_and_the_rest_is_a_number",
    "stranger_requests_of_server": f"{STRANGER}"
    "::test_one_server_gets_no_more_of_the_room_with_time",
    "stranger_server_requests": f"{STRANGER}"
    "::test_one_server_gets_a_quarter_of_the_room",
    "stranger_messages_while_away": f"{STRANGER}"
    "::test_who_is_away_finds_two_hundred_and_no_more",
    "archive_expires_after": f"{KEPT}"
    "::test_archives_and_files_are_gone_after_their_time",
    "muc_log_expires_after": f"{KEPT}"
    "::test_archives_and_files_are_gone_after_their_time",
    "http_file_share_expires_after": f"{KEPT}"
    "::test_archives_and_files_are_gone_after_their_time",
    "max_archive_query_results": f"{ACCOUNT}"
    "::test_a_page_of_an_archive_has_1000_messages",
    "pep_max_items": f"{ACCOUNT}"
    "::test_a_node_has_256_items_and_the_oldest_makes_room",
    "max_history_messages": f"{ACCOUNT}::test_history_of_a_room_is_fifty_messages",
    "http_file_share_size_limit": f"{ACCOUNT}::test_an_object_has_sixteen_mebibytes",
    "http_file_share_daily_quota": f"{ACCOUNT}"
    "::test_an_account_stores_three_gibibytes_a_day",
    "http_file_share_global_quota": f"{ACCOUNT}"
    "::test_everybody_together_stores_ten_gibibytes",
}  # fmt: skip

# The setting, and why nobody goes to its edge.
UNTESTED = {
    "http_max_content_size": "what is longer goes to the disk, and is not refused",
    "sasl2_fast_token_ttl": "three weeks; Debian's module has it, and tests its tokens",
    "c2s_unauthed_stanza_size_limit": "0.12 alone; onion_unauthenticated_bytes is ours",
    "s2s_unauthed_stanza_size_limit": "0.12 alone; onion_unauthenticated_bytes is ours",
    "c2s": "a pace in bytes each second: nothing is refused at it",
    "s2sin": "a pace in bytes each second: nothing is refused at it",
    "smacks_hibernation_time": "a day; account_sessions is what bounds them",
    "read_timeout": "after it a question is asked, and nobody is refused",
    "ssl_handshake_timeout": "as long as c2s_timeout, which holds meanwhile too",
    "onion_circuit_bytes_per_second": "how fast the burst is there again",
    "onion_circuit_s2s_stanzas_per_second": "how fast the burst is there again",
    "onion_account_bytes_per_second": "how fast the burst is there again",
    "stranger_messages_per_minute": "how fast the burst is there again",
    "stranger_server_messages_per_minute": "how fast the burst is there again",
    "stranger_recipient_messages_per_minute": "how fast the burst is there again",
    "stranger_server_requests_per_hour": "how fast the burst is there again",
}
SETTING = re.compile(r"^\t*(\w+)\s*=\s*(.*)$", re.MULTILINE)


def numbers(text: str) -> set[str]:
    """Return the settings that have a number, in any form."""
    found = set()
    for name, value in SETTING.findall(text):
        inner = re.sub(r"@\w+@|--.*", "", value)
        inner = re.sub(r'"(\d+)(w|d|h|kb/s|mb/s)"', r"\1", inner)
        if re.search(r"(?<!\w)\d", re.sub(r'"[^"]*"', "", inner)):
            found.add(name)
    return found


@pytest.fixture
def config(root: Path) -> str:
    return (root / "prosody-config" / "prosody.cfg.lua").read_text("utf-8")


def test_numbers_are_found_in_each_form() -> None:
    text = (
        'a = 7 -- 8\nb = 2 * 1024\nc = "1w"\n\td = { rate = "2mb/s" };\n'
        'e = { @PORT@ }\nf = { "x9" }\n-- g = 3\n\th = 3;\n'
        'i = (512 + 16) * 1024\nj = "SHA-256"\n'
    )

    assert numbers(text) == set("abcdhi")


def test_each_number_is_tested_at_its_edge_or_says_why_not(config: str) -> None:
    known = TESTED.keys() | UNTESTED.keys()

    assert numbers(config) - known == set()
    assert {name for name in known if f"{name} " not in config} == set()
    assert not TESTED.keys() & UNTESTED.keys()


def test_each_number_has_its_reason_beside_it(config: str) -> None:
    """In a comment on its line, or in the lines before it."""
    lines = config.splitlines()
    for name in TESTED.keys() | UNTESTED.keys():
        (place,) = [
            place for place, line in enumerate(lines) if line.split()[:1] == [name]
        ]
        before = lines[max(0, place - 2) : place]
        assert any("--" in line for line in [*before, lines[place]]), name


def test_each_test_is_there(root: Path) -> None:
    for test in TESTED.values():
        path, _, function = test.partition("::")
        assert f"def {function}(" in (root / "tests" / path).read_text("utf-8"), test
