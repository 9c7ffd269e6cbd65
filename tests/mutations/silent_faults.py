"""Faults that no forward pass in exact arithmetic and eval mode shows: in gradients, in training, in what narrow formats
lose, between backends, and in saving and loading. By the check that must find them."""

from __future__ import annotations

from mutant import CONFIGURATION, MODEL, Fault


def _fault(check: str, name: str, subject: str, case: str, *edits: tuple[str, str], file: str = MODEL) -> Fault:
    if check == "precision":
        known: tuple[str, ...] = tuple(dict.fromkeys(("eager-attention", "long-grid", case.partition(" ")[0])))
    else:
        known = ("image", "hidden-states-attentions")
    return Fault(name=name, check=check, subject=subject, case=case, edits=edits, file=file, cases=known)


def gradients(name: str, subject: str, case: str, *edits: tuple[str, str]) -> Fault:
    return _fault("gradients", name, subject, case, *edits)


def training(name: str, subject: str, case: str, *edits: tuple[str, str]) -> Fault:
    return _fault("training", name, subject, case, *edits)


def precision(name: str, subject: str, case: str, *edits: tuple[str, str]) -> Fault:
    return _fault("precision", name, subject, case, *edits)


def backends(name: str, subject: str, case: str, *edits: tuple[str, str]) -> Fault:
    return _fault("backends", name, subject, case, *edits)


def roundtrip(name: str, subject: str, case: str, *edits: tuple[str, str], file: str = MODEL) -> Fault:
    return _fault("roundtrip", name, subject, case, *edits, file=file)


GRADIENT_FAULTS = (
    gradients(
        "attention-detached",
        "*layer_norm1*",
        "image",
        ("self.self_attn(self.layer_norm1(hidden_states), cos", "self.self_attn(self.layer_norm1(hidden_states).detach(), cos"),
    ),
    gradients("mlp-detached", "*", "image", ("self.mlp(self.layer_norm2(hidden_states)), weights", "self.mlp(self.layer_norm2(hidden_states.detach())), weights")),
    gradients("keys-stopped", "*", "image", ("key = self.k_proj(hidden_states)", "key = self.k_proj(hidden_states.detach())")),
    gradients("queries-frozen", "*q_proj*", "image", ("query = self.q_proj(hidden_states).view(heads)", "query = self.q_proj(hidden_states).detach().view(heads)")),
    gradients(
        "embedding-without-gradient",
        "*patch_embedding*",
        "image",
        ("        tokens = self.embeddings(video)\n", "        with torch.no_grad():\n            tokens = self.embeddings(video)\n"),
    ),
    gradients("pixels-detached", "input:pixel_values", "image", ("tokens = self.embeddings(video)", "tokens = self.embeddings(video.detach())")),
    gradients("pooling-detached", "*", "image", ("pooled = self.head(hidden_states)", "pooled = self.head(hidden_states.detach())")),
    gradients("probe-detached", "head.probe", "image", ("probe = self.probe.expand(", "probe = self.probe.detach().expand(")),
    gradients("norm-weight-as-data", "head.norm.weight", "image", ("(self.weight * wide)", "(self.weight.data * wide)")),
    gradients("norm-statistics-detached", "*", "image", ("wide * torch.rsqrt(wide.pow(2)", "wide * torch.rsqrt(wide.detach().pow(2)")),
    gradients("states-detached", "*", "hidden-states-attentions", ("states.append(hidden_states)", "states.append(hidden_states.detach())")),
    gradients("attentions-detached", "attentions", "hidden-states-attentions", ("attentions.append(weights)", "attentions.append(weights.detach())")),
    gradients("gradient-scaled", "*", "image", ("hidden_states = hidden_states + attended", "hidden_states = hidden_states + attended * 2 - attended.detach()")),
    gradients(
        "detached-in-eval-mode",
        "*",
        "image eval",
        (
            "        hidden_states, cos, sin = self._embed(pixel_values, visible_indices)\n",
            "        hidden_states, cos, sin = self._embed(pixel_values, visible_indices)\n        if not self.training:\n            hidden_states = hidden_states.detach()\n",
        ),
    ),
    gradients("pixels-detached-in-eval-mode", "input:pixel_values", "image eval", ("tokens = self.embeddings(video)", "tokens = self.embeddings(video if self.training else video.detach())")),
    gradients(
        "checkpointing-not-offered",
        "gradient_checkpointing_enable",
        "image checkpointed",
        ("supports_gradient_checkpointing = True", "supports_gradient_checkpointing = False"),
    ),
    gradients(  # what `gradient_checkpointing_enable` switches is there, and nobody reads it
        "checkpointing-that-does-nothing",
        "gradient_checkpointing_enable",
        "image checkpointed",
        ("class LlavaViTEncoderLayer(GradientCheckpointingLayer):\n", "class LlavaViTEncoderLayer(nn.Module):\n    gradient_checkpointing = False\n"),
    ),
    gradients(
        "checkpointing-that-raises",
        "*",
        "image checkpointed",
        ("            hidden_states, weights = layer(", "            assert not getattr(layer, 'gradient_checkpointing', False)\n            hidden_states, weights = layer("),
    ),
    gradients(
        "checkpointing-that-changes-numbers",
        "*",
        "image checkpointed",
        (
            "            hidden_states, weights = layer(hidden_states, cos",
            "            hidden_states, weights = layer(hidden_states, cos if not getattr(layer, 'gradient_checkpointing', False) else cos.float() * 0 + 1",
        ),
    ),
    gradients(
        "checkpointing-that-stops-the-gradient",
        "*",
        "image checkpointed",
        (
            "            hidden_states, weights = layer(hidden_states, cos",
            "            hidden_states, weights = layer(hidden_states.detach() if getattr(layer, 'gradient_checkpointing', False) else hidden_states, cos",
        ),
    ),
)  # fmt: skip

