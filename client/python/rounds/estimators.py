"""scikit-learn's estimators: those of which an average is a model, and what to take in place of the others.

A linear model or a network is its coefficients, and a mean of them is one of the same kind. What a forest, a support vector
machine or a nearest-neighbour model has learned are trees or rows of the data: their mean is nothing, and rows must not leave.
"""
from __future__ import annotations

from typing import Any, Dict, List, Tuple

import numpy as np

from rounds.failure import Failure, must_fit
from rounds.weights import BFloat16, Weights

#: Classes whose predictions depend on coef_ and intercept_, or coefs_ and intercepts_, alone; also those derived from them.
_AVERAGED = {"LinearModel", "LinearClassifierMixin", "BaseSGD", "_GeneralizedLinearRegressor", "BaseMultilayerPerceptron"}
#: What to do with others, by a class that they are or derive from.
_INSTEAD = (
    ("BaseLibSVM", "its support vectors are rows of your data: take LinearSVC or SGDClassifier"),
    ("SGDOneClassSVM", "its offset is no coefficient: take a dict of arrays"),
    ("NeighborsBase", "it keeps rows of your data: take a linear model, a network or trees"),
    ("ForestClassifier", "its trees cannot be averaged: take XGBoost with the workflow xgboost_bagging, where each site adds trees"),
    ("ForestRegressor", "its trees cannot be averaged: take XGBoost with the workflow xgboost_bagging, where each site adds trees"),
    ("BaseDecisionTree", "a tree cannot be averaged: take XGBoost with the workflow xgboost_bagging"),
    ("BaseGradientBoosting", "its trees cannot be averaged: take XGBoost with the workflow xgboost_bagging or xgboost_cyclic"),
    ("BaseHistGradientBoosting", "its trees cannot be averaged: take XGBoost with the workflow xgboost_bagging or xgboost_cyclic"),
    ("_BaseKMeans", "its clusters have another order at each site: take the workflow kmeans of the built-in trainer"),
    ("BaseSearchCV", "give its best_estimator_, if that is a linear model or a network"),
)


def is_estimator(model: Any) -> bool:
    return hasattr(model, "get_params") and hasattr(model, "fit")


def _kinds(model: Any) -> List[str]:
    return [kind.__name__ for kind in type(model).__mro__]


def _fitted(step: Any) -> List[str]:
    """What fitting left in a step, but for what only describes its input."""
    return [name for name in vars(step) if name.endswith("_") and not name.startswith("_")
            and name not in ("n_features_in_", "feature_names_in_", "n_output_features_", "n_outputs_")]


def _last_step(model: Any) -> Tuple[Any, str]:
    """A pipeline's last step and what its tensors' names begin with; the model itself if it is none."""
    prefix = ""
    while "Pipeline" in _kinds(model):
        for name, step in model.steps[:-1]:
            if hasattr(step, "get_params") and _fitted(step):
                raise Failure("unsupported", f'the step "{name}" ({type(step).__name__}) of the pipeline has learned something from this '
                              "site's data, so that the same coefficients mean something else at each site: scale by numbers that "
                              "all sites share (FunctionTransformer), or let the model standardize (rounds-trainer does)")
        name, last = model.steps[-1]
        prefix, model = f"{prefix}{name}.", last
    return model, prefix


def _check(model: Any) -> None:
    kinds = set(_kinds(model))
    remedy = next((words for kind, words in _INSTEAD if kind in kinds), None)
    if remedy or not kinds & _AVERAGED:
        raise Failure("unsupported", f"{type(model).__name__} is not a model of which a mean makes sense; "
                      f"{remedy or 'give rounds.send a dict of the arrays that should be averaged'}")


def _parts(model: Any) -> Dict[str, np.ndarray]:
    """What it has learned: linear models have coef_ and intercept_, networks coefs_ and intercepts_."""
    parts = {name: getattr(model, name) for name in ("coef_", "intercept_") if hasattr(model, name)}
    for name in ("coefs_", "intercepts_"):
        parts.update({f"{name}.{i}": array for i, array in enumerate(getattr(model, name, []))})
    if not parts:
        raise Failure("model", f"{type(model).__name__} has no coefficients yet: fit it (or partial_fit a few rows) before it is sent or "
                      "loaded into")
    return parts


