"""The shape of the package in numbers, each beside its bar; exit code 1 if one is missed.

Modules and their lines, chains and circles of imports, lengths of functions, comments, top-level names, and how many
files of the package `mhcdiag.gain` runs through on a sample. `-v` lists what the numbers count. The test
`tests/test_structure.py` holds the bars in every run.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import median, quantiles

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "mhcdiag"
SHIMS = frozenset({"api", "diagnosis", "inspecting", "module_conformance"})
"""Modules that only keep old import paths alive."""

SMALL, LARGE, LONG_BODY = 60, 350, 45


@dataclass(frozen=True, kw_only=True, slots=True)
class Module:
    """One file of the package."""

    name: str
    """Dotted, the package included."""
    lines: int
    tree: ast.Module
    comments: int
    """Lines that hold nothing but a comment, and comments behind code."""
    early: frozenset[str] = field(default=frozenset())
    """Modules of the package that it imports while it is imported."""
    late: frozenset[str] = field(default=frozenset())
    """Modules that it imports inside functions."""

    @property
    def is_counted_small(self) -> bool:
        """Whether it is a small file that needs a reason."""
        last = self.name.rpartition(".")[2]
        is_package = (PACKAGE.parent / self.name.replace(".", "/")).is_dir()
        return self.lines < SMALL and not is_package and last not in {*SHIMS, "__main__"}


@cache
def modules() -> Mapping[str, Module]:
    """All modules of the package by name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        comments = sum(1 for line in text.splitlines() if re.search(r"(^\s*|\s\s)# (?!noqa|type:|fmt:)", line))
        found[name] = Module(name=name, lines=text.count("\n"), tree=ast.parse(text), comments=comments)
    return {name: _with_imports(module, found) for name, module in found.items()}


def _with_imports(module: Module, known: Mapping[str, Module]) -> Module:
    early, late = set[str](), set[str]()
    for node, inside in _imports(module.tree, inside=False):
        (late if inside else early).update(_targets(node, known))
    drop = {module.name}
    return Module(
        name=module.name, lines=module.lines, tree=module.tree, comments=module.comments,
        early=frozenset(early - drop), late=frozenset(late - drop),
    )  # fmt: skip


def _imports(node: ast.AST, *, inside: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, inside
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield from _imports(other, inside=inside)
        else:
            yield from _imports(child, inside=inside or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))


def _targets(node: ast.Import | ast.ImportFrom, known: Mapping[str, Module]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in known)
    elif node.module in known:
        for alias in node.names:
            full = f"{node.module}.{alias.name}"
            yield full if full in known else node.module


def circles(*, late: bool = False) -> list[list[str]]:
    """Groups of modules that import each other, by Tarjan's algorithm."""
    graph = {name: module.early | (module.late if late else frozenset()) for name, module in modules().items()}
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in graph[name]:
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            group = []
            while True:
                group.append(stack.pop())
                if group[-1] == name:
                    break
            if len(group) > 1:
                found.append(sorted(group))

    for name in graph:
        if name not in index:
            visit(name)
    return found


def longest_chain(*, late: bool) -> list[str]:
    """The longest chain of imports, from the importer down; what stands in a circle is entered once."""
    graph = {name: module.early | (module.late if late else frozenset()) for name, module in modules().items()}
    best: dict[str, list[str]] = {}
    open_ = set[str]()

    def below(name: str) -> list[str]:
        if name not in best:
            open_.add(name)
            chains = [below(other) for other in sorted(graph[name]) if other not in open_]
            best[name] = [name, *max(chains, key=len, default=[])]
            open_.remove(name)
        return best[name]

    return max((below(name) for name in graph), key=len)


def bodies() -> list[tuple[int, str]]:
    """Lines of every function without its signature and docstring, with its place; longest first."""
    found = []
    for module in modules().values():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) is not None else node.body
                length = body[-1].end_lineno - body[0].lineno + 1 if body else 0  # type: ignore[operator]
                found.append((length, f"{module.name}:{node.lineno} {node.name}"))
    return sorted(found, reverse=True)


