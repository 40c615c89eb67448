"""Which source a stage kind's computation depends on, by reading it; nothing is imported and nothing runs.

From the kind's `run` function names are followed to the definitions they may mean, across modules and through imports
inside functions. Too much may be found, never too little: what cannot be followed is refused. A definition counts by
its syntax tree without comments and docstrings, so that wording does not count.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import harness
from harness.identity import sha256_of

# The boundary, in rooms. A test holds that every module which a kind reaches is in one of these two tables.
COMPUTES = (
    "harness.compression",
    "harness.data",
    "harness.inputs",
    "harness.metrics",
    "harness.packed",
    "harness.runtimes",
    "harness.specs",
    "harness.stages",
    "harness.task_files.task",
    "harness.tasks",
    "harness.training",
)
OUTSIDE: Mapping[str, str] = {  # reached, and why it cannot change a number once parameters and inputs are given
    "harness.errors": "wording of errors",
    "harness.files": "how finished files get to disk",
    "harness.identity": "digests of what a stage reads: a mismatch stops it, a match changes nothing",
    "harness.progress": "reports how far a stage is",
    "harness.task_files.form": "reads a task's declaration, which a stage's identity holds",
    "harness.synthetic": "tables and tiny encoders: named by their generator's version, whose output a test holds",
    "harness.wording": "how a sentence names an option",
}
# Attribute of the context -> the module whose objects it provides.
HANDED_OVER = {"sources": "harness.inputs.data_sources"}

DIGEST_HEX_DIGITS = 16
STATEMENTS = "<statements>"  # what a module runs when imported, beside its definitions
_WHOLE = "*"
# Ways to reach code that no name leads to. `f` is a name, `.f` an attribute.
_UNTRACEABLE = {"eval", "exec", "globals", "__import__", "__init_subclass__", ".__subclasses__"}
_BY_NAME = {"import_module", ".import_module"}
_NO_MEANING = {"ctx", "kind", "type_comment"}
_Reference = tuple[str, str]  # module, and a name in it
_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass
class _Module:
    """A module's top level. definitions: name -> the statements that bind it; imports: name -> what it may stand for.

    statements: all others; they run whenever the module is imported.
    """

    name: str
    package: str
    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, list[_Reference]] = field(default_factory=dict)
    statements: list[ast.stmt] = field(default_factory=list)


class SourceTree:
    """The source of some packages. packages: top-level name -> folder; outside and handed_over as above."""

    def __init__(
        self,
        packages: Mapping[str, Path],
        *,
        outside: Mapping[str, str] = OUTSIDE,
        handed_over: Mapping[str, str] = HANDED_OVER,
    ) -> None:
        self._packages, self._outside, self._handed_over = packages, outside, handed_over
        self._parsed: dict[str, _Module] = {}
        self._followed: dict[_Reference, tuple[str | None, list[_Reference]]] = {}

    def files(self, package: str) -> dict[str, Path]:
        """The file of the package (or module) and of every module below it, by module name."""
        path = self.path(package)
        if path is None or path.name != "__init__.py":
            return {package: path} if path is not None else {}
        return {self._module_name(file): file for file in sorted(path.parent.rglob("*.py"))}

    def path(self, module: str) -> Path | None:
        """The file of a module, or None when it is not of these packages."""
        root, *rest = module.split(".")
        if root not in self._packages:
            return None
        place = self._packages[root].joinpath(*rest)
        candidates = (place / "__init__.py", place.with_suffix(".py"))
        return next((path for path in candidates if path.is_file()), None)

    def closure(self, entry: str) -> dict[str, str]:
        """Digest of every definition that "module:function" may use, by "module:name" in name order.

        Raises ValueError where the function is not found or something used cannot be followed.
        """
        module, _, function = entry.partition(":")
        if self.path(module) is None or function not in self._module(module).definitions:
            raise ValueError(f"{entry}: no such function in the source.")
        found: dict[str, str] = {}
        waiting, seen = [(module, function)], set()
        while waiting:
            reference = waiting.pop()
            if reference in seen:
                continue
            seen.add(reference)
            digest, further = self._follow(*reference)
            if digest is not None:
                found[":".join(reference)] = digest
            waiting += further
        return dict(sorted(found.items()))

    def _follow(self, name: str, wanted: str) -> tuple[str | None, list[_Reference]]:
        """The digest of what a reference defines, if it defines something, and the references it leads to."""
        if self.path(name) is None or self._is_outside(name):
            return None, []
        if (name, wanted) not in self._followed:
            module = self._module(name)
            nodes = module.statements if wanted == STATEMENTS else module.definitions.get(wanted, [])
            further = [(name, STATEMENTS), *(found for node in nodes for found in self._references(module, node))]
            if wanted == STATEMENTS:
                further += self._on_import(module)
            elif wanted == _WHOLE:
                further += [(name, each) for each in (*module.definitions, *module.imports)]
                further += [(below, _WHOLE) for below in self.files(name)]
            elif not nodes:
                for target in module.imports.get(wanted) or module.imports.get(_WHOLE, []):
                    further += self._imported(*target)
            self._followed[name, wanted] = (digest_of(nodes) if nodes else None, further)
        return self._followed[name, wanted]

    def _on_import(self, module: _Module) -> Iterator[_Reference]:
        """What runs when a module is imported: its packages, the modules it imports, decorators of ours."""
        parents = module.name.split(".")[:-1]
        yield from ((".".join(parents[: i + 1]), STATEMENTS) for i in range(len(parents)))
        imported = {name: targets for name, targets in module.imports.items() if any(self.path(t) for t, _ in targets)}
        for target, name in (target for targets in imported.values() for target in targets):
            yield (target, STATEMENTS)
            yield (f"{target}.{name}", STATEMENTS)
        for name, nodes in module.definitions.items():
            for decorator in (d for node in nodes if isinstance(node, _Definition) for d in node.decorator_list):
                used = {n.id for n in ast.walk(decorator) if isinstance(n, ast.Name)}
                if used & (module.definitions.keys() | imported.keys()):
                    yield (module.name, name)

    def _references(self, module: _Module, node: ast.AST) -> Iterator[_Reference]:
        for part in ast.walk(node):
            word = _word(part)
            if word in _UNTRACEABLE:
                line = getattr(part, "lineno", 0)
                raise ValueError(
                    f"{self.path(module.name)}:{line}: what {word.lstrip('.')} leads to is not visible in the "
                    "source. Name what is used, so that a change of it is seen."
                )
            if word in _BY_NAME:  # a module named while running: any of the package may be meant
                yield (module.package, _WHOLE)
            if isinstance(part, ast.Name):
                yield (module.name, part.id)
            elif isinstance(part, ast.Attribute) and part.attr in self._handed_over:
                yield (self._handed_over[part.attr], _WHOLE)
            elif isinstance(part, ast.Import | ast.ImportFrom):
                for _, target in _targets(part, module.package):
                    yield from self._imported(*target)

    def _imported(self, target: str, name: str) -> Iterator[_Reference]:
        """A name imported from a module; a submodule, or a name that the module makes while running, counts whole."""
        if self.path(f"{target}.{name}") is not None:
            yield (f"{target}.{name}", _WHOLE)
        elif self.path(target) is not None and not self._is_outside(target):
            module = self._module(target)
            yield (target, name if name in {*module.definitions, *module.imports} else _WHOLE)

    def _is_outside(self, module: str) -> bool:
        """Whether the module, or a package that contains it, is beyond the boundary."""
        words = module.split(".")
        return any(".".join(words[:end]) in self._outside for end in range(1, len(words) + 1))

    def _module(self, name: str) -> _Module:
        if name not in self._parsed:
            path = self.path(name)
            assert path is not None, name
            package = name if path.name == "__init__.py" else name.rpartition(".")[0]
            self._parsed[name] = _read(_Module(name, package), ast.parse(path.read_bytes(), filename=str(path)))
        return self._parsed[name]

    def _module_name(self, path: Path) -> str:
        root = next(name for name, folder in self._packages.items() if path.is_relative_to(folder))
        words = path.relative_to(self._packages[root]).with_suffix("").parts
        return ".".join([root, *words]).removesuffix(".__init__")


def project_tree() -> SourceTree:
    """This project's source, as installed: stage kinds may stand in harness and, with a built-in method, in methods."""
    home = Path(harness.__file__).parent
    return SourceTree({"harness": home, "methods": home.with_name("methods")})


