"""`mhcdiag check`: a policy over checkpoints and logs."""

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperOption

from mhcdiag.cli.configured import POLICY, Config, Configured, Isolated, effective
from mhcdiag.cli.options import parse_sites
from mhcdiag.cli.output import check_writable, complain, console, write_text
from mhcdiag.errors import OutputError, SettingError
from mhcdiag.results.verdict import GainEvidence

if TYPE_CHECKING:
    from mhcdiag.reports.check_formats.interface import ReportFormat
    from mhcdiag.reports.choosing import Target
    from mhcdiag.results.check import CheckReport
    from mhcdiag.usecases.check import Plan
    from mhcdiag.usecases.options import CheckOptions

GATE = "Gate"
BASELINE = "Baseline"
OUTPUT = "Output"
POLICY_PANEL = "Policy"

Paths = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATH",
        help="Checkpoints, logs and folders of them, in place of the policy's inputs.",
        show_default=False,
    ),
]
Init = Annotated[
    bool,
    typer.Option(
        "--init",
        help="Write a commented mhcdiag.toml to start from.",
        rich_help_panel=POLICY_PANEL,
        allow_from_autoenv=False,
    ),
]
BaselineFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Earlier JSON report that max_ratio and spikes.new compare with.", rich_help_panel=BASELINE
    ),
]
UpdateBaseline = Annotated[
    bool,
    typer.Option(
        "--update-baseline",
        help="Accept what is found: write it to the baseline file.",
        rich_help_panel=BASELINE,
        allow_from_autoenv=False,
    ),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict",
        help="Warnings count as failures; anything assumed, skipped or sampled leaves it unjudged.",
        rich_help_panel=GATE,
    ),
]
Require = Annotated[
    GainEvidence | None,
    typer.Option(
        help="What a pass on a checkpoint must rest on (default: \\[gain] require; else sampled is a warning).",
        rich_help_panel=GATE,
        show_default=False,
    ),
]
ExitZero = Annotated[
    bool, typer.Option("--exit-zero", help="End with 0 whatever is found: a trial period.", rich_help_panel=GATE)
]
Scan = Annotated[
    bool | None,
    typer.Option(
        "--scan/--no-scan",
        help="Look at all weights of checkpoints (default: of local ones up to 4 GB).",
        rich_help_panel=GATE,
        show_default=False,
    ),
]
Format = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="NAME",
        help="What to print: {names}.",  # filled in by `CheckCommand`
        rich_help_panel=OUTPUT,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="The same as --format json.", rich_help_panel=OUTPUT)]
Output = Annotated[
    list[str] | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Also write a report: {suffixes}, or FORMAT:FILE (repeatable).",
        rich_help_panel=OUTPUT,
        show_default=False,
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs", "-j", min=1, help="Inputs at a time (default: 2).", rich_help_panel=OUTPUT, show_default=False
    ),
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Show the gates that pass as well.", rich_help_panel=OUTPUT)
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print what decided and the verdict only.", rich_help_panel=OUTPUT)
]


