from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

labels = ["setosa", "versicolor", "virginica"]


class PythonPredictor:
    def __init__(self, config):
        iris = load_iris()
        self.model = LogisticRegression(max_iter=config["max_iterations"]).fit(iris.data, iris.target)

    def predict(self, payload, query_params):
        row = [payload["sepal_length"], payload["sepal_width"], payload["petal_length"], payload["petal_width"]]
        shares = self.model.predict_proba([row])[0]
        answer = {"label": labels[shares.argmax()]}
        if "shares" in query_params:
            answer["shares"] = {name: round(float(share), 3) for name, share in zip(labels, shares)}
        return answer

    def post_predict(self, response, payload):
        print(response["label"], "for", payload)