def package_folder(name: str) -> Path:
    """Where a top package is; it is located, not imported. Raises ValueError where there is none."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"{name} is no package that can be found: a stage kind's run is package.module:function.")
    return Path(next(iter(spec.submodule_search_locations)))


def digest_of(nodes: list[ast.stmt]) -> str:
    return sha256_of(_without_wording(nodes))[:DIGEST_HEX_DIGITS]


def _without_wording(node: Any) -> Any:
    """A syntax tree as JSON, the same for every version of Python: empty fields, comments and docstrings left out."""
    if isinstance(node, list):
        return [_without_wording(each) for each in node if not _is_text(each)]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {name: value for name, value in ast.iter_fields(node) if name not in _NO_MEANING}
    return [
        type(node).__name__,
        {name: _without_wording(value) for name, value in fields.items() if value is not None and value != []},
    ]


def _is_text(node: Any) -> bool:
    """A string as a statement of its own: a docstring."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _read(module: _Module, tree: ast.Module) -> _Module:
    for node in tree.body:
        if _is_text(node):
            continue
        names = _bound(node)
        for part in ast.walk(node) if not isinstance(node, _Definition) else ():
            if isinstance(part, ast.Import | ast.ImportFrom):
                for name, target in _targets(part, module.package):
                    module.imports.setdefault(name, []).append(target)
        for name in names:
            module.definitions.setdefault(name, []).append(node)
        if not names and not isinstance(node, ast.Import | ast.ImportFrom) and not _is_for_types(node):
            module.statements.append(node)
    return module


def _bound(node: ast.stmt) -> list[str]:
    """The names a plain definition or assignment binds; none for a statement that does more."""
    if isinstance(node, _Definition):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    plain = isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign)
    flat = [e for t in targets for e in (t.elts if isinstance(t, ast.Tuple | ast.List) else [t])]
    names = [each.id for each in flat if isinstance(each, ast.Name)]
    return names if plain and len(names) == len(flat) else []


def _is_for_types(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _targets(node: ast.Import | ast.ImportFrom, package: str) -> list[tuple[str, _Reference]]:
    """What an import binds: names, and what each stands for. `import a.b` binds a, for the whole of a.b."""
    if isinstance(node, ast.Import):
        return [(alias.asname or alias.name.partition(".")[0], (alias.name, _WHOLE)) for alias in node.names]
    words = package.split(".")
    above = words[: len(words) - node.level + 1] if node.level else []
    origin = ".".join([*above, *([node.module] if node.module else [])])
    return [(alias.asname or alias.name, (origin, alias.name)) for alias in node.names]


def _word(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f".{node.attr}"
    return node.name if isinstance(node, ast.FunctionDef) else ""