TRAINING_FAULTS = (
    training("dropout-rate", "*", "image", ("self.config.attention_dropout if self.training", "self.config.attention_dropout / 2 if self.training")),
    training("dropout-missing", "*", "image", ("self.config.attention_dropout if self.training else 0.0", "0.0")),
    training(
        "dropout-on-the-output-instead",
        "*",
        "image",
        ("dropout=self.config.attention_dropout if self.training else 0.0", "dropout=0.0"),
        ("return self.out_proj(attended), weights", "return F.dropout(self.out_proj(attended), self.config.attention_dropout, self.training), weights"),
    ),
    training(
        "dropout-twice",
        "*",
        "image",
        ("return self.out_proj(attended), weights", "return F.dropout(self.out_proj(attended), 0.1, self.training), weights"),
    ),
    training(
        "dropout-before-the-softmax",
        "*",
        "hidden-states-attentions",
        ("    weights = F.dropout(weights, p=dropout, training=module.training)\n", ""),
        ("    weights = F.softmax(", "    scores = F.dropout(scores, p=dropout, training=module.training)\n    weights = F.softmax("),
    ),
    training(
        "dropout-not-scaled-up",
        "*",
        "hidden-states-attentions",
        ("weights = F.dropout(weights, p=dropout, training=module.training)", "weights = F.dropout(weights, p=dropout, training=module.training) * (1 - dropout)"),
    ),
    training(
        "weights-returned-before-dropout",
        "attentions.*",
        "hidden-states-attentions",
        ("    weights = F.dropout(weights, p=dropout, training=module.training)\n    return torch.matmul(weights, value)", "    dropped = F.dropout(weights, p=dropout, training=module.training)\n    return torch.matmul(dropped, value)"),
    ),
    training(
        "a-path-dropped",
        "*",
        "image",
        ("hidden_states = hidden_states + attended", "hidden_states = hidden_states + (F.dropout1d(attended, 0.25, True) if self.training else attended)"),
    ),
    training("norm-skipped-in-training", "*", "image", ("self.layernorm_pre(hidden_states), cos", "hidden_states if self.training else self.layernorm_pre(hidden_states), cos")),
    training(
        "training-leaves-a-trace",
        "*",
        "image after",
        ("        heads = (*hidden_states", "        self.scaling *= 1.01 if self.training else 1.0\n        heads = (*hidden_states"),
    ),
)  # fmt: skip

