"""Faults to seed into the candidate, by the check that must find them.

The classes are those seen in real ports (norm eps, GELU flavour, rotary layout, stale tables, …) and others like them.
Faults that no output, buffer, parameter or configuration value shows are in silent_faults.py; those that show in unusual uses alone, in
unusual_faults.py.
The file is long because every edit is quoted.
"""

from __future__ import annotations

from mutant import CONFIGURATION, Fault
from silent_faults import SILENT_FAULTS
from unusual_faults import UNUSUAL_FAULTS


def configuration(name: str, subject: str, case: str, *edits: tuple[str, str]) -> Fault:
    return Fault(name=name, check="configuration", subject=subject, case=case, edits=edits, file=CONFIGURATION)


def structure(name: str, subject: str, case: str, *edits: tuple[str, str]) -> Fault:
    return Fault(name=name, check="structure", subject=subject, case=case, edits=edits)


def buffers(name: str, subject: str, *edits: tuple[str, str]) -> Fault:
    return Fault(name=name, check="buffers", subject=subject, case="values", edits=edits)


def forward(
    name: str, owner: str, module: str, *edits: tuple[str, str], case: str = "", cases: tuple[str, ...] = ()
) -> Fault:
    return Fault(name=name, owner=owner, module=module, edits=edits, case=case, cases=cases)


def other(check: str, name: str, subject: str, *edits: tuple[str, str]) -> Fault:
    """Faults that another check than the four above must find."""
    return Fault(name=name, check=check, subject=subject, edits=edits)


def outputs(name: str, subject: str, case: str, *edits: tuple[str, str]) -> Fault:
    """Faults of which outputs there are and of what shape, to which no module is a culprit."""
    return Fault(name=name, subject=subject, case=case, edits=edits)


MODEL = "LlavaViTModel"
EMBEDDINGS, EMBEDDINGS_AT = "LlavaViTEmbeddings", "embeddings"
ROPE, ROPE_AT = "LlavaViTVideoRope", "video_rope"
ENCODER, ENCODER_AT = "LlavaViTEncoder", "encoder"
LAYER, LAYER_AT = "LlavaViTEncoderLayer", "encoder.layers.0"
ATTENTION, ATTENTION_AT = "LlavaViTAttention", "encoder.layers.0.self_attn"
MLP, MLP_AT = "LlavaViTMLP", "encoder.layers.0.mlp"
HEAD, HEAD_AT = "LlavaViTPoolingHead", "head"
RMS, RMS_AT = "LlavaViTRMSNorm", "head.norm"

