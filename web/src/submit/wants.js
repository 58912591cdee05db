// What people come for, and which workflows do it; a workflow that nobody has sorted in yet trains a model.
export const WANTS = [
  { name: "train", title: "Train a model", text: "Every hospital trains on its own data; only weights travel.", workflows: null },
  { name: "measure", title: "Measure a model", text: "How good is a model that there is, at each hospital?", workflows: ["evaluate", "cross_site_evaluation"] },
  { name: "statistics", title: "Look at the data", text: "Counts, means, survival, groups, hazard ratios; small counts are not told.", workflows: ["statistics", "kmeans", "cox"] },
  { name: "trees", title: "Grow trees", text: "Boosted decision trees (XGBoost) over all hospitals.", workflows: ["xgboost_bagging", "xgboost_cyclic"] },
];

const sorted = new Set(WANTS.flatMap((want) => want.workflows || []));
export const wantOf = (workflow) => WANTS.find((want) => (want.workflows ? want.workflows.includes(workflow) : !sorted.has(workflow)));
export const workflowsOf = (want, all) => all.filter((name) => wantOf(name) === want);

// The parameters that most people set; all others are folded away.
export const FIRST_PARAMS = ["rounds", "mu", "key_metric", "aggregator", "clusters", "bins", "time", "time_max", "event", "q", "lambda", "buffer", "server_learning_rate"];
export const FIRST_TRAINER = ["model", "epochs", "learning_rate", "optimizer", "batch_size", "time"];

// A property whose description begins with names of aggregators and a colon is theirs alone; some only make sense beside another.
const BESIDE = { key_metric_goal: "key_metric", early_stop_rounds: "key_metric" };
const MODELS = { hidden: ["mlp"], hidden_layers: ["mlp"], activation: ["mlp"], loss: ["mlp"], outputs: ["mlp", "softmax"], time: ["cox", "mlp"] };
const SUMS = new Set(["kmeans", "cox", "xgboost_bagging"]);

export function paramsThatMatter(properties, workflow, given = {}) {
  const aggregators = properties.aggregator?.enum || [];
  const chosen = given.aggregator || properties.aggregator?.default;
  return Object.fromEntries(
    Object.entries(properties).filter(([name, schema]) => {
      if (given[name] !== undefined) return true;
      const owners = /^([a-z_, ]+):/.exec(schema.description || "")?.[1].split(", ").filter((owner) => aggregators.includes(owner)) || [];
      if (owners.length && !owners.includes(chosen)) return false;
      if (name === "aggregator" && SUMS.has(workflow)) return false;
      return !BESIDE[name] || Boolean(given[BESIDE[name]]);
    }),
  );
}

export const trainerThatMatters = (properties, given = {}) =>
  Object.fromEntries(
    Object.entries(properties).filter(([name]) => given[name] !== undefined || !MODELS[name] || MODELS[name].includes(given.model || properties.model.default)),
  );

// Beginnings that work, to be changed: name, what it is, and what it puts into the job.
export const PRESETS = {
  train: [
    ["Yes or no", "Logistic regression", { workflow: "fedavg", params: { rounds: 20, key_metric: "auc" }, trainer: { model: "logistic", epochs: 2 } }],
    ["One of several classes", "A small neural network", { workflow: "fedavg", params: { rounds: 30, key_metric: "accuracy" }, trainer: { model: "mlp", loss: "softmax", epochs: 2 } }],
    ["A number", "Linear regression", { workflow: "fedavg", params: { rounds: 20, key_metric: "rmse", key_metric_goal: "min" }, trainer: { model: "linear", epochs: 2 } }],
    ["Hospitals that differ much", "SCAFFOLD", { workflow: "scaffold", params: { rounds: 30 }, trainer: { model: "logistic", epochs: 2 } }],
  ],
  statistics: [
    ["A first look", "Counts, means, histograms", { workflow: "statistics", params: {} }],
    ["Survival", "Kaplan-Meier", { workflow: "statistics", params: { time: "time", time_max: 60 } }],
    ["Hazard ratios", "Cox regression", { workflow: "cox", params: { time: "time", time_max: 60 } }],
    ["Groups", "K-means", { workflow: "kmeans", params: { clusters: 4 } }],
  ],
};