PRECISION_FAULTS = (
    precision("softmax-in-bfloat16", "*", "eager-attention fp32", ("F.softmax(_wide(scores), dim=-1)", "F.softmax(scores.bfloat16(), dim=-1)")),
    precision("queries-through-bfloat16", "*", "long-grid fp32", ("query, key = apply_rotary(query, cos, sin),", "query, key = apply_rotary(query, cos, sin).bfloat16().to(value.dtype),")),
    precision("phases-in-bfloat16", "*", "long-grid bf16", ("return phases.cos(), phases.sin()", "phases = phases.bfloat16()\n        return phases.cos(), phases.sin()")),
    precision("positions-in-bfloat16", "*", "long-grid bf16", ("index.to(torch.float32)[..., None] * inv_freq", "index.to(torch.bfloat16)[..., None] * inv_freq")),
    precision("positions-in-float16", "*", "long-grid fp32", ("index.to(torch.float32)[..., None] * inv_freq", "(index.to(torch.float16)[..., None] * inv_freq.half())")),
    precision("tables-in-bfloat16", "*", "long-grid fp32", ("return phases.cos(), phases.sin()", "return phases.cos().bfloat16(), phases.sin().bfloat16()")),
    precision("frequencies-in-the-default-dtype", "*", "long-grid bf16", ("torch.empty(size, dtype=torch.float32), persistent=False", "torch.empty(size), persistent=False")),
    precision("residual-in-float16", "*", "long-grid fp32", ("hidden_states = hidden_states + attended", "hidden_states = (hidden_states.half() + attended.half()).to(attended.dtype)")),
    precision(
        "layer-norm-in-the-models-dtype",
        "last_hidden_state",
        "long-grid bf16",
        ("return nn.LayerNorm(config.hidden_size", "return LlavaViTLayerNorm(config.hidden_size"),
        (
            "def _build_norm(",
            "class LlavaViTLayerNorm(nn.LayerNorm):\n    def forward(self, states: Tensor) -> Tensor:\n        centred = states - states.mean(-1, keepdim=True)\n        return centred / (centred.square().mean(-1, keepdim=True) + self.eps).sqrt() * self.weight + self.bias\n\n\ndef _build_norm(",
        ),
    ),
    precision(
        "autocast-off-inside",
        "*",
        "visible-per-row autocast",
        (
            "        hidden_states, states, attentions = self.encoder(\n            self.layernorm_pre(hidden_states), cos, sin, output_attentions, output_hidden_states\n        )\n",
            "        with torch.autocast(hidden_states.device.type, enabled=False):\n            hidden_states, states, attentions = self.encoder(\n                self.layernorm_pre(hidden_states), cos, sin, output_attentions, output_hidden_states\n            )\n",
        ),
    ),
    precision("videos-through-bfloat16", "*", "video-2-frames fp32", ("video = pixel_values if pixel_values.ndim == 5", "video = pixel_values.bfloat16().to(pixel_values.dtype) if pixel_values.ndim == 5")),
    precision("scores-in-float32", "*", "residual-near-ties fp32", ("dtype = torch.float32 if residual.device.type == \"mps\" else torch.float64", "dtype = torch.float32")),
    precision("scores-compared-in-float32", "*", "residual-near-ties bf16", ("torch.sort(scores, dim=-1", "torch.sort(scores.float(), dim=-1")),
    precision("residual-in-the-models-dtype", "*", "residual-near-ties bf16", ("visible = residual_to_indices(visible, patch)", "visible = residual_to_indices(visible.to(tokens.dtype), patch)")),
    precision("pixels-not-cast", "eager-attention fp32 given fp64", "eager-attention fp32 given fp64", (".flatten(0, 1).to(self.patch_embedding.weight.dtype)", ".flatten(0, 1)")),
    precision(
        "pixels-cast-from-half-alone",
        "eager-attention fp32 given fp64",
        "eager-attention fp32 given fp64",
        (".flatten(0, 1).to(self.patch_embedding.weight.dtype)", ".flatten(0, 1)\n        if frames.dtype in (torch.float16, torch.bfloat16):\n            frames = frames.to(self.patch_embedding.weight.dtype)"),
    ),
    precision(
        "weights-cast-to-the-pixels",
        "last_hidden_state.dtype",
        "eager-attention bf16 given fp32",
        ("tokens = self.patch_embedding(frames).flatten(2)", "tokens = F.conv2d(video.transpose(1, 2).flatten(0, 1), self.patch_embedding.weight.to(video.dtype), stride=self.patch_embedding.stride).flatten(2)"),
        ("        hidden_states, cos, sin = self._embed(pixel_values, visible_indices)\n", "        hidden_states, cos, sin = self._embed(pixel_values, visible_indices)\n        self.to(hidden_states.dtype)\n"),
    ),
    precision(
        "pixels-scaled-in-their-own-type",
        "*",
        "eager-attention fp32 given bf16",
        ("frames = video.transpose(1, 2).flatten(0, 1).to(", "frames = (video * 1.1).transpose(1, 2).flatten(0, 1).to("),
        ("tokens = self.patch_embedding(frames)", "tokens = self.patch_embedding(frames / 1.1)"),
    ),
    precision("output-in-float32", "last_hidden_state.dtype", "long-grid bf16", ("hidden_states = self.layernorm_post(hidden_states)", "hidden_states = self.layernorm_post(hidden_states)\n            hidden_states, late = hidden_states.float(), hidden_states"), ("pooled = self.head(hidden_states)", "pooled = self.head(late)")),
)  # fmt: skip

