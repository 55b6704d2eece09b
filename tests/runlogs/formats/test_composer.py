from runlogs.textchecks import check_text

LOG = """\
0: [batch=1/20]:
0: \t Train time/batch: 0
0: \t Train loss/train/total: 0.0053
0: \t Train metrics/train/LanguageCrossEntropy: 10.9476
0: \t Train l2_norm/grad/global: 1.3170
0: [batch=2/20]:
0: \t Train time/batch: 1
0: \t Train loss/train/total: 0.0053
0: \t Train metrics/train/LanguageCrossEntropy: 10.8053
0: \t Train l2_norm/grad/global: 1.1170
0: \t Eval metrics/eval/LanguageCrossEntropy: 10.7130
"""


def test_records_of_several_lines_behind_a_rank(tmp_path):
    table = check_text(
        tmp_path,
        LOG,
        "composer",
        steps=[1, 2],
        lines=[1, 6],
        loss=[10.9476, 10.8053],
        eval_loss=[None, 10.713],
        grad_norm=[1.317, 1.117],
        **{"loss/train/total": [0.0053, 0.0053]},
    )
    assert table.rank.tolist() == [0, 0]
