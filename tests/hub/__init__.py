"""A hub of large models that stores none of them: their bytes are made as they are asked for.

families.py   names, shapes and types of all tensors, and the settings beside them
made.py       files: safetensors and PyTorch archives, of which any range is known at once
archive.py    how torch.save lays out an archive
tokens.py     tokenizers with as many tokens as the models'
serve.py      the hub's protocol:         python3 -m hub.serve --port N [--scale tiny]
objects.py    one large object by S3 and HTTP:  python3 -m hub.objects --port N

Needs Python alone. Run it in the folder above this one.
"""
