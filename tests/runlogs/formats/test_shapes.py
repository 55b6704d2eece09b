"""Consoles of toolkits, tables, boxes and dictionaries: recognised, their steps right, spike and NaN found there.

Each shape is written by a function of the number of the record and its loss, in the words of its writer.
"""

# ruff: noqa: E501 (a line of a log is as long as it is)
import math
from collections.abc import Callable

import pytest
from runlogs.textchecks import rows_of, same_as_rows

from mhcdiag.runlogs import LogTable, read_log
from mhcdiag.usecases.log_judging import judge_table
from mhcdiag.usecases.options import LogOptions

COUNT = 110
SPIKE = range(90, 94)
DEAD = 104

Shape = Callable[[int, float], str]
SHAPES: dict[str, tuple[str, Callable[[int], int], str, str, Shape]] = {}
"""By a name of the shape: format, step of a record, name of the loss, what stands before the first record, a record."""


def shape(
    name: str, format_: str, *, step: Callable[[int], int], loss: str, head: str = ""
) -> Callable[[Shape], Shape]:
    def keep(write: Shape) -> Shape:
        SHAPES[name] = (format_, step, loss, head, write)
        return write

    return keep


@shape("OpenNMT-py", "opennmt", step=lambda at: 50 * at + 50, loss="xent")
def _(at, loss):
    return f"[2022-11-26 14:47:26,759 INFO] Step {50 * at + 50}/ 5000; acc: 11.2; ppl: 900.5; xent: {loss:.2f}; lr: 0.00012; sents:    5000; bsz: 1500/1500/ 5; 8000/8200 tok/s;     50 sec;\n"


@shape("OpenNMT-py before xent", "opennmt", step=lambda at: 50 * at + 50, loss="ppl")
def _(at, loss):
    return f"Epoch  {1 + at // 30},  {50 * (at % 30) + 50:4d}/ 1500; acc:   2.54; ppl: {loss:.2f}; 1320 src tok/s; 1445 tgt tok/s;     10 s elapsed\n"


@shape("OpenNMT-tf", "opennmt", step=lambda at: 100 * at, loss="Loss")
def _(at, loss):
    return f"INFO:tensorflow:Step = {100 * at} ; steps/s = 1.52, source words/s = 12345, target words/s = 12345 ; Learning rate = 0.000012 ; Loss = {loss:.6f}\n"


@shape("Marian", "marian", step=lambda at: 306350 + 10 * at, loss="Cost")
def _(at, loss):
    return f"[2017-10-18 18:14:31] Ep. 7 : Up. {306350 + 10 * at} : Sen. 5,630,845 : Cost {loss:.2f} : Time 6.91s : 13596.73 words/s : gNorm 1.2345\n"


@shape("Marian with labels, without epochs", "marian", step=lambda at: 1000 * at, loss="Cost")
def _(at, loss):
    return f"[2020-10-18 18:14:31] Up. {1000 * at} : Sen. 123,456 : Cost {loss:.8f} * 1,234,567 @ 2,345 after 12,345,678 : Time 100.12s : 12345.67 words/s : L.r. 3.0000e-04\n"


@shape("MindSpore", "mindspore", step=lambda at: 1 + at, loss="loss")
def _(at, loss):
    return f"epoch: {1 + at // 40} step: {1 + at % 40}, loss is {loss:.7g}\n"


@shape("MindFormers", "mindspore", step=lambda at: 2 * at, loss="loss")
def _(at, loss):
    return f"2024-05-01 10:00:00,123 - mindformers[callback.py:316] - INFO - {{ Epoch:[  1/  2], step:[{2 * at:5d}/ 5630], loss:[{loss:.3f}/{loss:.3f}], time:507.684 ms, lr:0.00010, overflow cond: False, loss_scale: 65536.0}}\n"


