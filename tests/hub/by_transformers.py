"""What Transformers knows of models, for tests: run by a Python that has it.

  by_transformers.py names          reads [[class, config]...], writes [{name: shape}...] of all parameters and buffers that are kept
  by_transformers.py tokenizers TEXT FOLDER...
                                    writes [{"ids", "text", "size"}...]: the text's tokens, what they are again, and how many there are
"""
import json
import sys

import torch
import transformers


def names(name, config):
    own = getattr(transformers, name)
    with torch.device("meta"):
        model = own(own.config_class(**config))
    return {key: list(value.shape) for key, value in model.state_dict().items()}


def tokens(text, folder):
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(text)["input_ids"]
    return {"ids": ids, "text": tokenizer.decode(ids, skip_special_tokens=True), "size": len(tokenizer), "special": tokenizer.all_special_ids}


if sys.argv[1] == "names":
    print(json.dumps([names(*each) for each in json.load(sys.stdin)]))
else:
    print(json.dumps([tokens(sys.argv[2], folder) for folder in sys.argv[3:]]))
