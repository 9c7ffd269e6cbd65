"""Chinese for what is put together in English before anyone knows the reader's language: why something was not done,
what a side failed with, what is wrong with a spec or a command.

A text is known by its English form. {fields} stand for any text; a field is translated in turn, so that a reason may
hold a fault and a fault its place. What is not known, such as the message of a model's own exception, stays as it is.
"""

from __future__ import annotations

import re
from functools import lru_cache

LONGEST = 1000
"""Longer texts are dumps of a program; they stay as they are."""
DEEPEST = 6
CODE = ("- ", "+ ")
"""How lines begin that are source."""

WORDS = {
    "reference": "参考实现",
    "candidate": "候选实现",
    "reference (one-ulp noise)": "参考实现（加 1 ulp 扰动）",
    "both sides": "两侧",
    "either side": "任一侧",
    "one side": "其中一侧",
    "the reference": "参考实现",
    "the candidate": "候选实现",
    "the candidate alone": "仅候选实现",
    "(the model)": "（模型本身）",
    "(nothing)": "（无）",
    "parameters": "参数",
    "buffers": "缓冲区",
    "modules of one path": "路径相同的模块",
    "modules that the mapping shows to be alike": "映射所对应的模块",
    "none": "无",
    "empty": "空的",
    "a list": "列表",
    "a str": "文本",
    "a int": "整数",
    "a float": "浮点数",
    "a bool": "布尔值",
    "dictionary": "映射",
    "string": "文本",
    "number": "数",
    "integer": "整数",
    "boolean": "布尔值",
    "the spec": "spec 整体",
    # statistics of initial values
    "kind": "类别",
    "value": "值",
    "mean": "均值",
    "spread": "标准差",
    "zeros": "零的比例",
    "ones": "一的比例",
    "largest": "最大绝对值",
    "repeats": "重复值个数",
    "rows": "各行之间的相关性",
    "independent": "相互独立",
    "kurtosis": "峰度",
    "set of rows that no seed changes": "不随种子变化的行",
    "finite": "有限值",
    "NaN or infinity": "NaN 或无穷",
    "drawn": "随机抽取",
    "not drawn": "非随机抽取",
    "an input's": "某个输入的",
    "a parameter's": "某个参数的",
    "its own": "自己的",
    "a call with an argument that forward does not name": "调用时给出 forward 未列出的参数",
    "refused": "拒绝",
    "taken": "接受",
    "a key that the model does not have": "模型中没有的键",
    "a key that the checkpoint lacks": "检查点缺少的键",
    "told": "已报告",
    "not told": "未报告",
    "missing": "报告为缺失",
    "not missing": "未报告为缺失",
    "a checkpoint with max_shard_size": "指定 max_shard_size 的检查点",
    "a checkpoint with the reference's base_model_prefix": "键带有参考实现 base_model_prefix 的检查点",
    "one file": "一个文件",
    "loaded whole": "完整加载",
    "the model": "模型本身",
    "something else": "其他对象",
    "recorded": "记录梯度",
    "not recorded": "不记录梯度",
    "nothing more": "没有更多",
    # of which outputs, with other weights
    "of a deep copy": "深拷贝的",
    "of a deep copy that was assigned other weights": "深拷贝换入其他权重后，其",
    "of the model after a copy of it was assigned other weights": "其副本换入其他权重后，模型的",
    "of the model once it has loaded other weights": "模型加载其他权重后，其",
    "of the first call, when later ones have run,": "后续调用运行之后，首次调用的",
    # how parts of an output are had
    "keys": "键",
    "keys, attributes and positions": "键、属性与位置",
    "attributes and positions": "属性与位置",
    "attributes": "属性",
    "positions (list)": "位置（列表）",
    "positions (tuple)": "位置（元组）",
    # what a call may leave changed of the process
    "importing it": "导入",
    "making a model": "构造模型",
    "the seed of torch's generator": "torch 随机数生成器的种子",
    "whether gradients are recorded": "是否记录梯度",
    "the default dtype": "默认 dtype",
    "the number of threads": "线程数",
    "deterministic algorithms": "确定性算法设置",
    "the precision of float32 products": "float32 矩阵乘法的精度",
    "anomaly detection": "异常检测",
    "flash attention": "flash attention 开关",
    "memory-efficient attention": "memory-efficient attention 开关",
    "plain attention": "普通注意力实现的开关",
    # progress
    "environment": "环境",
    "starting": "启动中",
    "the file": "文件",
    # how a run ended
    "Ctrl-C": "Ctrl-C",
    "SIGTERM": "SIGTERM",
    "check": "检查项",
    "variant": "变体",
    "case": "场景",
    # what became of a seeded fault
    "caught": "已发现",
    "stopped": "无法判定",
    "noted": "仅提示",
    "survived": "漏过",
    "unmoved": "无变化",
    "equivalent": "等价",
}