@shape("darknet", "darknet", step=lambda at: 1 + at, loss="loss")
def _(at, loss):
    text = f"{loss:.6f}".replace("nan", "-nan")  # as C prints it
    return f"v3 (mse loss, Normalizer: (iou: 0.75)) Region 82 Avg (IOU: 0.5), count: 5, class_loss = 1.25, iou_loss = 0.2, total_loss = 1.45\nv3 (mse loss, Normalizer: (iou: 0.75)) Region 94 Avg (IOU: 0.5), count: 5, class_loss = 1.25, iou_loss = 0.2, total_loss = 1.45\n v3 (mse loss) Region 106 Avg (IOU: 0.5), class_loss = 1.25, total_loss = 1.45\n {1 + at}: {text}, {text} avg loss, 0.001000 rate, 3.123456 seconds, {64 * at} images, 12.3 hours left\nLoaded: 0.000029 seconds\n"


@shape("darknet's classifier", "darknet", step=lambda at: 1 + at, loss="loss")
def _(at, loss):
    return (
        f"{1 + at}, {at / 1000:.3f}: {loss:.6f}, {loss:.6f} avg, 0.100000 rate, 3.123456 seconds, {128 * at} images\n"
    )


@shape("Sockeye 1", "sockeye", step=lambda at: 50 * at, loss="perplexity")
def _(at, loss):
    return f"[INFO:sockeye.training] Epoch[0] Batch [{50 * at}]\tSpeed: 1000.00 samples/sec 20000.00 tokens/sec 1.5 updates/sec\tperplexity={loss:.6f}\n"


@shape("Sockeye 3", "sockeye", step=lambda at: 50 * at, loss="ce")
def _(at, loss):
    return f"[2022-01-01:10:00:00:INFO:sockeye.training_pt:_step] E=0 B={50 * at}\ts/sec=500.0\ttok/sec=10000.0\tu/sec=1.2\tppl=120.1 ce={loss:.4f}\n"


@shape("Sockeye's metrics", "sockeye", step=lambda at: 4000 * at, loss="perplexity-train")
def _(at, loss):
    return (
        f"{at}\tlearning-rate=0.0002\tepoch=0\tupdates={4000 * at}\tperplexity-train={loss:.6f}\tperplexity-val=30.2\n"
    )


@shape("MXNet", "sockeye", step=lambda at: 20 * at, loss="cross-entropy")
def _(at, loss):
    return f"INFO:root:Epoch[0] Batch [{20 * at}]\tSpeed: 1000.00 samples/sec\tcross-entropy={loss:.6f}\n"


@shape("Kaldi", "kaldi", step=lambda at: 100 * at + 99, loss="negative objective")
def _(at, loss):
    return f"LOG (nnet3-train[5.5.0~1-1234]:PrintStatsForThisPhase():nnet-training.cc:319) Average objective function for 'output' for minibatches {100 * at}-{100 * at + 99} is {-loss:.6g} over 6400 frames.\n"


@shape("DeepSpeech", "deepspeech", step=lambda at: at, loss="Loss")
def _(at, loss):
    return f"Epoch 0 |   Training | Elapsed Time: 0:00:10 | Steps: {at} | Loss: {loss:.6f}\n"


@shape("tensorflow/nmt", "nmt_tutorial", step=lambda at: 100 * at, loss="ppl")
def _(at, loss):
    return f"  step {100 * at} lr 1 step-time 0.50s wps 10.00K ppl {loss:.2f} gN 5.12 bleu 0.00\n"


@shape("Flair", "flair", step=lambda at: 10 * at + 10, loss="loss")
def _(at, loss):
    return f"2021-05-01 10:00:00,123 epoch {1 + at // 55} - iter {10 * (at % 55) + 10}/550 - loss {loss:.8f} - time (sec): 2.1 - samples/sec: 50.12 - lr: 0.100000\n"


@shape("Joey NMT", "joeynmt", step=lambda at: 100 * at, loss="Batch Loss")
def _(at, loss):
    return f"2021-05-01 10:00:00,123 - INFO - joeynmt.training - Epoch   1, Step: {100 * at:8d}, Batch Loss: {loss:12.6f}, Batch Acc: 0.100000, Tokens per Sec:     1234, Lr: 0.000300\n"