CONFIGURATION_FAULTS = (
    # Two configurations are compared, or saved by a caller with its own wishes.
    configuration(
        "equality-lost",
        "the same values",
        "equality",
        ("isinstance(other, PretrainedConfig) and self.__dict__ == other.__dict__", "self is other"),
    ),
    configuration(
        "equality-by-type",
        "hidden_size",
        "equality",
        (
            "isinstance(other, PretrainedConfig) and self.__dict__ == other.__dict__",
            "isinstance(other, PretrainedConfig)",
        ),
    ),
    configuration(
        "equality-with-a-dictionary",
        "no configuration",
        "equality",
        (
            "isinstance(other, PretrainedConfig) and self.__dict__ == other.__dict__",
            "self.__dict__ == getattr(other, '__dict__', other)",
        ),
    ),
    configuration("equality-of-the-base-class", "*", "equality", ("    def __eq__(self,", "    def equal(self,")),
    configuration(
        "own-auto-map-dropped",
        "AutoModelForImageClassification",
        "saving",
        ('saved = {**_AUTO_MAP, **(getattr(self, "auto_map", None) or {})}', "saved = {**_AUTO_MAP}"),
    ),
    configuration(
        "arguments-of-saving-dropped",
        "arguments.*",
        "saving",
        ("super().save_pretrained(save_directory, *args, **kwargs)", "super().save_pretrained(save_directory, *args)"),
    ),
    configuration(
        "pushing-dropped",
        "arguments.push_to_hub",
        "saving",
        (
            "super().save_pretrained(save_directory, *args, **kwargs)",
            "super().save_pretrained(save_directory, **kwargs)",
        ),
    ),
    # A class default drifts: a checkpoint whose config.json leaves it out changes.
    configuration(
        "default-eps", "layer_norm_eps", "defaults", ("layer_norm_eps: float = 1e-6", "layer_norm_eps: float = 1e-5")
    ),
    configuration("default-activation", "hidden_act", "defaults", ('"gelu",\n', '"gelu_pytorch_tanh",\n')),
    configuration("default-theta", "rope_theta", "defaults", ("= 10000.0", "= 500000.0")),
    configuration(
        "default-size",
        "intermediate_size",
        "defaults",
        ("intermediate_size: int = 3072", "intermediate_size: int = 4096"),
    ),
    configuration(
        "default-norm",
        "layer_norm_type",
        "defaults",
        ('layer_norm_type: str = "layer_norm"', 'layer_norm_type: str = "rms_norm"'),
    ),
    configuration(
        "default-initialiser-std",
        "initializer_range",
        "defaults",
        ("initializer_range: float = 0.02", "initializer_range: float = 0.01"),
    ),
    configuration("default-head", "use_head", "defaults", ("use_head: bool = True", "use_head: bool = False")),
    configuration(
        "default-dropout",
        "attention_dropout",
        "defaults",
        ("attention_dropout: float = 0.0", "attention_dropout: float = 0.1"),
    ),
    configuration(
        "default-dtype",
        "dtype",
        "defaults",
        ("super().__init__(**kwargs)", 'super().__init__(**{"dtype": "bfloat16", **kwargs})'),
    ),
    configuration(
        "default-of-the-base-class",
        "output_hidden_states",
        "defaults",
        ("super().__init__(**kwargs)", 'super().__init__(**{"output_hidden_states": True, **kwargs})'),
    ),
    configuration(
        "model-type", "model_type", "attributes", ('model_type = "llava_vit"', 'model_type = "llava_vit_v1"')
    ),
    # Arguments: positional callers, renamed, restricted, swallowed.
    configuration(
        "arguments-swapped",
        "patch_size.position",
        "arguments",
        (
            "        image_size: int = 448,\n        patch_size: int = 16,\n",
            "        patch_size: int = 16,\n        image_size: int = 448,\n",
        ),
    ),
    configuration(
        "argument-renamed",
        "layer_norm_eps",
        "arguments",
        ("        layer_norm_eps: float", "        norm_eps: float"),
        ("= layer_norm_eps", "= norm_eps"),
    ),
    configuration(
        "argument-keyword-only",
        "rope_theta.kind",
        "arguments",
        ("        rope_theta: float", "        *,\n        rope_theta: float"),
    ),
    configuration(
        "argument-without-default", "hidden_size.default", "arguments", ("hidden_size: int = 768", "hidden_size: int")
    ),
    configuration(
        "argument-dropped", "rope_theta.*", "probes", ("self.rope_theta = rope_theta", "self.rope_theta = 10000.0")
    ),
    configuration(
        "argument-swallowed-by-another",
        "initializer_range.*",
        "probes",
        ("self.initializer_range = initializer_range", "self.initializer_range = min(initializer_range, 0.02)"),
    ),
    configuration(
        "value-rounded",
        "num_attention_heads",
        "explicit",
        ("self.num_attention_heads = num_attention_heads", "self.num_attention_heads = num_attention_heads // 2 * 2"),
    ),
    configuration(
        "attribute-renamed",
        "num_channels",
        "attributes",
        ("self.num_channels = num_channels", "self.in_channels = num_channels"),
    ),
    # Round trips: config.json leaves something out.
    configuration(
        "saved-without-a-size",
        "image_size",
        "json_trip",
        (
            "        self.auto_map = saved\n",
            '        self.auto_map = saved\n        self.__dict__.pop("image_size", None)\n',
        ),
    ),
    configuration(
        "dictionary-without-a-size",
        "image_size",
        "dictionary_trip",
        (
            "    __hash__ = None",
            '    def to_dict(self):\n        return {k: v for k, v in super().to_dict().items() if k != "image_size"}\n\n    __hash__ = None',
        ),
    ),
)

