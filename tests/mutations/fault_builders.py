"""Short ways to write seeded faults, by the check that must find them, and the classes that are to blame."""

from __future__ import annotations

from mutant import CONFIGURATION, Fault


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