@shape("mmcv by epochs", "openmmlab", step=lambda at: 50 * at + 50, loss="loss")
def _(at, loss):
    return f"2022-01-01 10:00:00,123 - mmdet - INFO - Epoch [{1 + at // 50}][{50 * (at % 50) + 50}/2500]\tlr: 1.978e-03, eta: 1 day, 3:00:00, time: 0.512, loss_rpn_cls: 0.4123, loss_cls: 0.2, acc: 92.1, loss: {loss:.4f}, grad_norm: 5.6123\n"


@shape("mmcv by iterations", "openmmlab", step=lambda at: 50 * at + 50, loss="loss")
def _(at, loss):
    return f"2022-01-01 10:00:00,123 - mmseg - INFO - Iter [{50 * at + 50}/80000]\tlr: 9.994e-03, eta: 10:10:10, decode.loss_ce: 2.1, aux.loss_ce: 0.9, loss: {loss:.4f}\n"


@shape("mmengine by epochs", "openmmlab", step=lambda at: 50 * at + 50, loss="loss")
def _(at, loss):
    return f"2022/09/21 10:00:00 - mmengine - INFO - Epoch(train)   [1][{50 * at + 50:4d}/7330]  lr: 1.9820e-03  eta: 10:00:00  time: 0.5123  memory: 3000  grad_norm: 5.6123  loss: {loss:.4f}  loss_rpn_cls: 0.4123\n"


@shape("mmengine by iterations", "openmmlab", step=lambda at: 50 * at + 50, loss="loss")
def _(at, loss):
    return f"09/21 10:00:00 - mmengine - INFO - Iter(train) [{50 * at + 50:5d}/80000]  base_lr: 9.9e-03  lr: 9.9e-03  eta: 10:00:00  loss: {loss:.4f}  decode.loss_ce: 2.1\n"


@shape(
    "fastai",
    "columns",
    step=lambda at: at,
    loss="train_loss",
    head="epoch     train_loss  valid_loss  accuracy  time    \n",
)
def _(at, loss):
    return f"{at:<10}{loss:<12.6f}{2.5:<12.6f}{'':<10}00:12   \n"


@shape(
    "fastai without metrics",
    "columns",
    step=lambda at: at,
    loss="train_loss",
    head="epoch     train_loss  valid_loss  time    \n",
)
def _(at, loss):
    return f"{at:<10}{loss:<12.6f}{'#na#':<12}00:12   \n"


@shape(
    "fastai in single blanks",
    "columns",
    step=lambda at: at,
    loss="train_loss",
    head="epoch train_loss valid_loss accuracy time\n",
)
def _(at, loss):
    return f"{at} {loss:.6f} 2.500000 0.512345 00:12\n"


@shape(
    "the Trainer in a notebook",
    "columns",
    step=lambda at: 500 * at,
    loss="Training Loss",
    head="Step Training Loss Validation Loss\n",
)
def _(at, loss):
    return f"{500 * at} {loss:.6f} 2.500000\n"


@shape(
    "skorch",
    "columns",
    step=lambda at: at + 1,
    loss="train_loss",
    head="  epoch    train_loss    valid_acc    valid_loss     dur\n-------  ------------  -----------  ------------  ------\n",
)
def _(at, loss):
    return f"{at + 1:7d}  \x1b[36m{loss:12.4f}\x1b[0m       \x1b[32m0.6150\x1b[0m  {2.5:12.4f}  0.0510\n"


@shape(
    "spaCy",
    "columns",
    step=lambda at: 200 * at,
    loss="sum of the losses",
    head="E    #       LOSS TOK2VEC  LOSS NER  ENTS_F  ENTS_P  ENTS_R  SCORE \n---  ------  ------------  --------  ------  ------  ------  ------\n",
)
def _(at, loss):
    return (
        f"{at // 20:3d}  {200 * at:6d}  {0.0:12.2f}  {loss:8.2f}  {50.0:6.2f}  {50.0:6.2f}  {50.0:6.2f}  {0.5:6.2f}\n"
    )


@shape("YOLOv5", "columns", step=lambda at: at, loss="total_loss")
def _(at, loss):
    bar = "\r".join(
        f"     {at}/299     3.47G   0.1125   0.0374   0.0426   {loss:.4g}       35      640: {done}%|###| {done}/100 [00:05<00:00]"
        for done in (10, 100)
    )
    return f"     Epoch   gpu_mem       box       obj       cls     total    labels  img_size\n{bar}\n               Class      Images     Targets           P           R      mAP@.5: 100%|###| 4/4 [00:01<00:00]\n                 all         128         929       0.577       0.4         0.5\n"