STRUCTURE_FAULTS = (
    structure("bias-added", "embeddings.patch_embedding.bias", "parameters", ("bias=False", "bias=True")),
    structure(
        "bias-dropped",
        "encoder.layers.*.self_attn.k_proj.bias",
        "parameters",
        (
            "self.k_proj = nn.Linear(config.hidden_size, config.hidden_size)",
            "self.k_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False)",
        ),
    ),
    structure(
        "parameter-renamed",
        "encoder.layers.*.self_attn.o_proj.weight",
        "parameters",
        ("self.out_proj = ", "self.o_proj = "),
        ("self.out_proj(", "self.o_proj("),
    ),
    structure(
        "norm-weight-named-gamma",
        "head.norm.weight",
        "parameters",
        ("self.weight = nn.Parameter(", "self.gamma = nn.Parameter("),
        ("self.weight * wide", "self.gamma * wide"),
        ("{tuple(self.weight.shape)}", "{tuple(self.gamma.shape)}"),
        (
            "            nn.init.ones_(module.weight)\n        elif isinstance(module, nn.MultiheadAttention)",
            "            nn.init.ones_(module.gamma)\n        elif isinstance(module, nn.MultiheadAttention)",
        ),
    ),
    structure(
        "prefix-doubled",
        "encoder.encoder.layers.0.mlp.fc1.weight",
        "parameters",
        (
            "self.encoder = LlavaViTEncoder(config)",
            'self.encoder = nn.ModuleDict({"encoder": LlavaViTEncoder(config)})',
        ),
        ("= self.encoder(\n", '= self.encoder["encoder"](\n'),
    ),
    structure(
        "width-of-the-mlp",
        "encoder.layers.0.mlp.fc1.weight.shape",
        "parameters",
        (
            "nn.Linear(config.hidden_size, config.intermediate_size)",
            "nn.Linear(config.hidden_size, 4 * config.hidden_size)",
        ),
        (
            "nn.Linear(config.intermediate_size, config.hidden_size)",
            "nn.Linear(4 * config.hidden_size, config.hidden_size)",
        ),
    ),
    structure(
        "shape-of-the-probe",
        "head.probe.shape",
        "parameters",
        ("torch.randn(1, 1, config.hidden_size)", "torch.randn(1, config.hidden_size)"),
    ),
    structure(
        "layer-missing",
        "encoder.layers.1.mlp.fc2.bias",
        "parameters",
        ("range(config.num_hidden_layers)", "range(config.num_hidden_layers - 1)"),
    ),
    structure(
        "layer-scale-added",
        "encoder.layers.*.scale",
        "parameters",
        (
            "        self.mlp = LlavaViTMLP(config)\n\n    def forward(\n",
            "        self.mlp = LlavaViTMLP(config)\n        self.scale = nn.Parameter(torch.ones(config.hidden_size))\n\n    def forward(\n",
        ),
    ),
    structure(
        "final-norm-missing",
        "layernorm_post.weight",
        "parameters",
        ("            self.layernorm_post = _build_norm(config)\n", ""),
        ("            hidden_states = self.layernorm_post(hidden_states)\n", ""),
    ),
    structure(
        "rms-norm-for-layer-norm",
        "layernorm_pre.bias",
        "parameters",
        ('if config.layer_norm_type == "layer_norm":', 'if config.layer_norm_type == "layernorm":'),
    ),
    structure(
        "head-always-there-but-unnamed",
        "head.probe",
        "parameters",
        ("self.head = LlavaViTPoolingHead(config)", "self.pool = LlavaViTPoolingHead(config)"),
        ("self.head(hidden_states)", "self.pool(hidden_states)"),
    ),
    structure(
        "parameter-frozen",
        "embeddings.patch_embedding.weight.requires_grad",
        "parameters",
        (
            "        self.embeddings = LlavaViTEmbeddings(config)\n",
            "        self.embeddings = LlavaViTEmbeddings(config).requires_grad_(False)\n",
        ),
    ),
    structure(
        "parameter-in-half",
        "head.probe.dtype",
        "parameters",
        ("torch.randn(1, 1, config.hidden_size)", "torch.randn(1, 1, config.hidden_size).half()"),
    ),
    structure(
        "parameter-made-a-buffer",
        "head.probe",
        "parameters",
        (
            "self.probe = nn.Parameter(torch.randn(1, 1, config.hidden_size))",
            'self.register_buffer("probe", torch.randn(1, 1, config.hidden_size))',
        ),
    ),
    structure(
        "weights-tied",
        "encoder.layers.0.self_attn.?_proj.weight",
        "tied",
        ("self.k_proj = nn.Linear(config.hidden_size, config.hidden_size)", "self.k_proj = self.q_proj"),
    ),
    structure(
        "norms-shared",
        "encoder.layers.*.layer_norm2.weight",
        "tied",
        ("self.layer_norm2 = _build_norm(config)", "self.layer_norm2 = self.layer_norm1"),
    ),
    structure("buffers-saved", "video_rope.inv_freq_?.persistent", "buffers", ("persistent=False", "persistent=True")),
    structure(
        "buffer-in-double",
        "video_rope.inv_freq_?.dtype",
        "buffers",
        ("torch.empty(size, dtype=torch.float32)", "torch.empty(size, dtype=torch.float64)"),
    ),
    structure(
        "axes-share-other-sizes",
        "video_rope.inv_freq_?.shape",
        "buffers",
        ('("t", 4 * unit), ("h", 6 * unit)', '("t", 6 * unit), ("h", 4 * unit)'),
    ),
    structure(
        "buffer-added-and-saved",
        "embeddings.position_ids",
        "buffers",
        (
            "bias=False\n        )\n",
            'bias=False\n        )\n        self.register_buffer("position_ids", torch.arange(4))\n',
        ),
    ),
)

FORMULA = "buffer.copy_(1.0 / self.theta**exponents)"
BUFFER_FAULTS = (
    buffers("buffers-unset", "video_rope.inv_freq_?", (FORMULA, "pass")),
    buffers(
        "frequencies-divided-by-another-count",
        "video_rope.inv_freq_?",
        ('device="cpu") / len(buffer)', 'device="cpu") / (len(buffer) - 1)'),
    ),
    buffers(
        "frequencies-of-one-dimension",
        "video_rope.inv_freq_?",
        (FORMULA, "buffer.copy_(1.0 / self.theta ** (2 * exponents))"),
    ),
    buffers(
        "frequencies-counted-from-one",
        "video_rope.inv_freq_?",
        ("torch.arange(len(buffer), ", "torch.arange(1, len(buffer) + 1, "),
    ),
    buffers(
        "frequencies-reversed",
        "video_rope.inv_freq_?",
        (FORMULA, "buffer.copy_((1.0 / self.theta**exponents).flip(0))"),
    ),
    buffers(
        "frequencies-of-another-base",
        "video_rope.inv_freq_?",
        ("self.theta = float(config.rope_theta)", "self.theta = 100.0"),
    ),
    buffers(
        "frequencies-rounded-to-bf16",
        "video_rope.inv_freq_?",
        (FORMULA, "buffer.copy_((1.0 / self.theta**exponents).bfloat16())"),
    ),
    buffers(
        "frequencies-rounded-to-fp16",
        "video_rope.inv_freq_?",
        ("torch.arange(len(buffer), dtype=torch.float32", "torch.arange(len(buffer), dtype=torch.float16"),
    ),
    buffers(
        "frequencies-of-time-off",
        "video_rope.inv_freq_t",
        (
            "        self.reset_buffers()\n\n    @",
            "        self.reset_buffers()\n        self.inv_freq_t.zero_()\n\n    @",
        ),
        ("            module.reset_buffers()  #", "            pass  #"),
    ),
    buffers(
        "frequencies-in-turns", "video_rope.inv_freq_?", (FORMULA, "buffer.copy_(6.2831853 / self.theta**exponents)")
    ),
)

