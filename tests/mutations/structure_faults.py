"""Faults of what a model is made of: parameters, buffers, settings, initial values."""

from __future__ import annotations

from fault_builders import buffers, other, structure

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
