"""Whether the installed torch is built for what was asked: ``python deploy/accelerator.py cpu`` (or ``cuda``)."""

import runpy
import sys
from importlib.util import find_spec
from pathlib import Path


def main(wanted: str) -> str | None:
    """What is wrong, or nothing."""
    if wanted not in ("cpu", "cuda"):
        return f"goms: needed cpu or cuda; found {wanted!r}; in the build argument ACCELERATOR; correct it"
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return "goms: needed torch; found none; in this image; install it"
    build = runpy.run_path(str(Path(spec.origin).with_name("version.py")))  # a hundred times faster than its import
    found = "cuda" if build["cuda"] else "cpu"
    if found == wanted:
        return None
    return (
        f"goms: needed torch built for {wanted}; found {build['__version__']}, built for {found}; in this image; "
        "set the build argument TORCH_INDEX to an index of such builds, or ACCELERATOR to what is wanted"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
