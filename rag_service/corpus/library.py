"""Which public name leads to which definition in the standard library of the running Python.

People ask about `json.JSONDecoder` and `datetime.datetime`, not about `json.decoder.JSONDecoder` or
`_datetime.datetime`. So this follows the re-exports of packages and of the private modules behind public
ones, by reading import statements, and gives every definition its shortest public name.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rag_service.corpus.definitions import Definition, FunctionNode, from_live_module, from_node
from rag_service.corpus.scope import in_scope

_BACKING = frozenset(["posix", "nt", "posixpath", "ntpath", "genericpath"])
_ALIASES = {"os.path": "posixpath"}
_NEVER_IMPORTED = frozenset({"readline"})
_SKIPPED_FOLDERS = frozenset({"test", "tests", "__pycache__", "encodings", "lib2to3", "_bundled"})


@dataclass(frozen=True, slots=True)
class Module:
    """A module's docstring and the definitions that its names lead to; `public` are those it exports."""

    name: str
    doc: str
    names: dict[str, Definition]
    public: frozenset[str]


class Library:
    """The standard library, read once; every module is parsed or inspected at most once."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or Path(sysconfig.get_path("stdlib"))
        self._modules: dict[str, Module] = {}

    def module_names(self) -> Iterator[str]:
        """The public modules, sorted: top level names and the public submodules of packages."""
        for name in sorted(sys.stdlib_module_names | set(_ALIASES)):
            if name not in _BACKING and in_scope(name):
                yield name
                yield from self._submodule_names(self._folder / name, name)

    def source_files(self) -> Iterator[Path]:
        """Every source file that can take part, sorted: what the corpus depends on."""
        for path in sorted(self._folder.glob("*.py")):
            yield path
        for name in sorted(sys.stdlib_module_names):
            for path in sorted((self._folder / name).rglob("*.py")):
                if not _SKIPPED_FOLDERS & set(path.relative_to(self._folder).parts):
                    yield path

    def module(self, name: str) -> Module | None:
        """The module of that name, or None where this Python has none that can be read."""
        name = _ALIASES.get(name, name)
        if name not in self._modules:
            source = self._source(name)
            if source is not None:
                self._read(name, source)
            elif name in sys.stdlib_module_names and name not in _NEVER_IMPORTED:
                self._inspect(name)
        return self._modules.get(name)

    def _submodule_names(self, package: Path, prefix: str) -> Iterator[str]:
        if not (package / "__init__.py").is_file():
            return
        for path in sorted(package.iterdir()):
            name = f"{prefix}.{path.stem}"
            is_module = path.suffix == ".py" or (path / "__init__.py").is_file()
            if is_module and path.name not in _SKIPPED_FOLDERS and in_scope(name):
                yield name
                yield from self._submodule_names(path, name)

    def _source(self, name: str) -> Path | None:
        base = self._folder.joinpath(*name.split("."))
        for path in (base / "__init__.py", base.with_suffix(".py")):
            if path.is_file():
                return path
        return None

    def _inspect(self, name: str) -> None:
        try:
            live = importlib.import_module(name)
        except ImportError:
            return
        names = from_live_module(live)
        self._modules[name] = Module(name, (live.__doc__ or "").strip(), names, frozenset(names))

    def _read(self, name: str, source: Path) -> None:
        tree = ast.parse(source.read_bytes())
        package = name if source.name == "__init__.py" else name.rpartition(".")[0]
        names: dict[str, Definition] = {}
        doc = _docstring(tree) or self._borrowed_docstring(tree)
        # Known before its imports are followed: packages import each other in circles.
        self._modules[name] = Module(name, doc, names, frozenset())
        _Reader(self, name, package, names).read(tree.body)
        exports = _exports(tree)
        public = set(exports.names)
        if exports.computed:
            public |= {key for key in names if not key.startswith("_")}
        self._modules[name] = Module(name, doc, names, frozenset(public & names.keys()))

    def _borrowed_docstring(self, tree: ast.Module) -> str:
        """The docstring of a thin module that imports that of the module behind it (struct does)."""
        for statement in tree.body:
            match statement:
                case ast.ImportFrom(module=str() as target, names=[ast.alias(name="__doc__")]):
                    module = self.module(target)
                    return module.doc if module else ""
        return ""


class _Reader:
    """Follows the statements of one module and collects what its names stand for."""

    def __init__(self, library: Library, name: str, package: str, names: dict[str, Definition]) -> None:
        self._library = library
        self._name = name
        self._package = package
        self._names = names
        self._modules: dict[str, str] = {}
        self._instances: dict[str, Definition] = {}

    def read(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            if isinstance(statement, FunctionNode | ast.ClassDef):
                self._learn(statement.name, from_node(statement, self._name))
                if statement.name == "__getattr__":
                    self._follow_lazily(statement)
            elif isinstance(statement, ast.ImportFrom):
                self._follow(statement)
            elif isinstance(statement, ast.Import):
                self._modules.update({item.asname or item.name: item.name for item in statement.names})
            elif isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                self._assign(statement.targets[0].id, statement.value)
            elif isinstance(statement, ast.If):
                self.read(statement.body + statement.orelse)
            elif isinstance(statement, ast.Try):
                handlers = [item for handler in statement.handlers for item in handler.body]
                self.read(statement.body + handlers + statement.orelse)

    def _learn(self, name: str, definition: Definition) -> None:
        known = self._names.get(name)
        if known is None or definition.weight > known.weight:
            self._names[name] = definition

    def _follow(self, statement: ast.ImportFrom) -> None:
        parts = self._package.split(".")
        base = ".".join(parts[: len(parts) - statement.level + 1]) if statement.level else ""
        target = ".".join(filter(None, (base, statement.module)))
        if not self._belongs(target):
            return
        module = self._library.module(target)
        if module is None:
            return
        for item in statement.names:
            chosen = module.public if item.name == "*" else {item.name} & module.names.keys()
            for key in sorted(chosen):
                self._learn(item.asname or key, module.names[key])

    def _follow_lazily(self, function: FunctionNode | ast.ClassDef) -> None:
        """A module's `__getattr__` that imports on demand (concurrent.futures) exports what it imports."""
        for node in ast.walk(function):
            if isinstance(node, ast.ImportFrom):
                names = [ast.alias(name=item.name) for item in node.names]
                self._follow(ast.ImportFrom(module=node.module, names=names, level=node.level))

    def _belongs(self, target: str) -> bool:
        """Whether a module is a part of this one: of the same package, or private behind it."""
        top = target.partition(".")[0]
        return top == self._name.partition(".")[0] or top.startswith("_") or top in _BACKING

    def _assign(self, name: str, value: ast.expr) -> None:
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
            definition = self._names.get(value.func.id)
            if definition is not None and definition.kind == "class":
                self._instances[name] = definition
        elif isinstance(value, ast.Name) and value.id in self._names:
            self._learn(name, self._names[value.id])
        elif isinstance(value, ast.Attribute) and isinstance(value.value, ast.Name):
            self._alias(name, value.value.id, value.attr)

    def _alias(self, name: str, owner: str, attribute: str) -> None:
        instance = self._instances.get(owner)
        if instance is not None and attribute in instance.members:
            self._learn(name, instance.members[attribute])
        module_name = self._modules.get(owner, "")
        if module_name.startswith("_"):
            module = self._library.module(module_name)
            if module is not None and attribute in module.names:
                self._learn(name, module.names[attribute])