@shape("YOLOv8", "columns", step=lambda at: at + 1, loss="sum of the losses")
def _(at, loss):
    bar = "\r".join(
        f"      {at + 1}/300      2.19G      {loss:.4g}      1.234      1.1         12        640: {done}%|###| {done}/100 [00:30<00:00,  3.33it/s]"
        for done in (10, 100)
    )
    return f"      Epoch    GPU_mem   box_loss   cls_loss   dfl_loss  Instances       Size\n{bar}\n                 Class     Images  Instances      Box(P          R      mAP50  mAP50-95): 100%|###| 4/4 [00:01<00:00]\n                   all        128        929      0.668      0.521      0.616      0.454\n\n"


@shape("pandas", "columns", step=lambda at: at + 1, loss="train_loss", head="     epoch  train_loss  val_loss\n")
def _(at, loss):
    return f"{at:<4d}{at + 1:6d}{loss:12.4f}{2.5:10.4f}\n"


@shape(
    "a table in bars",
    "bars",
    step=lambda at: 20 * at + 20,
    loss="Train Loss",
    head=" Epoch  |  Batch  |  Train Loss  |  Val Loss  |  Val Acc  |  Elapsed \n" + "-" * 70 + "\n",
)
def _(at, loss):
    return (
        f"   {1 + at // 20}    |   {20 * (at % 20) + 20:3d}   |   {loss:.6f}   |     -      |     -     |   4.12   \n"
    )


@shape(
    "a table of Markdown",
    "bars",
    step=lambda at: at,
    loss="train loss",
    head="| epoch | train loss | val loss |\n|-------|------------|----------|\n",
)
def _(at, loss):
    return f"| {at} | {loss:.4f} | 2.5000 |\n"


@shape(
    "a framed table",
    "bars",
    step=lambda at: 10 * at,
    loss="loss",
    head="+-------+------------+\n| step  | loss       |\n+-------+------------+\n",
)
def _(at, loss):
    return f"| {10 * at:5d} | {loss:<10.4f} |\n"


@shape(
    "rich",
    "bars",
    step=lambda at: 10 * at,
    loss="loss",
    head="┏━━━━━━━┳━━━━━━━━━━━━┓\n┃ step  ┃ loss       ┃\n┡━━━━━━━╇━━━━━━━━━━━━┩\n",
)
def _(at, loss):
    return f"│ {10 * at:5d} │ {loss:<10.4f} │\n"


@shape("stable-baselines3", "boxes", step=lambda at: 2048 * at, loss="train/loss")
def _(at, loss):
    edge = "-" * 41 + "\n"
    return f"{edge}| rollout/                |             |\n|    ep_rew_mean          | -1.2e+03    |\n| time/                   |             |\n|    fps                  | 1000        |\n|    iterations           | {at:<11d} |\n|    total_timesteps      | {2048 * at:<11d} |\n| train/                  |             |\n|    entropy_loss         | -1.42       |\n|    loss                 | {loss:<11.3g} |\n|    value_loss           | 8.1         |\n{edge}"


@shape("guided-diffusion", "boxes", step=lambda at: 10 * at, loss="loss")
def _(at, loss):
    edge = "-" * 29 + "\n"
    return f"{edge}| grad_norm      | 0.123    |\n| loss           | {loss:<8.3g} |\n| loss_q0        | 0.0913   |\n| mse            | 0.5      |\n| step           | {10 * at:<8d} |\n{edge}"


@shape("baselines", "boxes", step=lambda at: 2048 * at, loss="loss/value_loss")
def _(at, loss):
    edge = "-" * 45 + "\n"
    return f"{edge}| eplenmean               | 200              |\n| loss/policy_loss        | -0.013           |\n| loss/value_loss         | {loss:<16.5g} |\n| misc/nupdates           | {at:<16d} |\n| misc/total_timesteps    | {2048 * at:<16d} |\n{edge}"


