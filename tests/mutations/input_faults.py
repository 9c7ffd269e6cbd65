"""Faults of what becomes of the inputs, and of the head: rotary tables, patches, chosen tokens, pooling."""

from __future__ import annotations

from fault_builders import (
    ATTENTION,
    ATTENTION_AT,
    EMBEDDINGS,
    EMBEDDINGS_AT,
    ENCODER,
    ENCODER_AT,
    HEAD,
    HEAD_AT,
    MODEL,
    ROPE,
    ROPE_AT,
    forward,
)
from mutant import Fault

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