@dataclass(frozen=True, slots=True)
class _Exports:
    """What `__all__` says: the names that stand there, and whether the rest is computed at run time."""

    names: frozenset[str]
    computed: bool


def _exports(tree: ast.Module) -> _Exports:
    names: set[str] = set()
    declared = computed = False
    for node in ast.walk(tree):
        value = _exported_value(node)
        if value is None:
            continue
        declared = True
        if isinstance(value, ast.Constant):
            names.add(str(value.value))
        elif isinstance(value, ast.List | ast.Tuple):
            names.update(str(item.value) for item in value.elts if isinstance(item, ast.Constant))
        else:
            computed = True
    return _Exports(frozenset(names), computed or not declared)


def _exported_value(node: ast.AST) -> ast.expr | None:
    """What `__all__ = …`, `__all__ += …`, `__all__.extend(…)` or `.append(…)` adds; None for other nodes."""
    match node:
        case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
            return value
        case ast.AugAssign(target=ast.Name(id="__all__"), value=value):
            return value
        case ast.Call(func=ast.Attribute(value=ast.Name(id="__all__")), args=[value]):
            return value
    return None


def _docstring(tree: ast.Module) -> str:
    """The module's docstring, also where it is assigned to `__doc__` (hashlib does)."""
    for statement in tree.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id="__doc__")], value=ast.Constant(value=str() as text)):
                return inspect.cleandoc(text)
    return ast.get_docstring(tree) or ""