FORMS = {
    # why something was not done
    "nothing was compared": "没有可比较的内容",
    "nothing was compared: every check was skipped": "没有可比较的内容：所有检查项均被跳过",
    "where it first differs could not be sought: {fault}": "无法查找首个差异所在：{fault}",
    "what the reference's loading asks for besides, as older names, stands for no key alone: {names}": (
        "参考实现加载时还会查找的键（如旧名称）单独不对应任何已保存的键：{names}"
    ),
    "the candidate is no PreTrainedModel: what the reference tells transformers of loading is not compared": (
        "候选实现不是 PreTrainedModel：未比较参考实现告知 transformers 的加载信息"
    ),
    "the draws that would decide were not run": "未能运行用于判定的其余抽样",
    "where it first differs could not be inferred: {fault}": "无法推断首个差异所在：{fault}",
    "nothing was compared: the spec ignores all of it": "没有可比较的内容：spec 忽略了全部对象",
    "the spec ignores {patterns}": "spec 忽略了 {patterns}",
    "none of the cases that were asked for is one that this check runs": "所选场景中没有该检查项要运行的场景",
    "the spec names no configuration class": "spec 未指定配置类",
    "neither side has {group}": "两侧均没有{group}",
    "no buffer is on both sides": "没有两侧共有的缓冲区",
    "no common names": "没有相同的名称",
    "no parameters": "没有参数",
    "no parameter is the same on both sides": "没有两侧相同的参数",
    "no module holds state": "没有带状态的模块",
    "the spec maps names; modules go by what they hold": "spec 映射了名称；模块按其参数对应",
    "no {modules} have a setting in common": "{modules}没有共同的设置",
    "forward takes no argument on either side": "两侧的 forward 均不接受参数",
    "the reference takes no copies or no other weights: {fault}": "参考实现不能复制或换入其他权重：{fault}",
    "outputs differ with the weights that the models have": "使用原有权重时输出已不同",
    "a pass without values cannot be followed to its end: {fault}": "不含数值的前向过程无法运行到底：{fault}",
    "{count} parameters are too many to be copied, {most} the most; give the check a smaller `config`": (
        "{count} 个参数过多而无法复制，上限为 {most}；请为该检查项设置更小的 `config`"
    ),
    "the reference cannot be called so: {fault}": "参考实现不能如此调用：{fault}",
    "forward does not take this argument on both sides": "并非两侧的 forward 都接受该参数",
    "neither side defines a public method of its own": "两侧均未定义自己的公共方法",
    "the spec declares no copies": "spec 未声明任何副本",
    "the inputs of this case have no batch of several rows": "该场景的输入没有多行的批次",
    "neither side gives the same outputs twice": "两侧的两次输出都不相同",
    "no output has a row for each input": "没有按输入逐行给出的输出",
    "neither side offers it: {fault}": "两侧均不支持：{fault}",
    "neither side has gradients in eval mode: {fault}": "两侧在评估模式下均无法求梯度：{fault}",
    "there are no gradients without checkpointing to compare with": "没有可用于比较的、未启用检查点的梯度",
    "both sides mask the same tensors, but in another order, so that they cannot be given the same masks; compared are "
    "passes that drop nothing": "两侧对相同的张量做掩码但顺序不同，因此无法给出相同的掩码；比较的是不丢弃任何值的前向过程",
    "both sides draw as many numbers, but in other pieces, so that they cannot be given the same masks; compared are "
    "passes that drop nothing": (
        "两侧抽取的随机数个数相同但分组不同，因此无法给出相同的掩码；比较的是不丢弃任何值的前向过程"
    ),
    "the spec varies nothing: give this check `vary`": "spec 未指定要变化的取值：请为该检查项设置 `vary`",
    "it cannot run here: {fault}": "此处无法运行：{fault}",
    "{form} holds none of the reference's own outputs: they overflow": "{form} 无法表示参考实现的输出：发生溢出",
    "there is no floating-point output": "没有浮点输出",
    "no floating-point output has the same shape on both sides": "没有两侧形状相同的浮点输出",
    "no output has an element": "输出均不含元素",
    "no floating-point output has an element": "浮点输出均不含元素",
    "every gradient of both sides is zero": "两侧的梯度均为零",
    "no output of either side that has elements has a gradient": "两侧含元素的输出均没有梯度",
    "no gradient was compared": "没有比较任何梯度",
    "the reference does not run in {form}, in which the candidate runs: {fault}": (
        "参考实现无法以 {form} 运行，而候选实现可以：{fault}"
    ),
    "neither side takes a row alone: {one} / {other}": "两侧均不接受单独一行：{one} / {other}",
    "the reference takes no tensors of another layout: {fault}": "参考实现不接受其他内存布局的张量：{fault}",
    "neither side runs in {form}: {one} / {other}": "两侧均无法以 {form} 运行：{one} / {other}",
    "with other values in saved flags and counters not every pass runs, as where they are indices: {fault}": (
        "保存的标志与计数器取其他值时并非每次运行都能完成（例如它们是索引）：{fault}"
    ),
    "saved flags and counters are not the same: {reference} in the reference, {candidate} in the candidate": (
        "保存的标志与计数器不一致：参考实现为 {reference}，候选实现为 {candidate}"
    ),
    "with other values in {buffers} outputs cannot be judged: {why}": "{buffers} 取其他值时无法判定输出：{why}",
    "the spec maps names of parameters: {names} are not compared": "spec 映射了参数名：未比较 {names}",
    "neither side takes {call}: {fault}": "两侧均不支持 {call}：{fault}",
    "neither side can be made after another model: {fault}": "两侧均无法在另一模型之后构造：{fault}",
    "no parameter or buffer is on both sides": "没有两侧共有的参数或缓冲区",
    "both sides refuse such inputs: {fault}": "两侧均拒绝此类输入：{fault}",
    "the spec names no `remote_code` of the {role}, so AutoModel has no code to load": (
        "spec 未指定{role}的 `remote_code`，AutoModel 没有可加载的代码"
    ),
    "the spec maps names, so the two checkpoints are different ones": "spec 映射了名称，因此两个检查点本就不同",
    "{name} is no class of transformers, whose from_pretrained() takes a dtype": (
        "{name} 不是 transformers 的类，其 from_pretrained() 不接受 dtype"
    ),
    "{number} standard errors from that": "偏离独立 {number} 个标准误",
    "neither side writes safetensors": "两侧均不写出 safetensors",
    "the {role} loaded nothing; see load": "{role}没有加载任何内容；见 load",
    "neither side can be loaded so: {fault}": "两侧均无法如此加载：{fault}",
    "as in the reference": "与参考实现相同",
    "as transformers leaves it": "transformers 加载后即如此",
    "as it was saved": "与保存时相同",
    "as asked for": "按要求",
    "the {role} saved nothing; see save": "{role}没有保存任何内容；见 save",
    "forward runs {fits} of {layers} layers: all of them need {need} GiB in float64 for both sides and {free} GiB are "
    "free; --depth {again} runs all the same": (
        "前向传播只运行 {layers} 层中的 {fits} 层：两侧全部层的 float64 副本需要 {need} GiB，而可用内存为 {free} GiB；"
        "--depth {again} 可强制运行全部层"
    ),
    "torch's modules that no path aligns, all of a class together": "无法按路径对应的 torch 模块，同类合并比较",
    "settings that only one side has, in modules of one path and of classes with other names: {told}": (
        "路径相同而类名不同的模块中仅一侧具有的设置：{told}"
    ),
    "modules with settings that have no counterpart by path, nor by the mapping: {told}": (
        "有设置但按路径和映射均无对应的模块：{told}"
    ),
    "{count} parameters differ in size, hold too few drawn values to judge, or are finite on neither side: {name} is one": (
        "{count} 个参数大小不同、随机值过少而无法判断，或两侧均非有限值，例如 {name}"
    ),
    "does not fit the reference's forward{arguments}: {error}": "与参考实现的 forward{arguments} 不符：{error}",
    "lacks the input {names}, which the reference's forward{arguments} needs": (
        "缺少输入 {names}，参考实现的 forward{arguments} 需要它"
    ),
    "gives {names}, which the reference's forward{arguments} does not take": (
        "给出了 {names}，参考实现的 forward{arguments} 不接受它"
    ),
    "add it under cases.{name}.inputs": "请将其加入 cases.{name}.inputs",
    "see cases.{name}": "见 cases.{name}",
    "{count} ulp: two ways to write one formula; of the largest value where a table crosses zero": (
        "{count} ulp：同一公式的两种写法；数值过零的表以其最大值的 ulp 计"
    ),
    "not compared: see {place}": "未比较：见 {place}",
    "no buffer is on both sides and holds a value": "没有两侧共有且含有值的缓冲区",
    "`ignore: {pattern}` matches nothing that this check compares": "`ignore: {pattern}` 与该检查项比较的内容均不匹配",
    "the rule for `{rule}` makes no parameter or buffer of the candidate": (
        "针对 `{rule}` 的规则未生成候选实现的任何参数或缓冲区"
    ),
    "`{key}: {names}` names {name}, which the {role} lacks": "`{key}: {names}` 提到的 {name} 在{role}中不存在",
    "the spec names no `preprocessing`": "spec 未指定 `preprocessing`",
    "both sides refuse this image: {faults}": "两侧均拒绝该图像：{faults}",
    # why that much is allowed
    "the reference's own response to one-ulp noise is {response}, too large to decide by": (
        "参考实现对 1 ulp 扰动的自身响应为 {response}，过大而无法据以判定"
    ),
    "{multiple} x the reference's own response to one-ulp noise ({response})": (
        "参考实现对 1 ulp 扰动的自身响应的 {multiple} 倍（{response}）"
    ),
    "{factor} x the reference's own error, in each of {draws} draws": "参考实现自身误差的 {factor} 倍，{draws} 次抽样均须超过",
    "{count} standard errors, where values are drawn in another order": "{count} 个标准误（数值以不同顺序抽取时）",
    "{count} roundings of float32": "float32 的 {count} 次舍入",
    "whole numbers are equal or not": "整数只有相等与不等",
    "equal to the bit": "逐位相同",
    # how a side failed
    "no answer within {seconds} s; --timeout SECONDS allows more": "{seconds} 秒内没有应答；--timeout SECONDS 可放宽",
    "not run: the {role} side had already ended {times} times; the last time: {fault}": (
        "未运行：{role}进程已中止 {times} 次；最近一次：{fault}"
    ),
    "not run: the {role} side had already ended {times} times": "未运行：{role}进程已中止 {times} 次",
    "the run was stopped": "运行已停止",
    "the {role} side's interpreter {python}: {fault}": "{role}的解释器 {python}：{fault}",
    "it cannot be started: {why}; set `python` of the side to one that runs": (
        "无法启动：{why}；请将该侧的 `python` 设为可用的解释器"
    ),
    "the observer was stopped": "观察进程已停止",
    "the observer was not ready in {seconds} s": "观察进程在 {seconds} 秒内未就绪",
    "the observer ended before it started a side": "观察进程在启动一侧之前已结束",
    "the observer ended": "观察进程已结束",
    "the process closed its channel": "进程关闭了通道",
    "the process was killed by {signal}; the system may have run out of memory": (
        "进程被 {signal} 终止；系统内存可能已耗尽"
    ),
    "the process was killed by {signal}": "进程被 {signal} 终止",
    "the process exited with code {code}": "进程以代码 {code} 退出",
    "path and kwargs take {size} bytes; the most is {most}": "path 与 kwargs 共 {size} 字节；上限为 {most}",
    "unreadable answer: {why}": "无法读取应答：{why}",
    "an answer that cannot be used: {why}": "应答无法使用：{why}",
    "this was not observed": "未观察到该项",
    "the code called sys.exit({code})": "代码调用了 sys.exit({code})",
    "key {key} is missing": "缺少键 {key}",
    "{model} offers no gradient checkpointing": "{model} 不支持梯度检查点",
    "{model} has no save_pretrained()": "{model} 没有 save_pretrained()",
    "{model} has no from_pretrained()": "{model} 没有 from_pretrained()",
    "--device cuda: this interpreter's torch sees no CUDA device; use --device cpu or auto": (
        "--device cuda：该解释器的 torch 未发现 CUDA 设备；请用 --device cpu 或 auto"
    ),
    "parameter {name} is {dtype}; only floating point parameters can be drawn; keep its real and imaginary part as two "
    "parameters, or as one with an axis of two": (
        "参数 {name} 的类型为 {dtype}；只有浮点参数可以抽取；请将其实部与虚部存为两个参数，或存为多一个大小为 2 的轴的参数"
    ),
    "parameter {name} has no shape before a first call, as torch's Lazy modules have none; give a `factory` that calls the "
    "model once, or modules of known sizes": (
        "参数 {name} 在首次调用前没有形状（torch 的 Lazy 模块如此）；请提供一个先调用一次模型的 `factory`，或使用大小已知的模块"
    ),
    "parameter {name} is {dtype}; only floating point parameters can be drawn": (
        "参数 {name} 的类型为 {dtype}；只能抽取浮点参数"
    ),
    "{given}; expected a torch.nn.Module, so that it can be called and compared": (
        "{given}；应为 torch.nn.Module，才能调用和比较"
    ),
    "`{key}: {target}` gave a {kind}": "`{key}: {target}` 得到的是 {kind}",
    "`{key}: {target}`: there is no module {name}, neither in {root} nor installed; did you mean {near}?": (
        "`{key}: {target}`：没有模块 {name}，{root} 中没有，也未安装；是否指 {near}？"
    ),
    "`{key}: {target}`: there is no module {name}, neither in {root} nor installed": (
        "`{key}: {target}`：没有模块 {name}，{root} 中没有，也未安装"
    ),
    "`{key}: {target}`: {module} has no {name}; did you mean {near}?": (
        "`{key}: {target}`：{module} 中没有 {name}；是否指 {near}？"
    ),
    "`{key}: {target}`: {module} has no {name}": "`{key}: {target}`：{module} 中没有 {name}",
    # what of a checkpoint was lost
    "is there only after loading": "仅在加载后存在",
    "is not there after loading": "加载后不存在",
    "is left without memory (on the meta device)": "未分配内存（在 meta 设备上）",
    "holds other values after each loading: it is left unset or drawn anew": "每次加载后的值都不同：未设置或被重新抽取",
    "holds other values, or values of another type, than were saved": "与保存的值或类型不同",
    "only one side's configuration can be set so afterwards: {names}": "只有一侧的配置可在事后如此设置：{names}",
    "{number} files": "{number} 个文件",
    "what model.{call}() gives back": "model.{call}() 的返回值",
    "the mode of {module} after model.{call}()": "model.{call}() 之后 {module} 的模式",
    "cannot be saved in a larger model: {fault}": "无法在更大的模型中保存：{fault}",
    "cannot be loaded in a larger model: {fault}": "无法在更大的模型中加载：{fault}",
    "is not in the state dict of a larger model": "不在更大模型的 state dict 中",
    "is missing after loading a larger model": "在更大的模型中加载后缺失",
    "holds other values after loading a larger model": "在更大的模型中加载后的值不同",
    "the configuration's {key}": "配置的 {key}",
    # at which step it was lost
    "it is not saved, and `_init_weights` ends here without having set it": "它不会被保存，而 `_init_weights` 在此结束时没有设置它",
    "where a checkpoint lacks it, `_init_weights` ends here without having set it": (
        "检查点缺少它时，`_init_weights` 在此结束而没有设置它"
    ),
    "it is in the file, and is written over here while the model is loaded": "文件中有它，但加载模型时在此被覆盖",
    "it is in the file under a name that the model does not have": "文件中以模型没有的名称保存了它",
    "the state dict does not hold it": "state dict 中没有它",
    "the state dict holds other values than the model": "state dict 中的值与模型不同",
    "it is saved under the name of {other} alone, whose tensor it shares": "它与 {other} 共享张量，只以后者的名称保存",
    "it is not saved, and the model that is loaded has none": "它不会被保存，加载后的模型也没有它",
    "it is not saved, and is given other values here while the model is loaded": "它不会被保存，加载模型时在此被赋予其他值",
    "it is not saved, and nothing sets it while the model is loaded": "它不会被保存，加载模型时也没有任何代码设置它",
    "the state dict holds it, and the file does not": "state dict 中有它，而文件中没有",
    "it is saved as {written}, and the model holds {held}": "它以 {written} 保存，而模型中为 {held}",
    "the file has other values than the state dict": "文件中的值与 state dict 不同",
    "it is in the file, and the model that is loaded has none": "文件中有它，而加载后的模型没有",
    "it is saved as {file}, and is {after} after loading": "它以 {file} 保存，加载后为 {after}",
    "it is in the file, and is not read: {told}": "文件中有它，但未被读取：{told}",
    "it is in the file, and loading gives it other values": "文件中有它，但加载后的值不同",
    "that it is missing is not told": "加载报告没有指出它缺失",
    "where a checkpoint lacks it, it is filled here": "检查点缺少它时，在此填充",
    # mapping
    "two of the candidate's names stand for {name}": "候选实现中有两个名称对应 {name}",
    "the mapping makes it of {missing}, which the reference does not have": (
        "映射要求由 {missing} 得到，而参考实现中没有"
    ),
    "the mapping does not fit: {why}": "映射不匹配：{why}",
    "it is {shape} and the mapping gives {given}": "形状为 {shape}，而映射得到 {given}",
    "there is no axis {axis} in {shape}": "{shape} 没有第 {axis} 轴",
    "{first} and {other} cannot be joined along axis {axis}": "{first} 与 {other} 无法沿第 {axis} 轴拼接",
    "axis {axis} of {size} cannot be cut into {count} equal parts": "{size} 的第 {axis} 轴无法等分为 {count} 份",
    "{size} has no two axes to swap": "{size} 没有两个可交换的轴",
    "{size} cannot be reshaped to {shape}": "{size} 无法变形为 {shape}",
    "of {source}, cut into {count}, nothing is made of the pieces {lost}": (
        "{source} 被切成 {count} 份，其中 {lost} 未被使用"
    ),
    # first divergence
    "the {role} did not finish the second pass: {fault}": "{role}未完成第二遍运行：{fault}",
    "on top of what is told before: {what}": "在前述更改的基础上：{what}",
    "what is read there agrees with the reference": "此处读取的值与参考实现一致",
    "{function} keeps something there, which the next call may read": (
        "{function} 在此处保存了内容，下一次调用可能读到它"
    ),
    "every value before it agrees": "在此之前的值全部一致",
    "once the value of {made} is the reference's, every output agrees": "将 {made} 的值换为参考值后，所有输出一致",
    "once the value of {made} is the reference's, more agrees, but not every output": (
        "将 {made} 的值换为参考值后，更多的值一致，但并非所有输出一致"
    ),
    "once {made} reads the reference's value, every output agrees": "{made} 改为读取参考值后，所有输出一致",
    "once {made} reads the reference's value, more agrees, but not every output": (
        "{made} 改为读取参考值后，更多的值一致，但并非所有输出一致"
    ),
    "once two values are exchanged, every output agrees": "交换两个值后，所有输出一致",
    "once two values are exchanged, more agrees, but not every output": "交换两个值后，更多的值一致，但并非所有输出一致",
    "{setting} (the reference has {wanted})": "{setting}（参考实现为 {wanted}）",
    "inferred: in {case} the same module differs first, and it was made at this line": (
        "推断：在 {case} 中首先不同的是同一模块，且它由此行构造"
    ),
    "inferred: in {case} the same module differs first, and this line runs here too": (
        "推断：在 {case} 中首先不同的是同一模块，且此行在此处也运行过"
    ),
    "{module} runs scripted code, whose lines are not seen: the line is that of its call": (
        "{module} 运行的是 TorchScript 代码，无法看到其代码行：行号为其调用处"
    ),
    "{module} runs scripted code, whose lines are not seen: the line is that of what made it": (
        "{module} 运行的是 TorchScript 代码，无法看到其代码行：行号为创建它之处"
    ),
    "{module} is compiled; while it is watched it runs line by line, without its compiler": (
        "{module} 已编译；被观察时逐行运行，不经过编译器"
    ),
    "how the function differs from the reference's, told in the candidate's names:": (
        "该函数与参考实现的差异（以候选实现的名称表示）："
    ),
    "{case}: first difference": "{case}：定位首个分歧",
    # copies
    "{copy}: differs from line {line} on; the original is {original}": "{copy}：自第 {line} 行起不同；原文件为 {original}",
    "{copy}: is missing; the original is {original}": "{copy}：不存在；原文件为 {original}",
    "{copy}: written anew; the original is {original}": "{copy}：已重新生成；原文件为 {original}",
    "in step: all {count} copies are as their originals": "已同步：{count} 个副本均与原文件一致",
    "{name}: leads out of {folder}": "{name}：超出了 {folder}",
    "{name}: cannot be written: {why}": "{name}：无法写入：{why}",
    "{name}: is no file": "{name}：不是文件",
    "{name}: cannot be read: {why}": "{name}：无法读取：{why}",
    # self-test
    "the pair as it is": "未改动的两侧",
    "{number} of {count} {kind}: {status}": "第 {number} 项，共 {count} 项：{kind}：{status}",
    "the same instructions": "指令相同",
    "no case runs these lines": "没有场景执行这些代码行",
    "{count} values moved, most by {size} ({where})": "{count} 个值有变化，最大为 {size}（{where}）",
    "the same values: in exact arithmetic {moved}; errors in narrow formats are {ratio} times as large at most": (
        "数值相同：精确算术下{moved}；窄格式下误差最多为原来的 {ratio} 倍"
    ),
    "the same values: in exact arithmetic {moved}": "数值相同：精确算术下{moved}",
    "they moved by {size} at most, which is rounding": "变化最大为 {size}，属于舍入",
    "to the bit": "逐位相同",
    # the command line
    "error: {what}": "错误：{what}",
    "{what}; both sides were ended": "{what}；两侧进程均已结束",
    "{what}; what had been compared until then is kept": "{what}；此前的比较结果已保留",
    "interrupted by {what}": "被 {what} 中断",
    "the result could not be shown: {why}": "无法显示结果：{why}",
    "--{kind} {file}: {why}; the verdict is {verdict} all the same": "--{kind} {file}：{why}；结论仍为 {verdict}",
    "--selftest {file}: {why}; `llavavit-verify selftest --json FILE` writes one": (
        "--selftest {file}：{why}；`llavavit-verify selftest --json FILE` 可写出自检结果"
    ),
    "--selftest {file}: not a self-test of this version: {where}: {why}": "--selftest {file}：不是此版本的自检结果：{where}：{why}",
    "{file}: {why}; --json FILE of a run writes a report": "{file}：{why}；运行时加 --json FILE 可写出报告",
    "{file}: not a report of this version: {where}: {why}": "{file}：不是此版本的报告：{where}：{why}",
    "--finding {number}: the report has {count} findings": "--finding {number}：报告中有 {count} 项发现",
    "there is no {what} {name}; did you mean {near}? (there are: {known})": (
        "没有{what} {name}；是否指 {near}？（已有：{known}）"
    ),
    "there is no {what} {name} (there are: {known})": "没有{what} {name}（已有：{known}）",
    "{place}: there is no {what} {name}; did you mean {near}? (there are: {known})": (
        "{place}：没有{what} {name}；是否指 {near}？（已有：{known}）"
    ),
    "{place}: there is no {what} {name} (there are: {known})": "{place}：没有{what} {name}（已有：{known}）",
    "--depth {depth}: the spec names no `depth_key`, the configuration key that counts layers": (
        "--depth {depth}：spec 未指定表示层数的配置项 `depth_key`"
    ),
    "the self-test needs another check than {checks}": "自检需要 {checks} 之外的检查项",
    "{key}: there is no folder {folder}": "{key}：没有文件夹 {folder}",
    # a size or a case
    "size {size}: {name} is no whole number of this variant; known: {known}": (
        "尺寸 {size}：{name} 不是该变体的整数配置项；已知：{known}"
    ),
    "size {size}: only integers, configuration names and + - * // are understood": (
        "尺寸 {size}：只能使用整数、配置项名称和 + - * //"
    ),
    "{name}: shape {shape} is not one that can be drawn": "{name}：无法抽取形状 {shape}",
    "{name}: below is {below}; values are drawn from [0, below)": "{name}：below 为 {below}；取值范围是 [0, below)",
    "{name}: {draw} needs a shape of at least one size": "{name}：{draw} 需要至少一维的形状",
    "{name}: cannot choose {count} of {below} without repeats": "{name}：无法从 {below} 个中不重复地选出 {count} 个",
    # a precision
    "{form} on {device}: this torch has no autocast of {dtype}": "{form}（{device}）：此 torch 没有 {dtype} 的 autocast",
    # a spec
    "No such file or directory": "没有该文件或目录",
    "Is a directory": "是一个目录",
    "Permission denied": "权限不足",
    "there is no {name} in this folder, and the built-in preset compares {parts}, which are not here; write a spec "
    "(docs/spec.md) or name one with --spec FILE": (
        "此文件夹中没有 {name}；内置预设比较的是 {parts}，此处也没有；请编写 spec（docs/spec.md），或用 --spec FILE 指定"
    ),
    "{file}: {why}; --spec FILE names the spec": "{file}：{why}；用 --spec FILE 指定 spec",
    "{file}: not UTF-8 text (byte {byte})": "{file}：不是 UTF-8 文本（第 {byte} 字节）",
    "{place}: not valid YAML: {why}": "{place}：不是有效的 YAML：{why}",
    "{file}: a spec is a mapping with the keys {keys}; this is {kind}": (
        "{file}：spec 应为含以下键的映射：{keys}；而此处是 {kind}"
    ),
    "{place}: this value contains itself": "{place}：该值包含自身",
    "{place}: more than {most} values, aliases written out": "{place}：展开别名后超过 {most} 个值",
    "{place}: the key `{key}` is here twice, first in line {line}": "{place}：键 `{key}` 重复，首次出现在第 {line} 行",
    "{place}: unknown key; did you mean `{near}`?": "{place}：未知的键；是否指 `{near}`？",
    "{place}: unknown key; the keys here are {keys}": "{place}：未知的键；此处可用的键为 {keys}",
    "{place}: this key is missing": "{place}：缺少该键",
    "{place}: {why}; got {value}": "{place}：{why}；实际为 {value}",
    "at least one case is needed, such as {example}": "至少需要一个场景，例如 {example}",
    "expected package.module:Name, such as {near}": "应为 package.module:Name，例如 {near}",
    "a name has 1 to 100 characters and no slash": "名称应为 1 至 100 个字符，且不含斜线",
    "expected package.module:Name": "应为 package.module:Name",
    "exactly one of `model` and `factory` is needed": "`model` 与 `factory` 必须且只能给出一个",
    "draw: {draw} needs `below`, the number of values to choose from": "draw: {draw} 需要 `below`，即可选值的个数",
    "draw: {draw} takes no `below`; integers, subset and permutation do": (
        "draw: {draw} 不接受 `below`；只有 integers、subset、permutation 接受"
    ),
    "draw: {draw} gives int64, not {dtype}": "draw: {draw} 给出 int64，而不是 {dtype}",
    "draw: {draw} needs a shape whose last size is how many are chosen": "draw: {draw} 的形状最后一维应为选取个数",
    "`reference` names no parameter": "`reference` 没有指定参数",
    "`part` is [index, count] with 0 <= index < count": "`part` 应为 [index, count]，且 0 <= index < count",
    "{name} in `reference` is not in `candidate`": "`reference` 中的 {name} 不在 `candidate` 中",
    "{path} is no path of a file below the spec's folder": "{path} 不是 spec 所在文件夹内的文件路径",
    "{original} cannot be both a copy and the original of {copy}": "{original} 不能既是副本，又是 {copy} 的原文件",
    "the key {key} under {where} is no text; put it in quotes": "{where} 下的键 {key} 不是文本；请加引号",
    "the key {key} is no text; put it in quotes": "键 {key} 不是文本；请加引号",
    "{value} under {where} is a {kind}; put it in quotes if text is meant": (
        "{where} 下的 {value} 是 {kind}；若指文本请加引号"
    ),
    "{value} is a {kind}; put it in quotes if text is meant": "{value} 是 {kind}；若指文本请加引号",
    "String should match pattern {pattern}": "应符合格式 {pattern}",
    "Input should be a valid {kind}": "应为有效的 {kind}",
    "Input should be greater than {least}": "应大于 {least}",
    "Input should be greater than or equal to {least}": "应大于或等于 {least}",
    "Input should be less than or equal to {most}": "应小于或等于 {most}",
    "Input should be a finite number": "应为有限的数",
    "Input should be {choices}": "应为 {choices}",
    "at least one is needed here": "此处至少需要一项",
    # parts of the above
    "{fault}; its last words: {words}": "{fault}；最后的输出：{words}",
    "{fault}; the package {name} is not installed for this side's Python": "{fault}；该侧的 Python 未安装包 {name}",
    "{fault} (at {frames})": "{fault}（位于 {frames}）",
    "{one} / {other}": "{one} / {other}",
    "{type}: {message}": "{type}: {message}",
}
"""By English form, the more special before the more general."""


