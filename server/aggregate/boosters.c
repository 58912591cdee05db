#include "server/aggregate/boosters.h"
#include "server/aggregate/aggregators.h"

#include "common/json.h"
#include "common/tensors.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

/*
 * A booster in memory is many times its text. So an update may not be much larger than the model that it goes on from, and who
 * reads boosters waits for whoever reads some already: the most is what one of them takes, however many sites report at once.
 */
enum { BOOSTER_FREE = 16 << 20 };
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

static int check_size(const struct view *update, const struct view *model, struct rounds_error *error)
{
	size_t limit = BOOSTER_FREE + (model ? 2 * model->size : 0);

	if (update->size <= limit)
		return 0;
	return error_set(error, ERROR_UNPROCESSABLE,
		"the booster has %zu bytes; after this model it may have at most %zu (twice the model's and 16 MB)",
		update->size, limit);
}

static int refuse(struct rounds_error *error, const char *what)
{
	return error_set(error, ERROR_UNPROCESSABLE, "not an XGBoost model in JSON (save_raw(\"json\")): %s", what);
}

/* The part of the document that holds the trees; borrowed. */
static json_t *forest_of(const json_t *booster)
{
	return json_object_get(json_object_get(json_object_get(booster, "learner"), "gradient_booster"), "model");
}

static int check_forest(const json_t *booster, struct rounds_error *error)
{
	const json_t *gradient = json_object_get(json_object_get(booster, "learner"), "gradient_booster");
	const json_t *forest = forest_of(booster), *trees = json_object_get(forest, "trees");
	size_t count = json_array_size(trees), i;
	json_t *tree;

	if (!json_is_object(gradient))
		return refuse(error, "it has no learner.gradient_booster");
	if (strcmp(json_text_or(gradient, "name", ""), "gbtree") != 0)
		return refuse(error, "only boosters of the kind gbtree can be merged");
	if (!json_is_array(trees) || json_array_size(json_object_get(forest, "tree_info")) != count ||
		!json_is_object(json_object_get(forest, "gbtree_model_param")))
		return refuse(error, "trees, tree_info and gbtree_model_param do not fit one another");
	json_array_foreach (trees, i, tree)
		if (!json_is_object(tree) || !json_is_array(json_object_get(tree, "left_children")))
			return refuse(error, "a tree has no left_children");
	return 0;
}

static int read_booster(const struct view *view, json_t **booster, struct rounds_error *error)
{
	scoped(tensor_file_close) struct tensor_file file = { 0 };
	const struct tensor *tensor;

	if (tensor_file_of(view, &file, error))
		return -1;
	tensor = tensors_find(file.tensors, "booster");
	if (!tensor || tensor->dtype != DTYPE_U8 || file.tensors->count != 1)
		return refuse(error, "the file must hold the tensor \"booster\" of U8 and nothing else");
	if (json_parse((const char *)file.view.bytes + tensor->offset, (size_t)tensor->size, booster, error)) {
		error->kind = ERROR_UNPROCESSABLE;
		return error_prefix(error, "not an XGBoost model in JSON");
	}
	return check_forest(*booster, error);
}

/* How many trees the update has beyond the model's, which it must begin with; -1 with an error. */
static int continues(const json_t *update, const json_t *model, struct rounds_error *error)
{
	const json_t *old = json_object_get(forest_of(model), "trees");
	const json_t *fresh = json_object_get(forest_of(update), "trees");

	if (json_array_size(fresh) < json_array_size(old))
		return error_set(error, ERROR_UNPROCESSABLE,
			"the booster has %zu trees, the model that it should go on from %zu", json_array_size(fresh),
			json_array_size(old));
	for (size_t i = 0; i < json_array_size(old); i++) {
		/* XGBoost may add or drop members when it saves again: what makes a tree decides. */
		static const char *const members[] = { "left_children", "right_children", "split_indices",
			"split_conditions" };

		for (size_t j = 0; j < ARRAY_SIZE(members); j++)
			if (!json_equal(json_object_get(json_array_get(old, i), members[j]),
				    json_object_get(json_array_get(fresh, i), members[j])))
				return error_set(error, ERROR_UNPROCESSABLE,
					"tree %zu of the booster is not that of the model that it should go on from",
					i);
	}
	return 0;
}

