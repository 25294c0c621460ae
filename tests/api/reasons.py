"""Why names or signatures are not PyTorch's: patterns over `signatures.Difference`, with the reason.

Each pattern is matched against the whole text of a difference. `test_signatures.py` asks for a reason for every
difference, and for a difference for every reason.
"""

from __future__ import annotations

DEVICES = "no devices but the CPU"
LAYOUTS = "nested, masked and block-sparse tensors are absent"
COPIES = "the form of a view that copies, for PyTorch's own compiler"
QUANTIZED = "no quantized dtypes"
SCRIPT = "TorchScript's own objects: torch.compile compiles functions directly"
BACKEND = "a backend's kernel by name; the public function over it exists"
INTERNAL = "a helper of PyTorch's own code"
STORAGES = "typed storages are a shim over untyped ones; convert tensors instead"
PIPES = "data pipes: retired by PyTorch"
DISPATCH = "dispatcher internals: subclasses use __torch_function__"
PARALLEL = "one device, one process"
CLASS_OF_C = "an attribute of PyTorch's C++ base class: instances have what is documented of it"
STUB_NAMES = "the name in the type stubs; PyTorch's documentation and programs give it by position"
OLD_ORDER = "the deprecated order, with the factor in front: accepted by position (ops/old_forms.py)"
PRIVATE = "private parameters"
COMPILER = "of PyTorch's own compiler"
PROFILER = "of PyTorch's tracer, Kineto"