def chinese(text: str) -> str:
    """The text in Chinese as far as it is one that is known here, line by line."""
    return "\n".join(
        line if len(line) > LONGEST or line.startswith(CODE) else _line(line, 0) for line in text.split("\n")
    )


def knows(text: str) -> bool:
    """Whether the whole of a one-line text is known, but for what its fields hold."""
    return text in WORDS or any(form.fullmatch(text) for form, _ in _special())


def _line(text: str, depth: int) -> str:
    if text in WORDS:
        return WORDS[text]
    for form, said in _forms() if depth < DEEPEST else ():
        found = form.fullmatch(text)
        if found:
            return said.format(**{name: _line(value, depth + 1) for name, value in found.groupdict().items()})
    return text


@lru_cache(maxsize=1)
def _forms() -> list[tuple[re.Pattern[str], str]]:
    return [(_pattern(en), zh) for en, zh in FORMS.items()]


@lru_cache(maxsize=1)
def _special() -> list[tuple[re.Pattern[str], str]]:
    """Forms of which more than punctuation is known."""
    return [(form, said) for form, said in _forms() if re.search(r"[\u4e00-\u9fff]", said)]


def _pattern(english: str) -> re.Pattern[str]:
    """A form as a pattern; every field takes as little as it can, and a type or kind is one word."""
    parts = re.split(r"(\{\w+\})", english)
    named = (rf"(?P<{p[1:-1]}>{'[A-Za-z_.]+' if p in ('{type}', '{kind}') else '.+?'})" for p in parts[1::2])
    literal = [re.escape(p) for p in parts[::2]]
    return re.compile(literal[0] + "".join(name + text for name, text in zip(named, literal[1:], strict=True)))
