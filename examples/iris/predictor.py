from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression


class PythonPredictor:
    def __init__(self, config):
        iris = load_iris()
        self.labels = iris.target_names
        self.columns = config["columns"]
        self.model = LogisticRegression(max_iter=1000).fit(iris.data, iris.target)

    def predict(self, payload):
        row = [payload[column] for column in self.columns]
        return {"label": str(self.labels[self.model.predict([row])[0]])}
