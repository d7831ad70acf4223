import pytest

from xmpp_onion.languages import choose, preferred


@pytest.mark.parametrize(
    ("environ", "tags"),
    [
        ({}, ()),
        ({"LANG": "C.UTF-8"}, ()),
        ({"LANG": "POSIX", "LANGUAGE": "de"}, ()),
        ({"LANG": "de_AT.UTF-8"}, ("de-at",)),
        ({"LANG": "en_US", "LC_MESSAGES": "fr_FR@euro"}, ("fr-fr",)),
        ({"LANG": "en_US", "LC_ALL": "eo"}, ("eo",)),
        ({"LANG": "de_DE", "LANGUAGE": "sv:nb_NO:de_DE"}, ("sv", "nb-no", "de-de")),
        ({"LANG": "../../etc"}, ()),
    ],
)
def test_the_environment_says_which_languages_somebody_reads(
    environ: dict[str, str], tags: tuple[str, ...]
) -> None:
    assert preferred(environ) == tags


@pytest.mark.parametrize(
    ("offered", "wanted", "place"),
    [
        (["", "de"], (), 0),
        (["de", ""], (), 1),
        (["de", "fr"], (), 0),
        (["", "de"], ("de-at",), 1),
        (["", "de-CH"], ("de-at",), 1),
        (["de-CH", "de-AT"], ("de-at",), 1),
        (["en", "de"], ("fr", "de"), 1),
        (["", "den"], ("de",), 0),
        (["en", ""], ("fr",), 1),
        (["de" + "-x" * 40, ""], ("de",), 0),
    ],
)
def test_what_fits_best_is_chosen_and_else_the_default(
    offered: list[str], wanted: tuple[str, ...], place: int
) -> None:
    assert choose(offered, wanted) == place
