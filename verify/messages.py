"""Every sentence that a report says, in English and Chinese, by kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from verify.chinese import chinese

Language = Literal["en", "zh", "both"]
SIDES = ("reference", "candidate")


class Text(NamedTuple):
    """One sentence in both languages; {fields} are filled from a finding's details."""

    en: str
    zh: str


FINDINGS: dict[str, Text] = {
    # any check
    "missing-in-candidate": Text("missing in the candidate; the reference has {reference}", "候选实现缺少该项；参考实现为 {reference}"),
    "missing-in-reference": Text("missing in the reference; the candidate has {candidate}", "参考实现缺少该项；候选实现为 {candidate}"),
    "value": Text("{what} is {candidate}; the reference has {reference}", "{what} 为 {candidate}；参考实现为 {reference}"),
    "does": Text("{what}: {candidate}; in the reference: {reference}", "{what}：{candidate}；参考实现：{reference}"),
    "order": Text(
        "the order differs from position {position}: {candidate} where the reference has {reference}; "
        "optimizer states and flat vectors follow this order",
        "从第 {position} 项起顺序不同：候选为 {candidate}，参考为 {reference}；优化器状态与展平向量依赖该顺序",
    ),
    "fault-one": Text("{side} failed where the other side did not: {fault}", "{side} 失败而另一侧正常：{fault}"),
    "fault-both": Text("both sides failed, fed {fed}", "两侧均失败，输入为 {fed}"),
    "fault-alike": Text("both sides failed alike, fed {fed}: {fault}", "两侧以相同方式失败，输入为 {fed}：{fault}"),
    "fault-run": Text("{side} did not finish: {fault}", "{side} 未能完成：{fault}"),
    "unfit": Text("case `{name}` {fault}; {fix}", "场景 `{name}` {fault}；{fix}"),
    "mapping": Text("{what}: {fault}", "{what}：{fault}"),
    "check-broke": Text("the answers could not be compared: {fault}", "无法比较返回的结果：{fault}"),
    "no-inputs": Text("the inputs of this case could not be made: {fault}", "无法生成该场景的输入：{fault}"),
    # run
    "same-code": Text(
        "both sides run one and the same {name} of {file}: a model compared with itself proves nothing",
        "两侧运行的是 {file} 中的同一个 {name}：与自身比较不能证明任何结论",
    ),
    "code-shadowed": Text(
        "the {side}'s {target} was loaded from {file}; its folder holds a module of that name, which did not run",
        "{side}的 {target} 加载自 {file}；其目录中的同名模块并未运行",
    ),
    "code-outside": Text("the {side}'s {target} was loaded from outside its folder: {file}", "{side}的 {target} 加载自其目录之外：{file}"),
    # buffers
    "buffer-values": Text(
        "{different} of {count} values differ; worst at {where}: {candidate}, the reference has {reference}",
        "{count} 个值中有 {different} 个不同；最大差异位于 {where}：{candidate}，参考为 {reference}",
    ),
    "buffer-one-side": Text(
        "a buffer that is not saved, only in the {side}; recomputed tables are harmless where outputs agree",
        "不随检查点保存的缓冲区，仅存在于{side}；若输出一致则无害",
    ),
    # structure
    "module-one-side": Text("a module with state, only in the {side} ({class_name})", "带状态的模块，仅存在于{side}（{class_name}）"),
    "tied": Text("shares its tensor with {candidate}; in the reference with {reference}", "与 {candidate} 共享张量；参考实现中为 {reference}"),
    # signature
    "method-one-side": Text("a public method, only in the {side}", "公共方法，仅存在于{side}"),
    # settings
    "class-computes": Text(
        "the module is a {candidate}; the reference has a {reference}, which makes other numbers of the same",
        "该模块为 {candidate}；参考实现为 {reference}，对相同数值的计算结果不同",
    ),
    "class-differs": Text("the module is a {candidate}; the reference has a {reference}", "该模块为 {candidate}；参考实现为 {reference}"),
    "settings-one-side": Text("a setting that only the {side} has", "仅{side}具有的设置"),
    "settings-together": Text(
        "no path says which is which; all modules of this class together have {candidate}, in the reference {reference}",
        "无法按路径对应；该类的全部模块合计为 {candidate}，参考实现为 {reference}",
    ),
    # initialisation
    "initialisation": Text(
        "the {what} of its initial values is {candidate}; the reference has {reference}",
        "初始值的 {what} 为 {candidate}；参考实现为 {reference}",
    ),
    # source
    "copy-differs": Text(
        "not a copy of {original}: line {line} is the first that differs; llavavit-verify sync writes it anew",
        "与 {original} 不一致：第 {line} 行起不同；llavavit-verify sync 可重新生成",
    ),
    "copy-missing": Text(
        "the copy of {original} is not there; llavavit-verify sync writes it",
        "缺少 {original} 的副本；llavavit-verify sync 可生成",
    ),
    "copy-unread": Text("cannot be compared with its original: {fault}", "无法与原文件比较：{fault}"),
    # forward
    "output-values": Text(
        "{bad} of {count} outputs differ, worst {subject} at {where}: {candidate}, the reference has {reference}",
        "{count} 个输出中有 {bad} 个不同，最大差异为 {subject} 的 {where}：{candidate}，参考为 {reference}",
    ),
    "state-values": Text(
        "with other values in the saved flags and counters {buffers} {bad} of {count} outputs differ, worst {subject} at "
        "{where}: {candidate}, the reference has {reference}",
        "当保存的标志与计数器 {buffers} 取其他值时，{count} 个输出中有 {bad} 个不同，最大差异为 {subject} 的 {where}：{candidate}，"
        "参考为 {reference}",
    ),
    "not-finite": Text("{side} has NaN or infinity in {subject}", "{side} 的 {subject} 含有 NaN 或无穷"),
    "unstable": Text(
        "{bad} of {count} outputs differ, worst {subject}, and cannot be judged: {why}",
        "{count} 个输出中有 {bad} 个不同（最大差异为 {subject}），但无法判定：{why}",
    ),
    "empty-output": Text("no tensor came out of either side", "两侧均无张量输出"),
    "ignored-output": Text(
        "the spec ignores every tensor that came out ({outputs}), so that none is compared: `ignore` fewer of them",
        "spec 忽略了所有张量输出（{outputs}），因此没有可比较的内容：请减少 `ignore` 的范围",
    ),
    "no-elements": Text(
        "no tensor that came out has an element ({outputs}), so that no value is compared: give the case sizes for which "
        "there are some",
        "所有张量输出均不含元素（{outputs}），因此没有可比较的数值：请为该场景设置能产生元素的尺寸",
    ),
    "not-exact": Text(
        "the {side} cannot be built in exact arithmetic ({why}); what it computes in float32 leaves differences near 1e-7",
        "{side}无法在精确算术中构建（{why}）；其 float32 计算会留下约 1e-7 的差异",
    ),
    "lifted": Text(
        "{count} operations of the {side} that compute in a narrower type were computed in float64, to compare exactly",
        "{side}中有 {count} 个较窄类型的运算改用 float64 计算，以便精确比较",
    ),
    "all-zero": Text(
        "{subject} is all zeros in the reference: that a candidate agrees with it proves little",
        "参考实现的 {subject} 全为零：候选实现与之一致也证明不了什么",
    ),
    "output-shares": Text(
        "the output lies in {candidate} memory, in the reference in {reference}; who writes to it writes there",
        "该输出位于{candidate}内存中，参考实现中位于{reference}内存中；写入它即写入该处",
    ),
    "output-tracked": Text(
        "without gradients being recorded the output {subject} is {candidate} for them, in the reference {reference}",
        "在不记录梯度时，输出 {subject} {candidate}；参考实现{reference}",
    ),
    # outputs
    "not-comparable": Text(
        "{subject} is a {class_name} on both sides; of such objects nothing but the class is compared",
        "两侧的 {subject} 均为 {class_name}；此类对象只比较类名",
    ),
    "output-order": Text(
        "the outputs come in the order {candidate}; in the reference {reference}",
        "输出顺序为 {candidate}；参考实现为 {reference}",
    ),
    "output-access": Text(
        "the parts of {subject} are had by {candidate}; in the reference by {reference}: code that reads them otherwise breaks",
        "{subject} 的内容按 {candidate} 读取；参考实现为 {reference}：以其他方式读取的代码会出错",
    ),
    # determinism
    "not-repeatable": Text(
        "the {side} gives other outputs for the same inputs: {subject} at {where} is {second}, before it was {first}",
        "{side} 对相同输入给出不同输出：{subject} 的 {where} 先为 {first}，后为 {second}",
    ),
    "row-in-batch": Text(
        "in the {side} a row depends on the batch around it: {subject} at {where} is {second} alone, {first} in the batch",
        "{side} 的单行结果依赖批次中的其他行：{subject} 的 {where} 单独为 {second}，批次中为 {first}",
    ),
    "thread-count": Text(
        "in the {side} outputs depend on the number of threads: {subject} at {where} is {second} with all, {first} with one",
        "{side} 的输出依赖线程数：{subject} 的 {where} 多线程为 {second}，单线程为 {first}",
    ),
    "configuration-changed": Text(
        "making a model of the {side} changes {subject} of its configuration from {before} to {after}: it saves another one "
        "than it was made of",
        "构造 {side} 的模型会把其配置的 {subject} 从 {before} 改为 {after}：保存的配置与构造时不同",
    ),
    "buffer-remembered": Text(
        "in the {side} the buffer {subject} is that of a model of another configuration, which was made before in the same "
        "process",
        "{side} 的 buffer {subject} 来自同一进程中先前以另一配置构造的模型",
    ),
    "input-layout": Text(
        "in the {side} outputs depend on how its inputs lie in memory: {subject} at {where} is {second} of strided tensors, "
        "{first} of contiguous ones",
        "{side} 的输出依赖输入在内存中的布局：{subject} 的 {where} 输入不连续时为 {second}，连续时为 {first}",
    ),
    "process-changed": Text(
        "a call of the {side} leaves {subject} changed ({change}), for all code that runs after it",
        "{side} 的一次调用改变了 {subject}（{change}），影响其后运行的所有代码",
    ),
    "process-made": Text(
        "{what} leaves {subject} changed ({change}) in the {side}, for all code that runs after it",
        "{side}：{what}会改变 {subject}（{change}），影响其后运行的所有代码",
    ),
    "input-written": Text(
        "the {side} writes to the tensor that its caller gives it: afterwards it holds other values",
        "{side}改写了调用者传入的张量：调用后其值已改变",
    ),
    "weights-values": Text(
        "{bad} of {count} outputs {what} differ, worst {subject} at {where}: {candidate}, the reference has {reference}; with "
        "the weights that both had they agree",
        "{what} {count} 个输出中有 {bad} 个不同，最大差异为 {subject} 的 {where}：{candidate}，参考为 {reference}；原有权重下二者一致",
    ),
    "device-mixed": Text(
        "the {side} would fail on another device than the CPU: {operation} is given a tensor that stays on the CPU when the "
        "model and its inputs are moved; make it on the device of the other one, or register it as a buffer",
        "{side} 在 CPU 之外的设备上会失败：模型与输入移动后，{operation} 的一个张量仍留在 CPU 上；"
        "请在另一张量所在的设备上创建它，或将其注册为 buffer",
    ),
    # gradients
    "gradient-values": Text(
        "{bad} of {count} gradients of {field} differ, worst that of {subject}",
        "{field} 的 {count} 个梯度中有 {bad} 个不同，最大差异为 {subject}",
    ),
    "gradient-none": Text("{field} has no gradient by {subject} in the {side}", "{side}中 {field} 对 {subject} 没有梯度"),
    "gradient-field": Text("{field} takes no part in training in the {side}", "{side}中 {field} 不参与训练（无梯度）"),
    "checkpointing": Text(
        "{side}: with gradient checkpointing {bad} of {count} gradients of {field} are not those of the reference "
        "without it, worst that of {subject}",
        "{side}：启用梯度检查点后，{field} 的 {count} 个梯度中有 {bad} 个与参考实现（未启用）不同，最大差异为 {subject}",
    ),
    "checkpointing-field": Text(
        "{side}: whether {field} takes part in training with gradient checkpointing is not as in the reference without it",
        "{side}：启用梯度检查点后，{field} 是否参与训练与参考实现（未启用）不同",
    ),
    "not-recomputed": Text(
        "gradient checkpointing does nothing in the {side}: no activation is computed again in the backward pass; in the "
        "{other} some are",
        "{side}的梯度检查点不起作用：反向传播中没有重新计算任何激活值；{other}中有重新计算",
    ),
    "no-effect": Text("moves no output of {side} in any case of this check", "在此检查的所有场景中不影响任何输出（{side}）"),
    "gradient-zero": Text(
        "no output is connected to {subject} in the {side}, so that its gradient is None; in the {other} it is zero: "
        "an optimizer with momentum or weight decay moves a parameter of zero gradient and leaves one without",
        "{side}中没有输出与 {subject} 相连，其梯度为 None；{other}中其梯度为零：带动量或权重衰减的优化器会更新零梯度的参数，而跳过没有梯度的参数",
    ),
    "not-tried": Text(
        "no gradient shows that it moves an output, nor could another value be tried: the cases have one value of it "
        "alone, the model refuses others, or too many are like it; so it is with {count} parameters and inputs",
        "没有梯度表明它影响输出，也无法尝试其他取值：各场景只有一个取值、模型拒绝其他取值，或此类对象过多；共有 {count} 个参数和输入如此",
    ),
    # training
    "draws": Text(
        "the random draws differ; only the reference draws {reference}; only the candidate draws {candidate}",
        "随机抽样不同；仅参考实现抽取：{reference}；仅候选实现抽取：{candidate}",
    ),
    "eval-changed": Text(
        "{side}: {bad} of {count} outputs of an eval pass are others after a pass in train mode, worst {subject}",
        "{side}：训练模式运行一次后，评估模式的 {count} 个输出中有 {bad} 个改变，最大差异为 {subject}",
    ),
    # backends
    "backend-values": Text(
        "{side}: with {what} {bad} of {count} outputs are not those with {first}, worst {subject}",
        "{side}：使用 {what} 时 {count} 个输出中有 {bad} 个与 {first} 不同，最大差异为 {subject}",
    ),
    "fell-back": Text(
        "{side}: {what} is not what it runs here; it fell back to {instead}",
        "{side}：此处无法使用 {what}，已退回 {instead}",
    ),
    # preprocessing
    "pixels": Text(
        "{different} of {count} values differ; worst at {where}: {candidate}, the reference has {reference}",
        "{count} 个值中有 {different} 个不同；最大差异位于 {where}：{candidate}，参考为 {reference}",
    ),
    # roundtrip
    "tensor-lost": Text("{side}: after save and load {subject} {what}", "{side}：保存再加载后 {subject} 与原值不符：{what}"),
    "not-loaded": Text("the {side}'s own checkpoint cannot be loaded: {fault}", "{side}自己的检查点无法加载：{fault}"),
    "no-auto-map": Text(
        "config.json of the {side} has no auto_map for AutoModel, so AutoModel does not find the code beside it; "
        'register_for_auto_class("AutoModel") on the model\'s class, or auto_map in its configuration, writes it',
        "{side}的 config.json 中没有 AutoModel 的 auto_map，AutoModel 因此找不到旁边的代码；"
        '对模型类调用 register_for_auto_class("AutoModel")，或在其配置中设置 auto_map 即可写入',
    ),
    "no-auto-map-alike": Text(
        "config.json of the {side}, like the other side's, has no auto_map for AutoModel, so AutoModel does not find the "
        'code beside it; register_for_auto_class("AutoModel") on the model\'s class, or auto_map in its configuration, writes it',
        "{side}的 config.json 与另一侧一样没有 AutoModel 的 auto_map，AutoModel 因此找不到旁边的代码；"
        '对模型类调用 register_for_auto_class("AutoModel")，或在其配置中设置 auto_map 即可写入',
    ),
    "kept-dtype": Text(
        "from a bfloat16 checkpoint, loaded in the dtype that it has, it comes back as {candidate}; in the reference as "
        "{reference}",
        "按自身 dtype 加载 bfloat16 检查点后为 {candidate}；参考实现为 {reference}",
    ),
    "loaded-mode": Text(
        "after loading, {subject} is in {candidate} mode; expected is {reference} mode, {why}",
        "加载后 {subject} 处于 {candidate} 模式；应为 {reference} 模式（{why}）",
    ),
    "loaded-frozen": Text(
        "after loading, {count} parameters have requires_grad={candidate}, {subject} among them; expected is {reference}, {why}",
        "加载后 {count} 个参数的 requires_grad 为 {candidate}（包括 {subject}）；应为 {reference}（{why}）",
    ),
    "asked-dtype": Text(
        "loaded with dtype={asked}, {count} parameters and buffers are {candidate}, {subject} among them; expected is "
        "{reference}, {why}",
        "以 dtype={asked} 加载后，{count} 个参数和缓冲区为 {candidate}（包括 {subject}）；应为 {reference}（{why}）",
    ),
    "asked-attention": Text(
        "loaded with attn_implementation={asked}, the model runs {candidate}; expected is {reference}, {why}",
        "以 attn_implementation={asked} 加载后，模型使用 {candidate}；应为 {reference}（{why}）",
    ),
    "config-lost": Text(
        "{side}: after save and load {subject} is {after}; the configuration that was saved has {before}",
        "{side}：保存再加载后 {subject} 为 {after}；保存时的配置为 {before}",
    ),
    "load-report": Text("{side}: the load report lists {subject} under {what}", "{side}：加载报告在 {what} 中列出 {subject}"),
    # precision
    "less-precise": Text(
        "less precise in {format}: the error of {subject} is {candidate}, the reference's {reference}; {ratio} times as "
        "much in the median of {draws} draws",
        "{format} 下精度更低：{subject} 的误差为 {candidate}，参考为 {reference}；{draws} 次抽样的中位比值为 {ratio}",
    ),
    "more-precise": Text(
        "more precise in {format}: the error of {subject} is {candidate}, the reference's {reference}; {ratio} times as "
        "much in the median of {draws} draws",
        "{format} 下精度更高：{subject} 的误差为 {candidate}，参考为 {reference}；{draws} 次抽样的中位比值为 {ratio}",
    ),
    "other-function": Text(
        "{subject} differs in exact arithmetic by more than {format} rounds: another function, so its precision is not judged",
        "{subject} 在精确算术下的差异已超过 {format} 的舍入：是另一个函数，因此不评判其精度",
    ),
    # first divergence
    "first-module": Text(
        "the first module whose inputs agree and whose output differs is {candidate_path} ({candidate_class}); "
        "the reference's is {reference_path} ({reference_class})",
        "首个输入一致而输出不同的模块是 {candidate_path}（{candidate_class}）；参考实现中为 {reference_path}（{reference_class}）",
    ),
    "first-differs": Text(
        "the first value that differs is computed at {candidate_place} ({operation}); the reference computes it at "
        "{reference_place} ({counterpart}); relative difference {relative}",
        "首个不同的值在 {candidate_place} 处计算（{operation}）；参考实现在 {reference_place} 处计算（{counterpart}）；相对差异 {relative}",
    ),
    "first-setting": Text(
        "{operation} is given another setting, made at {candidate_place}: {setting}; the reference computes it at "
        "{reference_place}; relative difference {relative}",
        "{operation} 的设置不同，来自 {candidate_place}：{setting}；参考实现在 {reference_place} 处计算；相对差异 {relative}",
    ),
    "first-missing": Text(
        "the candidate lacks at {candidate_place} what the reference does at {reference_place}; {operation} reads the "
        "value before it",
        "候选实现在 {candidate_place} 处缺少参考实现在 {reference_place} 处的步骤；{operation} 读取了该步骤之前的值",
    ),
    "first-extra": Text(
        "the candidate does at {candidate_place} ({operation}) what the reference does not; the reference's value is at "
        "{reference_place}",
        "候选实现在 {candidate_place} 处（{operation}）多做了参考实现没有的步骤；参考值位于 {reference_place}",
    ),
    "first-operand": Text(
        "another value is used at {candidate_place} ({operation}); the reference uses what it computes at "
        "{reference_place}",
        "{candidate_place} 处（{operation}）使用了另一个值；参考实现使用的是在 {reference_place} 处计算的值",
    ),
    "first-branch": Text(
        "the branch at {candidate_place} is taken on a computed value and leads to {operation}; the reference computes "
        "what follows at {reference_place}",
        "{candidate_place} 处的分支取决于计算出的值并进入 {operation}；参考实现在 {reference_place} 处计算后续值",
    ),
    "first-mended": Text(
        "every output agrees once {candidate_place} says `{after}` instead of `{before}`; what the reference computes "
        "otherwise shows first at {reference_place}",
        "若 {candidate_place} 处将 `{before}` 改为 `{after}`，所有输出即一致；参考实现在 {reference_place} 处首先表现出不同",
    ),
    "first-kept": Text(
        "{operation} at {reader} reads a value that no operation of its pass made and that the reference does not have: an "
        "earlier pass left it there; {candidate_place} keeps something from one call to the next",
        "{reader} 处的 {operation} 读取的值不是由本次运行的任何运算产生的，参考实现中也没有：它由先前的运行留下；"
        "{candidate_place} 会把内容保存到下一次调用",
    ),
    "first-cut": Text(
        "no gradient goes through {candidate_place} ({operation}); in the reference it flows on through {reference_place}",
        "梯度无法通过 {candidate_place}（{operation}）；参考实现中梯度经 {reference_place} 继续传播",
    ),
    "first-uncut": Text(
        "a gradient goes through {candidate_place} ({operation}); the reference stops it at {reference_place} "
        "({counterpart})",
        "梯度通过了 {candidate_place}（{operation}）；参考实现在 {reference_place}（{counterpart}）处截断梯度",
    ),
    "first-backward": Text(
        "the first gradient that differs, in the order in which they flow back, is handed on by {candidate_place} "
        "({operation}); the reference's by {reference_place} ({counterpart}); relative difference {relative}",
        "按反向传播顺序，首个不同的梯度由 {candidate_place}（{operation}）传出；参考实现为 {reference_place}（{counterpart}）；"
        "相对差异 {relative}",
    ),
    "first-rounding": Text(
        "in {format} the candidate begins to lose more to rounding at {candidate_place} ({operation}): a relative error of "
        "{candidate_error} where the reference, at {reference_place} ({counterpart}), has {reference_error}",
        "在 {format} 下，候选实现从 {candidate_place}（{operation}）开始损失更多精度：相对误差 {candidate_error}，"
        "而参考实现在 {reference_place}（{counterpart}）处为 {reference_error}",
    ),
    "first-lost": Text(
        "{subject} goes wrong on its way through a checkpoint of the {side}: {step} ({place})",
        "{subject} 在{side}的保存与加载过程中出错：{step}（{place}）",
    ),
    "first-random": Text(
        "the {side} gives other values each time it runs, so no operation is blamed; it first draws random numbers at "
        "{place}: seed it or switch that off",
        "{side} 每次运行结果不同，因此不归咎于任何运算；首次产生随机数的位置：{place}；请固定随机种子或关闭随机性",
    ),
    "first-stateful": Text(
        "the {side} gives other values when the case runs again, though torch's generators were not used, so no operation is "
        "blamed: an earlier pass left something in it, or it reads other random numbers (Python's, numpy's, the system's), "
        "the clock or memory that nothing has set",
        "{side} 再次运行该用例时结果不同，但未使用 torch 的随机数生成器，因此不归咎于任何运算：先前的运行留下了状态，"
        "或读取了其他随机数（Python、numpy、系统）、时钟或未初始化的内存",
    ),
    "first-stateful-trained": Text(
        "the {side} gives other values when the pass in train mode runs again with the same draws of torch, so no operation "
        "is blamed: an earlier pass left something in it, or it reads other random numbers (Python's, numpy's, the system's), "
        "the clock or memory that nothing has set",
        "{side}以 torch 的相同随机数再次运行训练模式时结果不同，因此不归咎于任何运算：先前的运行留下了状态，"
        "或读取了其他随机数（Python、numpy、系统）、时钟或未初始化的内存",
    ),
    # a report that is read, of a kind that is not in this list
    "newer": Text("{message}", "{message}"),
}  # fmt: skip