NORM_FAULTS = (
    forward(
        "eps-of-layer-norm",
        MODEL,
        "layernorm_pre",
        ("nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)", "nn.LayerNorm(config.hidden_size, eps=1e-5)"),
    ),
    forward(
        "eps-shows-on-a-dim-image",
        MODEL,
        "layernorm_pre",
        (
            "nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)",
            "nn.LayerNorm(config.hidden_size, eps=1.001e-6)",
        ),
        case="dim-image",
    ),
    forward("eps-of-rms-norm", RMS, RMS_AT, ("self.eps = eps", "self.eps = 1e-5")),
    forward(
        "eps-of-the-head-fixed",
        RMS,
        RMS_AT,
        (
            "self.norm = LlavaViTRMSNorm(config.hidden_size, eps=config.layer_norm_eps)",
            "self.norm = LlavaViTRMSNorm(config.hidden_size, eps=1e-6)",
        ),
        case="other-values",
    ),
    forward("eps-none", RMS, RMS_AT, (" + self.eps)", " + torch.finfo(wide.dtype).eps)")),
    forward(
        "eps-outside-the-root",
        RMS,
        RMS_AT,
        (
            "torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)",
            "1.0 / (wide.pow(2).mean(-1, keepdim=True).sqrt() + self.eps)",
        ),
    ),
    forward(
        "rms-norm-centred",
        RMS,
        RMS_AT,
        (
            "wide = _wide(hidden_states)\n",
            "wide = _wide(hidden_states)\n        wide = wide - wide.mean(-1, keepdim=True)\n",
        ),
    ),
    forward("rms-norm-weight-unused", RMS, RMS_AT, ("(self.weight * wide)", "wide")),
    forward(
        "rms-norm-only-where-configured",
        RMS,
        "layernorm_pre",
        (
            "    return LlavaViTRMSNorm(config.hidden_size, eps=config.layer_norm_eps)",
            "    return LlavaViTRMSNorm(config.hidden_size, eps=1e-5)",
        ),
        case="rms-norm",
    ),
    forward(
        "layer-norm-affine-ignored",
        MODEL,
        "layernorm_pre",
        (
            "        return nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)",
            "        norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)\n        norm.forward = lambda x: F.layer_norm(x, x.shape[-1:], eps=norm.eps)\n        return norm",
        ),
    ),
    forward("first-norm-skipped", MODEL, "", ("self.layernorm_pre(hidden_states), cos", "hidden_states, cos")),
    forward("final-norm-skipped", MODEL, "", ("            hidden_states = self.layernorm_post(hidden_states)\n", "")),
    forward(
        "final-norm-only-for-the-head",
        MODEL,
        "",
        ("            hidden_states = self.layernorm_post(hidden_states)\n", ""),
        ("self.head(hidden_states)", "self.head(self.layernorm_post(hidden_states))"),
    ),
    forward(
        "norms-swapped",
        LAYER,
        LAYER_AT,
        ("self.layer_norm1(hidden_states), cos", "self.layer_norm2(hidden_states), cos"),
        ("self.mlp(self.layer_norm2(hidden_states))", "self.mlp(self.layer_norm1(hidden_states))"),
    ),
    forward(
        "norm-after-the-mlp",
        LAYER,
        LAYER_AT,
        ("self.mlp(self.layer_norm2(hidden_states))", "self.layer_norm2(self.mlp(hidden_states))"),
    ),
)

