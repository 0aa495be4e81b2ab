"""Nothing that is read becomes code: no pickles, no eval, no shell made of strings, in any file there is."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UNPICKLERS = {"pickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "jsonpickle"}
RUNNERS = {"eval", "exec", "compile", "__import__"}
SHELLS = {
    "os.system",
    "os.popen",
    "subprocess.getoutput",
    "subprocess.getstatusoutput",
    "asyncio.create_subprocess_shell",
    "pty.spawn",
}
LOADERS = {"yaml.load", "yaml.unsafe_load", "yaml.full_load", "pandas.read_pickle"}
SAFE_IF = {
    "torch.load": ("weights_only", True),
    "numpy.load": ("allow_pickle", False),
    "np.load": ("allow_pickle", False),
}
STARTERS = re.compile(r"subprocess\.(run|Popen|call|check_call|check_output)")


def files() -> list[Path]:
    """Every Python file that belongs to the project, but for the tests."""
    named = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.py", "scripts", ".ci"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    found = [ROOT / name for name in named if not name.startswith("tests/")]
    return [path for path in found if path.is_file() and is_python(path)]


def is_python(path: Path) -> bool:
    start = path.read_bytes()[:80]
    return path.suffix == ".py" or (start.startswith(b"#!") and b"python" in start)


def dangers(source: str) -> Iterator[str]:
    """What in a source makes code of data, by line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            names = []
        for name in names:
            if name.split(".")[0] in UNPICKLERS:
                yield f"{node.lineno}: imports {name}"
        if isinstance(node, ast.Call):
            yield from (f"{node.lineno}: {why}" for why in dangers_of(node))


def dangers_of(call: ast.Call) -> Iterator[str]:
    called = ast.unparse(call.func)
    given = {word.arg: word.value for word in call.keywords}
    if called in RUNNERS | SHELLS | LOADERS:
        yield f"calls {called}"
    if called in SAFE_IF and not is_constant(given.get(SAFE_IF[called][0]), SAFE_IF[called][1]):
        yield f"calls {called} without {SAFE_IF[called][0]}"
    if called.split(".")[-1] == "YAML" and is_constant(given.get("typ"), "unsafe"):
        yield "reads YAML unsafely"
    if "shell" in given and not is_constant(given["shell"], False):
        yield f"{called} gets a shell"
    if STARTERS.fullmatch(called) and call.args and isinstance(call.args[0], ast.JoinedStr | ast.Constant):
        yield f"{called} gets a string"


def is_constant(node: ast.expr | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) is type(value) and node.value == value


def test_nothing_that_is_read_becomes_code() -> None:
    """Programs are started from lists of words; what comes from files and networks stays data."""
    looked_at = files()
    assert len(looked_at) > 200
    found = [f"{path.relative_to(ROOT)}:{one}" for path in looked_at for one in dangers(path.read_text())]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from marshal import loads",
        "import joblib as j",
        "eval(text)",
        "exec(text)",
        "__import__(name)",
        "import os\nos.system(text)",
        "os.popen('ls')",
        "subprocess.run(command, shell=True)",
        "subprocess.run(command, shell=asked)",
        "subprocess.Popen(f'ls {name}')",
        "subprocess.check_output('ls')",
        "asyncio.create_subprocess_shell(text)",
        "yaml.load(text)",
        "YAML(typ='unsafe')",
        "np.load(file)",
        "np.load(file, allow_pickle=True)",
        "torch.load(file)",
    ],
)
def test_each_danger_would_be_seen(source: str) -> None:
    """The negative control: the look above is not blind."""
    assert list(dangers(source))


@pytest.mark.parametrize(
    "source",
    [
        "import json",
        "re.compile(text)",
        "subprocess.run([a, b])",
        "subprocess.run((a, *b), shell=False)",
        "YAML(typ='safe', pure=True)",
        "np.load(file, allow_pickle=False)",
        "torch.load(file, weights_only=True)",
        "conduct.exec(text)",
    ],
)
def test_what_is_safe_is_let_be(source: str) -> None:
    """Or the list of exceptions would grow until nobody reads it."""
    assert not list(dangers(source))


def test_no_recipe_lets_a_shell_read_a_variable_of_a_file() -> None:
    """Shell scripts and the Makefile quote what they are given, and evaluate nothing."""
    for name in (".ci/run", "Makefile", "scripts/lock", "scripts/setup"):
        text = (ROOT / name).read_text()
        assert not re.search(r"^\s*eval\b|\|\s*(ba|z)?sh\b", text, flags=re.MULTILINE), name
