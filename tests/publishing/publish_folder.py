# SPDX-License-Identifier: Apache-2.0
"""The Hub's half of the upload tool alone, for a folder that is staged already: publish_folder.py FOLDER REPO [--OPTION].

Options: --force, --private, --revision=NAME, --endpoint=URL. Tells what happened as JSON on standard output.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from model_factory import upload_llava_vit_to_hf as tool
from model_factory.publishing import hub
from model_factory.publishing.errors import PublishError

folder, repo_id, *options = sys.argv[1:]
named = dict(o[2:].split("=", 1) for o in options if "=" in o)
try:
    steps = tool.Steps(2)
    target = hub.Target(
        repo_id=repo_id,
        token=hub.find_token(None),
        private="--private" in options or None,
        revision=named.get("revision"),
        tell=steps.note,
    )
    agreed = tool.look(steps, target, Path(folder), "--force" in options)
    done = tool.send(steps, target, agreed, "Upload a model")
    print(json.dumps({"commit": done.commit, "changed": done.changed, "url": done.url}))
except PublishError as error:
    print(json.dumps({"error": str(error)}))
    sys.exit(1)