ATTENTION_FAULTS = (
    forward("scale-of-the-total-width", ATTENTION, ATTENTION_AT, ("self.head_dim**-0.5", "config.hidden_size**-0.5")),
    forward(
        "scale-missing-in-eager",
        ATTENTION,
        ATTENTION_AT,
        ("key.transpose(2, 3)) * scaling", "key.transpose(2, 3))"),
        case="eager-attention",
    ),
    forward("scale-nearly-right", ATTENTION, ATTENTION_AT, ("self.head_dim**-0.5", "self.head_dim**-0.5 * (1 + 1e-9)")),
    forward("causal", ATTENTION, ATTENTION_AT, ("            is_causal=False,\n", "            is_causal=True,\n")),
    forward(
        "causal-in-eager",
        ATTENTION,
        ATTENTION_AT,
        (
            "    if attention_mask is not None:\n",
            '    scores = scores + torch.full_like(scores, float("-inf")).triu(1)\n    if attention_mask is not None:\n',
        ),
        case="eager-attention",
    ),
    forward(
        "softmax-over-queries",
        ATTENTION,
        ATTENTION_AT,
        ("F.softmax(_wide(scores), dim=-1)", "F.softmax(_wide(scores), dim=-2)"),
        case="hidden-states-attentions",
    ),
    forward(
        "heads-split-the-other-way",
        ATTENTION,
        ATTENTION_AT,
        (
            "        query, key = apply",
            "        query = query.transpose(1, 2).flatten(2).unflatten(2, (self.head_dim, -1)).permute(0, 3, 1, 2)\n        query, key = apply",
        ),
    ),
    forward(
        "heads-and-tokens-mixed", ATTENTION, ATTENTION_AT, ("attended.reshape(", "attended.transpose(1, 2).reshape(")
    ),
    forward("value-from-the-key-weights", ATTENTION, ATTENTION_AT, ("value = self.v_proj(", "value = self.k_proj(")),
    forward(
        "fused-weight-cut-per-head",
        ATTENTION,
        ATTENTION_AT,
        (
            "        query, key = apply",
            "        fused = torch.cat([query, key, value], dim=1).transpose(1, 2)  # [B, L, 3 A, D]\n"
            "        query, key, value = fused.unflatten(2, (-1, 3)).permute(3, 0, 2, 1, 4)\n"
            "        query, key = apply",
        ),
    ),
    forward(
        "query-bias-unused",
        ATTENTION,
        ATTENTION_AT,
        ("query = self.q_proj(hidden_states)", "query = F.linear(hidden_states, self.q_proj.weight)"),
    ),
    forward(
        "value-bias-unused",
        ATTENTION,
        ATTENTION_AT,
        ("value = self.v_proj(hidden_states)", "value = F.linear(hidden_states, self.v_proj.weight)"),
    ),
    forward(
        "output-projection-skipped", ATTENTION, ATTENTION_AT, ("return self.out_proj(attended)", "return attended")
    ),
    forward(
        "attention-across-the-batch",
        ATTENTION,
        ATTENTION_AT,
        (
            "        attended, weights = self._interface(",
            "        key, value = (s.transpose(0, 1).flatten(1, 2).expand(len(s), -1, -1, -1) for s in (key, value))\n"
            "        attended, weights = self._interface(",
        ),
        case="batch-of-3",
    ),
    forward(
        "attention-within-a-window",
        ATTENTION,
        ATTENTION_AT,
        (
            "            None,\n            scaling",
            "            torch.ones(2 * query.shape[2:3], dtype=torch.bool, device=query.device).tril(16).triu(-16),\n            scaling",
        ),
        case="video-5-frames",
    ),
    forward(
        "dropout-in-evaluation", ATTENTION, ATTENTION_AT, (" if self.training else 0.0,", ","), case="other-values"
    ),
    forward(
        "dropout-in-evaluation-of-eager",
        ATTENTION,
        ATTENTION_AT,
        (
            "weights = F.dropout(weights, p=dropout, training=module.training)",
            "weights = F.dropout(weights, p=module.config.attention_dropout)",
        ),
        case="eager-attention",
    ),
    forward(
        "residual-missing", LAYER, LAYER_AT, ("hidden_states = hidden_states + attended", "hidden_states = attended")
    ),
    forward(
        "attention-and-mlp-in-parallel",
        LAYER,
        LAYER_AT,
        (
            "hidden_states = hidden_states + attended\n        return hidden_states + self.mlp(self.layer_norm2(hidden_states)), weights",
            "return hidden_states + attended + self.mlp(self.layer_norm2(hidden_states)), weights",
        ),
    ),
)

MLP_FAULTS = (
    forward(
        "gelu-of-tanh",
        MLP,
        f"{MLP_AT}.activation_fn",
        (
            "ACT2FN[config.hidden_act]",
            'ACT2FN["gelu_pytorch_tanh" if config.hidden_act == "gelu" else config.hidden_act]',
        ),
    ),
    forward(
        "gelu-quick",
        MLP,
        f"{MLP_AT}.activation_fn",
        ("ACT2FN[config.hidden_act]", 'ACT2FN["quick_gelu" if config.hidden_act == "gelu" else config.hidden_act]'),
    ),
    forward(
        "gelu-whatever-is-configured",
        MLP,
        f"{MLP_AT}.activation_fn",
        ("ACT2FN[config.hidden_act]", 'ACT2FN["gelu"]'),
        case="other-values",
    ),
    forward(
        "activation-missing",
        MLP,
        MLP_AT,
        ("self.fc2(self.activation_fn(self.fc1(hidden_states)))", "self.fc2(self.fc1(hidden_states))"),
    ),
    forward("mlp-bias-unused", MLP, MLP_AT, ("self.fc1(hidden_states)", "F.linear(hidden_states, self.fc1.weight)")),
)

