"""The models that the hub has: names, shapes and types of all tensors and the settings beside them, as the true hub has them.

Scale "tiny" has the same layout with layers so narrow that a model is a few megabytes, most of it the table of tokens.
"""
import collections

# kind: what its values are like (made.py)
Tensor = collections.namedtuple("Tensor", "name dtype shape kind")

ITEM = {"F16": 2, "F32": 4, "I64": 8}


class Model:
    """form: "safetensors" or "torch". tied: names that an archive has, too, for the same bytes. beside: weights for other
    libraries that lie there and that nobody is to fetch."""

    def __init__(self, id, form, tokenizer, tensors, config, generation, tied=(), beside=()):
        self.id, self.form, self.tokenizer, self.tensors = id, form, tokenizer, list(tensors)
        self.config, self.generation, self.tied, self.beside = config, generation, dict(tied), list(beside)

    def parameters(self, dtypes=("F16", "F32")):
        return sum(count(t.shape) for t in self.tensors if t.dtype in dtypes)


def count(shape):
    n = 1
    for side in shape:
        n *= side
    return n


def size(tensor):
    """In bytes."""
    return count(tensor.shape) * ITEM[tensor.dtype]


# --- parts -------------------------------------------------------------------


def _norm(name, width, dtype="F32"):
    return [Tensor(f"{name}.weight", dtype, (width,), "one"), Tensor(f"{name}.bias", dtype, (width,), "small")]


def _linear(name, outputs, inputs, dtype="F32"):
    return [Tensor(f"{name}.weight", dtype, (outputs, inputs), "small"), Tensor(f"{name}.bias", dtype, (outputs,), "small")]


def _matrix(name, rows, columns, kind="small", dtype="F32"):
    return [Tensor(f"{name}.weight", dtype, (rows, columns), kind)]


# --- GPT-2 -------------------------------------------------------------------