ABSENT: dict[str, str] = {
    r"torch\.(\w+Storage|Storage|types\.Storage.*)": STORAGES,
    r"torch\.(Typed|Untyped)Storage\.\w+": STORAGES,
    r"torch\.(\w+Type|Type|Stream|Event|Future|Graph|Block|Node|Value|Use|Code|Gradient|Argument|ArgumentSpec)": SCRIPT,
    r"torch\.(\w*Script\w*|\w*ConcreteModule\w*|LoggerBase|\w+Logger|\w+Guard|\w+Context|PyTorchFile\w+)": SCRIPT,
    r"torch\.(AliasDb|Benchmark\w+|BufferDict|CallStack|Capsule|CompilationUnit|CompleteArgumentSpec)": SCRIPT,
    r"torch\.(DeepCopyMemoTable|ErrorReport|ExecutionPlan|FatalError|FileCheck|FunctionSchema|AVG|SUM)": SCRIPT,
    r"torch\.(GraphExecutorState|IODescriptor|JITException|ModuleDict|ParameterDict|OperatorInfo|Static\w+)": SCRIPT,
    r"torch\.(Tag|ThroughputBenchmark|TracingState|import_ir_module\w*|parse_\w+|merge_type\w+|unify_\w+)": SCRIPT,
    r"torch\.(fork|wait|cpp|classes|package)": SCRIPT,
    r"torch\.(Disable\w+|DispatchKey\w*)": DISPATCH,
    r"torch\.(Sym\w+|sym_constrain\w+|sym_fresh_size|cond|while_loop|export)": "of programs traced with symbols",
    r"torch\.(ao|choose_qparams_optimized|dequantize|empty_quantized|fake_quantize\w+|fbgemm\w+|int_repr)": QUANTIZED,
    r"torch\.(fused_moving\w+|q_\w+|qu?int\d\w*|qscheme|quantiz\w+)": QUANTIZED,
    r"torch\.(bit|bits\w+|u?int[1-7]|float4\w+|float8_e8m0fnu|complex32|chalf)": "NumPy has no such dtype",
    r"torch\.(cudnn|miopen|mkldnn)_\w+": BACKEND,
    r"torch\.(batch_norm_\w+|native_norm|embedding_bag)": BACKEND,
    r"torch\.(\w*ccol_indices|\w*col_indices|\w*crow_indices|\w*row_indices|indices|values)_copy": COPIES,
    r"torch\.(nested|masked|cuda\.sparse|backends\.cusparselt)": LAYOUTS,
    r"torch\.(get|set|is)_autocast_(ipu|xla)_\w+": DEVICES,
    r"torch\.(get_device_module|is_vulkan_available|mtia|has_\w+)": DEVICES,
    r"torch\.(is_anomaly_check_nan_enabled|set_anomaly_enabled|init_num_threads|slice_inverse)": INTERNAL,
    r"torch\.(thread_safe_generator|norm_except_dim|frobenius_norm|nuclear_norm)": INTERNAL,
    r"torch\.random\.thread_safe_generator": INTERNAL,
    r"torch\.(from_file|futures|monitor|range)": "not provided",
    r"torch\.Tensor\.(__torch_dispatch__|record_stream|xpu|ipu|mtia|__cuda_array_interface__)": DEVICES,
    r"torch\.Tensor\.(__delitem__|__idiv__|__long__|__nonzero__|__setstate__|__slotnames__|__dlpack_c_exchange_api__)": INTERNAL,
    r"torch\.Tensor\.(to_mkldnn|to_padded_tensor)": LAYOUTS,
    r"torch\.Tensor\.(dequantize|int_repr|q_\w+|qscheme)": QUANTIZED,
    r"torch\.Tensor\.chalf": "NumPy has no such dtype",
    r"torch\.Tensor\.(eig|lstsq|solve|symeig|resize|resize_as|volatile|reinforce)": "retired: raises in PyTorch, too",
    r"torch\.Tensor\.(index|slice_inverse|storage_type|grad_dtype)": INTERNAL,
    r"torch\.return_types\.(\w+_out|all_return_types|pytree_register_structseq)": INTERNAL,
    r"torch\.nn\.(intrinsic|qat|quantizable|quantized)": QUANTIZED,
    r"torch\.nn\.factory_kwargs": INTERNAL,
    r"torch\.nn\.Module\.(ipu|mtia|xpu)": DEVICES,
    r"torch\.nn\.Module\.T_destination": INTERNAL,
    r"torch\.nn\.(LSTM|RNNBase)\.(check_\w+|get_expected_\w+|permute_hidden)": INTERNAL,
    r"torch\.nn\.MultiheadAttention\.merge_masks": INTERNAL,
    r"torch\.ScriptFunction\.\w+": SCRIPT,
    r"torch\.nn\.(parallel\.)?(Distributed)?DataParallel\.\w+": PARALLEL,
    r"torch\.nn\.parallel\.\w+": PARALLEL,
    r"torch\.nn\.functional\.(Broadcasting\w+|assert_int_or_pair|boolean_dispatch|\w*torch_function\w*)": INTERNAL,
    r"torch\.nn\.functional\.(ScalingType|SwizzleType|grouped_mm|scaled_\w+)": DEVICES,
    r"torch\.nn\.attention\.(WARN_FOR_UNFUSED_KERNELS|\w*flash_attention_impls?)": BACKEND,
    r"torch\.nn\.utils\.rnn\.(PackedSequence_|bind)": INTERNAL,
    r"torch\.optim\.Optimizer\.(OptimizerP\w+|profile_hook_step)": INTERNAL,
    r"torch\.optim\.swap_in_optimizer_params_and_state": "for tracing with fake tensors",
    r"torch\.optim\.lr_scheduler\.SequentialLR\.recursive_undo": INTERNAL,
    r"torch\.utils\.(ThroughputBenchmark|throughput_benchmark|collect_env|\w*cpp_backtrace|weak|set_module)": INTERNAL,
    r"torch\.utils\.(serialization|backcompat|backend_registration|deterministic|\w+_privateuse1_backend)": INTERNAL,
    r"torch\.utils\.data\.(\w*Data(Pipe|Chunk)|datapipes|functional_datapipe|graph\w*|\w+_validation\w*)": PIPES,
    r"torch\.utils\.data\.(guaranteed_datapipes_determinism|non_deterministic|_DatasetKind)": PIPES,
    r"torch\.utils\.data\.ConcatDataset\.cummulative_sizes": "the misspelt name that warns",
    r"torch\.utils\.checkpoint\.(CheckpointPolicy|SAC_IGNORED_OPS|Sel\w+|create_selective\w+)": DISPATCH,
    r"torch\.utils\.checkpoint\.\w+": INTERNAL,
    r"torch\.cpu\.amp\.\w+": INTERNAL,
    r"torch\.func\.(debug_unwrap|rearrange)": "of transforms' and einops' internals",
    r"torch\.autograd\.(function\.)?Function\.\w+": CLASS_OF_C,
    r"torch\.autograd\.function\.\w+(\.\w+)?": INTERNAL,
    r"torch\.autograd\.(grad_mode\.)?(enforce_grad_layout_policy|set_multithreading_enabled)": INTERNAL,
    r"torch\.autograd\.(NestedIOFunction|profiler\w*)": PROFILER,
    r"torch\.autograd\.forward_ad\.dual_level\.clone": INTERNAL,
    r"torch\.autograd\.graph\.(set_\w+|region_activation_memory_budget|allow_mutation_on_saved_tensors)": INTERNAL,
    r"torch\.autograd\.gradcheck\.get_\w+": INTERNAL,
    r"torch\.signal\.windows\.windows": INTERNAL,
    r"torch\.fft\.Tensor": INTERNAL,
    r"torch\.nn\.attention\.SDPBackend\.\w+": CLASS_OF_C,
    r"torch\.serialization\.\w+": INTERNAL,
    r"torch\.testing\.FileCheck": SCRIPT,
    r"torch\.overrides\.(TorchFunctionMode\.push|enable_reentrant_dispatch|redispatch_function)": DISPATCH,
    r"torch\.jit\..+": SCRIPT,
    r"torch\.hub\.tqdm\.\w+": "the package tqdm, where it is installed",
    r"torch\.hub\.\w+": "it runs code from other people's repositories",
    r"torch\.profiler\..+": PROFILER,
    r"torch\.compiler\.\w+": COMPILER,
    r"torch\.(accelerator|cpu|cuda|backends)\..+": DEVICES,
}