ROTARY_FAULTS = (
    forward(
        "rotary-in-halves",
        ATTENTION,
        ATTENTION_AT,
        (
            "torch.stack((-states[..., 1::2], states[..., 0::2]), dim=-1).flatten(-2)",
            "torch.cat((-states.chunk(2, -1)[1], states.chunk(2, -1)[0]), dim=-1)",
        ),
    ),
    forward(
        "rotary-turned-back",
        ATTENTION,
        ATTENTION_AT,
        ("(-states[..., 1::2], states[..., 0::2])", "(states[..., 1::2], -states[..., 0::2])"),
    ),
    forward(
        "rotary-on-queries-only",
        ATTENTION,
        ATTENTION_AT,
        ("apply_rotary(query, cos, sin), apply_rotary(key, cos, sin)", "apply_rotary(query, cos, sin), key"),
    ),
    forward(
        "rotary-on-values-too",
        ATTENTION,
        ATTENTION_AT,
        (
            "        attended, weights = self._interface(",
            "        value = apply_rotary(value, cos, sin)\n        attended, weights = self._interface(",
        ),
    ),
    forward(
        "rotary-on-part-of-a-head",
        ATTENTION,
        ATTENTION_AT,
        (
            "    return states * cos + _rotate_pairs(states) * sin",
            "    turned = states * cos + _rotate_pairs(states) * sin\n    return torch.cat([turned[..., :16], states[..., 16:]], dim=-1)",
        ),
    ),
    forward(
        "rotary-in-the-first-layer-only",
        ENCODER,
        ENCODER_AT,
        (
            "            if output_hidden_states:\n                states",
            "            cos, sin = torch.ones_like(cos), torch.zeros_like(sin)\n            if output_hidden_states:\n                states",
        ),
    ),
    forward(
        "rotary-table-interleaved",
        ROPE,
        ROPE_AT,
        ("torch.cat([phases, phases], dim=-1)", "phases.repeat_interleave(2, dim=-1)"),
    ),
    forward(
        "rotary-table-sin-for-cos",
        ROPE,
        ROPE_AT,
        ("return phases.cos(), phases.sin()", "return phases.sin(), phases.cos()"),
    ),
    forward(
        "rotary-height-and-width-swapped",
        ROPE,
        ROPE_AT,
        (
            "(heights, self.inv_freq_h), (widths, self.inv_freq_w)",
            "(widths, self.inv_freq_h), (heights, self.inv_freq_w)",
        ),
    ),
    forward("rotary-rows-for-columns", ROPE, ROPE_AT, ("positions // columns % rows", "positions // rows % rows")),
    forward(
        "rotary-stretched-to-the-native-grid",
        ROPE,
        ROPE_AT,
        ("widths = positions % columns", "widths = positions % columns * (6 / columns)"),
    ),
    forward(
        "rotary-cut-at-the-native-grid",
        ROPE,
        ROPE_AT,
        ("widths = positions % columns", "widths = (positions % columns).clamp(max=5)"),
        case="prime-grid",
    ),
    forward(
        "time-fixed",
        ROPE,
        ROPE_AT,
        ("times = positions // (rows * columns)", "times = positions * 0"),
        case="video-2-frames",
    ),
    forward(
        "time-from-one",
        ROPE,
        ROPE_AT,
        ("times = positions // (rows * columns)", "times = positions // (rows * columns) + 1"),
    ),
    forward(
        "time-cut",
        ROPE,
        ROPE_AT,
        ("times = positions // (rows * columns)", "times = (positions // (rows * columns)).clamp(max=3)"),
        case="video-5-frames",
    ),
    forward(
        "time-cut-at-32",
        ROPE,
        ROPE_AT,
        ("times = positions // (rows * columns)", "times = (positions // (rows * columns)).clamp(max=31)"),
        case="long-video",
    ),
    forward(
        "time-reversed",
        ROPE,
        ROPE_AT,
        (
            "_, rows, columns = grid\n        times = positions // (rows * columns)",
            "frames, rows, columns = grid\n        times = frames - 1 - positions // (rows * columns)",
        ),
        case="video-2-frames",
    ),
    forward(
        "tables-cached-by-the-number-of-tokens",
        ROPE,
        ROPE_AT,
        (
            "        return phases.cos(), phases.sin()",
            '        self.tables = getattr(self, "tables", {})\n'
            "        return self.tables.setdefault(phases.shape, (phases.cos(), phases.sin()))",
        ),
        case="non-square",
    ),
)

INPUT_FAULTS = (
    forward(
        "patches-by-columns",
        EMBEDDINGS,
        EMBEDDINGS_AT,
        ("self.patch_embedding(frames).flatten(2)", "self.patch_embedding(frames).transpose(2, 3).flatten(2)"),
    ),
    forward(
        "patches-transposed-inside",
        EMBEDDINGS,
        f"{EMBEDDINGS_AT}",
        (
            "self.patch_embedding(frames)",
            "F.conv2d(frames, self.patch_embedding.weight.transpose(2, 3), stride=self.patch_embedding.stride)",
        ),
    ),
    forward(
        "channels-reversed",
        EMBEDDINGS,
        f"{EMBEDDINGS_AT}.patch_embedding",
        ("frames = video.transpose(1, 2).flatten(0, 1)", "frames = video.flip(1).transpose(1, 2).flatten(0, 1)"),
    ),
    forward(
        "frames-reversed",
        EMBEDDINGS,
        EMBEDDINGS_AT,
        ("frames = video.transpose(1, 2).flatten(0, 1)", "frames = video.flip(2).transpose(1, 2).flatten(0, 1)"),
        case="video-2-frames",
    ),
    forward(
        "pixels-clamped",
        EMBEDDINGS,
        EMBEDDINGS_AT,
        ("self.patch_embedding(frames)", "self.patch_embedding(frames.clamp(-10, 10))"),
        case="loud-image",
    ),
    forward(
        "frames-interleaved",
        EMBEDDINGS,
        EMBEDDINGS_AT,
        (
            "tokens.reshape(batch, -1, tokens.shape[-1])",
            "tokens.unflatten(0, (batch, -1)).transpose(1, 2).flatten(1, 2)",
        ),
        case="video-2-frames",
    ),
    forward(
        "visible-by-slot",
        MODEL,
        "",
        (
            "tokens = tokens.gather(1, visible[..., None].expand(-1, -1, tokens.shape[-1]))",
            "tokens = tokens[:, : visible.shape[1]]",
        ),
        case="visible-sorted",
    ),
    forward(
        "visible-positions-by-slot",
        MODEL,
        "",
        (
            "self.video_rope(visible, grid)",
            "self.video_rope(torch.arange(visible.shape[1], device=visible.device)[None], grid)",
        ),
        case="visible-sorted",
    ),
    forward(
        "visible-sorted-first",
        MODEL,
        "",
        (
            "        tokens = tokens.gather",
            "        visible = visible.sort(dim=-1).values\n        tokens = tokens.gather",
        ),
        case="visible-permuted",
    ),
    forward(
        "visible-of-the-first-row",
        MODEL,
        "",
        (
            "        tokens = tokens.gather",
            "        visible = visible[:1].expand_as(visible)\n        tokens = tokens.gather",
        ),
        case="visible-per-row",
    ),
    forward(
        "visible-positions-of-the-first-row",
        MODEL,
        "",
        ("self.video_rope(visible, grid)", "self.video_rope(visible[:1], grid)"),
        case="visible-per-row",
    ),
    forward(
        "top-k-in-order-of-score",
        MODEL,
        "",
        ("order[:, :limit].sort(dim=-1).values", "order[:, :limit]"),
        case="residual-video",
    ),
    forward(
        "top-k-of-the-smallest",
        MODEL,
        "",
        ("descending=True", "descending=False"),
        case="residual-top-k",
        cases=("residual-top-k",),
    ),
    forward(
        "top-k-signed", MODEL, "", (".to(dtype).abs()", ".to(dtype)"), case="residual-top-k", cases=("residual-top-k",)
    ),
    Fault(
        name="top-k-count",
        subject="last_hidden_state",
        case="residual-top-k",
        edits=(("RESIDUAL_TOKENS = 2048", "RESIDUAL_TOKENS = 2047"),),
        cases=("residual-top-k",),
    ),
)