def weights_of(model: Any) -> Weights:
    """{name: array} in float64, of the shapes that scikit-learn gives them, a single number as an array of one."""
    model, prefix = _last_step(model)
    if "GaussianNB" in _kinds(model):
        return {prefix + name: array for name, array in _sums_of(model).items()}
    _check(model)
    return {prefix + name: np.atleast_1d(np.asarray(array, dtype=np.float64)) for name, array in _parts(model).items()}


def put_into(model: Any, weights: Weights) -> None:
    """Puts arrays of the same sizes into a fitted estimator."""
    model, prefix = _last_step(model)
    bayes = "GaussianNB" in _kinds(model)
    must_fit(weights, {prefix + name: array.shape for name, array in (_sums_of(model) if bayes else weights_of(model)).items()})
    plain = {name[len(prefix):]: array.floats() if isinstance(array, BFloat16) else array for name, array in weights.items()}
    if bayes:
        _put_sums(model, plain)
        return
    for name, array in plain.items():
        _put(model, name, array)


def _put(model: Any, name: str, array: np.ndarray) -> None:
    if "." in name:
        kind, index = name.split(".")
        getattr(model, kind)[int(index)][...] = array
        return
    old = np.asarray(getattr(model, name))
    setattr(model, name, np.asarray(array).reshape(old.shape).astype(old.dtype))


def _bayes(model: Any) -> Any:
    """The GaussianNB, fitted, that a model is or ends with; else None."""
    while is_estimator(model) and "Pipeline" in _kinds(model):
        model = model.steps[-1][1]
    return model if "GaussianNB" in _kinds(model) and hasattr(model, "class_count_") else None


def rows_of(model: Any) -> np.ndarray:
    """How many rows of each class the estimator's sums are of, where it travels as sums that need that weight; else empty."""
    bayes = _bayes(model)
    return np.empty(0) if bayes is None else np.asarray(bayes.class_count_)


def smallest_group(model: Any) -> float:
    """The fewest rows that one of its sums is of: a class, or those of a class that have the rarer value of an indicator.

    A column of two values side by side (0 and 1, 1 and 2) shows by its variance: q (1 - q), if q is the share of the greater.
    """
    bayes = _bayes(model)
    count = bayes.class_count_[:, None]
    share = bayes.theta_ - np.floor(bayes.theta_)
    indicator = np.isclose(bayes.var_ - bayes.epsilon_, share * (1 - share), rtol=1e-6, atol=1e-9) & (share > 1e-9) & (share < 1 - 1e-9)
    rarer = np.where(indicator, np.rint(count * np.minimum(share, 1 - share)), np.inf)
    return float(min(count[count > 0].min(), rarer[count[:, 0] > 0].min()))


def _sums_of(model: Any) -> Weights:
    """Naive Bayes as means over its rows: of each class (share), of each feature within it (sum), of its square (square).

    Their mean, weighted by rows, is that of all sites' rows together, so one round gives scikit-learn's own model of the
    pooled data. share: (classes,), sum and square: (classes, features).
    """
    if not hasattr(model, "theta_"):
        raise Failure("model", "GaussianNB has learned nothing yet: fit it before it is sent or loaded into")
    rows, count = model.class_count_.sum(), model.class_count_[:, None]
    variance = model.var_ - model.epsilon_  # without what smoothing added
    return {"share": model.class_count_ / rows, "sum": count * model.theta_ / rows,
            "square": count * (variance + model.theta_ ** 2) / rows}


def _put_sums(model: Any, sums: Weights) -> None:
    share = np.maximum(sums["share"], np.finfo(np.float64).tiny)
    mean = sums["sum"] / share[:, None]
    whole = sums["square"].sum(0) - sums["sum"].sum(0) ** 2  # the variance of each feature over all rows
    model.epsilon_ = model.var_smoothing * whole.max()
    model.class_count_, model.theta_ = share, mean
    model.var_ = np.maximum(sums["square"] / share[:, None] - mean ** 2, 0.0) + model.epsilon_
    if model.priors is None:
        model.class_prior_ = share / share.sum()
