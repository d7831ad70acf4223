"""Who is forgotten when there is no room."""

from xmpp_onion.e2ee.shelf import Shelf


def test_the_longest_unused_go_first_and_the_newest_stays_whatever_it_weighs() -> None:
    shelf = Shelf(10, lambda _: False)

    assert shelf.put("a", 4) == []
    assert shelf.put("b", 4) == []
    assert shelf.put("a", 5) == []
    assert shelf.put("c", 2) == ["b"]
    assert shelf.put("d", 100) == ["a", "c"]
    assert len(shelf) == 1


def test_who_is_to_be_kept_weighs_nothing_also_who_came_to_be() -> None:
    kept = {"friend"}
    shelf = Shelf(10, lambda name: name in kept)

    assert shelf.put("friend", 1000) == []
    assert shelf.put("new friend", 9) == []
    kept.add("new friend")

    assert shelf.put("a", 9) == []
    assert shelf.put("b", 9) == ["a"]