HEAD_FAULTS = (
    forward(
        "head-residual-missing",
        HEAD,
        HEAD_AT,
        ("pooled = pooled + self.mlp(self.norm(pooled))", "pooled = self.mlp(self.norm(pooled))"),
    ),
    forward("head-norm-skipped", HEAD, HEAD_AT, ("self.mlp(self.norm(pooled))", "self.mlp(pooled)")),
    forward(
        "head-heads",
        HEAD,
        HEAD_AT,
        (
            "nn.MultiheadAttention(config.hidden_size, config.num_attention_heads,",
            "nn.MultiheadAttention(config.hidden_size, 1,",
        ),
    ),
    forward("head-averages", HEAD, HEAD_AT, ("return pooled[:, 0]", "return hidden_states.mean(1)")),
    forward(
        "head-asks-with-a-token",
        HEAD,
        HEAD_AT,
        ("probe = self.probe.expand(hidden_states.shape[0], -1, -1)", "probe = hidden_states[:, :1]"),
    ),
    forward(
        "head-attends-to-the-first-image",
        HEAD,
        HEAD_AT,
        (
            "self.attention(probe, hidden_states, hidden_states,",
            "self.attention(probe, *2 * (hidden_states[:1].expand_as(hidden_states),),",
        ),
        case="batch-of-3",
    ),
    Fault(
        name="head-raises",
        subject="image",
        case="image",
        cases=("image",),
        edits=(("batch_first=True", "batch_first=False"),),
    ),
)

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

SETTING_FAULTS = (
    other(
        "settings",
        "kept-in-float32",
        "kept float32 (strict)",
        (
            "    _no_split_modules: ClassVar",
            '    _keep_in_fp32_modules_strict: ClassVar[list[str]] = ["layer_norm1"]\n    _no_split_modules: ClassVar',
        ),
    ),
    other(
        "settings",
        "no-module-stays-whole",
        "kept whole",
        ('["LlavaViTEncoderLayer", "LlavaViTPoolingHead"]', '["EncoderLayer"]'),
    ),
    other(
        "settings",
        "other-input-embeddings",
        "input embeddings",
        ("        return self.embeddings\n", "        return self.layernorm_pre\n"),
    ),
    other(
        "buffers",
        "frequencies-follow-a-move-to-bfloat16",
        "video_rope.inv_freq_*",
        (
            "        super()._apply(fn, recurse)\n        for name, buffer in self.named_buffers():\n            setattr(self, name, buffer.to(torch.float32))\n        self.reset_buffers()\n        return self\n",
            "        return super()._apply(fn, recurse)\n",
        ),
    ),
    other(
        "settings",
        "pooling-dropout",
        "head.attention.dropout",
        ("config.num_attention_heads, batch_first=True)", "config.num_attention_heads, dropout=0.1, batch_first=True)"),
    ),
    other(
        "settings",
        "pooling-dropout-as-configured",
        "head.attention.dropout",
        (
            "config.num_attention_heads, batch_first=True)",
            "config.num_attention_heads, dropout=config.attention_dropout, batch_first=True)",
        ),
    ),
)

