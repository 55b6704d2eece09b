# ruff: noqa: E501 (a line of a log is as long as it is)
import numpy as np
from runlogs.textchecks import check_text

LOG = """\
Total batch size 524,288 => gradient accumulation steps: 2
step 00000/00701 (0.00%) | loss: 11.090355 | grad norm: 1.0730 | lrm: 1.00 | dt: 13651.72ms | tok/sec: 38,404 | mfu: 12.34 | total time: 0.00m
Step 00000 | Validation bpb: 3.3013
step 00001/00701 (0.14%) | loss: 10.809341 | grad norm: 11.0336 | lrm: 1.00 | dt: 951.72ms | tok/sec: 550,917 | mfu: 47.11 | total time: 0.00m
step 00001 (0.20%) | loss: 1.331000 | lrm: 1.00 | dt: 911.00ms | tok/sec: 9,113 | mfu: 7.31 | total time: 0.01m
"""


def test_base_training_evaluation_and_fine_tuning(tmp_path):
    table = check_text(
        tmp_path,
        LOG,
        "nanochat",
        steps=[0, 0, 1, 1],
        lines=[2, 3, 4, 5],
        loss=[11.090355, None, 10.809341, 1.331],
        eval_loss=[None, 3.3013, None, None],
        grad_norm=[1.073, None, 11.0336, None],
        **{"tok/sec": [38404, None, 550917, 9113], "dt": [13651.72, None, 951.72, 911.0]},
    )
    np.testing.assert_array_equal(table.total_steps, [701, np.nan, 701, np.nan])