@shape("Spinning Up", "boxes", step=lambda at: 4000 * at, loss="LossV")
def _(at, loss):
    edge = "-" * 39 + "\n"
    return f"{edge}|             Epoch | {at:>15d} |\n|      AverageEpRet |           -1000 |\n| TotalEnvInteracts | {4000 * at:>15d} |\n|            LossPi |          -0.013 |\n|             LossV | {loss:>15.3g} |\n{edge}"


@shape("rlkit", "boxes", step=lambda at: at, loss="trainer/QF1 Loss")
def _(at, loss):
    edge = "---------------------------  ------------\n"
    return f"{edge}replay_buffer/size           {2000 * at}\ntrainer/QF1 Loss             {loss:.6g}\ntrainer/Policy Loss          -0.5\nEpoch                        {at}\n{edge}"


@shape("Trax", "trax", step=lambda at: 100 * at, loss="CrossEntropyLoss")
def _(at, loss):
    return f"Step {100 * at:6d}: Ran 100 train steps in 10.12 secs\nStep {100 * at:6d}: train CrossEntropyLoss |  {loss:.8f}\nStep {100 * at:6d}: eval  CrossEntropyLoss |  2.50000000\n"


@shape("Tacotron 2", "tacotron", step=lambda at: at, loss="loss")
def _(at, loss):
    return f"Train loss {at} {loss:.6f} Grad Norm 1.234567 2.34s/it\n" + (
        f"Validation loss {at}:  2.500000\n" if at % 20 == 19 else ""
    )


@shape("OpenNMT of Torch 7", "opennmt", step=lambda at: 50 * at + 50, loss="Training Perplexity")
def _(at, loss):
    return f"[09/01/17 10:00:00 INFO] Epoch 1 ; Iteration {50 * at + 50}/7480 ; Optim SGD LR 1.000000 ; Training Perplexity {loss:.2f} ; Source tokens/s 1234\n"


@shape(
    "YOLOv3",
    "columns",
    step=lambda at: at,
    loss="total_loss",
    head="     Epoch   gpu_mem      GIoU       obj       cls     total   targets  img_size\n",
)
def _(at, loss):
    return f"     {at}/272     6.91G      1.53      1.12      0.35      {loss:.4g}        42       416\n"


@shape("minGPT", "generic", step=lambda at: 10 * at, loss="train loss")
def _(at, loss):
    return f"iter {10 * at}: train loss {loss:.5f}. lr 6.000000e-04.\n"


@shape("rsl_rl", "rsl_rl", step=lambda at: at, loss="Value function loss")
def _(at, loss):
    return f"{'#' * 80}\n                      \x1b[1m Learning iteration {at}/1500 \x1b[0m                      \n\n                       Computation: 60713 steps/s (collection: 1.333s, learning 0.287s)\n               Value function loss: {loss:.4f}\n                    Surrogate loss: -0.0003\n             Mean action noise std: 1.00\n{'-' * 80}\n                   Total timesteps: 98304\n                    Iteration time: 1.62s\n"


@shape("RLlib", "ray_result", step=lambda at: at + 1, loss="info/learner/default_policy/learner_stats/total_loss")
def _(at, loss):
    return f"Result for PPO_CartPole-v0_b34c2_00000:\n  custom_metrics: {{}}\n  date: 2021-01-01_10-00-00\n  info:\n    learner:\n      default_policy:\n        learner_stats:\n          cur_lr: 4.999999873689376e-05\n          total_loss: {loss:.6f}\n          vf_loss: 0.5\n  timesteps_total: {4000 * at}\n  training_iteration: {at + 1}\n  \n"


@shape("Coqui", "coqui", step=lambda at: 25 * at, loss="loss")
def _(at, loss):
    evaluation = "\n \x1b[1m> EVALUATION \x1b[0m\n\n  \x1b[1m--> STEP: 0\x1b[0m\n     | > loss: 2.75000  (2.75000)\n\n  \x1b[1m--> EVAL PERFORMANCE\x1b[0m\n     | > avg_loss: 2.75000 (+0.00000)\n"
    return (
        f"\n   \x1b[1m--> STEP: {25 * at}/9000 -- GLOBAL_STEP: {25 * at}\x1b[0m\n     | > decoder_loss: 0.50000  (0.50000)\n     | > loss: {loss:.5f}  (2.50000)\n     | > grad_norm: 1.23456  (1.23456)\n     | > current_lr: 2.5e-07 \n"
        + (evaluation if at % 10 == 9 else "")
    )


