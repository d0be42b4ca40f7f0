"""Which files of the project a stage's module reads: what it imports, the data beside that, and what the
stages write."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
MODULE = re.compile(r"pipeline(\.\w+)+")


def _file(module: str) -> Path | None:
    base = ROOT.joinpath(*module.split("."))
    for file in (base.with_suffix(".py"), base / "__init__.py"):
        if file.is_file():
            return file
    return None


def _named_in(file: Path) -> set[Path]:
    """The files that the source of `file` names: imports, modules named in strings, data files."""
    modules: set[str] = set()
    data: set[Path] = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if MODULE.fullmatch(node.value):
                modules.add(node.value)
            elif re.fullmatch(r"[\w.]+\.(yaml|j2)", node.value):
                beside = file.parent / node.value
                if beside.is_file():
                    data.add(beside)
            elif node.value in ("templates", "static"):
                folder = file.parent / node.value
                data |= {path for path in folder.rglob("*") if path.is_file()}
    found = set(data)
    for module in modules:
        parts = module.split(".")
        if parts[0] != "pipeline":
            continue
        # Importing a module runs the packages that it lies in.
        found |= {f for n in range(1, len(parts) + 1) if (f := _file(".".join(parts[:n])))}
    return found


def reached(module: str) -> list[str]:
    """All files reached from `module`, itself included, relative to the root, sorted."""
    start = _file(module)
    assert start is not None, module
    corpora = ROOT / "pipeline" / "corpora"
    seen: set[Path] = set()
    todo = {start, ROOT / "pipeline" / "__init__.py"}
    while todo:
        file = todo.pop()
        seen.add(file)
        if file == corpora / "__init__.py":
            todo |= set(corpora.glob("*.py")) - seen  # which finds its modules by their names
        if file.suffix == ".py":
            todo |= _named_in(file) - seen
    return sorted(file.relative_to(ROOT).as_posix() for file in seen)


def written_or_read(module: str) -> set[str]:
    """The names of `pipeline.paths` that the files reached from `module` use, as in `paths.CLIPS`."""
    return {
        node.attr
        for file in reached(module)
        if file.endswith(".py")
        for node in ast.walk(ast.parse((ROOT / file).read_text("utf-8")))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "paths"
        and node.attr.isupper()
    }