def gpt2_xl(tiny):
    width, layers, heads, positions = (16, 2, 2, 128) if tiny else (1600, 48, 25, 1024)
    vocabulary = 50257
    tensors = _matrix("wte", vocabulary, width) + _matrix("wpe", positions, width)
    for i in range(layers):
        # Its matrices are (inputs, outputs); and the mask was once among the weights.
        tensors += [*_norm(f"h.{i}.ln_1", width), Tensor(f"h.{i}.attn.bias", "F32", (1, 1, positions, positions), "mask")]
        for name, inputs, outputs in (("attn.c_attn", width, 3 * width), ("attn.c_proj", width, width)):
            tensors += [Tensor(f"h.{i}.{name}.weight", "F32", (inputs, outputs), "small"), Tensor(f"h.{i}.{name}.bias", "F32", (outputs,), "small")]
        tensors += _norm(f"h.{i}.ln_2", width)
        for name, inputs, outputs in (("mlp.c_fc", width, 4 * width), ("mlp.c_proj", 4 * width, width)):
            tensors += [Tensor(f"h.{i}.{name}.weight", "F32", (inputs, outputs), "small"), Tensor(f"h.{i}.{name}.bias", "F32", (outputs,), "small")]
    tensors += _norm("ln_f", width)
    config = {"activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1, "bos_token_id": 50256, "embd_pdrop": 0.1,
              "eos_token_id": 50256, "initializer_range": 0.02, "layer_norm_epsilon": 1e-05, "model_type": "gpt2", "n_ctx": positions, "n_embd": width,
              "n_head": heads, "n_layer": layers, "n_positions": positions, "output_past": True, "resid_pdrop": 0.1, "summary_activation": None,
              "summary_first_dropout": 0.1, "summary_proj_to_labels": True, "summary_type": "cls_index", "summary_use_proj": True,
              "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}}, "vocab_size": vocabulary}
    return Model("openai-community/gpt2-xl", "safetensors", "gpt2", tensors, config, {"bos_token_id": 50256, "eos_token_id": 50256},
                 beside=["flax_model.msgpack", "pytorch_model.bin", "rust_model.ot", "tf_model.h5"])


# --- RoBERTa -----------------------------------------------------------------


def roberta_large(tiny):
    width, layers, heads, inner = (16, 2, 2, 64) if tiny else (1024, 24, 16, 4096)
    vocabulary, positions = 50265, 514
    base = "roberta.embeddings"
    tensors = [Tensor(f"{base}.position_ids", "I64", (1, positions), "range"), *_matrix(f"{base}.word_embeddings", vocabulary, width),
               *_matrix(f"{base}.position_embeddings", positions, width), *_matrix(f"{base}.token_type_embeddings", 1, width),
               *_norm(f"{base}.LayerNorm", width)]
    for i in range(layers):
        layer = f"roberta.encoder.layer.{i}"
        for name in ("query", "key", "value"):
            tensors += _linear(f"{layer}.attention.self.{name}", width, width)
        tensors += [*_linear(f"{layer}.attention.output.dense", width, width), *_norm(f"{layer}.attention.output.LayerNorm", width),
                    *_linear(f"{layer}.intermediate.dense", inner, width), *_linear(f"{layer}.output.dense", width, inner),
                    *_norm(f"{layer}.output.LayerNorm", width)]
    tensors += [Tensor("lm_head.bias", "F32", (vocabulary,), "small"), *_linear("lm_head.dense", width, width), *_norm("lm_head.layer_norm", width)]
    config = {"architectures": ["RobertaForMaskedLM"], "attention_probs_dropout_prob": 0.1, "bos_token_id": 0, "eos_token_id": 2, "hidden_act": "gelu",
              "hidden_dropout_prob": 0.1, "hidden_size": width, "initializer_range": 0.02, "intermediate_size": inner, "layer_norm_eps": 1e-05,
              "max_position_embeddings": positions, "model_type": "roberta", "num_attention_heads": heads, "num_hidden_layers": layers,
              "pad_token_id": 1, "type_vocab_size": 1, "vocab_size": vocabulary}
    return Model("FacebookAI/roberta-large", "safetensors", "roberta", tensors, config, None,
                 beside=["flax_model.msgpack", "pytorch_model.bin", "tf_model.h5"])


# --- BlenderBot --------------------------------------------------------------


def _blenderbot_attention(name, width):
    return [t for part in ("k_proj", "v_proj", "q_proj", "out_proj") for t in _linear(f"{name}.{part}", width, width, "F16")]


def _blenderbot_stack(name, layers, width, inner, positions, attentions):
    tensors = _matrix(f"{name}.embed_positions", positions, width, dtype="F16")
    for i in range(layers):
        for attention in attentions:
            tensors += [*_blenderbot_attention(f"{name}.layers.{i}.{attention}", width), *_norm(f"{name}.layers.{i}.{attention}_layer_norm", width, "F16")]
        tensors += [*_linear(f"{name}.layers.{i}.fc1", inner, width, "F16"), *_linear(f"{name}.layers.{i}.fc2", width, inner, "F16"),
                    *_norm(f"{name}.layers.{i}.final_layer_norm", width, "F16")]
    return tensors + _norm(f"{name}.layer_norm", width, "F16")


def blenderbot_3b(tiny):
    width, inner, encoders, decoders, heads = (16, 32, 1, 2, 2) if tiny else (2560, 10240, 2, 24, 32)
    vocabulary, positions = 8008, 128
    tensors = [Tensor("final_logits_bias", "F16", (1, vocabulary), "zero"), *_matrix("model.shared", vocabulary, width, dtype="F16"),
               *_blenderbot_stack("model.encoder", encoders, width, inner, positions, ["self_attn"]),
               *_blenderbot_stack("model.decoder", decoders, width, inner, positions, ["self_attn", "encoder_attn"])]
    config = {"activation_dropout": 0.0, "activation_function": "gelu", "architectures": ["BlenderbotForConditionalGeneration"], "attention_dropout": 0.0,
              "bos_token_id": 1, "d_model": width, "decoder_attention_heads": heads, "decoder_ffn_dim": inner, "decoder_layerdrop": 0.0,
              "decoder_layers": decoders, "decoder_start_token_id": 1, "dropout": 0.1, "encoder_attention_heads": heads, "encoder_ffn_dim": inner,
              "encoder_layerdrop": 0.0, "encoder_layers": encoders, "eos_token_id": 2, "init_std": 0.02, "is_encoder_decoder": True,
              "max_position_embeddings": positions, "model_type": "blenderbot", "num_hidden_layers": encoders, "scale_embedding": True,
              "use_cache": True, "vocab_size": vocabulary}
    # How it is to answer was once told among the settings of the model, and is still there.
    generation = {"bos_token_id": 1, "decoder_start_token_id": 1, "encoder_no_repeat_ngram_size": 3, "eos_token_id": 2, "forced_eos_token_id": 2,
                  "length_penalty": 0.65, "max_length": 60, "min_length": 20, "no_repeat_ngram_size": 3, "num_beams": 10, "pad_token_id": 0}
    config = {**config, **generation, "static_position_embeddings": False, "normalize_before": True, "normalize_embedding": False,
              "add_final_layer_norm": True, "layernorm_variant": "prelayernorm"}
    tied = {name: "model.shared.weight" for name in ("model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight", "lm_head.weight")}
    return Model("facebook/blenderbot-3B", "torch", "blenderbot", tensors, config, generation, tied, beside=["tf_model.h5"])


# --- T5 ----------------------------------------------------------------------


def _t5_task(prefix, length, **more):
    return {"early_stopping": True, "max_length": length, "num_beams": 4, "prefix": prefix, **more}


T5_TASKS = {"summarization": _t5_task("summarize: ", 200, length_penalty=2.0, min_length=30, no_repeat_ngram_size=3),
            **{f"translation_en_to_{to}": _t5_task(f"translate English to {language}: ", 300)
               for to, language in (("de", "German"), ("fr", "French"), ("ro", "Romanian"))}}


def _t5_attention(name, width, inner):
    return [*(t for part in "qkv" for t in _matrix(f"{name}.{part}", inner, width)), *_matrix(f"{name}.o", width, inner)]


def _t5_stack(name, layers, width, inner, wide, heads, attentions):
    tensors = []
    for i in range(layers):
        for j, attention in enumerate(attentions):
            part = f"{name}.block.{i}.layer.{j}"
            tensors += _t5_attention(f"{part}.{attention}", width, inner)
            if i == 0:
                # The decoder's second was never used; it is still in all files.
                tensors += _matrix(f"{part}.{attention}.relative_attention_bias", 32, heads)
            tensors.append(Tensor(f"{part}.layer_norm.weight", "F32", (width,), "one"))
        part = f"{name}.block.{i}.layer.{len(attentions)}"
        tensors += [*_matrix(f"{part}.DenseReluDense.wi", wide, width), *_matrix(f"{part}.DenseReluDense.wo", width, wide),
                    Tensor(f"{part}.layer_norm.weight", "F32", (width,), "one")]
    return [*tensors, Tensor(f"{name}.final_layer_norm.weight", "F32", (width,), "one")]


def _t5(id, form, width, layers, each, heads, wide, beside):
    vocabulary, inner = 32128, heads * each
    tensors = [*_matrix("shared", vocabulary, width, "unit"), *_t5_stack("encoder", layers, width, inner, wide, heads, ["SelfAttention"]),
               *_t5_stack("decoder", layers, width, inner, wide, heads, ["SelfAttention", "EncDecAttention"])]
    config = {"architectures": ["T5ForConditionalGeneration"], "d_ff": wide, "d_kv": each, "d_model": width, "decoder_start_token_id": 0,
              "dropout_rate": 0.1, "eos_token_id": 1, "initializer_factor": 1.0, "is_encoder_decoder": True, "layer_norm_epsilon": 1e-06,
              "model_type": "t5", "n_positions": 512, "num_heads": heads, "num_layers": layers, "output_past": True, "pad_token_id": 0,
              "relative_attention_num_buckets": 32, "task_specific_params": T5_TASKS, "vocab_size": vocabulary}
    tied = {name: "shared.weight" for name in ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")}
    return Model(id, form, "t5", tensors, config, {"decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}, tied, beside)


def t5_3b(tiny):
    sides = (16, 2, 8, 2, 64) if tiny else (1024, 24, 128, 32, 16384)
    return _t5("google-t5/t5-3b", "safetensors", *sides, beside=["pytorch_model.bin", "tf_model.h5"])


def t5_11b(tiny):
    sides = (16, 2, 8, 4, 128) if tiny else (1024, 24, 128, 128, 65536)
    return _t5("google-t5/t5-11b", "torch", *sides, beside=["tf_model.h5"])


def all_models(scale):
    return [make(scale == "tiny") for make in (gpt2_xl, blenderbot_3b, roberta_large, t5_3b, t5_11b)]


def block(size_bytes):
    """Weights of so many bytes that are no known model's, in matrices of 64 MiB."""
    n, rest = divmod(size_bytes, 64 << 20)
    tensors = [Tensor(f"layers.{i:03}.weight", "F32", (4096, 4096), "small") for i in range(n)]
    return tensors + ([Tensor("rest", "F32", (rest // 4,), "small")] if rest >= 4 else [])