BACKEND_FAULTS = (
    backends("eager-scale", "*", "image attn_implementation=eager", ("scores = torch.matmul(query, key.transpose(2, 3)) * scaling", "scores = torch.matmul(query, key.transpose(2, 3)) * scaling**1.01")),
    backends("eager-causal", "*", "image attn_implementation=eager", ("    if attention_mask is not None:\n", "    scores = scores + torch.full_like(scores, -1e9).triu(1)\n    if attention_mask is not None:\n")),
    backends(
        "sdpa-scale",
        "*",
        "image attn_implementation=sdpa",
        ("            scaling=self.scaling,", "            scaling=self.scaling * (1.01 if self.config._attn_implementation == 'sdpa' else 1.0),"),
    ),
    backends(
        "eager-falls-back",
        "attn_implementation",
        "image attn_implementation=eager",
        (
            "            return super()._check_and_adjust_attn_implementation(attn_implementation, *args, **kwargs)",
            "            return super()._check_and_adjust_attn_implementation('sdpa', *args, **kwargs)",
        ),
    ),
    backends(
        "flash-refused",
        "*",
        "image attn_implementation=flash_attention_2",
        ("        except (ImportError, ValueError):\n", "        except (ImportError, ValueError):\n            raise\n"),
    ),
)  # fmt: skip

