"""TensorBoard event files, our reader against TensorBoard's own: `python benchmarks/tensorboard_speed.py [SCALARS]`.

Needs the package tensorboard, which writes the file and reads it with EventAccumulator, all points kept
(size guidance 0). First both must give the same points; then whole processes are timed in turns.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from spike_logs import synthetic_loss
from timing import Timing, alternate, print_machine

BAR = 3.0
"""Times faster than EventAccumulator, in CPU seconds."""

THEIRS = """import sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
accumulator = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0})
accumulator.Reload()
points = {tag: accumulator.Scalars(tag) for tag in accumulator.Tags()["scalars"]}"""
OURS = "import sys\nfrom mhcdiag.runlogs import read_log\nread_log(sys.argv[1])"
IMPORTS = {"their imports": THEIRS.splitlines()[1], "our imports": OURS.splitlines()[1]}


def write_events(folder: Path, scalars: int) -> Path:
    """Write half of the scalars as losses and half as gradient norms."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    loss, _ = synthetic_loss(scalars // 2, seed=0)
    writer = EventFileWriter(str(folder))
    for step, value in enumerate(loss.tolist()):
        for tag, one in (("train/loss", value), ("train/grad_norm", 0.1 * value)):
            summary = Summary(value=[Summary.Value(tag=tag, simple_value=one)])
            writer.add_event(Event(wall_time=1.7e9 + step, step=step, summary=summary))
    writer.close()
    return next(folder.iterdir())


def same_points(path: Path) -> bool:
    """Whether both readers give the same steps and values for every tag."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from mhcdiag.runlogs import read_log

    accumulator = EventAccumulator(str(path), size_guidance={"scalars": 0})
    accumulator.Reload()
    table = read_log(str(path))
    ours = {source: name for name, source in table.source_names.items()}
    for tag in accumulator.Tags()["scalars"]:
        name = ours.get(tag, tag)
        carries = np.isfinite(table.columns[name])
        if name in table.nan_rows:
            carries |= table.nan_rows[name]
        theirs = accumulator.Scalars(tag)
        steps, values = [one.step for one in theirs], [one.value for one in theirs]
        if table.step[carries].tolist() != steps:
            return False
        if not np.array_equal(table.columns[name][carries], values, equal_nan=True):
            return False
    return True


def net(timings: dict[str, Timing], name: str, imports: str) -> float:
    return timings[name].processor - timings[imports].processor


def main() -> int:
    scalars = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    print_machine()
    with tempfile.TemporaryDirectory() as folder:
        path = write_events(Path(folder), scalars)
        print(f"{scalars:,} scalars, {path.stat().st_size / 1e6:.1f} MB")
        same = same_points(path)
        print(f"points: {'the same' if same else 'DIFFERENT'}")
        codes = {"EventAccumulator": THEIRS, "mhcdiag": OURS, **IMPORTS}
        timings = alternate({name: (sys.executable, "-c", code, str(path)) for name, code in codes.items()})
    for name, timing in timings.items():
        print(f"{name:18} {timing.processor:6.2f} CPU s")
    whole = timings["EventAccumulator"].processor / timings["mhcdiag"].processor
    reading = net(timings, "EventAccumulator", "their imports") / net(timings, "mhcdiag", "our imports")
    print(f"whole processes {whole:.1f} times faster, bar {BAR} {'met' if whole >= BAR else 'MISSED'};", end=" ")
    print(f"reading alone {reading:.1f} times")
    return 0 if same and whole >= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
