"""The digest of the code that decides a result, so that an edit reruns what it can change and nothing else.

A module is reduced to a normal form of its syntax: no comments, no docstrings, no positions, no formatting, and nothing
in which Python 3.11 to 3.14 print the same tree differently. A root module counts together with everything it
imports, at any depth, from the packages that hold implementations; registries are tables of names and never
count. A module that lies in a project of the user's (not where libraries are installed) counts as well. Installed packages
which that code imports are returned with their versions.

    >>> code_of("tasks.verifiers.sums").libraries
    {}
    >>> code_of("tasks.engines.transformers").libraries
    {'numpy': '2.4.6', 'torch': '2.13.0+cpu', 'transformers': '5.23.0'}

Not covered: code reached only through a name computed at run time, and compiled extensions beyond their version.
"""

import ast
import functools
import hashlib
import importlib.metadata
import importlib.util
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from storage.errors import UserMistake

COUNTED = ("tasks.engines", "tasks.problems", "tasks.prompts", "tasks.training", "tasks.verifiers")
"""Packages whose modules decide results. Storage, caching, tracking, processes and the command line never do."""

SHARED = frozenset(
    {
        "tasks.composition",
        "tasks.forest",
        "tasks.generation",
        "tasks.judgements",
        "tasks.sample",
        "tasks.tree",
        "tasks.verify",
        "storage.significance",
    }
)
"""Modules outside them that tasks share, and that decide results as well."""

OURS = frozenset({"flows", "storage", "tasks"})
"""starloop's own top-level packages."""

NEUTRAL_LIBRARIES = frozenset({"pyarrow", "rich", "prefect", "duckdb", "mlflow", "typing_extensions"})
"""Libraries that carry or show rows but do not decide them."""


@dataclass(frozen=True, slots=True)
class Code:
    """`modules`: module name to the digest of its normal form; `libraries`: distribution name to version."""

    modules: dict[str, str]
    libraries: dict[str, str]

    def as_json(self) -> dict[str, object]:
        return {"modules": dict(sorted(self.modules.items())), "libraries": dict(sorted(self.libraries.items()))}


def code_of(*roots: str) -> Code:
    """The code reached from these modules. A root outside starloop counts with its own top-level package, installed or not.

    Raises UserMistake for a root that has no Python source, since a change of it could not be seen; an import that cannot be
    found counts as a library that is absent.
    """
    own = {root.split(".")[0] for root in roots} - OURS
    modules: dict[str, str] = {}
    libraries: dict[str, str] = {}
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name in modules:
            continue
        path = source_path(name)
        if path is None:
            raise UserMistake(
                f"there is no Python source for module {name!r}, so nobody could tell when its code changes; "
                "name a module that is written in Python"
            )
        syntax = _read(path, path.stat().st_mtime_ns)
        modules[name] = syntax.digest
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for imported in syntax.imports:
            target = _absolute(imported, package)
            top = target.split(".")[0]
            if top not in OURS and (top in own or _is_own(top)):
                own.add(top)
            if found := _module_in(target, own):
                waiting.append(found)
            elif top not in sys.stdlib_module_names and top not in OURS and top not in own:
                libraries.update(_versions(top))
    return Code(modules, libraries)


def normal_form(source: str) -> str:
    """One text for all programs with the same meaning to Python, docstrings and comments aside."""
    return "".join(_tokens(ast.parse(source)))


@functools.cache
def source_path(module: str) -> Path | None:
    """The file of a module, found by name below its top-level package; nothing is imported."""
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not rest:
        return Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None
    for folder in spec.submodule_search_locations or ():
        for path in (Path(folder, *rest).with_suffix(".py"), Path(folder, *rest, "__init__.py")):
            if path.is_file():
                return path
    return None


@dataclass(frozen=True, slots=True)
class _Syntax:
    digest: str
    imports: tuple[str, ...]


@functools.lru_cache(maxsize=1024)
def _read(path: Path, modified_ns: int) -> _Syntax:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imports: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            prefix = "." * node.level + (node.module or "")
            join = "" if prefix.endswith(".") else "."
            imports += [f"{prefix}{join}{alias.name}" for alias in node.names]
    text = "".join(_tokens(tree))
    return _Syntax(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest(), tuple(imports))


def _absolute(imported: str, package: str) -> str:
    level = len(imported) - len(imported.lstrip("."))
    if level == 0:
        return imported
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - level + 1], imported.lstrip(".")])


def _module_in(dotted: str, own: set[str]) -> str | None:
    """The module that a dotted import names, if its code counts; nothing outside these packages is looked up or imported.

    What is no module of a package is a name in it: `from mypackage import rule` reads `mypackage/__init__.py`.
    """
    if dotted.split(".")[0] not in own and not dotted.startswith((*COUNTED, *SHARED)):
        return None
    candidate = dotted
    while candidate:
        path = source_path(candidate)
        if path is not None:
            counts = candidate.split(".")[0] in own or _counts(candidate)
            return candidate if counts else None
        candidate = candidate.rpartition(".")[0]
    return None


def _counts(module: str) -> bool:
    counted = module in SHARED or module.startswith(tuple(f"{package}." for package in COUNTED))
    return counted and not module.endswith(".registry")


@functools.cache
def _is_own(top_level: str) -> bool:
    """Whether an imported package or module is part of somebody's project: its source is not where libraries are installed."""
    if top_level in sys.stdlib_module_names:
        return False
    try:
        spec = importlib.util.find_spec(top_level)
    except (ImportError, ValueError):
        return False
    places = [] if spec is None else [*(spec.submodule_search_locations or ()), spec.origin or ""]
    sources = [Path(place).resolve() for place in places if place and Path(place).exists()]
    return bool(sources) and not any(_installed(source) for source in sources)


def _installed(source: Path) -> bool:
    places = (sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib"))
    named = {"site-packages", "dist-packages"} & set(source.parts)
    return bool(named) or any(source.is_relative_to(Path(place).resolve()) for place in places)


@functools.cache
def _versions(top_level: str) -> dict[str, str]:
    names = _distributions().get(top_level, [])
    return {name: importlib.metadata.version(name) for name in names if name not in NEUTRAL_LIBRARIES}


@functools.cache
def _distributions() -> dict[str, list[str]]:
    return {top: sorted(set(names)) for top, names in importlib.metadata.packages_distributions().items()}


def _tokens(node: object) -> Iterator[str]:
    """Class name and fields, leaving out what is empty: newer Pythons add fields that are empty for older programs."""
    if isinstance(node, ast.AST):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = _without_docstring(node.body)
        elif isinstance(node, ast.JoinedStr):
            node.values = _joined(node.values)
        yield f"({type(node).__name__}"
        for name, value in ast.iter_fields(node):
            if value is None or value == [] or name in {"ctx", "kind", "type_comment", "type_ignores"}:
                continue
            yield f" {name}="
            yield from _tokens(value)
        yield ")"
    elif isinstance(node, list):
        yield "["
        for item in node:
            yield from _tokens(item)
            yield ","
        yield "]"
    else:
        yield f"{type(node).__name__}:{node!r}"


def _joined(values: list[ast.expr]) -> list[ast.expr]:
    """Neighbouring string constants of an f-string as one: some versions split them where others do not."""
    joined: list[ast.expr] = []
    for value in values:
        last = joined[-1] if joined else None
        if isinstance(value, ast.Constant) and isinstance(last, ast.Constant):
            joined[-1] = ast.Constant(f"{last.value}{value.value}")
        else:
            joined.append(value)
    return joined


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0] if body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        return body[1:]
    return body
