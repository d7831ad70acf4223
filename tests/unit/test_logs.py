"""No log names anybody or quotes anything, whoever writes it."""

import importlib
import io
import json
import logging
import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from xmpp_onion import logs
from xmpp_onion.errors import StoreError

ONION = "aeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaea37ead.onion"
DIGITS = "0123456789abcdef" * 4
GROUPED = " ".join(DIGITS[at : at + 8] for at in range(0, 64, 8))
TOKEN = "q7Xk2vPz9LmN4wRt8YbC1dEf"
LIBRARIES = ("slixmpp", "omemo", "twomemo", "oldmemo", "stem", "aiosqlite", "h11")
OTHERS = ("asyncio", "concurrent.futures", "py.warnings", "doubleratchet", "x3dh")
SECRETS = {
    f"alice@{ONION}/phone",
    f"<iq to='alice@{ONION}'>",
    "attack at dawn",
    DIGITS,
    GROUPED,
    f"aesgcm://{ONION}/up/x#{DIGITS}{DIGITS[:24]}",
    f"xmpp:{ONION}?register;preauth={TOKEN}",
    TOKEN,
    "password=hunter2",
}
LEAKS = (
    "alice", ONION[:56], "attack", "dawn", DIGITS[:32], GROUPED[:17], TOKEN, "hunter2"
)  # fmt: skip


@pytest.fixture(params=["text", "json"])
def style(request: pytest.FixtureRequest) -> logs.Format:
    return "json" if request.param == "json" else "text"


@contextmanager
def writing(style: logs.Format) -> Iterator[io.StringIO]:
    """Yield what all loggers say at DEBUG; ``mine`` is a logger of the program."""
    before, others, stream = logging.root.level, logging.root.handlers, io.StringIO()
    logging.root.handlers = []
    try:
        logs.write_logs(style, level=logging.DEBUG, own=["mine"], stream=stream)
        yield stream
        assert len(logging.root.handlers) == 1
    finally:
        logging.root.handlers = others
        logging.root.setLevel(before)
        for name in ("xmpp_onion", "__main__", "mine"):
            logging.getLogger(name).setLevel(logging.NOTSET)


def loggers() -> list[str]:
    """The names of all loggers of the libraries below us."""
    importlib.import_module("xmpp_onion.client")
    for name in (*LIBRARIES, "slixmpp.plugins"):
        package = importlib.import_module(name)
        for module in pkgutil.iter_modules(package.__path__):
            if not module.name.startswith("_"):
                with suppress(ImportError):  # it wants what we do not install
                    importlib.import_module(f"{name}.{module.name}")
    found = [
        name
        for name in logging.root.manager.loggerDict
        if name.partition(".")[0] in LIBRARIES
    ]
    return sorted({*found, *LIBRARIES, *OTHERS})


def leaks(text: str) -> list[str]:
    return [leak for leak in LEAKS if leak in text]


def test_no_library_says_a_secret_however_it_says_it(style: logs.Format) -> None:
    with writing(style) as written:
        names = loggers()
        assert len(names) > 50
        for name in names:
            logger = logging.getLogger(name)
            for secret in SECRETS:
                logger.debug("SEND: %s", secret)
                logger.warning(f"SEND: {secret}")  # noqa: G004 - as some of them do
                logger.info(secret)
                logger.debug(
                    "%(what)s and %(why)-8r", {"what": secret, "why": b"attack"}
                )
                logger.error("%s", ValueError(secret), exc_info=_raised(secret))
                logger.error("%d %s", secret, 3)  # wrong by itself

        text = written.getvalue()
        assert text.count("\n") > 6 * len(names)
        assert leaks(text) == []


def test_our_own_texts_stay_without_what_names_somebody(style: logs.Format) -> None:
    with writing(style) as written:
        for name in ("mine", "mine.part", "__main__", "xmpp_onion.session"):
            logger = logging.getLogger(name)
            for secret in SECRETS - {"attack at dawn"}:
                logger.info("connected to %s for the 3rd time", secret)

        text = written.getvalue()
        assert leaks(text) == []
        assert text.count("for the 3rd time") == 4 * (len(SECRETS) - 1)
        assert "a…@aeaqca….onion" in text


def test_a_library_still_says_what_its_source_says(style: logs.Format) -> None:
    with writing(style) as written:
        logging.getLogger("stem").warning("%s of %d in %s", "x", 7, "y")
        text = written.getvalue()

        assert "<str> of 7 in <str>" in text
        assert "test_logs.py:" in text


