# ruff: noqa: E501 (a line of a log is as long as it is)
from runlogs.textchecks import check_text

LOG = """\
:::MLLOG {"namespace": "", "time_ms": 1684435001613, "event_type": "POINT_IN_TIME", "key": "cache_clear", "value": true, "metadata": {"lineno": 3}}
:::MLLOG {"namespace": "", "time_ms": 1684435766361, "event_type": "POINT_IN_TIME", "key": "tracked_stats", "value": {"train_step_timing": 2.96, "reduced_train_loss": 2.713}, "metadata": {"lineno": 234, "step": 5505024}}
:::MLLOG {"namespace": "", "time_ms": 1684435777361, "event_type": "POINT_IN_TIME", "key": "eval_accuracy", "value": 2.697, "metadata": {"lineno": 237, "samples_count": 5505024}}
:::MLLOG {"namespace": "", "time_ms": 1684435788361, "event_type": "POINT_IN_TIME", "key": "tracked_stats", "value": {"train_step_timing": 2.97, "reduced_train_loss": 2.611}, "metadata": {"lineno": 234, "step": 11010048}}
"""


def test_statistics_by_samples(tmp_path):
    check_text(
        tmp_path,
        LOG,
        "mllog",
        steps=[5505024, 5505024, 11010048],
        lines=[2, 3, 4],
        loss=[2.713, None, 2.611],
        eval_accuracy=[None, 2.697, None],
        train_step_timing=[2.96, None, 2.97],
        time=[1684435766361, 1684435777361, 1684435788361],
    )