BY_SIDE = frozenset({"fault-both"})
"""Kinds whose sentence goes on with a line for each side."""

PROSE: dict[str, tuple[str, ...]] = {
    "initialisation": ("what", "reference", "candidate"),
    "does": ("what", "reference", "candidate"),
    "tensor-lost": ("what",),
    "unfit": ("fix",),
    "output-shares": ("reference", "candidate"),
    "output-tracked": ("reference", "candidate"),
    "first-lost": ("step",),
    "draws": ("reference", "candidate"),
    "output-access": ("reference", "candidate"),
    "process-changed": ("subject",),
    "process-made": ("subject", "what"),
    "weights-values": ("what",),
    "first-setting": ("setting",),
}
"""Details that hold English of ours, by kind, besides those of ALWAYS_PROSE."""
ALWAYS_PROSE = ("side", "other", "fault", "why")
WHOLE = "(the model)"
"""What stands for a path where the model itself is meant: in any detail it is ours, since no module has such a name."""

LABELS: dict[str, Text] = {
    "equal": Text("equal", "一致"),
    "different": Text("different", "不一致"),
    "error": Text("error", "错误"),
    "note": Text("note", "提示"),
    "skipped": Text("skipped", "跳过"),
    "check": Text("check", "检查项"),
    "verdict": Text("verdict", "结论"),
    "compared": Text("compared", "比较数"),
    "seconds": Text("seconds", "秒"),
    "measured": Text("measured", "测得"),
    "allowed": Text("allowed", "允许"),
    "case": Text("case", "场景"),
    "subject": Text("subject", "对象"),
    "variant": Text("variant", "变体"),
    "reference": Text("reference", "参考实现"),
    "candidate": Text("candidate", "候选实现"),
    "message": Text("message", "说明"),
    "where": Text("where", "位置"),
    "findings": Text("findings", "发现"),
    "first-divergence": Text("first divergence", "首个分歧"),
    "elsewhere": Text("the run's first divergence, of {place}:", "本次运行的首个分歧（{place}）："),
    "not-done": Text("not done", "未执行"),
    "environment": Text("environment", "环境"),
    "configuration": Text("configuration", "配置"),
    "structure": Text("structure", "结构"),
    "buffers": Text("buffers", "缓冲区"),
    "signature": Text("signature", "函数签名"),
    "settings": Text("settings", "模块设置"),
    "initialisation": Text("initial values", "初始化"),
    "source": Text("copies", "源码副本"),
    "forward": Text("forward pass", "前向传播"),
    "outputs": Text("outputs", "输出约定"),
    "determinism": Text("determinism", "确定性"),
    "gradients": Text("gradients", "梯度"),
    "training": Text("training mode", "训练模式"),
    "preprocessing": Text("preprocessing", "图像预处理"),
    "precision": Text("precision", "数值精度"),
    "backends": Text("backends", "注意力后端"),
    "roundtrip": Text("save and load", "保存与加载"),
    "parameters": Text("parameters", "参数"),
    "confirmed": Text(
        "confirmed: with the reference's value in its place every output agrees", "已确认：换入参考值后所有输出一致"
    ),
    "aligned": Text(
        "aligned by value, not confirmed: the lines near it may be meant", "按数值对齐，未确认：也可能是邻近的代码行"
    ),
    "module": Text("only the module is known", "仅知模块"),
    "called-from": Text("called from", "调用自"),
    "call": Text("call", "第几次调用"),
    "hint": Text("hint", "提示"),
    "flow": Text(
        "data flow into it, nearest first, with the shapes that are read", "数据流（由近及远，附所读取的形状）"
    ),
    "values": Text("values at {where}", "{where} 处的数值"),
    "values-of": Text("values at {where} of {shape}", "形状 {shape} 中 {where} 处的数值"),
    "no-divergence": Text("no place is known where the implementations part", "未知两个实现的分歧位置"),
    "other-faults": Text("independent faults after it", "其后的独立错误"),
    "outputs-apart": Text("largest difference by output", "各输出的最大差异"),
    "gradients-apart": Text(
        "difference of gradients, relative to the largest of the output", "梯度的差异（相对于该输出的最大梯度）"
    ),
    "errors-apart": Text(
        "rounding error as a multiple of the reference's, median of the draws",
        "舍入误差与参考实现之比（各次抽样的中位数）",
    ),
    "layers": Text("relative difference by layer (estimated)", "各层的相对差异（估计值）"),
    "same-model": Text("the two implementations are the same model", "两个实现是同一个模型"),
    "nothing-found": Text(
        "the checks that ran found no difference; the forward pass was not compared",
        "已运行的检查未发现差异；未比较前向传播",
    ),
    "not-same-model": Text("the two implementations differ", "两个实现不一致"),
    "more-in-json": Text("{count} more: the JSON report has them all", "另有 {count} 项未列出：JSON 报告包含全部"),
    "more-by-flag": Text(
        "{count} more; --verbose or --json FILE shows all", "另有 {count} 项未列出；--verbose 或 --json FILE 显示全部"
    ),
    "notes-by-flag": Text(
        "{count} of note; --verbose or --json FILE shows all", "另有 {count} 项提示；--verbose 或 --json FILE 显示全部"
    ),
    "undecided": Text("could not be decided", "无法判定"),
    "selftest": Text(
        "this gate caught {caught} of {moved} seeded faults, with {false_alarms} false alarms on {rewrites} harmless "
        "rewrites (self-test of {finished}, variant {variant}, seed {seed}, version {tool_version}, torch {torch})",
        "本检查在 {moved} 个植入的错误中发现 {caught} 个，{rewrites} 处无害改写中误报 {false_alarms} 次"
        "（自检时间 {finished}，变体 {variant}，种子 {seed}，版本 {tool_version}，torch {torch}）",
    ),
    "selftest-nothing": Text(
        "no seeded fault moved a value that the self-test's checks look at, so that nothing is known of this gate "
        "(self-test of {finished}, variant {variant}, seed {seed}, version {tool_version}, torch {torch})",
        "没有任何植入的错误改变自检的检查项所查看的数值，因此对本检查的能力一无所知"
        "（自检时间 {finished}，变体 {variant}，种子 {seed}，版本 {tool_version}，torch {torch}）",
    ),
    "outdated": Text(
        "the self-test is of other code than today's ({parts}): run it again",
        "自检针对的代码与当前不同（{parts}）：请重新自检",
    ),
    "verifier": Text("verifier", "验证器"),
    # self-test
    "kind": Text("kind", "类别"),
    "were-run": Text("run", "已运行"),
    "caught": Text("caught", "已发现"),
    "raised": Text("raised", "抛出异常"),
    "stopped": Text("stopped", "无法判定"),
    "noted": Text("noted", "仅提示"),
    "survived": Text("survived", "漏过"),
    "unmoved": Text("unmoved", "无变化"),
    "unreached": Text("unreached", "未执行到"),
    "equivalent": Text("equivalent", "等价"),
    "false-alarm": Text("false alarm", "误报"),
    "why-noted": Text("told in a note, which changes no verdict", "仅作为提示给出，不改变结论"),
    "why-survived": Text("values moved, and the gate called it equal", "数值有变化，而检查判为一致"),
    "why-unmoved": Text(
        "no value of any case moved by a bit: no case tells, or the change is none",
        "所有场景的数值均逐位相同：没有场景能区分，或改动并无影响",
    ),
    "why-unreached": Text("no case runs these lines", "没有场景执行这些代码行"),
    "why-equivalent": Text(
        "no change: the same instructions, or values that moved as rounding moves them",
        "并非改变：指令相同，或数值变化仅为舍入",
    ),
    "why-false-alarm": Text("{check} reports a harmless rewrite", "{check} 报告了一处无害改写"),
    "selftest-more": Text("{count} more: --verbose, or --json FILE", "另有 {count} 项：--verbose 或 --json FILE"),
    "selftest-caught": Text(
        "{caught} of {moved} faults that moved a value were caught ({share}), {raised} of them by an exception alone; "
        "{noted} more were noted, {alike} more are no change, {still} more moved none",
        "在 {moved} 个改变了数值的错误中发现 {caught} 个（{share}），其中 {raised} 个仅因抛出异常；另有 {noted} 个仅作提示，"
        "{alike} 个并非改变，{still} 个未改变任何数值",
    ),
    "selftest-vacuous": Text(
        "no fault moved a value that these checks look at: of them this self-test says nothing",
        "没有任何错误改变这些检查项所查看的数值：此次自检不能说明它们的能力",
    ),
    "selftest-not-run": Text(
        "{unreached} more in lines that no case runs, {same} more that change no instruction",
        "另有 {unreached} 个位于没有场景执行的代码行，{same} 个未改变任何指令",
    ),
    "selftest-alarms": Text(
        "{alarms} false alarms on {rewrites} harmless rewrites", "{rewrites} 处无害改写中误报 {alarms} 次"
    ),
    "selftest-seed": Text(
        "seed {seed}, {kinds} kinds, {sites} places for faults, {seconds:.0f} s ({cpu:.0f} s of processor time)",
        "种子 {seed}，{kinds} 类，{sites} 处可植入，用时 {seconds:.0f} 秒（处理器时间 {cpu:.0f} 秒）",
    ),
}


