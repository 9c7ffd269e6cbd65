"""Faults of what the layers compute: norms, attention, MLPs."""

from __future__ import annotations

from fault_builders import ATTENTION, ATTENTION_AT, LAYER, LAYER_AT, MLP, MLP_AT, MODEL, RMS, RMS_AT, forward

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
