"""What a job of the workflow `statistics` has found: sums that became statistics of all sites' data together."""
from __future__ import annotations

import json
import warnings
from typing import Any, Dict, List, Mapping

import numpy as np


class Statistics:
    """Of all sites together, or of one.

    Sites keep small numbers back (their `min_cell`). What is here is right for the sites and the cells that are told: a column's
    counts, mean and deviation are of the `sites` that `describe()` names, a correlation of those that tell both columns, and
    histograms and survival have the edges that every site tells. What cannot be said is NaN, and `kept_back` says why.

    Attributes:
        columns: names, in the data's order; the values of a category and the label's classes are columns of 0 and 1, as `sex=f`
            where the job lists them (`trainer={"categories": {"sex": ["f", "m"]}, "classes": [...]}`), else as `sex=#1a2b3c4d`.
        suppressed: {column: how many sites kept something of it back}.
        kept_back: sentences about what is missing or coarser than asked for; empty where nothing is.
    """

    def __init__(self, tensors: Mapping[str, np.ndarray], whole: Mapping[str, np.ndarray], sigmas: float,
                 time_max: float = 0.0) -> None:
        self._tensors, self._whole, self._sigmas, self._time_max = tensors, whole, sigmas, time_max
        self.columns: List[str] = [name[:-len("/histogram")] for name in tensors if name.endswith("/histogram")]
        self.suppressed = {name: int(self._of(name, "suppressed")) for name in self.columns if self._of(name, "suppressed")}
        self.kept_back = self._say()

    def _of(self, column: str, what: str) -> float:
        return float(self._tensors[f"{column}/{what}"])

    def _answered(self) -> int:
        """How many sites; 0 for a job of an earlier version, whose sites told no edges."""
        return int(self._tensors.get("together/answered", 0))

    def _sites(self, column: str) -> int:
        return int(self._tensors.get(f"{column}/sites", self._answered()))

    def _cuts(self, of: str) -> np.ndarray:
        """The edges, by number, that every site tells."""
        edges = self._tensors.get(f"{of}/edges")
        if edges is None:
            cells = self._tensors["survival/events" if of == "survival" else f"{of}/histogram"]
            return np.arange(len(cells) + 1)
        return np.flatnonzero(np.asarray(edges) == self._answered())

    def _say(self) -> List[str]:
        sites, said = self._answered(), []
        for name in self.columns:
            untold, cells = sites - self._sites(name), len(self._tensors[f"{name}/histogram"])
            if untold:
                said.append(f"{name}: count, mean and deviation are not told by {untold} of {sites} sites")
            if len(self._cuts(name)) < cells + 1:
                said.append(f"{name}: a histogram of {max(len(self._cuts(name)) - 1, 0)} cells instead of {cells}")
        pairs = self._tensors.get("together/suppressed")
        if pairs is not None and np.any(pairs > 0):
            said.append(f"{int(np.triu(pairs > 0, 1).sum())} pairs of columns are not told by every site")
        if "survival/told" in self._tensors:
            told, cells = int(self._tensors["survival/told"]), len(self._tensors["survival/events"])
            if told < sites:
                said.append(f"survival is not told by {sites - told} of {sites} sites")
            if told and len(self._cuts("survival")) < cells + 1:
                said.append(f"survival in {len(self._cuts('survival')) - 1} cells of time instead of {cells}")
        return said

    def describe(self) -> Dict[str, Dict[str, float]]:
        """{column: {count, missing, mean, sd, 25%, 50%, 75%, sites}}; sd is that of the sample, quantiles are read off histograms.

        All but the quantiles are of the `sites` that tell them.
        """
        found = {}
        for name in self.columns:
            count = self._of(name, "count")
            mean = self._of(name, "sum") / count if count else float("nan")
            # Deviations are taken about the mean of the whole.
            whole = self._centre(name)
            squares = self._of(name, "deviations") - count * (mean - whole) ** 2 if count else 0.0
            sd = float(np.sqrt(max(squares, 0.0) / (count - 1))) if count > 1 else float("nan")
            found[name] = {"count": count, "missing": self._of(name, "missing"), "mean": mean, "sd": sd,
                           **{f"{100 * q:g}%": self.quantile(name, q) for q in (0.25, 0.5, 0.75)}, "sites": self._sites(name)}
        return found

    def _centre(self, column: str) -> float:
        count = float(self._whole[f"{column}/count"])
        return float(self._whole[f"{column}/sum"]) / count if count else 0.0

    def _reach(self, column: str) -> float:
        count, centre = float(self._whole[f"{column}/count"]), self._centre(column)
        variance = float(self._whole[f"{column}/squares"]) / count - centre ** 2 if count else 0.0
        return self._sigmas * float(np.sqrt(max(variance, 0.0)))

    def histogram(self, column: str) -> Dict[str, np.ndarray]:
        """{"edges", "counts": one less}, like numpy.histogram, of cells that may be merged; what lies outside is not in it."""
        counts, cuts = np.asarray(self._tensors[f"{column}/histogram"]), self._cuts(column)
        centre, reach = self._centre(column), self._reach(column)
        until = np.concatenate([[0.0], np.cumsum(counts)])
        return {"edges": np.linspace(centre - reach, centre + reach, len(counts) + 1)[cuts], "counts": np.diff(until[cuts])}

    def quantile(self, column: str, q: float) -> float:
        """Read off the histogram, evenly within its cell: right to a cell's width. NaN if it lies outside of all cells."""
        cells, counts, cuts = self.histogram(column), self._tensors[f"{column}/histogram"], self._cuts(column)
        total = self._of(column, "below") + counts.sum() + self._of(column, "above")
        if total == 0 or len(cuts) < 2:
            return float("nan")
        below = self._of(column, "below") + counts[:cuts[0]].sum()
        until = below + np.concatenate([[0.0], np.cumsum(cells["counts"])])
        return float(np.interp(q * total, until, cells["edges"], left=np.nan, right=np.nan))

    def correlation(self) -> np.ndarray:
        """Pearson's, columns x columns, over the rows that have both; NaN where a column does not vary or no site tells the pair."""
        products, kept = self._tensors["together/products"], self._tensors.get("together/suppressed", np.zeros(()))
        spread = np.sqrt(np.diag(products))
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.asarray(products / np.outer(spread, spread))
            if not np.any(kept):
                return found
            # A pair that some sites keep back is compared with how the columns spread at the others.
            squares = self._tensors["together/squares"]
            return np.where(kept > 0, products / np.sqrt(squares * squares.T), found)

    def contingency(self, rows: str, columns: str) -> Dict[str, Dict[str, float]]:
        """How often each value of one category comes with each of another (or with each class of the label).

        NaN where a site keeps the cell back. Values that the job does not list are digests, as in `columns`.
        """
        both, kept = self._tensors["together/both"], self._tensors.get("together/suppressed")
        if kept is not None:
            both = np.where(kept > 0, np.nan, both)

        def values(of: str) -> Dict[str, int]:
            return {name[len(of) + 1:]: i for i, name in enumerate(self.columns) if name.startswith(of + "=")}
        table = {r: {c: float(both[i, j]) for c, j in values(columns).items()} for r, i in values(rows).items()}
        if not table or not values(columns):
            raise KeyError(f"{rows} and {columns} must be categories or the label's classes")
        return table

    def survival(self) -> Dict[str, np.ndarray]:
        """Kaplan and Meier's estimate: {"time": the cells' ends, "survival": the share that is left then, "at_risk", "events"}.

        The cells are those that every site tells, of the sites that tell any: none where no site does.
        """
        cuts, told = self._cuts("survival"), self._tensors.get("survival/told", np.ones(()))
        if not told:
            cuts = cuts[:0]
        events = np.diff(np.concatenate([[0.0], np.cumsum(self._tensors["survival/events"])])[cuts])
        at_risk = np.asarray(self._tensors["survival/at_risk"])[cuts[:-1]]
        with np.errstate(divide="ignore", invalid="ignore"):
            left = np.where(at_risk > 0, 1 - events / at_risk, 1.0)
        time = np.linspace(0, self._time_max, len(self._tensors["survival/events"]) + 1)[cuts[1:]]
        return {"time": time, "survival": np.cumprod(left), "at_risk": at_risk, "events": events}


