"""plain.py TEXT (FOLDER CLASS)...: the logits of each model as Transformers alone loads it, a line of JSON for each."""
import json
import sys
import time

import transformers

from logits import logits

text, *pairs = sys.argv[1:]
for folder, name in zip(pairs[::2], pairs[1::2]):
    begun = time.perf_counter()
    tokens = transformers.AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    model = getattr(transformers, name).from_pretrained(folder).eval()
    loaded = time.perf_counter()
    told = logits(model, tokens)
    print(json.dumps({"logits": told, "load_s": loaded - begun, "first_s": time.perf_counter() - loaded}), flush=True)
    del model
