"""Rewrites of the candidate that change no number beyond rounding. None may be reported.

Those that rename or merge parameters need a weight mapping and are not here.
"""

from __future__ import annotations

from mutant import CONFIGURATION, Rewrite


def rewrite(name: str, *edits: tuple[str, str], cases: tuple[str, ...] = ()) -> Rewrite:
    return Rewrite(name=name, edits=edits, cases=cases)


EAGER = ("image", "batch-of-3", "hidden-states-attentions", "eager-attention")
NORMS = ("image", "constant-image", "dim-image", "rms-norm", "no-head")
OTHER_VALUES = ("image", "native-size", "other-values")
FORMS = ("image", "hidden-states-attentions", "return-tuple", "no-head", "no-head-tuple")

ATTEND = """\
    scores = torch.matmul(query, key.transpose(2, 3)) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = F.softmax(_wide(scores), dim=-1).to(query.dtype)
    weights = F.dropout(weights, p=dropout, training=module.training)
    return torch.matmul(weights, value).transpose(1, 2), weights
"""
DROPOUT = "    weights = F.dropout(weights, p=dropout, training=module.training)\n"
PROJECT = """\
        query = self.q_proj(hidden_states).view(heads).transpose(1, 2)
        key = self.k_proj(hidden_states).view(heads).transpose(1, 2)
        value = self.v_proj(hidden_states).view(heads).transpose(1, 2)
"""
LAYERS = "nn.ModuleList([LlavaViTEncoderLayer(config) for _ in range(config.num_hidden_layers)])"
MLP = "self.fc2(self.activation_fn(self.fc1(hidden_states)))"
POOL = "pooled = self.attention(probe, hidden_states, hidden_states, need_weights=False)[0]"
PATCHES = "tokens = self.patch_embedding(frames).flatten(2).transpose(1, 2)"
RMS = "wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)"
TABLES = "        return phases.cos(), phases.sin()\n"
ROTATE = '''\
def _rotate_pairs(states: Tensor) -> Tensor:
    """(x0, x1, x2, x3, …) → (-x1, x0, -x3, x2, …) over the last axis."""
    return torch.stack((-states[..., 1::2], states[..., 0::2]), dim=-1).flatten(-2)


'''
TURN = "    return states * cos + _rotate_pairs(states) * sin\n"
INTERFACE = '        name = self.config._attn_implementation or "sdpa"\n'
SOFTMAX = "F.softmax(_wide(scores), dim=-1)"
FREQUENCIES = "buffer.copy_(1.0 / self.theta**exponents)"
GATHER = "tokens.gather(1, visible[..., None].expand(-1, -1, tokens.shape[-1]))"
OUTPUT = "return output if return_dict else output.to_tuple()"

HEAD_BY_HAND = """\
held, size = self.attention, hidden_states.shape[-1]
        (w_q, w_k, w_v), (b_q, b_k, b_v) = held.in_proj_weight.chunk(3), held.in_proj_bias.chunk(3)
        states = (F.linear(probe, w_q, b_q), F.linear(hidden_states, w_k, {key_bias}), F.linear(hidden_states, w_v, b_v))
        query, key, value = (s.unflatten(-1, (held.num_heads, -1)).transpose(1, 2) for s in states)
        weights = (query @ key.mT / (size // held.num_heads) ** 0.5).softmax(-1)
        pooled = held.out_proj((weights @ value).transpose(1, 2).flatten(2))"""

