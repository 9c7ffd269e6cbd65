"""Starts an observer server: `python verify/observer/__main__.py CONTROL_FD PRELOAD...`.

The package is loaded from its own folder under a private name, so that a project's own package named `verify` is not
shadowed and nothing else of the parent's site-packages becomes importable here.
"""

import importlib
import importlib.util
import sys
from pathlib import Path

PRIVATE_NAME = "_llavavit_verify"


def load_privately() -> None:
    root = Path(__file__).resolve().parent.parent
    spec = importlib.util.spec_from_file_location(
        PRIVATE_NAME, root / "__init__.py", submodule_search_locations=[str(root)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[PRIVATE_NAME] = module
    spec.loader.exec_module(module)


if __name__ == "__main__":
    sys.path.pop(0)  # this folder: its file names must not shadow the project's modules
    load_privately()
    server = importlib.import_module(f"{PRIVATE_NAME}.observer.server")
    server.main(int(sys.argv[1]), sys.argv[2:])
