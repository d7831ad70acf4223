import errno

import pytest

from xmpp_onion.agent.failures import explain
from xmpp_onion.errors import AuthenticationError, StoreError, StorePermissionError
from xmpp_onion.one_error import innermost


def raised(text: str) -> Exception:
    try:
        int(text)
    except ValueError as error:
        return error
    raise AssertionError


def test_the_error_inside_of_groups_is_found() -> None:
    error = AuthenticationError("refused")
    group = ExceptionGroup("a", [ExceptionGroup("b", [error]), ValueError("later")])

    assert innermost(group) is error
    assert explain(group) is error


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_an_error_of_the_store(number: int) -> None:
    found = explain(OSError(number, "No space left on device", "/x/y"))

    assert isinstance(found, StoreError)
    assert found.exit_code == 7
    assert "/x/y" in found.why
    assert "df" in found.fix


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_a_closed_file_is_an_error_of_the_store(number: int) -> None:
    found = explain(OSError(number, "no", "/x/y"))

    assert isinstance(found, StorePermissionError)
    assert "/x/y" in found.why


def test_a_closed_place_need_not_be_that_of_an_account() -> None:
    told = explain(PermissionError(errno.EACCES, "Permission denied", "/srv/x"))

    assert "/srv/x" in told.why
    assert "--data-dir" not in told.fix


def test_a_bug_names_its_place_and_not_what_it_says() -> None:
    found = explain(raised("swordfish"))

    assert found.exit_code == 1
    assert "swordfish" not in str(found)
    assert "ValueError in test_failures.py, line " in found.why
    assert "bug" in found.fix


def test_an_error_that_was_never_raised_has_no_place() -> None:
    assert "unknown place" in explain(ValueError()).why