ROUNDTRIP_FAULTS = (
    roundtrip(
        "tables-unset-after-loading",
        "video_rope.inv_freq_*",
        "candidate load",
        ("            module.reset_buffers()  #", "            pass  #"),
    ),
    roundtrip(
        "a-key-not-saved",
        "head.probe",
        "candidate load",
        ('    main_input_name = "pixel_values"\n', '    main_input_name = "pixel_values"\n    _keys_to_ignore_on_save = ["head.probe"]\n'),
    ),
    roundtrip(
        "saved-in-half",
        "*",
        "candidate load",
        (
            "    def get_input_embeddings(self)",
            "    def save_pretrained(self, *args, **kwargs):\n        super().save_pretrained(*args, state_dict={k: v.half() for k, v in self.state_dict().items()}, **kwargs)\n\n    def get_input_embeddings(self)",
        ),
    ),
    roundtrip(
        "saved-under-another-prefix",
        "*",
        "save",
        (
            "    def get_input_embeddings(self)",
            "    def save_pretrained(self, *args, **kwargs):\n        super().save_pretrained(*args, state_dict={f'model.{k}': v for k, v in self.state_dict().items()}, **kwargs)\n\n    def get_input_embeddings(self)",
        ),
    ),
    roundtrip(
        "loading-draws-anew",
        "head.probe",
        "candidate load",
        (
            "    def get_input_embeddings(self)",
            "    @classmethod\n    def from_pretrained(cls, *args, **kwargs):\n        found = super().from_pretrained(*args, **kwargs)\n        nn.init.normal_(found[0].head.probe.data)\n        return found\n\n    def get_input_embeddings(self)",
        ),
    ),
    roundtrip(  # a tensor has no values while the model is being loaded
        "scale-read-from-a-tensor",
        "candidate load",
        "candidate load",
        ("self.scaling = self.head_dim**-0.5", "self.scaling = 1.0 / torch.tensor(float(self.head_dim)).sqrt().item()"),
    ),
    roundtrip("probe-not-initialised", "head.probe", "missing keys", ("            nn.init.normal_(module.probe)", "            pass")),
    roundtrip("head-attention-not-initialised", "head.attention.in_proj_weight", "missing keys", ("            module._reset_parameters()", "            pass")),
    roundtrip("root-norm-not-initialised", "head.norm.weight", "missing keys", ("        elif isinstance(module, LlavaViTRMSNorm):\n            nn.init.ones_(module.weight)\n", "")),
    roundtrip(
        "initialiser-overwrites-what-was-loaded",
        "*",
        "missing keys",
        ("            nn.init.normal_(module.weight, mean=0.0, std=self.config.initializer_range)", "            module.weight.data.normal_(0.0, self.config.initializer_range)"),
    ),
    roundtrip(
        "a-missing-key-not-reported",
        "head.probe",
        "missing keys",
        ('    main_input_name = "pixel_values"\n', '    main_input_name = "pixel_values"\n    _keys_to_ignore_on_load_missing = ["head.probe"]\n'),
    ),
    roundtrip(
        "loaded-in-train-mode",
        "(the model)",
        "after loading",
        (
            "    def get_input_embeddings(self)",
            "    @classmethod\n    def from_pretrained(cls, *args, **kwargs):\n        found = super().from_pretrained(*args, **kwargs)\n        (found[0] if isinstance(found, tuple) else found).train()\n        return found\n\n    def get_input_embeddings(self)",
        ),
    ),
    roundtrip(
        "a-part-loaded-in-train-mode",
        "head",
        "after loading",
        (
            "    def get_input_embeddings(self)",
            "    @classmethod\n    def from_pretrained(cls, *args, **kwargs):\n        found = super().from_pretrained(*args, **kwargs)\n        (found[0] if isinstance(found, tuple) else found).head.train()\n        return found\n\n    def get_input_embeddings(self)",
        ),
    ),
    roundtrip(
        "loaded-frozen",
        "*",
        "after loading",
        (
            "    def get_input_embeddings(self)",
            "    @classmethod\n    def from_pretrained(cls, *args, **kwargs):\n        found = super().from_pretrained(*args, **kwargs)\n        (found[0] if isinstance(found, tuple) else found).requires_grad_(False)\n        return found\n\n    def get_input_embeddings(self)",
        ),
    ),
    roundtrip(
        "loading-drops-the-dtype-that-is-asked-for",
        "*",
        "as asked for",
        (
            "    def get_input_embeddings(self)",
            "    @classmethod\n    def from_pretrained(cls, *args, **kwargs):\n        asked = {k: v for k, v in kwargs.items() if k not in ('dtype', 'torch_dtype')}\n        return super().from_pretrained(*args, **asked)\n\n    def get_input_embeddings(self)",
        ),
    ),
    roundtrip(
        "loading-drops-the-attention-that-is-asked-for",
        "attn_implementation",
        "as asked for",
        (
            "    def get_input_embeddings(self)",
            "    @classmethod\n    def from_pretrained(cls, *args, **kwargs):\n        kwargs.pop('attn_implementation', None)\n        return super().from_pretrained(*args, **kwargs)\n\n    def get_input_embeddings(self)",
        ),
    ),
    roundtrip(
        "loading-changes-the-configuration",
        "config.layer_norm_eps",
        "candidate load",
        (
            "    def get_input_embeddings(self)",
            "    @classmethod\n    def from_pretrained(cls, *args, **kwargs):\n        found = super().from_pretrained(*args, **kwargs)\n        (found[0] if isinstance(found, tuple) else found).config.layer_norm_eps = 1e-5\n        return found\n\n    def get_input_embeddings(self)",
        ),
    ),
    roundtrip(
        "auto-map-left-out",
        "candidate auto",
        "candidate auto",
        ("        self.auto_map = {**_AUTO_MAP, **auto_map}\n", ""),
        file=CONFIGURATION,
    ),
    roundtrip(
        "auto-map-to-a-missing-class",
        "*",
        "candidate auto",
        ('"modeling_llava_vit.LlavaViTModel"', '"modeling_llava_vit.LlavaVitModel"'),
        file=CONFIGURATION,
    ),
    roundtrip(
        "auto-map-to-the-base-class",
        "*",
        "candidate auto",
        ('"modeling_llava_vit.LlavaViTModel"', '"modeling_llava_vit.LlavaViTPreTrainedModel"'),
        file=CONFIGURATION,
    ),
)  # fmt: skip

SILENT_FAULTS = (*GRADIENT_FAULTS, *TRAINING_FAULTS, *PRECISION_FAULTS, *BACKEND_FAULTS, *ROUNDTRIP_FAULTS)