@shape("AllenNLP", "allennlp", step=lambda at: at, loss="loss")
def _(at, loss):
    before = "2021-05-01 10:00:00,123 - INFO - allennlp.training."
    return f"{before}trainer - Epoch {at}/{COUNT - 1}\n{before}tensorboard_writer -                        Training |  Validation\n{before}tensorboard_writer - accuracy           |     0.912  |     0.812\n{before}tensorboard_writer - gpu_0_memory_MB    |  2000.000  |       N/A\n{before}tensorboard_writer - loss               |     {loss:.3f}  |     2.500\n"


@shape("TensorFlow's object detection", "printed_dict", step=lambda at: 100 * at, loss="Loss/total_loss")
def _(at, loss):
    return f"I0606 15:08:00.123456 140 model_lib_v2.py:705] Step {100 * at} per-step time 18.226s\nI0606 15:08:00.123456 140 model_lib_v2.py:708] {{'Loss/BoxClassifierLoss/classification_loss': 0.0144,\n 'Loss/RPNLoss/localization_loss': 0.2956,\n 'Loss/total_loss': {loss:.6f},\n 'learning_rate': 0.0003}}\n"


@shape("Orbit", "printed_dict", step=lambda at: 100 * at, loss="training_loss")
def _(at, loss):
    return f"I0512 10:00:00.123456 140 controller.py:487] train | step:    {100 * at} | steps/sec:   10.2 | output: \n    {{'learning_rate': 0.001,\n     'training_loss': {loss:.6f}}}\n"


@shape("pprint", "printed_dict", step=lambda at: 100 * at, loss="loss")
def _(at, loss):
    return f"epoch 1\n{{'grad_norm': np.float64(1.25),\n 'loss': {loss:.6f},\n 'lr': 0.0003,\n 'step': {100 * at}}}\n"


@shape("tensor2tensor", "generic", step=lambda at: 100 * at, loss="loss")
def _(at, loss):
    return f"INFO:tensorflow:loss = {loss:.4f}, step = {100 * at} (10.242 sec)\nINFO:tensorflow:global_step/sec: 9.7\n"


@shape("OLMo with many norms", "olmo", step=lambda at: 10 * at, loss="train/CrossEntropyLoss")
def _(at, loss):
    norms = "".join(f"    grad_provenance/part{part}_grad_l2_norm=0.0161\n" for part in range(6))
    return f"2025-12-27 00:58:00.517\thost-03:0\tolmo.train:990\tINFO\t[step={10 * at}/2000,epoch=0]\n    optim/total_grad_norm=0.9907\n    train/CrossEntropyLoss={loss:.4g}\n{norms}"


def curve() -> list[float]:
    """A loss that falls, leaves its course for four records, comes back and dies."""
    losses = [8 - 0.02 * at + 0.01 * (at % 3) for at in range(COUNT)]
    for at in SPIKE:
        losses[at] += 6
    return [*losses[:DEAD], *[float("nan")] * (COUNT - DEAD)]


def written(name: str) -> str:
    head, write = SHAPES[name][3:]
    return head + "".join(write(at, loss) for at, loss in enumerate(curve()))


def steps_of_losses(table: LogTable) -> list[float]:
    carried = table.nan_rows["loss"] | (table.columns["loss"] == table.columns["loss"])
    return table.step[carried].tolist()


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_is_recognised_and_its_spike_and_its_nan_are_where_they_are(tmp_path, name):
    format_, step, loss, _, _ = SHAPES[name]
    path = tmp_path / "train.log"
    path.write_text(written(name))
    table = read_log(str(path))
    assert (table.format, table.source_names["loss"]) == (format_, loss)
    assert steps_of_losses(table) == [step(at) for at in range(COUNT)]
    assert table.unreadable_lines == 0
    events = judge_table(table, LogOptions()).series["loss"].events
    found = {event.kind.value: (event.start, event.points) for event in events}
    assert found["nan"] == (step(DEAD), COUNT - DEAD)
    assert found["spike"] == (step(SPIKE[0]), len(SPIKE))


