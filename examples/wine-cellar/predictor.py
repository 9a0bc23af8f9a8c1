"""Looks a bottle up before the model runs and writes down what it said after: the slot is the model's alone."""
import sqlite3

from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier


class NoSuchBottle(Exception):
    status_code = 404

    def __init__(self, bottle):
        self.detail = {"message": "there is no bottle %r in the cellar" % bottle}


class PythonPredictor:
    def __init__(self, config):
        wine = load_wine()
        self.model = RandomForestClassifier(config["trees"], random_state=0).fit(wine.data, wine.target)
        self.labels = wine.target_names
        self.columns = ", ".join('"%s"' % name for name in wine.feature_names)
        # A real one is a server across the network.
        self.db = sqlite3.connect(":memory:", check_same_thread=False)
        self.db.execute("CREATE TABLE bottles (id INTEGER PRIMARY KEY, %s)" % self.columns)
        self.db.execute("CREATE TABLE tasted (bottle INTEGER, label TEXT)")
        marks = ", ".join("?" * len(wine.feature_names))
        self.db.executemany("INSERT INTO bottles VALUES (NULL, %s)" % marks, wine.data.tolist())

    def pre_predict(self, payload):
        found = self.db.execute("SELECT %s FROM bottles WHERE id = ?" % self.columns, [payload["bottle"]]).fetchone()
        if found is None:
            raise NoSuchBottle(payload["bottle"])
        return {"bottle": payload["bottle"], "measures": found}

    def predict(self, payload):
        shares = self.model.predict_proba([payload["measures"]])[0]
        return {"label": str(self.labels[shares.argmax()]), "share": float(shares.max())}

    def post_predict(self, payload, response):
        self.db.execute("INSERT INTO tasted VALUES (?, ?)", [payload["bottle"], response["label"]])
        count, = self.db.execute("SELECT count(*) FROM tasted").fetchone()
        print("tasted bottle %d: %s; %d so far" % (payload["bottle"], response["label"], count))