class CheckCommand(Configured):
    """The command with its help."""

    def format_help(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        """Print the help, its lists of report formats filled in.

        Not before: the page of all commands builds each of them, and the formats would double the time that it takes.
        """
        from mhcdiag.reports.choosing import names_in_words, suffixes_in_words

        for option in self.params:
            if isinstance(option, TyperOption) and option.help:
                option.help = option.help.replace("{names}", names_in_words()).replace(
                    "{suffixes}", suffixes_in_words()
                )
        super().format_help(ctx, formatter)


COMMAND_CLASS = CheckCommand
"""What `mhcdiag.cli.main` builds the command with."""


def check(
    ctx: typer.Context,
    paths: Paths = None,
    init: Init = False,
    baseline: BaselineFile = None,
    update_baseline: UpdateBaseline = False,
    require: Require = None,
    strict: Strict = False,
    exit_zero: ExitZero = False,
    scan: Scan = None,
    form: Format = "text",
    as_json: AsJson = False,
    outputs: Output = None,
    jobs: Jobs = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
    _isolated: Isolated = False,
    _config: Config = None,
) -> None:
    """Hold checkpoints and logs against a policy: the gates that CI, schedulers and people act on.

    Without a policy file, the default gates of gain and spikes apply.
    Exit codes: 0 every gate passed, 1 one failed, 2 something could not be judged.

    [bold]Examples[/bold]

      mhcdiag check --init
      mhcdiag check
      mhcdiag check checkpoints/ logs/ -o report.html -o junit.xml
      mhcdiag check --baseline good.json --format github
    """
    from mhcdiag.reports.choosing import named_format
    from mhcdiag.usecases.check import run_check
    from mhcdiag.usecases.options import CheckOptions

    if init:
        write_starter()
        return
    printed = named_format("json" if as_json else form)
    if printed is not None:
        printed.require()
    targets = parse_targets(outputs or ())
    path, policy = ctx.meta.get(POLICY, (None, None))
    options = CheckOptions(
        paths=tuple(paths or ()),
        policy=policy,
        policy_path=path,
        baseline=None if update_baseline else baseline,
        strict=strict,
        require=require,
        exit_zero=exit_zero,
        scan=scan,
        jobs=jobs,
    )
    plan = plan_of(ctx, options)
    kept = [*(one.path for one in plan.inputs), *([path] if path else []), *([baseline] if baseline else [])]
    refuse_overwriting(targets, kept)
    report = update(plan, baseline) if update_baseline else run_check(plan)
    write_reports(report, targets)
    print_report(report, form=printed, quiet=quiet, verbose=verbose)
    raise typer.Exit(report.exit_code)


def plan_of(ctx: typer.Context, options: "CheckOptions") -> "Plan":
    """Return the plan of a check whose inputs are read with the options of `gain` and `spikes` that apply here."""
    from mhcdiag.usecases.check import checkpoint_reader, find_inputs, has_checkpoints, make_plan
    from mhcdiag.usecases.options import GainOptions, LogOptions, WeightsOptions

    inputs = find_inputs(options)
    # Options are looked at even where no input needs them: a policy that is wrong is wrong.
    of_gain, _ = effective(ctx, "gain")
    options = replace(options, require=options.require or of_gain["require"])
    of_spikes, _ = effective(ctx, "spikes")
    of_weights, _ = effective(ctx, "weights")
    weights = WeightsOptions.from_params(of_weights)
    logs = LogOptions.from_params(of_spikes)
    logs.published_rule()
    checkpoints = None
    if has_checkpoints(inputs):
        sites = parse_sites(of_gain["sites"])
        gains = GainOptions.from_params({**of_gain, "sites": sites})
        checkpoints = checkpoint_reader(gains, weights, scan=options.scan)
    return make_plan(options, inputs, logs=logs, checkpoints=checkpoints)


def update(plan: "Plan", path: Path | None) -> "CheckReport":
    """Make what is found now the baseline; OutputError where it cannot be written, or an input not be read."""
    from mhcdiag.reports.check_formats.json_document import check_json
    from mhcdiag.usecases.check import accept

    if path is None:
        raise SettingError("--update-baseline: which file? give --baseline FILE, or baseline in [check]")
    check_writable(path, option="--baseline")
    report = accept(plan, path)
    write_text(path, check_json(report), option="--baseline")
    return report


def write_starter() -> None:
    """Write a policy to start from; OutputError where there is one already."""
    from mhcdiag.policies.policy_files import STARTER

    path = Path("mhcdiag.toml")
    if path.exists():
        raise OutputError(f"{path} exists already; nothing was written")
    write_text(path, STARTER, option="--init")
    typer.echo(f"wrote {path}: name your checkpoints and logs in it, then run `mhcdiag check`")


def parse_targets(wanted: Sequence[str]) -> "list[Target]":
    """Return the reports to write.

    Parameters
    ----------
    wanted
        `FILE` or `FORMAT:FILE` each.

    Raises
    ------
    SettingError
        An unknown format, or two reports to one file.
    OutputError
        A file that could not be written; before any work is done.
    """
    from mhcdiag.reports.choosing import target_of

    targets = []
    for word in wanted:
        target = target_of(word)
        check_writable(target.path, option="-o")
        target.format.require()
        targets.append(target)
    places = [os.path.realpath(target.path) for target in targets]
    for index, place in enumerate(places):
        if place in places[:index]:
            raise SettingError(f"-o {targets[index].path}: two reports would be written to this file")
    return targets


def refuse_overwriting(targets: "Sequence[Target]", kept: Iterable[str | os.PathLike[str]]) -> None:
    """Raise OutputError for a report that would take the place of an input, the policy or the baseline."""
    places = {os.path.realpath(path) for path in kept}
    for target in targets:
        if os.path.realpath(target.path) in places:
            raise OutputError(f"-o {target.path}: cannot be written; the check reads this file")


def write_reports(report: "CheckReport", targets: "Sequence[Target]") -> None:
    """Write every report, each under a temporary name first; OutputError where that fails."""
    texts = [target.format.render(report) for target in targets]
    for target, text in zip(targets, texts, strict=True):
        write_text(target.path, text, option="-o")


def print_report(report: "CheckReport", *, form: "ReportFormat | None", quiet: bool, verbose: bool) -> None:
    """Print the report, on the terminal's own terms without a format; what could not be read also stands on stderr."""
    for checked in report.inputs:
        if checked.error:
            complain(checked.error)
    if form is not None:
        sys.stdout.write(form.render(report))
        if form.name == "github":
            _tell_github(report)
        return
    from mhcdiag.reports.check_console import check_report, decision

    out = console()
    if not quiet:
        out.print(check_report(report, details=verbose))
    for line in decision(report):
        out.print(line, soft_wrap=True)


def _tell_github(report: "CheckReport") -> None:
    """Append the job summary and the step's outputs where GitHub Actions asks for them."""
    from mhcdiag.reports.check_formats.github import github_outputs, github_summary

    for variable, make in (("GITHUB_STEP_SUMMARY", github_summary), ("GITHUB_OUTPUT", github_outputs)):
        path = os.environ.get(variable)
        if path:
            try:
                with Path(path).open("a", encoding="utf-8") as file:
                    file.write(make(report))
            except OSError as error:
                raise OutputError(f"{variable}={path}: {error.strerror or error}") from error