SIGNATURES: dict[str, str] = {
    r"torch\.\w+: (alpha|value|beta) is argument \d there, here \w+ is": OLD_ORDER,
    r"torch\.(Tensor\.)?subtract: alpha is .+": "by name only",
    r"torch\.Tensor\.scatter: value is argument 3 there, here src is": "both are accepted, by either name",
    r"torch\.\w+: out_dtype is argument \d there, here nothing is": DEVICES,
    r"torch\.(\w+Storage)(\.\w+)?: .+": STORAGES,
    r"torch\.compile: .+": COMPILER,
    r"torch\.compiler\.nested_compile_region: .+": COMPILER,
    r"torch\.\w+_loss: reduction=0, not 1|torch\.binary_cross\w+: .+|torch\.kl_div: .+": "what PyTorch does: none",
    r"torch\.(nn\.functional\.)?conv\dd: padding=0, not 'valid'": "one signature for numbers and names",
    r"torch\.(dtype|layout|memory_format): .+": "not to be made by programs",
    r"torch\.(autograd\.(grad_mode\.)?)?enable_grad: .+": "the function to be decorated is taken",
    r"torch\.(gru|lstm|rnn_relu|rnn_tanh): has no \w+": "by position, as the two forms differ",
    r"torch\.(isin|searchsorted|where|result_type): .+": STUB_NAMES,
    r"torch\.(lin|log)space: steps is required": "PyTorch raises without it, too",
    r"torch\.(Tensor\.)?(max|min): other is argument 1 there, here dim is": "both are accepted, by either name",
    r"torch\.repeat_interleave: repeats is argument 0 there, here input is": "both are accepted",
    r"torch\.(nn\.functional\.)?rrelu_?: generator is .+": "the stubs' form; nn.functional's has inplace there",
    r"torch\.(serialization\.)?save: .+": PRIVATE,
    r"torch\.(Tensor\.)?split: .+": "one function for torch.split and Tensor.split, which name it differently",
    r"torch\.(Tensor\.)?(std|var)(_mean)?: unbiased is argument 1 there, here dim is": "a bool there is taken for it",
    r"torch\.sym_sum: args is plain, not \*": "PyTorch's documentation has one argument",
    r"torch\.tensor: dtype is argument 1 there, here nothing is": "PyTorch's documentation has it by name only",
    r"torch\.(Tensor\.)?tensor_split: \w+ is argument 1 there, here indices_or_sections is": "accepted by name",
    r"torch\.tensordot: out is keyword, not plain": "by name only",
    r"torch\.threshold: has no out": "not provided",
    r"torch\.nn\.utils\.stateless\.functional_call: .+": "the function of torch.func, which has replaced it",
    r"torch\.utils\.data\.random_split: .+": "the default generator prints as another class",
    r"torch\.distributions\.constraints\.\w+\.check: \(value\), not \(x\)": "all others are called value",
    r"torch\.autograd\.variable: .+": "the module; `Variable` is in it",
    r"torch\.autograd\.function\.FunctionCtx: .+": "not to be made by programs",
    r"torch\.linalg\.matrix_(exp|power): A is argument 0 there, here input is": "both names are accepted",
    r"torch\.linalg\.vander: N is argument 1 there, here nothing is": "by name only, as in PyTorch",
    r"torch\.random\.fork_rng: .+": PRIVATE,
    r"torch\.jit\.\w+: .+": SCRIPT,
    r"torch\.hub\.load_state_dict_from_url: .+": "weights_only is the safe default everywhere",
    r"torch\.profiler\..+: .+": PROFILER,
    r"torch\.types\.\w+: .+": "types for annotations",
    r"torch\.Tensor\.const_data_ptr: self is required": "a property in the stubs, a method in PyTorch",
    r"torch\.Tensor\.hash_tensor: takes no \*dim": "PyTorch's method does not take them, either",
    r"torch\.Tensor\.map_: .+": STUB_NAMES,
    r"torch\.Tensor\.new: has no storage": STORAGES,
    r"torch\.Tensor\.norm: .+": "out is taken besides",
    r"torch\.Tensor\.requires_grad_: mode is .+": "the stubs' name, which PyTorch does not take",
}
