"""What the page says of language models at their true size, and what is to hold of them."""
from kit import results

CLOSE = 1e-4  # of the largest logit: sums may be rounded another way
ONCE = 1.01   # times a file: what all who map it have of it together


def _gb(n):
    return f"{n / 1e9:.1f}"


def verdicts(told):
    """[(what is to hold, whether it does)]"""
    found = []
    for name, row in told["models"].items():
        whose = "of Transformers alone" if not row.get("alone") else "that it gives when it is asked again"
        found.append((f"{name}: {row['n_logits']} logits are those {whose}, but for {CLOSE:.0e} of the largest", row["off"] <= CLOSE))
    if together := told.get("together"):
        found.append(("a request to each of the four at once: right answers, and nobody had to go for another", together["stay"] and together["off"] <= CLOSE))
    if twice := told.get("twice"):
        found.append(("two replicas of each: all have answered, and right", twice["answered"] == twice["replicas"] == 8 and twice["off"] <= CLOSE))
        for name, of in twice["of"].items():
            found.append((f"{name}: both map {_gb(of['file'])} GB of weights and have {_gb(of['pss'])} GB of memory for them together, none of it written to",
                          of["pss"] <= ONCE * of["file"] and not of["written"] and min(of["rss"]) > 0))
    if "largest_words" in told:
        found.append(("T5-11B: Soma says that it is larger than memory, and what that costs", bool(told["largest_words"])))
    return found


def _rows(told):
    rows = []
    for name, row in told["models"].items():
        speed = f"{row['tokens_per_s']:.3g}" if "tokens_per_s" in row else ""
        read = f"{row['read_per_token'] / 1e9:.2f}" if "read_per_token" in row else ""
        rows.append([name, _gb(row["bytes"]), f"{row['pull_s']:.0f}", f"{row['first_s']:.1f}", f"{row['again_s']:.2f}", "-" if row.get("alone") else f"{row['plain_s']:.1f}", speed, read,
                     f"{row['memory']['files']:.1f}", f"{row['memory']['own']:.2f}", f"{row['off']:.1g}"])
    return rows


def _together(told):
    together, twice = told["together"], told["twice"]
    both = sum(of["pss"] for of in twice["of"].values())
    return ["", f"A request to each of the four at the same time: {together['replicas']} replicas answer, in "
            + ", ".join(f"{s:.1f} s ({name})" for name, s in together["took_s"].items()) + f", while {_gb(together['read'])} GB are read from the disk. "
            f"They map {together['memory']['files']:.1f} GiB that are in memory, and have {together['memory']['own']:.1f} GiB of their own. With two replicas of "
            f"each, {twice['replicas']} in all, they have {_gb(both)} GB of weights in memory, each page counted once, {twice['memory']['own']:.1f} GiB of their own and "
            f"{twice['tables'] / (1 << 20):.0f} MiB of page tables."]


def _largest(told):
    row, floor = told["models"]["t5-11b"], told["fio"]
    words = {"direct": "past the page cache (fio)", "buffered": "through it (fio)", "mapped": "by a bare sum over its mapping"}
    least = max(1, row["read_per_token"])
    return ["", f"T5-11B, {_gb(row['bytes'])} GB in 32 bits: deployed in {told['largest_deploy_s']:.0f} s, {row['tokens_per_s']:.3f} tokens/s, {least / 1e9:.1f} GB read for each. "
            "The disk gives the file at " + ", ".join(f"{floor[how] / 1e9:.2f} GB/s {word}" for how, word in words.items()) + "; so many bytes alone would "
            "allow " + ", ".join(f"{floor[how] / least:.3f}" for how in words) + " tokens/s.",
            *(f"Soma: \"{text}\"." for text in told["largest_words"]), *([f"Transformers alone cannot open it here: {row['alone']}."] if row.get("alone") else [])]


def render(told):
    torch, transformers = told["versions"]
    head = ["", "GB", "pull, s", "first, s", "again, s", "Transformers, s", "tokens/s", "read a token, GB", "mapped", "own", "logits off"]
    text = []
    if "deploy_s" in told:
        text = [f"The example's four by one `soma deploy` from a hub on this machine: fetched side by side, verified and ready in {told['deploy_s']:.0f} s."]
    text += [f"torch {torch}, transformers {transformers}, once. Pull: of each from its listing until it is verified and on the disk. First: a request to the logits of "
             "a short text; again: the same. Transformers: its own process alone, on the same files, with as many threads, from `from_pretrained` to the same logits; they may "
             "differ by rounding: the last column, as a part of the largest. Read: what the machine reads from its disk for a token. Mapped and own memory are those of "
             "all its processes, in GiB (PSS).", "", *results.table(head, _rows(told))]
    if "together" in told:
        text += _together(told)
    if "fio" in told:
        text += _largest(told)
    return [*text, "", *results.table(["to hold", ""], [[what, "holds" if holds else "**does not hold**"] for what, holds in verdicts(told)])]
