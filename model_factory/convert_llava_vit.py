# SPDX-License-Identifier: Apache-2.0
"""Converts a checkpoint from the training model's names to the Hub's, or back.

    python model_factory/convert_llava_vit.py --model_name hf_llava_vit_large_ln --weight_path checkpoint.pth \
        --output_dir hub-weights --to hub

Exit code 0: written, and proven to be exact; 1: stopped, with the reason; 2: wrong options; 130: Ctrl-C; 143: SIGTERM.
"""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Annotated, Literal

ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [str(ROOT), *(p for p in sys.path if p and Path(p).resolve() != ROOT / "model_factory")]

from cyclopts import App, CycloptsError, Parameter  # noqa: E402
from rich.console import Console  # noqa: E402

from model_factory.publishing.errors import OptionError, PublishError, scrub  # noqa: E402
from verify import interrupt  # noqa: E402
from verify import spec as specs  # noqa: E402
from verify.side import SideError  # noqa: E402

app = App(
    name="convert_llava_vit.py",
    help="Converts a checkpoint from the training model's names to the Hub's, or back. Of this repository's two models "
    "the names are the same; wrappers such as DDP's module. are taken off, or put on with --prefix.",
    default_parameter=Parameter(name_transform=lambda name: name, negative=""),
    version_flags=[],
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
errors = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


@app.default
def main(
    *,
    model_name: str,
    weight_path: Path,
    output_dir: Path,
    to: Literal["hub", "training"] = "hub",
    spec_file: Annotated[Path | None, Parameter(name="--spec")] = None,
    prefix: str = "",
    max_shard_size: str = "2GB",
    ema: bool = False,
) -> int:
    """Write a checkpoint by the other side's names, as safetensors, then convert it back and compare every bit.

    Parameters
    ----------
    model_name
        Registered name of the variant, such as hf_llava_vit_large_ln; with --spec, a variant of the spec.
    weight_path
        Checkpoint: .pth, .pt, .bin or .safetensors, the index of a sharded one, or a folder with either.
    output_dir
        Folder to write; must not exist.
    to
        Whose names to write.
    spec_file
        YAML file whose `mapping` says how names differ (docs/spec.md). Default: this repository's pair.
    prefix
        Put this before every name, such as "module.".
    max_shard_size
        Largest file, such as 2GB.
    ema
        Take the averaged weights of a checkpoint that also has others.
    """
    from model_factory.publishing import checkpoint, convert, staging  # torch, after options were checked

    shard = staging.shard_size(max_shard_size)
    found = specs.load(spec_file or specs.PRESET)
    base = ROOT if spec_file is None else spec_file.resolve().parent
    variant = model_name if spec_file else model_name.removeprefix("hf_llava_vit_").removesuffix("_ln")
    if variant not in found.variants:
        raise OptionError(f"there is no variant {model_name!r}; known: {', '.join(found.variants)}")
    checkpoint.ways(weight_path)  # whether it is there, before processes are started
    names = convert.names_of(found, base, found.variants[variant])
    source = checkpoint.load(weight_path, ema=ema, expected=names.training if to == "hub" else names.hub)
    for note in source.notes:
        errors.print(note)
    if names.same:
        errors.print("the two models have the same names and shapes")
    count = convert.convert(source, names, to, output_dir.absolute(), shard=shard, prefix=prefix, progress=errors.print)
    print(f"{output_dir}: {count} tensors, exact")
    return 0


def run(arguments: list[str]) -> int:
    """The whole program, with errors as messages."""
    try:
        return int(app(arguments, exit_on_error=False, print_error=False) or 0)
    except (CycloptsError, OptionError) as error:
        errors.print(scrub(f"error: {error}\n--help shows the options"), style="bold red")
        return 2
    except (PublishError, specs.SpecError) as error:
        errors.print(scrub(f"error: {error}"), style="bold red")
    except SideError as error:
        errors.print(scrub(f"error: the two models cannot be asked for their names: {error}"), style="bold red")
    except KeyboardInterrupt as stopped:
        what, code = interrupt.describe(stopped)
        errors.print(f"{what}; nothing was written")
        return code
    except Exception:
        errors.print(scrub(traceback.format_exc()))
    return 1


if __name__ == "__main__":
    interrupt.heed_termination()
    sys.exit(run(sys.argv[1:]))