SIGNATURE_FAULTS = (
    other(
        "signature",
        "flags-swapped",
        "output_attentions.position",
        (
            "        output_attentions: bool | None = None,\n        output_hidden_states: bool | None = None,\n",
            "        output_hidden_states: bool | None = None,\n        output_attentions: bool | None = None,\n",
        ),
    ),
    other(
        "signature",
        "flag-with-another-default",
        "return_dict.default",
        ("        return_dict: bool | None = None,", "        return_dict: bool | None = True,"),
    ),
    other(
        "signature",
        "flag-by-keyword-alone",
        "return_dict.kind",
        ("        return_dict: bool | None = None,", "        *,\n        return_dict: bool | None = None,"),
    ),
    other(
        "signature",
        "arguments-swallowed",
        "[*][*]",
        (
            "        return_dict: bool | None = None,",
            "        return_dict: bool | None = None,\n        **kwargs: object,",
        ),
    ),
)

INITIALISATION_FAULTS = (
    other(
        "initialisation",
        "init-std",
        "encoder.layers.0.mlp.fc1.weight",
        ("std=self.config.initializer_range", "std=1.5 * self.config.initializer_range"),
    ),
    other(
        "initialisation",
        "init-std-of-the-default",
        "encoder.layers.0.mlp.fc1.weight",
        ("std=self.config.initializer_range", "std=0.02"),
    ),
    other(
        "initialisation",
        "init-uniform-of-the-same-spread",
        "encoder.layers.0.mlp.fc1.weight",
        (
            "nn.init.normal_(module.weight, mean=0.0, std=self.config.initializer_range)",
            "nn.init.uniform_(module.weight, *(s * 3**0.5 * self.config.initializer_range for s in (-1, 1)))",
        ),
    ),
    other(
        "initialisation",
        "init-cut-at-three-deviations",
        "encoder.layers.0.mlp.fc1.weight",
        (
            "nn.init.normal_(module.weight, mean=0.0, std=self.config.initializer_range)",
            "nn.init.trunc_normal_(module.weight, std=(std := self.config.initializer_range), a=-3 * std, b=3 * std)",
        ),
    ),
    other(
        "initialisation",
        "init-orthogonal-of-the-same-spread",
        "encoder.layers.0.mlp.fc1.weight",
        (
            "nn.init.normal_(module.weight, mean=0.0, std=self.config.initializer_range)",
            "nn.init.orthogonal_(module.weight, self.config.initializer_range * max(module.weight.flatten(1).shape) ** 0.5)",
        ),
    ),
    other(
        "initialisation",
        "init-bias-drawn",
        "encoder.layers.0.mlp.fc1.bias",
        (
            "nn.init.zeros_(module.bias)\n        elif isinstance(module, nn.LayerNorm)",
            "nn.init.normal_(module.bias, std=1e-3)\n        elif isinstance(module, nn.LayerNorm)",
        ),
    ),
    other(
        "initialisation",
        "init-norm-of-zero",
        "head.norm.weight",
        (
            "elif isinstance(module, LlavaViTRMSNorm):\n            nn.init.ones_(module.weight)",
            "elif isinstance(module, LlavaViTRMSNorm):\n            nn.init.zeros_(module.weight)",
        ),
    ),
    other(
        "initialisation",
        "init-probe-small",
        "head.probe",
        ("nn.init.normal_(module.probe)", "nn.init.normal_(module.probe, std=0.02)"),
    ),
    other(
        "initialisation",
        "init-patches-left-to-torch",
        "embeddings.patch_embedding.weight",
        ("isinstance(module, (nn.Linear, nn.Conv2d))", "isinstance(module, nn.Linear)"),
    ),
)

CONTRACT_FAULTS = (
    other(
        "outputs",
        "attentions-only-beside-states",
        "attentions*",
        (
            "tuple(attentions) if output_attentions else None,",
            "tuple(attentions) if output_attentions and output_hidden_states else None,",
        ),
    ),
    other(
        "outputs",
        "tuple-without-its-attentions",
        "*",
        (
            "return output if return_dict else output.to_tuple()",
            "return output if return_dict else output.to_tuple()[: 3 if output_attentions else 4]",
        ),
    ),
    other("outputs", "pooled-in-double", "pooler_output", ("pooler_output=pooled,", "pooler_output=pooled.double(),")),
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

SOURCE_FAULTS = (
    Fault(
        name="copy-edited",
        check="source",
        subject="model_factory/modeling_llava_vit.py",
        file="model_factory/modeling_llava_vit.py",
        edits=(("return pooled[:, 0]", "return pooled[:, -1]"),),
    ),
    Fault(
        name="original-edited",
        check="source",
        subject="model_factory/configuration_llava_vit.py",
        file=CONFIGURATION,
        edits=(("rope_theta: float = 10000.0", "rope_theta: float = 1e4"),),
    ),
)

FAULTS: tuple[Fault, ...] = (
    *CONFIGURATION_FAULTS,
    *STRUCTURE_FAULTS,
    *BUFFER_FAULTS,
    *NORM_FAULTS,
    *ATTENTION_FAULTS,
    *MLP_FAULTS,
    *ROTARY_FAULTS,
    *INPUT_FAULTS,
    *HEAD_FAULTS,
    *STATE_FAULTS,
    *SETTING_FAULTS,
    *SIGNATURE_FAULTS,
    *INITIALISATION_FAULTS,
    *CONTRACT_FAULTS,
    *DETERMINISM_FAULTS,
    *PROCESS_FAULTS,
    *SOURCE_FAULTS,
    *SILENT_FAULTS,
    *UNUSUAL_FAULTS,
)