FOLLOWED = ["Coqui", "YOLOv8", "stable-baselines3", "RLlib", "pprint", "spaCy", "darknet", "Kaldi", "a table in bars"]


@pytest.mark.parametrize("name", FOLLOWED)
def test_a_shape_that_is_followed_is_read_as_a_whole(tmp_path, name):
    content = written(name).encode()
    path = tmp_path / "train.log"
    path.write_bytes(content)
    table = read_log(str(path), log_format=SHAPES[name][0])
    for chunk in (13, 4096):
        same_as_rows(table, rows_of(content, SHAPES[name][0], chunk))


LOST = [
    ("opennmt", "Step 50/5000; acc: 11.2; ppl: 9.5; xent: ##; lr: 0.1;"),
    ("opennmt", "Step = 50 ; steps/s = 1.52 ; Loss = ##"),
    ("marian", "Ep. 7 : Up. 306350 : Sen. 5,630,845 : Cost ## : Time 6.91s"),
    ("mindspore", "epoch: 1 step: 3, loss is ##"),
    ("darknet", " 71: ##, 3.5 avg loss, 0.000000 rate, 3.1 seconds, 4544 images"),
    ("sockeye", "Epoch[0] Batch [50]\tSpeed: 1000.00 samples/sec\tperplexity=##"),
    ("kaldi", "Average objective function for 'output' for minibatches 0-99 is ## over 6400 frames."),
    ("deepspeech", "Epoch 0 |   Training | Elapsed Time: 0:00:10 | Steps: 25 | Loss: ##"),
    ("flair", "epoch 1 - iter 10/100 - loss ## - samples/sec: 50.12"),
    ("joeynmt", "Epoch   1, Step:      100, Batch Loss:     ##, Lr: 0.1"),
    ("openmmlab", "Epoch [1][50/7330]\tlr: 1.978e-03, loss: ##, grad_norm: 5.6"),
    ("columns", "epoch  train_loss  time\n1  ##  3"),
    ("bars", "epoch | loss | lr\n1 | ## | 3"),
    ("boxes", "| loss | ## |\n| step | 3 |\n------------"),
    ("coqui", "--> STEP: 25/405 -- GLOBAL_STEP: 25\n | > loss: ##"),
    ("allennlp", "allennlp.training.x - loss   |   ##  |  2.5"),
    ("trax", "Step 100: train CrossEntropyLoss |  ##"),
    ("tacotron", "Train loss 100 ## Grad Norm 1.2 2.34s/it"),
    ("rsl_rl", "   Value function loss: ##"),
    ("printed_dict", "{'loss': '##',\n 'lr': 0.1}"),
]


@pytest.mark.parametrize(("name", "text"), LOST)
def test_a_loss_that_cannot_be_read_is_counted(tmp_path, name, text):
    format_ = next(one for one in SHAPES.values() if one[0] == name)
    path = tmp_path / "train.log"
    path.write_text(f"{text}\n{format_[3]}" + "".join(format_[4](at, 2.5) for at in range(3)))
    table = read_log(str(path), log_format=name)
    assert (table.unreadable_lines, table.loss_lines) == (1, 4)
    assert [value for value in table.columns["loss"].tolist() if not math.isnan(value)][-3:] == [2.5] * 3


@pytest.mark.parametrize("header", ["Step Training Loss Validation Loss", "Step\tTraining Loss\tValidation Loss"])
def test_no_log_in_a_table_of_the_trainer_is_no_damage(tmp_path, header):
    blank = header[4]
    rows = [[str(500 * at), "No log" if at < 4 else "2.5", "2.75"] for at in range(9)]
    path = tmp_path / "table.txt"
    path.write_text("\n".join([header, *map(blank.join, rows)]))
    table = read_log(str(path))
    assert table.unreadable_lines == 0
    assert table.step.tolist() == [500 * at for at in range(9)]
    assert table.columns["loss"][4:].tolist() == [2.5] * 5
