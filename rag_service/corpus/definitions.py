"""What a module defines, read without running it: names, signatures and docstrings.

Modules written in Python are only parsed (`ast`), never imported: importing all of the standard library
opens browsers, patches terminals and costs seconds. Builtin and extension modules have no source, so these
are imported and inspected; they have no import-time effects worth the name.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Literal

Kind = Literal["module", "class", "function", "method"]


@dataclass(frozen=True, slots=True)
class Definition:
    """A documented thing. `origin` names it where it is defined, however many modules re-export it."""

    origin: str
    kind: Kind
    signature: str
    doc: str
    members: Mapping[str, Definition] = field(default_factory=dict)

    @property
    def weight(self) -> int:
        """How much there is to read: of two definitions of one name the heavier is the better."""
        return len(self.doc) + sum(member.weight for member in self.members.values())


FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


def from_node(node: FunctionNode | ast.ClassDef, prefix: str, kind: Kind | None = None) -> Definition:
    """The definition that a `def` or `class` statement makes in the module or class `prefix`."""
    origin = f"{prefix}.{node.name}"
    doc = ast.get_docstring(node) or ""
    if isinstance(node, ast.ClassDef):
        made = _initialiser(node)
        signature = _signature(made, method=True) if made else ""
        made_doc = (ast.get_docstring(made) or "") if made else ""
        whole = "\n\n".join(filter(None, (doc, made_doc)))
        return Definition(origin, "class", signature, whole, _methods(node, origin))
    return Definition(origin, kind or "function", _signature(node, method=kind == "method"), doc)


def _methods(node: ast.ClassDef, origin: str) -> dict[str, Definition]:
    found: dict[str, Definition] = {}
    for item in node.body:
        if isinstance(item, FunctionNode) and not item.name.startswith("_") and item.name not in found:
            found[item.name] = from_node(item, origin, "method")
    return found


def _initialiser(node: ast.ClassDef) -> FunctionNode | None:
    for item in node.body:
        if isinstance(item, FunctionNode) and item.name == "__init__":
            return item
    return None


def _signature(node: FunctionNode, *, method: bool) -> str:
    decorators = {ast.unparse(decorator).rpartition(".")[2] for decorator in node.decorator_list}
    if decorators & {"property", "cached_property", "DynamicClassAttribute"}:
        return ""
    if method and "staticmethod" not in decorators:
        return f"({ast.unparse(_without_first(node.args))})"
    return f"({ast.unparse(node.args)})"


def _without_first(arguments: ast.arguments) -> ast.arguments:
    """The arguments as a caller of a bound method sees them: without `self` or `cls`."""
    return ast.arguments(
        posonlyargs=arguments.posonlyargs[1:],
        args=arguments.args if arguments.posonlyargs else arguments.args[1:],
        vararg=arguments.vararg,
        kwonlyargs=arguments.kwonlyargs,
        kw_defaults=arguments.kw_defaults,
        kwarg=arguments.kwarg,
        defaults=arguments.defaults,
    )


def from_object(value: Any, prefix: str, name: str) -> Definition | None:
    """The definition behind a live class or function of an extension module; None for anything else."""
    origin = f"{prefix}.{name}"
    if inspect.isclass(value):
        members = {
            key: Definition(f"{origin}.{key}", "method", _live_signature(member), _live_doc(member))
            for key, member in sorted(vars(value).items())
            if not key.startswith("_") and (inspect.isroutine(member) or inspect.isdatadescriptor(member))
        }
        return Definition(origin, "class", _live_signature(value), _live_doc(value), members)
    if inspect.isroutine(value):
        return Definition(origin, "function", _live_signature(value), _live_doc(value))
    return None


def from_live_module(module: ModuleType) -> dict[str, Definition]:
    """Every documented public class and function of an imported builtin or extension module."""
    found: dict[str, Definition] = {}
    for name in sorted(getattr(module, "__all__", None) or dir(module)):
        if name.startswith("_"):
            continue
        definition = from_object(getattr(module, name, None), module.__name__, name)
        if definition is not None:
            found[name] = definition
    return found


def _live_doc(value: object) -> str:
    doc = getattr(value, "__doc__", None)
    return inspect.cleandoc(doc) if isinstance(doc, str) else ""


def _live_signature(value: Any) -> str:
    try:
        parameters = inspect.signature(value)
    except (TypeError, ValueError, AttributeError):  # some C modules declare what they do not have
        return ""
    kept = [item for item in parameters.parameters.values() if item.name not in ("self", "$self", "type")]
    text = str(parameters.replace(parameters=kept))
    return "" if " at 0x" in text else text
