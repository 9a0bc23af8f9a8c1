"""Words that follow each other as in a text, sent one by one as they are chosen."""
import collections
import random
import time

import soma


class PythonPredictor:
    def __init__(self, config):
        with open(config["text"], encoding="utf-8") as f:
            words = f.read().lower().replace(".", " .").split()
        self.followers = collections.defaultdict(list)
        for word, follower in zip(words, words[1:]):
            self.followers[word].append(follower)

    def predict(self, payload):
        chance = random.Random(payload.get("seed"))
        word = payload.get("begin", "the")
        chosen = 0
        while chosen < payload.get("words", 40) and word in self.followers:
            yield word + " "
            word = chance.choice(self.followers[word])
            chosen += 1
            time.sleep(0.02)  # a language model would compute here
        yield soma.release_slot()  # what follows needs no model
        yield "(%d words)" % chosen