int boosters_check(const struct view *update_view, const struct view *model_view, struct rounds_error *error)
{
	json_t *update = NULL, *model = NULL;
	int failed;

	if (check_size(update_view, model_view, error))
		return -1;
	pthread_mutex_lock(&turn);
	failed = read_booster(update_view, &update, error) ||
		 (model_view && (read_booster(model_view, &model, error) || continues(update, model, error)));
	json_decref(update);
	json_decref(model);
	pthread_mutex_unlock(&turn);
	return failed ? -1 : 0;
}

/* Puts the update's own trees behind; ids count on. */
static void append_trees(json_t *merged, const json_t *update, size_t from)
{
	json_t *forest = forest_of(merged), *trees = json_object_get(forest, "trees");
	const json_t *fresh = forest_of(update);

	for (size_t i = from; i < json_array_size(json_object_get(fresh, "trees")); i++) {
		json_t *tree = json_copy(json_array_get(json_object_get(fresh, "trees"), i));

		json_object_set_new(tree, "id", json_integer((json_int_t)json_array_size(trees)));
		json_array_append_new(trees, tree);
		json_array_append(
			json_object_get(forest, "tree_info"), json_array_get(json_object_get(fresh, "tree_info"), i));
	}
}

/* Counts are text in this format. From version 2 on, iterations are listed: here each tree is one. */
static void count_trees(json_t *merged)
{
	json_t *forest = forest_of(merged);
	size_t count = json_array_size(json_object_get(forest, "trees"));

	json_object_set_new(json_object_get(forest, "gbtree_model_param"), "num_trees", json_sprintf("%zu", count));
	if (json_object_get(forest, "iteration_indptr")) {
		json_t *list = json_array();

		for (size_t i = 0; i <= count; i++)
			json_array_append_new(list, json_integer((json_int_t)i));
		json_object_set_new(forest, "iteration_indptr", list);
	}
}

static int write_booster(
	const json_t *booster, const json_t *metadata, const struct sink *output, struct rounds_error *error)
{
	/* Nine digits give every float back. */
	scoped(text_free) char *text = json_dumps(booster, JSON_COMPACT | JSON_REAL_PRECISION(9));
	const uint64_t shape[] = { text ? strlen(text) : 0 };
	const struct tensor_plan plan = { "booster", DTYPE_U8, 1, shape };
	uint8_t *header = NULL;
	size_t size;
	int failed;

	if (!text)
		return error_no_memory(error);
	failed = tensors_header(&plan, 1, json_object_size(metadata) ? metadata : NULL, &header, &size, error) ||
		 sink_put(output, header, size, 0, error) || sink_put(output, text, strlen(text), size, error);
	free(header);
	return failed ? -1 : 0;
}

static int merge(const struct aggregate_order *order, const struct sink *output, struct rounds_error *error)
{
	json_auto_t *merged = NULL, *model = NULL;
	size_t from;

	if (read_booster(order->model, &model, error))
		return -1;
	from = json_array_size(json_object_get(forest_of(model), "trees"));
	for (size_t i = 0; i < order->count; i++) {
		json_auto_t *update = NULL;

		if (read_booster(&order->inputs[i].view, &update, error) || continues(update, model, error))
			return error_prefix(error, "input %zu", i + 1);
		/* The first one brings what XGBoost writes beside the trees, such as feature names. */
		if (!merged)
			merged = json_deep_copy(update);
		else
			append_trees(merged, update, from);
	}
	if (!merged)
		return error_no_memory(error);
	count_trees(merged);
	return write_booster(merged, order->metadata, output, error);
}

static int merge_in_turn(const struct aggregate_order *order, const struct sink *output, struct rounds_error *error)
{
	int failed;

	if (order->count == 0 || !order->model)
		return error_set(error, ERROR_INVALID, "there is nothing to merge");
	pthread_mutex_lock(&turn);
	failed = merge(order, output, error);
	pthread_mutex_unlock(&turn);
	return failed;
}

const struct aggregator aggregator_boosters = {
	.name = "boosters",
	.is_unlike_model = true,
	.needs_model = true,
	.make = merge_in_turn,
};
