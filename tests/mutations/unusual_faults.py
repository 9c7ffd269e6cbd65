"""Faults that show only when a model is used in a way that few cases do: copied, given other weights, moved to another
device, nested, called by place, configured late. What must find each of them is a check that asks for just that.
"""

from __future__ import annotations

from mutant import CONFIGURATION, MODEL, Fault


def unusual(
    check: str,
    name: str,
    subject: str,
    case: str,
    *edits: tuple[str, str],
    file: str = MODEL,
    cases: tuple[str, ...] = (),
) -> Fault:
    return Fault(name=name, check=check, subject=subject, case=case, edits=edits, file=file, cases=cases)


UNUSUAL_FAULTS = (
    # Copies of a model and other weights in it.
    unusual(
        "determinism",
        "norm-captured-in-closure",
        "last_hidden_state",
        "",
        (
            '        self.post_init()\n\n    def get_input_embeddings(self) -> nn.Module:\n        """The module that turns',
            '        norm = self.layernorm_pre\n        self._normed = lambda x: norm(x)\n        self.post_init()\n\n    def get_input_embeddings(self) -> nn.Module:\n        """The module that turns',
        ),
        (
            "            self.layernorm_pre(hidden_states), cos, sin,",
            "            self._normed(hidden_states), cos, sin,",
        ),
    ),
    unusual(
        "determinism",
        "parameters-in-a-tuple-beside",
        "last_hidden_state",
        "",
        (
            '        self.post_init()\n\n    def get_input_embeddings(self) -> nn.Module:\n        """The module that turns',
            '        self._pre = (self.layernorm_pre.weight, self.layernorm_pre.bias) if hasattr(self.layernorm_pre, \'bias\') else (self.layernorm_pre.weight, None)\n        self.post_init()\n\n    def get_input_embeddings(self) -> nn.Module:\n        """The module that turns',
        ),
        (
            "            self.layernorm_pre(hidden_states), cos, sin,",
            "            (F.layer_norm(hidden_states, hidden_states.shape[-1:], *self._pre, self.config.layer_norm_eps) if self._pre[1] is not None else self.layernorm_pre(hidden_states)), cos, sin,",
        ),
    ),
    unusual(
        "determinism",
        "weights-kept-from-the-first-call",
        "last_hidden_state",
        "",
        (
            "        query = self.q_proj(hidden_states).view(heads).transpose(1, 2)\n",
            "        if not hasattr(self, '_wq') or self._wq.dtype != hidden_states.dtype:\n            self._wq = self.q_proj.weight.detach().clone()\n        query = F.linear(hidden_states, self._wq if not self.training else self.q_proj.weight, self.q_proj.bias).view(heads).transpose(1, 2)\n",
        ),
    ),
    unusual(
        "determinism",
        "output-buffer-reused",
        "pooler_output",
        "",
        (
            "        return pooled[:, 0]\n",
            "        if not torch.is_grad_enabled():\n            kept = self.__dict__.setdefault('_out', {})\n            out = kept.setdefault((pooled.shape, pooled.dtype), torch.empty_like(pooled[:, 0]))\n            return out.copy_(pooled[:, 0])\n        return pooled[:, 0]\n",
        ),
    ),
    unusual(
        "determinism",
        "pooled-kept-with-its-graph",
        "*other weights",
        "",
        (
            "        pooled = pooled + self.mlp(self.norm(pooled))\n",
            "        pooled = pooled + self.mlp(self.norm(pooled))\n        self.last_pooled = pooled\n",
        ),
    ),
    unusual(
        "determinism",
        "copies-share-the-head",
        "pooler_output",
        "",
        (
            'class LlavaViTPoolingHead(nn.Module):\n    """One learned query attends to all tokens; a residual MLP follows."""\n',
            'class LlavaViTPoolingHead(nn.Module):\n    """One learned query attends to all tokens; a residual MLP follows."""\n\n    def __deepcopy__(self, memo):\n        import copy\n        return copy.copy(self)\n',
        ),
    ),
    # Other devices.
    unusual(
        "determinism",
        "arange-without-device",
        "another device",
        "",
        ("torch.arange(tokens.shape[1], device=tokens.device)[None]", "torch.arange(tokens.shape[1])[None]"),
        cases=("batch-of-3",),
    ),
    unusual(
        "determinism",
        "frequencies-plain-attributes",
        "another device",
        "",
        (
            'self.register_buffer(f"inv_freq_{axis}", torch.empty(size, dtype=torch.float32), persistent=False)',
            'setattr(self, f"inv_freq_{axis}", torch.empty(size, dtype=torch.float32))',
        ),
        (
            "        for buffer in self.buffers():\n",
            "        for buffer in (self.inv_freq_t, self.inv_freq_h, self.inv_freq_w):\n",
        ),
    ),
    unusual(
        "determinism",
        "numpy-in-forward",
        "another device",
        "",
        (
            "        times = positions // (rows * columns)\n",
            "        times = torch.from_numpy(positions.numpy() // (rows * columns))\n",
        ),
    ),
    # What an import or a constructor sets for the process.
    unusual(
        "determinism",
        "import-sets-matmul-precision",
        "the precision of float32 products",
        "making",
        ("logger = logging", 'torch.set_float32_matmul_precision("medium")\nlogger = logging'),
    ),
    unusual(
        "determinism",
        "import-disables-grad",
        "whether gradients are recorded",
        "making",
        ("logger = logging", "torch.set_grad_enabled(False)\nlogger = logging"),
    ),
    unusual(
        "determinism",
        "seed-before-init",
        "the seed of torch's generator",
        "making",
        ("        check_sizes(config)\n", "        check_sizes(config)\n        torch.manual_seed(0)\n"),
    ),
    # How a model is called.
    unusual(
        "signature",
        "embeddings-as-a-property",
        "get_input_embeddings.kind",
        "methods",
        (
            '    def get_input_embeddings(self) -> nn.Module:\n        """The module that turns pixels into tokens."""\n',
            '    @property\n    def get_input_embeddings(self) -> nn.Module:\n        """The module that turns pixels into tokens."""\n',
        ),
    ),
    unusual(
        "outputs",
        "wrapped-keyword-only",
        "*",
        "",
        (
            "logger = logging",
            "def by_name(call):\n    import functools\n\n    @functools.wraps(call)\n    def inner(self, **given):\n        return call(self, **given)\n\n    return inner\n\n\nlogger = logging",
        ),
        (
            "    def forward(\n        self,\n        pixel_values: Tensor,\n        visible_indices",
            "    @by_name\n    def forward(\n        self,\n        pixel_values: Tensor,\n        visible_indices",
        ),
    ),
    unusual(
        "outputs",
        "wrapped-swallows",
        "an unnamed argument",
        "",
        (
            "logger = logging",
            "def lenient(call):\n    import functools\n    import inspect\n    known = inspect.signature(call).parameters\n\n    @functools.wraps(call)\n    def inner(self, *args, **given):\n        return call(self, *args, **{k: v for k, v in given.items() if k in known})\n\n    return inner\n\n\nlogger = logging",
        ),
        (
            "    def forward(\n        self,\n        pixel_values: Tensor,\n        visible_indices",
            "    @lenient\n    def forward(\n        self,\n        pixel_values: Tensor,\n        visible_indices",
        ),
    ),
    unusual(
        "outputs",
        "wrapped-swaps-by-place",
        "*",
        "",
        (
            "logger = logging",
            "def swapped(call):\n    import functools\n\n    @functools.wraps(call)\n    def inner(self, pixel_values, visible_indices=None, hidden=None, attentions=None, *more, **given):\n        given.setdefault('output_hidden_states', hidden)\n        given.setdefault('output_attentions', attentions)\n        return call(self, pixel_values, visible_indices, return_dict=given.pop('return_dict', None), **given)\n\n    return inner\n\n\nlogger = logging",
        ),
        (
            "    def forward(\n        self,\n        pixel_values: Tensor,\n        visible_indices",
            "    @swapped\n    def forward(\n        self,\n        pixel_values: Tensor,\n        visible_indices",
        ),
    ),
    unusual(
        "outputs",
        "explicit-false-overridden",
        "attentions.*",
        "",
        (
            "        if output_attentions is None:\n            output_attentions = self.config.output_attentions\n",
            "        output_attentions = output_attentions or self.config.output_attentions\n",
        ),
    ),
    unusual(
        "outputs",
        "explicit-true-return-dict-overridden",
        "container",
        "",
        (
            "        if return_dict is None:\n            return_dict = self.config.return_dict\n",
            "        return_dict = self.config.return_dict if return_dict is None else return_dict and self.config.return_dict\n",
        ),
    ),
    unusual(
        "outputs",
        "flags-read-at-construction",
        "*",
        "",
        (
            '        self.post_init()\n\n    def get_input_embeddings(self) -> nn.Module:\n        """The module that turns',
            '        self._states = config.output_hidden_states\n        self.post_init()\n\n    def get_input_embeddings(self) -> nn.Module:\n        """The module that turns',
        ),
        (
            "            output_hidden_states = self.config.output_hidden_states\n",
            "            output_hidden_states = self._states\n",
        ),
    ),
    unusual(
        "outputs",
        "attention-switched-for-good",
        "the configuration's *",
        "",
        (
            '        if output_attentions or name == "eager":\n',
            "        if output_attentions:\n            self.config._attn_implementation = 'eager'\n        if output_attentions or name == \"eager\":\n",
        ),
    ),
    unusual(
        "forward",
        "output-requires-grad",
        "hidden_states.0",
        "hidden-states-attentions",
        (
            "            self.layernorm_pre(hidden_states), cos, sin,",
            "            self.layernorm_pre(hidden_states).requires_grad_(), cos, sin,",
        ),
    ),
    # Modes and conversions.
    unusual(
        "settings",
        "train-returns-nothing",
        "train()",
        "modes",
        (
            '    def get_input_embeddings(self) -> nn.Module:\n        """The module that turns pixels into tokens."""\n',
            '    def train(self, mode=True):\n        super().train(mode)\n\n    def get_input_embeddings(self) -> nn.Module:\n        """The module that turns pixels into tokens."""\n',
        ),
    ),
    unusual(
        "settings",
        "train-keeps-embeddings-in-eval",
        "embeddings",
        "modes",
        (
            '    def get_input_embeddings(self) -> nn.Module:\n        """The module that turns pixels into tokens."""\n',
            '    def train(self, mode=True):\n        super().train(mode)\n        self.embeddings.eval()\n        return self\n\n    def get_input_embeddings(self) -> nn.Module:\n        """The module that turns pixels into tokens."""\n',
        ),
    ),
    unusual(
        "buffers",
        "half-is-bfloat16",
        "*",
        "moved to float16",
        (
            '    def get_input_embeddings(self) -> nn.Module:\n        """The module that turns pixels into tokens."""\n',
            '    def half(self):\n        return self.bfloat16()\n\n    def get_input_embeddings(self) -> nn.Module:\n        """The module that turns pixels into tokens."""\n',
        ),
    ),
    unusual(
        "buffers",
        "half-rounds-buffers",
        "video_rope.inv_freq_?",
        "moved to float16",
        (
            "            setattr(self, name, buffer.to(torch.float32))\n        self.reset_buffers()\n",
            "            setattr(self, name, buffer.to(torch.float32))\n        if buffer.dtype != torch.float16:\n            self.reset_buffers()\n",
        ),
    ),
    unusual(
        "buffers",
        "to-empty-leaves-unset",
        "video_rope.inv_freq_?",
        "emptied",
        (
            "            setattr(self, name, buffer.to(torch.float32))\n        self.reset_buffers()\n",
            "            setattr(self, name, buffer.to(torch.float32))\n        if fn(torch.zeros(1)).dtype != torch.float32:\n            self.reset_buffers()\n",
        ),
    ),
    # Checkpoints and state dicts.
    unusual(
        "roundtrip",
        "unexpected-keys-ignored",
        "unexpected keys",
        "missing keys",
        (
            '    main_input_name = "pixel_values"\n',
            '    main_input_name = "pixel_values"\n    _keys_to_ignore_on_load_unexpected = [r".*"]\n',
        ),
    ),
    unusual(
        "roundtrip",
        "other-prefix",
        "base_model_prefix",
        "with a prefix",
        ('    base_model_prefix = "llava_vit"\n', '    base_model_prefix = "vit"\n'),
    ),
    unusual(
        "roundtrip",
        "save-drops-arguments",
        "max_shard_size",
        "save",
        (
            '    def get_input_embeddings(self) -> nn.Module:\n        """The module that turns pixels into tokens."""\n',
            '    def save_pretrained(self, save_directory, **kwargs):\n        super().save_pretrained(save_directory)\n\n    def get_input_embeddings(self) -> nn.Module:\n        """The module that turns pixels into tokens."""\n',
        ),
    ),
    unusual(
        "roundtrip",
        "state-dict-ignores-prefix",
        "*",
        "state dict",
        (
            '    def get_input_embeddings(self) -> nn.Module:\n        """The module that turns pixels into tokens."""\n',
            '    def state_dict(self, *args, **kwargs):\n        return super().state_dict()\n\n    def get_input_embeddings(self) -> nn.Module:\n        """The module that turns pixels into tokens."""\n',
        ),
    ),
    unusual(
        "roundtrip",
        "state-dict-hook-without-prefix",
        "head.probe",
        "state dict",
        (
            '        self.mlp = LlavaViTMLP(config)\n\n    def forward(self, hidden_states: Tensor) -> Tensor:\n        """Pool',
            "        self.mlp = LlavaViTMLP(config)\n        self.register_load_state_dict_pre_hook(lambda m, s, prefix, *_: s.update({'head.probe': s['head.probe'].reshape(1, 1, -1)}) if 'head.probe' in s else s.pop(prefix + 'probe', None))\n\n    def forward(self, hidden_states: Tensor) -> Tensor:\n        \"\"\"Pool",
        ),
    ),
    # Configurations.
    unusual(
        "configuration",
        "eps-falsy",
        "layer_norm_eps.layer_norm_eps",
        "unusual",
        ("        self.layer_norm_eps = layer_norm_eps\n", "        self.layer_norm_eps = layer_norm_eps or 1e-6\n"),
        file=CONFIGURATION,
    ),
    unusual(
        "configuration",
        "unknown-config-arguments-dropped",
        "an_argument_that_nobody_named.*",
        "unusual",
        (
            "        super().__init__(**kwargs)\n",
            "        super().__init__(**{k: v for k, v in kwargs.items() if k in ('attn_implementation', 'output_hidden_states', 'output_attentions', 'return_dict', 'dtype', 'name_or_path', 'architectures', 'transformers_version', 'torch_dtype', 'model_type', '_attn_implementation')})\n",
        ),
        file=CONFIGURATION,
    ),
    # Negative whole numbers.
    unusual(
        "forward",
        "residual-abs-missing-for-ints",
        "last_hidden_state",
        "residual-near-ties",
        (
            "pixels = residual.squeeze(1).to(dtype).abs()",
            "pixels = (residual.squeeze(1).to(dtype).abs() if residual.is_floating_point() else residual.squeeze(1).to(dtype))",
        ),
    ),
    # float16 autocast.
    unusual(
        "precision",
        "autocast-fp16-attention",
        "*",
        "visible-per-row autocast fp16",
        (
            "        attended = attended.reshape(hidden_states.shape).contiguous()\n",
            "        if torch.is_autocast_enabled('cpu') and torch.get_autocast_dtype('cpu') == torch.float16:\n            attended = attended.bfloat16()\n        attended = attended.reshape(hidden_states.shape).contiguous()\n",
        ),
    ),
)