def of_job(job: Any, site: str = "") -> Statistics:
    """The statistics of a completed job: of all sites together, or of one of them (while its update is kept)."""
    params = job.refresh().row["spec"]["params"]
    client = job._client
    rounds = {row["number"]: row for row in client.call("GET", f"/jobs/{job.row['id']}/rounds")["items"]}
    whole = client.download(rounds[1]["model"])
    digest = job.row["model"]
    if site:
        tasks = client.call("GET", f"/jobs/{job.row['id']}/tasks?round=2")["items"]
        digest = next((task["update"] for task in tasks if task["site"] == site and task["update"]), None)
        if digest is None:
            raise KeyError(f"there is nothing of a site {site}")
    found = Statistics(client.download(digest), whole, params["sigmas"], params["time_max"])
    if found.kept_back:
        warnings.warn("sites keep small numbers back: " + "; ".join(found.kept_back[:3]) +
                      ("; and more, in `kept_back`" if len(found.kept_back) > 3 else ""), stacklevel=3)
    return found


def cox_of_job(job: Any) -> Dict[str, Any]:
    """What a job of the workflow `cox` has found.

    {"covariates": {name: {beta, standard_error, hazard_ratio, low, high, p_value, bounded}}, "time": the cells' ends,
    "baseline_hazard"}: low and high bound the hazard ratio's 95% interval; the cells are those that every site tells, and the estimate
    is of these. `bounded` is at how many people sites set an extreme value to a bound, since it would have been told (min_cell). A
    category's value is a name (`arm=new`) if the job lists it (`trainer={"categories": {"arm": ["control", "new"]}}`, the first is
    what the others are compared with), else a digest (`arm=#1a2b3c4d`).
    """
    params, model = job.refresh().row["spec"]["params"], job.row["model"]
    if not model:
        raise RuntimeError("the job has no model yet")
    found, texts = job._client._download(model)
    cuts = np.flatnonzero(np.append(found["grid"], 1))
    if len(cuts) <= len(found["grid"]):
        warnings.warn(f"sites keep small numbers back: {len(cuts) - 1} cells of time instead of {len(found['grid'])}", stacklevel=3)
    names = json.loads(texts["rounds.covariates"])
    bounded = found.get("bounded", np.zeros(len(names)))  # models of earlier versions do not say
    if np.any(bounded):
        warnings.warn("sites bound extreme values: " + ", ".join(f"{name} at {count:.0f} people" for name, count in zip(names, bounded) if count),
                      stacklevel=3)
    spread = 1.959963984540054 * found["standard_error"]
    columns = {"beta": found["beta"], "standard_error": found["standard_error"], "hazard_ratio": found["hazard_ratio"],
               "low": np.exp(found["beta"] - spread), "high": np.exp(found["beta"] + spread), "p_value": found["p_value"],
               "bounded": bounded}
    time = np.linspace(0, params["time_max"], len(found["grid"]) + 1)[cuts[1:]]
    return {"covariates": {name: {key: float(values[i]) for key, values in columns.items()} for i, name in enumerate(names)},
            "time": time, "baseline_hazard": found["baseline_hazard"][cuts[:-1]]}
