import pytest

from mhcdiag.runlogs.lines import clean_line


@pytest.mark.parametrize(
    ("raw", "text", "rank"),
    [
        ("3: step 1", "step 1", 3),
        ("[rank7]:step 1", "step 1", 7),
        ("rank 2: step 1", "step 1", 2),
        ("[default5]:step 1", "step 1", 5),
        ("[11]:step 1", "step 1", 11),
        ("[1,13]<stdout>:step 1", "step 1", 13),
        ("(Worker pid=713, ip=10.0.0.1) step 1", "step 1", None),
        ("2024-08-03T04:57:30.017765753Z step 1", "step 1", None),
        ("2024-08-03T04:57:30.017765753Z stdout F step 1", "step 1", None),
        ("2024-08-03T04:57:30+00:00 3: [rank5]:step 1", "step 1", 5),
        ("INFO:tensorflow:step 1", "step 1", None),
        ("3: INFO:__main__: step 1", "step 1", 3),
        ("WARNING:a.b:step 1", "step 1", None),
        ("INFO:loss:2.5", "INFO:loss:2.5", None),
        ("INFO:train_step: 3", "INFO:train_step: 3", None),
        ("71: 723.6, 723.6 avg loss", "71: 723.6, 723.6 avg loss", None),
        ("71: -nan, -nan avg loss", "71: -nan, -nan avg loss", None),
        ("71: 723.6 723.6", "723.6 723.6", 71),
        ("\x1b[31mstep\x1b[0m 1\x1b[K", "step 1", None),
        ("^[[A^[[Bstep 1", "step 1", None),
        ("\x1b]0;title\x07step 1", "step 1", None),
        ("st\x00ep 1\x00", "step 1", None),
        ("\ufeffstep 1", "step 1", None),
        ("step 1  \r", "step 1", None),
        ("10 val 2.5", "10 val 2.5", None),
        ("[2025-01-03 11:13:17] step 1", "[2025-01-03 11:13:17] step 1", None),
        ("    train/loss=2.5", "    train/loss=2.5", None),
        ("ranking: 3", "ranking: 3", None),
        ("[rank99999]:step 1", "step 1", 99999),
        ("[rank999999]:step 1", "[rank999999]:step 1", None),
        ("[default999999]:step 1", "[default999999]:step 1", None),
        ("[1,999999]<stdout>:step 1", "[1,999999]<stdout>:step 1", None),
        ("999999: step 1", "999999: step 1", None),
        ("[999999]: step 1", "[999999]: step 1", None),
    ],
)
def test_prefixes_go_and_the_line_stays(raw, text, rank):
    clean = clean_line(raw.encode())
    assert (clean.text, clean.rank) == (text, rank)


def test_invalid_utf8_is_replaced():
    assert clean_line(b"loss \xff 2.5").text == "loss \ufffd 2.5"
