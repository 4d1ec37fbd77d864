"""Whether the installed torch is built for what was asked: ``python deploy/accelerator.py cpu`` (or ``cuda``)."""

import sys

import torch


def main(wanted: str) -> str | None:
    """What is wrong, or nothing."""
    if wanted not in ("cpu", "cuda"):
        return f"goms: needed cpu or cuda; found {wanted!r}; in the build argument ACCELERATOR; correct it"
    found = "cuda" if torch.version.cuda else "cpu"
    if found == wanted:
        return None
    return (
        f"goms: needed torch built for {wanted}; found {torch.__version__}, built for {found}; in this image; "
        "set the build argument TORCH_INDEX to an index of such builds, or ACCELERATOR to what is wanted"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
