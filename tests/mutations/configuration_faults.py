"""Faults of the configuration, of signatures, of the contract of outputs, and of declared copies."""

from __future__ import annotations

from fault_builders import configuration, other
from mutant import CONFIGURATION, Fault

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