def top_level_names() -> tuple[int, int]:
    """Public and private names that modules define."""
    public = private = 0
    for module in modules().values():
        for node in module.tree.body:
            names: list[str] = []
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
                names = [node.name]
            elif isinstance(node, ast.Assign):
                names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                names = [node.target.id]
            for name in names:
                private += name.startswith("_")
                public += not name.startswith("_")
    return public, private


PROFILE = """
import sys, os
import mhcdiag
sample = sys.argv[1]
mhcdiag.gain(sample)
files = set()
top = os.path.dirname(mhcdiag.__file__)
def look(frame, event, argument):
    if event == "call" and frame.f_code.co_filename.startswith(top):
        files.add(frame.f_code.co_filename)
sys.setprofile(look)
mhcdiag.gain(sample)
sys.setprofile(None)
print(len(files))
print(*sorted(files), sep="\\n", file=sys.stderr)
"""


GAIN_FILES = 52
"""45 before aligned inputs, the ascent to what some input reaches, and evidence were part of a gain."""


def files_of_gain() -> int:
    """Files of the package whose code a second `mhcdiag.gain` of a sample runs (`sys.setprofile`)."""
    sample = ROOT / "sample_checkpoints" / "hc.safetensors"
    done = subprocess.run(
        [sys.executable, "-c", PROFILE, str(sample)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return int(done.stdout)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """One number that may not grow."""

    title: str
    value: int
    most: int

    @property
    def is_met(self) -> bool:
        """Whether it stays within."""
        return self.value <= self.most


def bars() -> list[Bar]:
    """Every bar but the one that needs a run."""
    every = modules().values()
    return [
        # 308 when the house was rebuilt (bar 310). Since then `weights` (a scanner, its rules, a command), evidence of
        # verdicts, five layouts and their proofs, aligned and worst inputs, and runs of models on text came in.
        Bar(title="modules", value=len(every), most=400),
        Bar(title=f"modules under {SMALL} lines", value=sum(m.is_counted_small for m in every), most=35),
        Bar(title=f"modules above {LARGE} lines", value=sum(m.lines > LARGE for m in every), most=0),
        Bar(title="circles of imports", value=len(circles()), most=0),
        Bar(title="circles, late imports included", value=len(circles(late=True)), most=0),
        Bar(title="longest chain of imports", value=len(longest_chain(late=False)), most=15),
        # 17 when the house was rebuilt; x-transformers' checkpoints are read as ByteDance's where the user says so.
        Bar(title="longest chain, late imports included", value=len(longest_chain(late=True)), most=18),
        Bar(title=f"function bodies above {LONG_BODY} lines", value=sum(n > LONG_BODY for n, _ in bodies()), most=0),
    ]


def main() -> int:
    """Print everything."""
    every = modules().values()
    lines = sorted(module.lines for module in every)
    lengths = sorted(length for length, _ in bodies())
    code = sum(lines)
    public, private = top_level_names()
    print(f"{len(lines)} modules, {code} lines; median {median(lines):.0f}, p90 {quantiles(lines, n=10)[-1]:.0f}")
    print(f"function bodies: p90 {quantiles(lengths, n=10)[-1]:.0f}, longest {lengths[-1]} lines")
    print(f"comments: {100 * sum(module.comments for module in every) / code:.1f} per 100 lines")
    print(f"top-level names: {public} public, {private} private")
    found = [*bars(), Bar(title="files that a warm mhcdiag.gain runs through", value=files_of_gain(), most=GAIN_FILES)]
    for bar in found:
        print(f"{bar.title:44}{bar.value:6}   bar {bar.most:4} {'met' if bar.is_met else 'MISSED'}")
    if "-v" in sys.argv[1:]:
        for late in (False, True):
            print(f"longest chain{', late imports included' if late else ''}:")
            print("  " + "\n  ".join(longest_chain(late=late)))
        for group in circles(late=True):
            print("circle:", *group)
        print("small:", *sorted(f"{m.lines} {m.name}" for m in every if m.is_counted_small), sep="\n  ")
        print("large:", *(f"{m.name} {m.lines}" for m in every if m.lines > LARGE))
        print("long bodies:", *(f"{place} {length}" for length, place in bodies() if length > LONG_BODY), sep="\n  ")
    return 0 if all(bar.is_met for bar in found) else 1


if __name__ == "__main__":
    sys.exit(main())
