"""Tokenizers that AutoTokenizer loads: as many tokens as the models have, special ones at the models' numbers.

The tokens are bytes, pairs of letters, and pairs of pairs, the commonest letters first: no model has learned them, but text
becomes numbers and is got back from them.
"""
import functools
import json

from . import made

LETTERS = "etaoinshrdlucmfwypvbgkjqxz"
SPACE = "\u0120"  # how a space is written among bytes
WORD = "\u2581"   # what a word begins with among pieces


def _bytes():
    """GPT-2's characters for the 256 bytes, in the order of its vocabulary: those that can be seen first."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [*map(chr, seen), *(chr(256 + i) for i in range(256 - len(seen)))]


@functools.cache
def _pairs():
    return sorted((a + b for a in LETTERS for b in LETTERS), key=lambda p: (LETTERS.index(p[0]) + LETTERS.index(p[1]), LETTERS.index(p[0])))


def _fours():
    """Pairs of pairs, the commonest first."""
    pairs = _pairs()
    for rank in range(len(pairs)):
        for i in range(rank + 1):
            yield pairs[i], pairs[rank - i]


def _merges(n):
    first = [*((p[0], p[1]) for p in _pairs()), *((SPACE, p) for p in _pairs()), *((SPACE, letter) for letter in LETTERS)]
    return [*first, *(four for four, _ in zip(_fours(), range(n - len(first))))]


def _special(content, number, **more):
    return {"id": number, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True, **more}


def _tokenizer(model, added, pre, post, decoder):
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None, "pre_tokenizer": pre,
            "post_processor": post, "decoder": decoder, "model": model}


def _byte_level(before, after, merges, special, prefix, post, config):
    """before, after: tokens in front of and behind those of bytes and merges. special: which of all are."""
    merges = _merges(merges)
    names = [*before, *_bytes(), *(a + b for a, b in merges), *after]
    vocabulary = {name: i for i, name in enumerate(names)}
    assert len(vocabulary) == len(names)
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "", "end_of_word_suffix": "", "fuse_unk": False,
             "byte_fallback": False, "ignore_merges": False, "vocab": vocabulary, "merges": [f"{a} {b}" for a, b in merges]}
    level = {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": True}
    added = [_special(name, vocabulary[name], lstrip=name == "<mask>") for name in special]
    told = _tokenizer(model, sorted(added, key=lambda a: a["id"]), level, post(vocabulary, level), {**level, "add_prefix_space": True})
    return [made.text("tokenizer.json", json.dumps(told, ensure_ascii=False)), made.text("vocab.json", json.dumps(vocabulary, ensure_ascii=False)),
            made.text("merges.txt", "#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges)), made.json_text("tokenizer_config.json", config)]


def _ends_with(end):
    """The post-processor that puts a token at the end."""
    def post(vocabulary, _level):
        told = {"SpecialToken": {"id": end, "type_id": 0}}
        a, b = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
        return {"type": "TemplateProcessing", "single": [a, told], "pair": [a, told, b, told],
                "special_tokens": {end: {"id": end, "ids": [vocabulary[end]], "tokens": [end]}}}
    return post


def gpt2():
    """50,257 tokens; the last is special."""
    end = "<|endoftext|>"
    config = {"add_prefix_space": False, "bos_token": end, "eos_token": end, "unk_token": end, "model_max_length": 1024,
              "tokenizer_class": "GPT2Tokenizer"}
    return _byte_level([], [end], 50000, [end], False, lambda _, level: {**level, "add_prefix_space": True, "trim_offsets": False}, config)


def roberta():
    """50,265 tokens: four special ones, GPT-2's, some that are never used, and the mask."""
    before, after = ["<s>", "<pad>", "</s>", "<unk>"], ["<|endoftext|>", "madeupword0000", "madeupword0001", "madeupword0002", "<mask>"]
    config = {"add_prefix_space": False, "bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "mask_token": "<mask>", "pad_token": "<pad>",
              "sep_token": "</s>", "unk_token": "<unk>", "model_max_length": 512, "tokenizer_class": "RobertaTokenizer"}
    return _byte_level(before, after, 50000, [*before, "<mask>"], False, lambda v, _: {
        "type": "RobertaProcessing", "sep": ["</s>", v["</s>"]], "cls": ["<s>", v["<s>"]], "trim_offsets": True, "add_prefix_space": False}, config)


def blenderbot():
    """8,008 tokens."""
    before, after = ["<pad>", "<s>", "</s>", "<unk>"], ["<mask>"]
    config = {"add_prefix_space": True, "bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "mask_token": "<mask>", "pad_token": "<pad>",
              "sep_token": "</s>", "unk_token": "<unk>", "model_max_length": 128, "tokenizer_class": "BlenderbotTokenizer"}
    return _byte_level(before, after, 8008 - 5 - 256, [*before, *after], True, _ends_with("</s>"), config)


def t5():
    """32,000 pieces, and 100 that stand for what is left out."""
    special = ["<pad>", "</s>", "<unk>"]
    extra = [f"<extra_id_{i}>" for i in range(99, -1, -1)]
    pieces = [WORD, *map(chr, range(33, 127)), *(WORD + letter for letter in LETTERS), *(WORD + p for p in _pairs()), *_pairs()]
    pieces += [a + b for (a, b), _ in zip(_fours(), range(32000 - len(special) - len(pieces)))]
    # A piece costs more than a shorter one, and less than the two that it is made of.
    scores = [-4.0 - len(piece) - i / 16000 for i, piece in enumerate(pieces)]
    vocabulary = [*([name, 0.0] for name in special), *map(list, zip(pieces, scores)), *([name, 0.0] for name in extra)]
    numbers = {name: i for i, (name, _) in enumerate(vocabulary)}
    assert len(numbers) == len(vocabulary)
    space = {"type": "Metaspace", "replacement": WORD, "prepend_scheme": "always", "split": True}
    added = [_special(name, numbers[name]) for name in [*special, *reversed(extra)]]
    told = _tokenizer({"type": "Unigram", "unk_id": 2, "vocab": vocabulary, "byte_fallback": False}, sorted(added, key=lambda a: a["id"]),
                      {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, space]}, _ends_with("</s>")(numbers, None), space)
    config = {"additional_special_tokens": list(reversed(extra)), "eos_token": "</s>", "extra_ids": 100, "model_max_length": 512, "pad_token": "<pad>",
              "tokenizer_class": "T5Tokenizer", "unk_token": "<unk>"}
    return [made.text("tokenizer.json", json.dumps(told, ensure_ascii=False)), made.json_text("tokenizer_config.json", config)]


MAKERS = {"gpt2": gpt2, "roberta": roberta, "blenderbot": blenderbot, "t5": t5}