def _raised(text: str) -> Exception:
    """Return an error as somebody caught it: with a cause, and a group around it."""
    local = f"a local {text}"
    try:
        try:
            {}[local]
        except KeyError as error:
            raise ExceptionGroup(text, [RuntimeError(text)]) from error
    except ExceptionGroup as group:
        return group


def test_what_was_raised_has_places_and_types_and_no_text(
    style: logs.Format,
) -> None:
    with writing(style) as written:
        logging.getLogger("mine").error("it failed", exc_info=_raised("attack at dawn"))
        text = written.getvalue()

        assert leaks(text) == []
        assert "KeyError" in text
        assert "in _raised" in text


def test_our_own_errors_keep_what_they_say(style: logs.Format) -> None:
    with writing(style) as written:
        error = StoreError(
            "the store is full", why=f"of alice@{ONION}", fix="Make room."
        )
        logging.getLogger("mine").error("it failed", exc_info=error)

        assert (
            "StoreError: the store is full: of a…@aeaqca….onion." in written.getvalue()
        )


def test_a_record_forges_no_other_and_not_without_end(style: logs.Format) -> None:
    with writing(style) as written:
        text = f"x\nERROR forged\r\x1b[2J{'word ' * 5000}alice@{ONION}"
        logging.getLogger("mine").info(text)
        logging.getLogger("mine").info("%s", "a" * 10**6)

        lines = written.getvalue().splitlines()
        assert len(written.getvalue()) < 10_000
        assert "\x1b" not in written.getvalue()
        assert not any(line.startswith("ERROR") for line in lines)


def test_a_value_that_cannot_be_shown_ends_nothing(style: logs.Format) -> None:
    with writing(style) as written:

        class Sulking:
            def __str__(self) -> str:
                raise ZeroDivisionError("attack")

        logging.getLogger("mine").info("it is %s", Sulking())
        logging.getLogger("aiosqlite").info(Sulking())

        assert "ZeroDivisionError" in written.getvalue()
        assert leaks(written.getvalue()) == []


def test_the_lines_of_json_are_json(style: logs.Format) -> None:
    with writing(style) as written:
        logging.getLogger("mine").error("it failed", exc_info=_raised("x"))
        lines = written.getvalue().splitlines()
        if not lines[0].startswith("{"):
            assert lines[0] == "ERROR mine: it failed"
            return
        (line,) = map(json.loads, lines)

        assert (line["v"], line["event"], line["level"]) == (1, "log", "error")
        assert (line["logger"], line["text"]) == ("mine", "it failed")
        assert line["failure"][-1] == "ExceptionGroup"


def test_it_is_put_in_place_once(style: logs.Format) -> None:
    with writing(style) as written:
        logs.write_logs("text", stream=written)
        logging.getLogger("xmpp_onion").info("hello")

        assert written.getvalue().count("hello") == 1


@pytest.mark.parametrize(
    "text",
    [
        "connected in 0.35 s; 12 messages wait, the oldest since 2026-05-17T09:30",
        "the server did not answer: TimeoutError",
        "answers in a…@aeaqca….onion come too often; this one is dropped",
        "a handler [0a1b2c3d] failed",
        "message 8f14e45f-ceea-467f-a2e8-b15fae32b0bd is undecryptable",
    ],
)
def test_what_names_nobody_stays_as_it_is(text: str) -> None:
    assert logs.redact(text) == text


def test_what_a_command_warns_of_has_its_name_until_more_is_asked_for() -> None:
    own = logging.getLogger("xmpp_onion.cli")
    before, others, stream = logging.root.level, logging.root.handlers, io.StringIO()
    logging.root.handlers = []
    try:
        logs.write_logs(
            level=logging.WARNING,
            libraries=logging.WARNING,
            title="xmpp-onion",
            stream=stream,
        )
        own.warning("of %s", f"alice@{ONION}")
        logging.getLogger("xmpp_onion").setLevel(logging.DEBUG)
        own.debug("more")
        logging.getLogger("slixmpp.stanza").debug("nothing")
    finally:
        logging.root.handlers = others
        logging.root.setLevel(before)
        logging.getLogger("xmpp_onion").setLevel(logging.NOTSET)

    assert stream.getvalue().splitlines() == [
        "xmpp-onion: of a…@aeaqca….onion",
        "DEBUG xmpp_onion.cli: more",
    ]