REWRITES: tuple[Rewrite, ...] = (
    # Attention.
    rewrite("eager-for-sdpa", (INTERFACE, '        name = "eager"\n'), cases=EAGER),
    rewrite(
        "sdpa-called-directly",
        (
            "        return ALL_ATTENTION_FUNCTIONS[name]",
            """\
        def sdpa(module, q, k, v, mask, scaling, dropout, **_):
            return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, scale=scaling).transpose(1, 2), None

        return sdpa""",
        ),
    ),
    rewrite(
        "einsum-for-matmul",
        (INTERFACE, '        name = "eager"\n'),
        (
            ATTEND,
            """\
    scores = torch.einsum("bald,bamd->balm", query, key) * scaling
    weights = F.dropout(F.softmax(_wide(scores), dim=-1).to(query.dtype), p=dropout, training=module.training)
    return torch.einsum("balm,bamd->blad", weights, value), weights
""",
        ),
        cases=EAGER,
    ),
    rewrite(
        "softmax-by-hand",
        (INTERFACE, '        name = "eager"\n'),
        (SOFTMAX, "(lambda e: e / e.sum(-1, keepdim=True))((scores - scores.amax(-1, keepdim=True)).exp())"),
        cases=EAGER,
    ),
    rewrite(
        "softmax-in-float32",
        (INTERFACE, '        name = "eager"\n'),
        (SOFTMAX, "F.softmax(scores, dim=-1, dtype=torch.float32)"),
        cases=EAGER,
    ),
    rewrite(
        "scale-on-queries-and-keys",
        (
            "query, key = apply_rotary(query, cos, sin), apply_rotary(key, cos, sin)",
            "query, key = (apply_rotary(s, cos, sin) * self.scaling**0.5 for s in (query, key))",
        ),
        ("scaling=self.scaling,", "scaling=1.0,"),
    ),
    rewrite(
        "scale-by-another-formula",
        ("self.scaling = self.head_dim**-0.5", "self.scaling = (1.0 / self.head_dim) ** 0.5"),
    ),
    rewrite(
        "projections-fused-at-run-time",
        (
            PROJECT,
            """\
        projections = (self.q_proj, self.k_proj, self.v_proj)
        weight, bias = torch.cat([p.weight for p in projections]), torch.cat([p.bias for p in projections])
        fused = F.linear(hidden_states, weight, bias).unflatten(-1, (3, -1, self.head_dim))
        query, key, value = fused.permute(2, 0, 3, 1, 4)
""",
        ),
    ),
    rewrite(
        "heads-one-by-one",
        (INTERFACE, '        name = "eager"\n'),
        (
            ATTEND,
            """\
    heads = []
    for q, k, v in zip(query.unbind(1), key.unbind(1), value.unbind(1)):
        weights = F.softmax(_wide(q @ k.mT * scaling), dim=-1).to(q.dtype)
        heads.append((F.dropout(weights, p=dropout, training=module.training), v))
    return torch.stack([w @ v for w, v in heads], dim=2), torch.stack([w for w, _ in heads], dim=1)
""",
        ),
    ),
    rewrite(
        "dropout-written-out-in-place",
        (INTERFACE, '        name = "eager"\n'),
        (
            DROPOUT,
            """\
    if module.training and dropout:
        weights = weights * torch.rand_like(weights).lt_(1 - dropout) / (1 - dropout)
""",
        ),
        cases=EAGER,
    ),
    rewrite(
        "dropout-rounded-down",
        (INTERFACE, '        name = "eager"\n'),
        (
            DROPOUT,
            """\
    if module.training and dropout:
        weights = weights * (1 - (torch.rand_like(weights) + dropout).floor_()) / (1 - dropout)
""",
        ),
        cases=EAGER,
    ),
    # MLP and norms.
    rewrite(
        "gelu-as-a-function",
        ("ACT2FN[config.hidden_act]", 'F.gelu if config.hidden_act == "gelu" else ACT2FN[config.hidden_act]'),
        cases=OTHER_VALUES,
    ),
    rewrite(
        "gelu-as-a-torch-module",
        ("ACT2FN[config.hidden_act]", 'nn.GELU() if config.hidden_act == "gelu" else ACT2FN[config.hidden_act]'),
        cases=OTHER_VALUES,
    ),
    rewrite(
        "gelu-by-formula",
        (
            "ACT2FN[config.hidden_act]",
            'ACT2FN[config.hidden_act] if config.hidden_act != "gelu" else lambda x: 0.5 * x * (1 + torch.erf(x * 0.5**0.5))',
        ),
        cases=OTHER_VALUES,
    ),
    rewrite(
        "mlp-in-chunks",
        (MLP, "torch.cat([self.fc2(self.activation_fn(self.fc1(part))) for part in hidden_states.split(2, dim=0)])"),
    ),
    rewrite(
        "mlp-in-chunks-of-hidden-units",
        (
            MLP,
            """self.fc2.bias + sum(
            F.linear(self.activation_fn(F.linear(hidden_states, w, b)), v)
            for w, b, v in zip(self.fc1.weight.chunk(4), self.fc1.bias.chunk(4), self.fc2.weight.chunk(4, dim=1))
        )""",
        ),
    ),
    rewrite(
        "mlp-by-matmul",
        (
            MLP,
            "torch.addmm(self.fc2.bias, self.activation_fn(hidden_states.flatten(0, -2) @ self.fc1.weight.T + self.fc1.bias), self.fc2.weight.T).view(hidden_states.shape)",
        ),
    ),
    rewrite("rms-norm-of-torch", (RMS, "wide = F.rms_norm(wide, self.weight.shape, eps=self.eps)"), cases=NORMS),
    rewrite(
        "rms-norm-by-division",
        (RMS, "wide = wide / ((wide * wide).sum(-1, keepdim=True) / wide.shape[-1] + self.eps).sqrt()"),
        cases=NORMS,
    ),
    rewrite(
        "layer-norm-by-hand",
        (
            "        return nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)",
            """\
        return LlavaViTLayerNorm(config.hidden_size, eps=config.layer_norm_eps)""",
        ),
        (
            "def _build_norm(",
            """\
class LlavaViTLayerNorm(nn.LayerNorm):
    def forward(self, states: Tensor) -> Tensor:
        centred = _wide(states) - _wide(states).mean(-1, keepdim=True)
        normed = centred / (centred.square().mean(-1, keepdim=True) + self.eps).sqrt()
        return (normed * self.weight + self.bias).to(states.dtype)


def _build_norm(""",
        ),
        cases=NORMS,
    ),
    # Patches, positions, choice of tokens.
    rewrite(
        "unfold-for-conv2d",
        (
            PATCHES,
            """\
size = self.patch_embedding.kernel_size
        weight = self.patch_embedding.weight.flatten(1)
        tokens = torch.matmul(F.unfold(frames, size, stride=size).transpose(1, 2), weight.T)""",
        ),
    ),
    rewrite(
        "conv3d-for-conv2d",
        (
            PATCHES,
            """\
stride = (1, *self.patch_embedding.stride)
        weight = self.patch_embedding.weight.unsqueeze(2)
        tokens = F.conv3d(video.to(weight.dtype), weight, stride=stride).flatten(2).transpose(1, 2)""",
        ),
    ),
    rewrite(
        "einsum-for-conv2d",
        (
            PATCHES,
            """\
side = self.patch_embedding.kernel_size[0]
        cut = frames.unflatten(3, (-1, side)).unflatten(2, (-1, side))
        tokens = torch.einsum("bcypxq,ecpq->byxe", cut, self.patch_embedding.weight).flatten(1, 2)""",
        ),
    ),
    rewrite(
        "frames-one-by-one",
        (PATCHES, "tokens = torch.cat([self.patch_embedding(f[None]).flatten(2).transpose(1, 2) for f in frames])"),
    ),
    rewrite(
        "channels-last",
        (
            PATCHES,
            "tokens = self.patch_embedding(frames.contiguous(memory_format=torch.channels_last)).flatten(2).transpose(1, 2)",
        ),
    ),
    rewrite(
        "tables-cached",
        (
            TABLES,
            """\
        self.tables = getattr(self, "tables", {})
        key = (grid, tuple(positions.flatten().tolist()), positions.shape, phases.dtype)
        return self.tables.setdefault(key, (phases.cos(), phases.sin()))
""",
        ),
    ),
    rewrite(
        "frequencies-recomputed",
        (
            '            self.register_buffer(f"inv_freq_{axis}", torch.empty(size, dtype=torch.float32), persistent=False)\n        self.reset_buffers()\n',
            '            steps = torch.arange(size, dtype=torch.float32) / size\n            self.register_buffer(f"inv_freq_{axis}", 1.0 / self.theta**steps, persistent=False)\n',
        ),
    ),
    rewrite(
        "frequencies-cached-for-the-process",
        (FREQUENCIES, "buffer.copy_(_frequencies(len(buffer), self.theta))"),
        (
            "class LlavaViTVideoRope(nn.Module):\n",
            """\
@__import__("functools").lru_cache(maxsize=8)
def _frequencies(size, theta):
    return 1.0 / theta ** (torch.arange(size, dtype=torch.float32, device="cpu") / size)


class LlavaViTVideoRope(nn.Module):
""",
        ),
    ),
    rewrite("frequencies-by-power", (FREQUENCIES, "buffer.copy_(self.theta**-exponents)")),
    rewrite(
        "frequencies-by-exponential",
        (
            FREQUENCIES,
            "buffer.copy_(torch.exp(exponents * -torch.log(torch.full((), self.theta, dtype=torch.float32, device='cpu'))))",
        ),
    ),
    rewrite(
        "frequencies-in-double",
        ("torch.arange(len(buffer), dtype=torch.float32", "torch.arange(len(buffer), dtype=torch.float64"),
    ),
    rewrite(
        "positions-by-divmod",
        (
            "        heights = positions // columns % rows\n",
            '        heights = torch.div(positions - times * rows * columns, columns, rounding_mode="floor")\n',
        ),
    ),
    rewrite(
        "positions-by-grid",
        (
            "        times = positions // (rows * columns)\n        heights = positions // columns % rows\n        widths = positions % columns\n",
            '        lines = torch.meshgrid(*(torch.arange(n, device=positions.device) for n in grid), indexing="ij")\n'
            "        times, heights, widths = (line.flatten()[positions] for line in lines)\n",
        ),
    ),
    rewrite(
        "rotary-by-halves-of-pairs",
        (
            TURN,
            """\
    even, odd = states[..., 0::2], states[..., 1::2]
    turned = torch.empty_like(states)
    turned[..., 0::2] = even * cos[..., 0::2] - odd * sin[..., 0::2]
    turned[..., 1::2] = odd * cos[..., 1::2] + even * sin[..., 1::2]
    return turned
""",
        ),
    ),
    rewrite(
        "rotary-in-place",
        (TURN, "    rotated = _rotate_pairs(states).mul_(sin)\n    return states.clone().mul_(cos).add_(rotated)\n"),
    ),
    rewrite("tokens-taken-along-an-axis", (GATHER, "torch.take_along_dim(tokens, visible[..., None], dim=1)")),
    rewrite("tokens-indexed", (GATHER, "tokens[torch.arange(len(tokens), device=tokens.device)[:, None], visible]")),
    rewrite(
        "top-k-for-sort",
        (
            "order = torch.sort(scores, dim=-1, descending=True, stable=True).indices",
            "order = scores.topk(min(limit, scores.shape[1]), dim=-1).indices",
        ),
        cases=("residual-video", "residual-top-k", "residual-near-ties"),
    ),
    # Head.
    rewrite("head-by-hand", (POOL, HEAD_BY_HAND.format(key_bias="b_k"))),
    rewrite("head-without-key-bias", (POOL, HEAD_BY_HAND.format(key_bias="None"))),
    rewrite("head-with-weights", (POOL, POOL.replace("need_weights=False", "need_weights=True"))),
    # Layout of the code.
    rewrite(
        "in-place-residuals",
        (
            "hidden_states = hidden_states + attended\n        return hidden_states + self.mlp(self.layer_norm2(hidden_states)), weights",
            "hidden_states = attended.add_(hidden_states)\n        return self.mlp(self.layer_norm2(hidden_states)).add_(hidden_states), weights",
        ),
    ),
    rewrite(
        "definitions-reordered",
        (ROTATE, ""),
        ("class LlavaViTEmbeddings(", ROTATE + "class LlavaViTEmbeddings("),
        (
            "        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size)\n        self.k_proj = nn.Linear(config.hidden_size, config.hidden_size)\n",
            "        self.k_proj = nn.Linear(config.hidden_size, config.hidden_size)\n        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size)\n",
        ),
    ),
    rewrite(
        "locals-renamed",
        (
            "        attended, weights = self.self_attn(self.layer_norm1(hidden_states), cos, sin, output_attentions)\n        hidden_states = hidden_states + attended\n        return hidden_states + self.mlp(self.layer_norm2(hidden_states)), weights",
            "        update, w = self.self_attn(self.layer_norm1(hidden_states), cos, sin, output_attentions)\n        x = hidden_states + update\n        return x + self.mlp(self.layer_norm2(x)), w",
        ),
    ),
    rewrite(
        "classes-renamed",
        ("class LlavaViTEncoder(", "class Trunk("),
        ("= LlavaViTEncoder(config)", "= Trunk(config)"),
        ("class LlavaViTAttention(", "class MultiHead("),
        ("= LlavaViTAttention(config)", "= MultiHead(config)"),
    ),
    rewrite("stateless-module-renamed", ("self.activation_fn = ", "self.act = "), ("self.activation_fn(", "self.act(")),
    rewrite(
        "stateless-modules-added",
        (
            "        self.mlp = LlavaViTMLP(config)\n\n    def forward(\n",
            "        self.mlp = LlavaViTMLP(config)\n        self.drop_path = nn.Identity()\n        self.dropout = nn.Dropout(0.0)\n\n    def forward(\n",
        ),
        (
            "hidden_states = hidden_states + attended",
            "hidden_states = hidden_states + self.drop_path(self.dropout(attended))",
        ),
    ),
    rewrite(
        "sequential-for-module-list",
        (LAYERS, LAYERS.replace("nn.ModuleList([", "nn.Sequential(*[")),
    ),
    rewrite(
        "layers-added-by-name",
        (
            f"self.layers = {LAYERS}",
            "self.layers = nn.Module()\n        for i in range(config.num_hidden_layers):\n            self.layers.add_module(str(i), LlavaViTEncoderLayer(config))",
        ),
        ("in self.layers:", "in self.layers.children():"),
    ),
    rewrite(
        "layers-in-a-list-beside",
        (f"self.layers = {LAYERS}", f'self.layers = {LAYERS}\n        self.__dict__["stack"] = list(self.layers)'),
        ("in self.layers:", "in self.stack:"),
    ),
    rewrite(
        "recomputed-in-the-backward-pass",
        (
            "hidden_states, weights = layer(hidden_states, cos, sin, output_attentions)",
            "hidden_states, weights = torch.utils.checkpoint.checkpoint(\n                layer, hidden_states, cos, sin, output_attentions, use_reentrant=False\n            )",
        ),
        ("import torch\n", "import torch\nimport torch.utils.checkpoint\n"),
    ),
    rewrite("one-thread", ("logger = logging", "torch.set_num_threads(1)\nlogger = logging")),
    # Forms of the output.
    rewrite(
        "plain-dictionary",
        (OUTPUT, "return dict(output.items()) if return_dict else output.to_tuple()"),
        cases=FORMS,
    ),
    rewrite(
        "lists-for-tuples",
        (OUTPUT, "return output if return_dict else list(output.to_tuple())"),
        ("tuple(states) if output_hidden_states", "states if output_hidden_states"),
        ("            tuple(attentions) if output_attentions", "            attentions if output_attentions"),
        cases=FORMS,
    ),
    rewrite(
        "outputs-not-contiguous",
        ("last_hidden_state=hidden_states, pooler", "last_hidden_state=hidden_states.mT.contiguous().mT, pooler"),
        cases=FORMS,
    ),
    # Configuration.
    Rewrite(
        name="values-assigned-first",
        file=CONFIGURATION,
        edits=(
            (
                "        super().__init__(**kwargs)\n        self.hidden_size = hidden_size\n",
                "        self.hidden_size = hidden_size\n",
            ),
            ("        # The Auto classes", "        super().__init__(**kwargs)\n        # The Auto classes"),
        ),
    ),
    Rewrite(
        name="annotations-changed",
        file=CONFIGURATION,
        edits=(
            ("layer_norm_eps: float = 1e-6", "layer_norm_eps=0.000001"),
            ("hidden_size: int = 768", "hidden_size: int | None = 3 * 256"),
        ),
    ),
    # What checks of unusual uses must not take for one.
    rewrite(
        "softmax-of-a-contiguous-copy",
        (
            "    weights = F.softmax(_wide(scores), dim=-1).to(query.dtype)\n",
            "    scores = _wide(scores).contiguous()\n    weights = torch.softmax(scores, -1).to(query.dtype)\n",
        ),
        cases=EAGER,
    ),
    rewrite(
        "tables-by-polar",
        (
            "        phases = torch.cat([phases, phases], dim=-1)\n        return phases.cos(), phases.sin()\n",
            "        wave = torch.polar(torch.ones_like(phases), phases)\n        return wave.real.repeat(1, 1, 2), wave.imag.repeat(1, 1, 2)\n",
        ),
    ),
    rewrite(
        "tuple-of-values",
        (
            "        return output if return_dict else output.to_tuple()\n",
            "        return output if return_dict else tuple(v for v in output.values() if v is not None)\n",
        ),
        cases=FORMS,
    ),
    rewrite(
        "public-helper-in-a-mixin",
        (
            "class LlavaViTPreTrainedModel(PreTrainedModel):",
            "class _Sizes:\n    def token_count(self, height, width):\n        return height * width\n\n\nclass LlavaViTPreTrainedModel(_Sizes, PreTrainedModel):",
        ),
    ),
    rewrite(
        "tokens-row-by-row",
        (
            "tokens.gather(1, visible[..., None].expand(-1, -1, tokens.shape[-1]))",
            "torch.stack([row.index_select(0, index) for row, index in zip(tokens, visible)])",
        ),
    ),
    rewrite(
        "argsort-of-the-negative",
        (
            "order = torch.sort(scores, dim=-1, descending=True, stable=True).indices",
            "order = torch.argsort(-scores, dim=-1, stable=True)",
        ),
        cases=("residual-video", "residual-top-k", "residual-near-ties"),
    ),
    rewrite(
        "scores-by-einsum",
        (
            "    scores = torch.matmul(query, key.transpose(2, 3)) * scaling\n",
            "    scores = torch.einsum('bhqd,bhkd->bhqk', query, key).mul(scaling)\n",
        ),
        cases=EAGER,
    ),
    rewrite(
        "rms-by-vector-norm",
        (
            "        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)\n",
            "        wide = wide / torch.sqrt(torch.linalg.vector_norm(wide, dim=-1, keepdim=True).pow(2) / wide.shape[-1] + self.eps)\n",
        ),
        cases=NORMS,
    ),
    rewrite(
        "layers-appended",
        (
            "nn.ModuleList([LlavaViTEncoderLayer(config) for _ in range(config.num_hidden_layers)])",
            "nn.ModuleList()\n        for _ in range(config.num_hidden_layers):\n            self.layers.append(LlavaViTEncoderLayer(config))",
        ),
    ),
    rewrite(
        "pooled-squeezed",
        ("        return pooled[:, 0]\n", "        return pooled.squeeze(1)\n"),
    ),
    rewrite(
        "queries-scaled-first",
        (
            "    scores = torch.matmul(query, key.transpose(2, 3)) * scaling\n",
            "    scores = torch.matmul(query * scaling, key.transpose(2, 3))\n",
        ),
        cases=EAGER,
    ),
    rewrite(
        "head-flag-by-identity",
        (
            "        if self.config.use_head:\n            hidden_states = self",
            "        if self.config.use_head is True:\n            hidden_states = self",
        ),
        cases=FORMS,
    ),
)
