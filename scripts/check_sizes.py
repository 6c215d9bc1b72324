"""Refuse files and functions that have grown too long, and print the medians.

    python scripts/check_sizes.py FOLDER...

The house's numbers: files median <= 150 lines, at most 600; functions median <= 12, at most 80.
"""

import ast
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

FILE_LIMIT, FUNCTION_LIMIT = 600, 80


def python_files(folders: list[str]) -> Iterator[Path]:
    """Yield the Python files below the folders that exist."""
    for folder in folders:
        yield from sorted(Path(folder).rglob("*.py"))


def functions(tree: ast.AST) -> Iterator[tuple[str, int, int]]:
    """Yield name, first line and number of lines of each function, decorators not counted."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node.lineno, (node.end_lineno or node.lineno) - node.lineno + 1


def main(folders: list[str]) -> int:
    """Return 1 if anything is over its limit, naming it."""
    file_sizes, function_sizes, findings = [0], [0], []
    for path in python_files(folders):
        text = path.read_text(encoding="utf-8")
        file_sizes.append(text.count("\n"))
        if file_sizes[-1] > FILE_LIMIT:
            findings.append(f"{path}:1: {file_sizes[-1]} lines, at most {FILE_LIMIT}")
        for name, line, size in functions(ast.parse(text, str(path))):
            function_sizes.append(size)
            if size > FUNCTION_LIMIT:
                findings.append(f"{path}:{line}: {name} has {size} lines, at most {FUNCTION_LIMIT}")
    print(*findings, sep="\n", end="\n" if findings else "")
    print(
        f"{len(file_sizes) - 1} files, median {statistics.median(file_sizes):.0f}, longest {max(file_sizes)}; "
        f"{len(function_sizes) - 1} functions, median {statistics.median(function_sizes):.0f}, "
        f"longest {max(function_sizes)}"
    )
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
