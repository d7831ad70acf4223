import json

from xmpp_onion.bench.figures import SUBJECTS, Figure, render
from xmpp_onion.bench.first_byte import FirstBytes, Sample
from xmpp_onion.cli.json_lines import faults

FIGURES = [
    Figure("login", "bare", 0.5, 6.81, 13, bytes_up=4622),
    Figure("login", "ours", 0.5, 1.02, 2),
    Figure("login", "ours", 0.1, 0.3, 3),  # where thinking disturbs the count
    Figure("strangers", "ours", 0.5, 1.6, 3, size=10),
    Figure("first-login", "ours", 0.5, 2.7, 5),
    Figure("warm-circuit", "with the dial", 0.29, 0.338),
]


def test_a_table_has_counts_of_the_longest_delay_and_all_seconds() -> None:
    counted, timed = render(FIGURES).split("\n\n")

    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in counted.splitlines()
    ]
    assert rows[0] == [
        *("", "bare: round trips", "ours: round trips", "goal"),
        *("bare, 100 ms", "ours, 100 ms", "bare, 500 ms", "ours, 500 ms"),
    ]
    assert [row[1:] for row in rows[2:]] == [
        ["-", "5", "6", "-", "-", "-", "2.70 s"],
        ["13", "2", "2", "-", "0.30 s", "6.81 s", "1.02 s"],
        ["-", "3", "4", "-", "-", "-", "1.60 s"],
    ]
    assert rows[4][0] == "first message to 10 strangers, until all have decrypted it"
    assert timed.splitlines() == [
        "|  | with the dial |",
        "| --- | ---: |",
        "| first byte of an onion, on a circuit that is there | 0.34 s |",
    ]


def test_a_line_is_as_the_reference_says() -> None:
    lines = [json.loads(json.dumps(figure.as_line())) for figure in FIGURES]

    assert [fault for line in lines for fault in faults(line)] == []
    assert [Figure.from_line(line) for line in lines] == FIGURES
    assert lines[0]["bytes_up"] == 4622
    assert lines[-1]["round_trips"] is None


def test_every_subject_can_be_told() -> None:
    for name in SUBJECTS:
        title = Figure(name, "ours", 0.0, 1.0, size=1000).title

        assert "{" not in title
        assert title == title.strip()


def test_the_first_byte_is_told_by_its_medians() -> None:
    sample = Sample([0.6, 0.5, 9.0], [0.3, 0.35, 9.0])
    found = FirstBytes(sample, Sample([1.0], [2.0]), round_trip=0.29).figures()

    assert [(each.subject, each.contestant, each.seconds) for each in found] == [
        ("warm-circuit", "asked when connected", 0.6),
        ("warm-circuit", "asked with the dial", 0.35),
        ("new-circuit", "asked when connected", 1.0),
        ("new-circuit", "asked with the dial", 2.0),
    ]