def say(kind: str, details: Mapping[str, str], language: Language = "en") -> str:
    """The sentence of a finding. Details are inserted as they are: the sink escapes.

    One line; of a kind of BY_SIDE two lines more. In both languages one after the other.
    """
    if language == "both":
        head = f"{_sentence(kind, details, 'en')} / {_sentence(kind, details, 'zh')}"
    else:
        head = _sentence(kind, details, language)
    if kind not in BY_SIDE:
        return head
    return "\n".join([head, *(f"{label(side, language)}: {translated(details[side], language)}" for side in SIDES)])


def _sentence(kind: str, details: Mapping[str, str], language: Literal["en", "zh"]) -> str:
    prose = (*ALWAYS_PROSE, *PROSE.get(kind, ())) if language == "zh" else ()
    ours = {key for key, value in details.items() if key in prose or (value == WHOLE and language == "zh")}
    said = {key: chinese(value) if key in ours else value for key, value in details.items()}
    return getattr(FINDINGS[kind], language).format_map(said)  # type: ignore[no-any-return]


def named(subject: str, language: Language = "en") -> str:
    """What a finding is about, as it is called; only the whole model has a name of ours."""
    return translated(subject, language) if subject == WHOLE else subject


def translated(text: str, language: Language = "en") -> str:
    """An English text of ours, or one that holds such, in a language; in both, one after the other, line by line."""
    if language == "en":
        return text
    said = chinese(text)
    if language == "zh" or said == text:
        return said
    pairs = zip(text.split("\n"), said.split("\n"), strict=True)
    return "\n".join(en if en == zh else f"{en} / {zh}" for en, zh in pairs)


def label(key: str, language: Language = "en", **fields: object) -> str:
    """A short word; in both languages "English / 中文". A key without a translation is shown as it is."""
    text = LABELS.get(key, Text(key, key))
    en, zh = (part.format(**fields) if fields else part for part in text)
    if language == "both":
        return en if en == zh else f"{en} / {zh}"
    return zh if language == "zh" else en


def check_name(name: str, language: Language = "en") -> str:
    """A check by the name that --check takes; in Chinese with its translation beside it."""
    if language == "en" or name not in LABELS:
        return name
    return f"{name} {LABELS[name].zh}"
