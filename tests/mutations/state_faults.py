"""Faults of what a model keeps, repeats and leaves behind."""

from __future__ import annotations

from fault_builders import ATTENTION, ATTENTION_AT, ENCODER, ENCODER_AT, MODEL, forward, other, outputs
from mutant import Fault
from structure_faults import FORMULA

STATE_FAULTS = (
    forward(
        "last-layer-skipped",
        ENCODER,
        ENCODER_AT,
        ("for layer in self.layers:", "for layer in self.layers[:-1] if len(self.layers) > 1 else self.layers:"),
    ),
    forward(
        "first-layer-twice",
        ENCODER,
        ENCODER_AT,
        ("for layer in self.layers:", "for layer in [self.layers[0]] * len(self.layers):"),
    ),
    forward(
        "states-off-by-one",
        ENCODER,
        ENCODER_AT,
        (
            "            hidden_states, weights = layer(hidden_states, cos, sin, output_attentions)\n            if output_hidden_states:\n                states.append(hidden_states)\n",
            "            if output_hidden_states:\n                states.append(hidden_states)\n            hidden_states, weights = layer(hidden_states, cos, sin, output_attentions)\n",
        ),
        case="hidden-states-attentions",
    ),
    forward(
        "last-state-normed",
        MODEL,
        "",
        (
            "last_hidden_state=hidden_states, pooler_output=pooled, hidden_states=states,",
            "last_hidden_state=hidden_states,\n            pooler_output=pooled,\n            hidden_states=states and (*states[:-1], hidden_states),",
        ),
        case="hidden-states-attentions",
    ),
    forward(
        "states-overwritten-in-place",
        ENCODER,
        ENCODER_AT,
        (
            "            if output_hidden_states:\n                states",
            "            states[0].mul_(1.5)\n            if output_hidden_states:\n                states",
        ),
        case="hidden-states-attentions",
    ),
    forward(
        "attentions-before-softmax",
        ATTENTION,
        ATTENTION_AT,
        (
            "return torch.matmul(weights, value).transpose(1, 2), weights",
            "return torch.matmul(weights, value).transpose(1, 2), scores",
        ),
        case="hidden-states-attentions",
    ),
    outputs(
        "attentions-none",
        "attentions*",
        "hidden-states-attentions",
        ("            tuple(attentions) if output_attentions else None,", "            None,"),
    ),
    outputs(
        "states-without-the-first",
        "hidden_states*",
        "hidden-states-attentions",
        ("states: list[Tensor] = [hidden_states]", "states: list[Tensor] = []"),
    ),
    outputs(
        "states-whatever-is-asked",
        "hidden_states*",
        "image",
        ("tuple(states) if output_hidden_states else None,", "tuple(states),"),
    ),
    outputs(
        "states-as-configured-ignored",
        "hidden_states*",
        "other-values",
        ("output_hidden_states = self.config.output_hidden_states", "output_hidden_states = False"),
    ),
    outputs(
        "attentions-as-configured-ignored",
        "3*",
        "outputs-as-configured",
        ("output_attentions = self.config.output_attentions", "output_attentions = False"),
    ),
    outputs(
        "tuple-as-configured-ignored",
        "container",
        "outputs-as-configured",
        ("return_dict = self.config.return_dict", "return_dict = True"),
    ),
    outputs(
        "tuple-order",
        "0",
        "return-tuple",
        (
            "return output if return_dict else output.to_tuple()",
            "return output if return_dict else output.to_tuple()[::-1]",
        ),
    ),
    outputs(
        "tuple-with-holes", "1.0", "no-head-tuple", ("output.to_tuple()", "(hidden_states, pooled, states, attentions)")
    ),
    outputs(
        "tuple-never",
        "container",
        "return-tuple",
        ("return output if return_dict else output.to_tuple()", "return output"),
    ),
    outputs("pooled-missing", "pooler_output", "image", ("pooler_output=pooled", "pooler_output=None")),
    outputs("pooled-with-an-axis-too-many", "pooler_output", "image", ("return pooled[:, 0]", "return pooled")),
)

EMBEDDED = "        hidden_states, cos, sin = self._embed(pixel_values, visible_indices)\n"

DETERMINISM_FAULTS = (
    other(
        "determinism",
        "noise",
        "*",
        (
            "        pooled = None\n",
            "        hidden_states = hidden_states + 1e-15 * torch.randn_like(hidden_states)\n        pooled = None\n",
        ),
    ),
    other(
        "determinism",
        "counter",
        "*",
        (
            "        pooled = None\n",
            '        self.calls = getattr(self, "calls", 0) + 1\n'
            "        hidden_states = hidden_states * (1 + 1e-12 * self.calls)\n        pooled = None\n",
        ),
    ),
    other(
        "determinism",
        "row-alone",
        "*",
        (
            "        pooled = None\n",
            "        hidden_states = hidden_states + 1e-6 * hidden_states.mean(0)\n        pooled = None\n",
        ),
    ),
    other(
        "determinism",
        "threads",
        "*",
        (
            "        pooled = None\n",
            "        hidden_states = hidden_states * (1 + 1e-6 * torch.get_num_threads())\n        pooled = None\n",
        ),
    ),
    other(
        "determinism",
        "seed-set-by-a-call",
        "the seed of torch's generator",
        (EMBEDDED, f"        torch.manual_seed(0)\n{EMBEDDED}"),
    ),
    other(
        "determinism",
        "gradients-switched-on-by-a-call",
        "whether gradients are recorded",
        (EMBEDDED, f"        torch.set_grad_enabled(True)\n{EMBEDDED}"),
    ),
    Fault(
        name="images-must-be-contiguous",
        check="determinism",
        subject="batch-of-3, strided",
        cases=("batch-of-3",),
        edits=(("pixel_values.unsqueeze(2)", "pixel_values.view(-1).view(pixel_values.unsqueeze(2).shape)"),),
    ),
)

PROCESS_FAULTS = (
    Fault(
        name="norm-written-to-the-configuration",
        check="configuration",
        subject="layer_norm_eps",
        case="after construction",
        edits=(
            ("        self.post_init()\n", "        self.post_init()\n        self.config.layer_norm_eps = 1e-5\n"),
        ),
    ),
    Fault(
        name="size-written-to-the-callers-configuration",
        check="configuration",
        subject="image_size",
        case="after construction",
        edits=(
            (
                "        check_sizes(config)\n",
                "        check_sizes(config)\n        config.image_size = 2 * config.image_size\n",
            ),
        ),
    ),
    Fault(
        name="frequencies-kept-by-length-alone",
        check="buffers",
        subject="video_rope.inv_freq_?",
        case="after another model",
        edits=(
            (
                f"            {FORMULA}\n",
                "            kept = globals().setdefault('_TABLES', {})\n"
                "            kept.setdefault(len(buffer), 1.0 / self.theta**exponents)\n"
                "            buffer.copy_(kept[len(buffer)])\n",
            ),
        ),
    ),
)
