#include "client/trainers/schema.h"

#include "client/trainers/names.h"
#include "common/digest.h"
#include "common/failure.h"
#include "common/json.h"
#include "common/tensors.h"

#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

int schema_of_model(const char *path, json_t **schema, struct rounds_error *error)
{
	scoped(tensor_file_close) struct tensor_file file = { 0 };
	const char *text;

	*schema = NULL;
	if (tensor_file_open(path, &file, error))
		return -1;
	text = tensors_metadata(file.tensors, SCHEMA_KEY);
	if (!text)
		return 0;
	if (json_parse(text, strlen(text), schema, error) || !json_is_object(*schema))
		return failure_error(error, FAILURE_SCHEMA, "", 0, 0, "the model's schema is no JSON object");
	return 0;
}

/* Of values in this order. */
static json_t *digest_values(const json_t *values)
{
	scoped(text_free) char *text = json_canonical(values);
	char digest_text[DIGEST_TEXT_SIZE];
	struct digest digest;

	if (!text)
		return NULL;
	digest_of(text, strlen(text), &digest);
	digest_format(&digest, digest_text);
	return json_string(digest_text);
}

static int by_bytes(const void *a, const void *b)
{
	return strcmp(json_string_value(*(json_t *const *)a), json_string_value(*(json_t *const *)b));
}

/* A new array. */
static json_t *sorted(const json_t *values)
{
	size_t count = json_array_size(values);
	json_t *list = json_array(), **order = calloc(count + 1, sizeof(json_t *));

	for (size_t i = 0; order && i < count; i++)
		order[i] = json_array_get(values, i);
	if (order)
		qsort(order, count, sizeof(json_t *), by_bytes);
	for (size_t i = 0; order && i < count; i++)
		json_array_append(list, order[i]);
	free(order);
	return list;
}

static bool holds_all(const json_t *list, const json_t *values)
{
	size_t i;
	json_t *value;

	json_array_foreach (values, i, value)
		if (!json_lists(list, json_string_value(value)))
			return false;
	return true;
}

/* Different texts, at least one. */
static bool are_values(const json_t *list)
{
	json_auto_t *seen = json_object();
	size_t i;
	json_t *value;

	json_array_foreach (list, i, value)
		if (!json_is_string(value) || json_object_set_new(seen, json_string_value(value), json_true()))
			return false;
	return json_array_size(list) > 0 && json_object_size(seen) == json_array_size(list);
}

/*
 * The order in which the model has these values of the site, a new reference: as `said` lists them, or as `known` is, if that has
 * the digest which is `said`. NULL: they are not the same values.
 */
static json_t *agree(const json_t *said, const json_t *known)
{
	json_auto_t *digest = json_is_string(said) ? digest_values(known) : NULL;

	if (are_values(said) && holds_all(said, known))
		return json_incref((json_t *)(uintptr_t)said);
	return digest && json_equal(digest, said) ? json_incref((json_t *)(uintptr_t)known) : NULL;
}

static bool is_feature(const struct dataset_column *column)
{
	return column->role == COLUMN_NUMBER || column->role == COLUMN_CATEGORY;
}

static bool is_shared(const json_t *task, const char *tensor)
{
	const json_t *share = json_object_get(task, "share");
	size_t i;
	json_t *pattern;

	json_array_foreach (share, i, pattern)
		if (!fnmatch(json_string_value(pattern), tensor, 0))
			return true;
	return !json_is_array(share);
}

static int refuse_param(const char *param, const char *name, const char *why, struct rounds_error *error)
{
	return failure_error(error, FAILURE_PARAMS, param, 0, 0, "\"%.100s\" is %s", name, why);
}

/* NULL: there is none of that name. */
static const struct dataset_column *column_named(const struct dataset *dataset, const char *name)
{
	for (size_t i = 0; i < dataset->header_count; i++)
		if (!strcmp(dataset->header[i].name, name))
			return &dataset->header[i];
	return NULL;
}

/* What the job says of columns must be true of those that are there; another site may have the others. */
static int check_params(const struct dataset *dataset, const json_t *params, struct rounds_error *error)
{
	const struct dataset_column *column;
	const char *name;
	json_t *value;
	size_t at;

	json_array_foreach (json_object_get(params, "ignore"), at, value) {
		name = json_string_value(value);
		column = column_named(dataset, name);
		if (column && column->role == COLUMN_LABEL)
			return refuse_param("trainer.ignore", name, "the label, which is no feature", error);
	}
	json_object_foreach (json_object_get(params, "categories"), name, value) {
		column = column_named(dataset, name);
		if (column && column->role != COLUMN_CATEGORY && column->role != COLUMN_IGNORED)
			return refuse_param("trainer.categories", name,
				"no column of text of the table from which the model is to be made", error);
		if (!are_values(value))
			return error_field(error, "trainer.categories", "must list different texts for each column");
	}
	return 0;
}

json_t *schema_lacks(const struct dataset *dataset, const json_t *params)
{
	const json_t *ignore = json_object_get(params, "ignore"), *categories = json_object_get(params, "categories");
	json_t *lacks, *ignored = json_array(), *listed = json_array(), *value;
	const char *name;
	size_t at;

	json_array_foreach (ignore, at, value)
		if (!column_named(dataset, json_string_value(value)))
			json_array_append(ignored, value);
	json_object_foreach ((json_t *)(uintptr_t)categories, name, value)
		if (!column_named(dataset, name))
			json_array_append_new(listed, json_text(name));
	lacks = json_pack("{s:o, s:o}", "ignore", ignored, "categories", listed);
	if (json_array_size(ignore) + json_object_size(categories) > 0)
		return lacks;
	json_decref(lacks);
	return NULL;
}

static void say_features(const struct dataset *dataset, const json_t *params, json_t *schema)
{
	json_t *features = json_array(), *categories = json_object();

	for (size_t i = 0; i < dataset->header_count; i++) {
		const struct dataset_column *column = &dataset->header[i];
		json_t *listed = json_object_get(json_object_get(params, "categories"), column->name);
		json_auto_t *own = sorted(column->values);

		if (!is_feature(column) || json_lists(json_object_get(params, "ignore"), column->name))
			continue;
		json_array_append_new(features, json_string(column->name));
		if (column->role == COLUMN_CATEGORY)
			json_object_set_new(
				categories, column->name, listed ? json_incref(listed) : digest_values(own));
	}
	json_object_set_new(schema, "features", features);
	json_object_set_new(schema, "categories", categories);
}

static void say_label(const struct dataset *dataset, const json_t *params, json_t *schema)
{
	json_t *listed = json_object_get(params, "classes");

	json_object_set_new(schema, "label", json_string(dataset->label));
	if (json_array_size(listed) > 0)
		json_object_set(schema, "classes", listed);
	else if (dataset->classes > 0)
		json_object_set_new(schema, "classes", digest_values(dataset->class_names));
}

int schema_of_dataset(const struct dataset *dataset, const json_t *task, const json_t *params, json_t **out,
	struct rounds_error *error)
{
	json_auto_t *schema = json_object();
	const json_t *algorithm = json_object_get(task, "algorithm");
	bool mlp = !strcmp(json_text_or(params, "model", ""), "mlp");
	bool labels = !json_object_get(algorithm, "kmeans") && !json_object_get(algorithm, "cox");
	char last[40];

	*out = NULL;
	if (check_params(dataset, params, error))
		return -1;
	if (!dataset->header || json_object_get(algorithm, "statistics"))
		return 0;
	snprintf(last, sizeof(last), "layer%lld.weight",
		mlp ? (long long)json_integer_or(params, "hidden_layers", 1) : 0LL);
	if (is_shared(task, "layer0.weight"))
		say_features(dataset, params, schema);
	if (labels && is_shared(task, last))
		say_label(dataset, params, schema);
	*out = json_object_size(schema) > 0 ? json_incref(schema) : NULL;
	return 0;
}

static int differ_features(size_t at, const char *name, struct rounds_error *error)
{
	return failure_error(error, FAILURE_SCHEMA, "features", 0, at + 1,
		"the model has the feature \"%.100s\", which is none of this table: add it, name it so, or leave the job",
		name);
}

/* Which of the table's columns each feature of the schema is, and in which order its values come. */
struct target {
	const struct dataset_column *column;
	size_t first;   /* feature of the table as it is */
	json_t *values; /* of a category, in the new order */
};

struct targets {
	struct target *list;
	size_t count;
};

static void targets_free(struct targets targets)
{
	for (size_t i = 0; i < targets.count; i++)
		json_decref(targets.list[i].values);
	free(targets.list);
}
DEFINE_CLEANUP(struct targets, targets_free);

/* The columns of the table that are features and not ignored, with NAME: its place in the list. */
static int list_own(const struct dataset *dataset, const json_t *params, struct targets *own, json_t *places,
	struct rounds_error *error)
{
	size_t first = 0;

	own->list = calloc(dataset->header_count + 1, sizeof(*own->list));
	if (!own->list)
		return error_no_memory(error);
	for (size_t i = 0; i < dataset->header_count; i++) {
		const struct dataset_column *column = &dataset->header[i];

		if (!is_feature(column))
			continue;
		if (!json_lists(json_object_get(params, "ignore"), column->name)) {
			json_object_set_new(places, column->name, json_integer((json_int_t)own->count));
			own->list[own->count++] = (struct target){ column, first,
				json_incref((json_t *)(uintptr_t)column->values) };
		}
		first += column->values ? json_array_size(column->values) : 1;
	}
	return 0;
}

static int agree_on_values(const json_t *schema, size_t at, struct target *target, struct rounds_error *error)
{
	const json_t *said = json_object_get(json_object_get(schema, "categories"), target->column->name);
	json_auto_t *own = sorted(target->column->values);

	json_decref(target->values);
	target->values = agree(said, own);
	if (target->column->role == COLUMN_NUMBER && !said)
		return 0;
	if (target->column->role == COLUMN_CATEGORY && target->values)
		return 0;
	return failure_error(error, FAILURE_SCHEMA, "categories", 0, at + 1,
		"the categories of \"%.100s\" are not the model's: every site must give the column the same `categories` in "
		"site.json, or the job must list all of them (trainer.categories)",
		target->column->name);
}

/* The schema's features, in its order. */
static int choose(const json_t *schema, const struct dataset *dataset, const struct targets *own,
	const json_t *places, struct targets *chosen, struct rounds_error *error)
{
	const json_t *features = json_object_get(schema, "features");
	scoped(free) void *room = calloc(own->count + 1, sizeof(bool));
	bool *taken = room;
	size_t at;
	json_t *feature;

	chosen->list = calloc(json_array_size(features) + 1, sizeof(*chosen->list));
	if (!chosen->list || !taken)
		return error_no_memory(error);
	json_array_foreach (features, at, feature) {
		const char *name = json_is_string(feature) ? json_string_value(feature) : "";
		int64_t place = json_integer_or(places, name, -1);

		if (place < 0 || taken[place])
			return differ_features(at, name, error);
		taken[place] = true;
		chosen->list[chosen->count] = own->list[place];
		json_incref(chosen->list[chosen->count].values);
		if (agree_on_values(schema, at, &chosen->list[chosen->count++], error))
			return -1;
	}
	for (size_t i = 0; i < own->count; i++)
		if (!taken[i])
			return failure_error(error, FAILURE_SCHEMA, "path", 0,
				(size_t)(own->list[i].column - dataset->header) + 1,
				"the model has no feature \"%.100s\": `ignore` the column in site.json, or the job must",
				own->list[i].column->name);
	return 0;
}

/* Where a feature's number comes from. */
struct move {
	size_t from; /* feature of the table as it is */
	bool is_new; /* a value that the site does not have: 0, or missing where `from` is */
};

static size_t place_of(const json_t *values, const char *value)
{
	size_t at = 0;

	while (at < json_array_size(values) && strcmp(json_string_value(json_array_get(values, at)), value) != 0)
		at++;
	return at;
}

/* The features in their new order; NULL without memory. */
static struct move *plan_moves(const struct targets *targets, size_t *width)
{
	struct move *moves = NULL;
	size_t room = 0, i;
	json_t *value;

	for (size_t at = 0; at < targets->count; at++)
		room += targets->list[at].values ? json_array_size(targets->list[at].values) : 1;
	moves = calloc(room + 1, sizeof(*moves));
	*width = 0;
	for (size_t at = 0; moves && at < targets->count; at++) {
		const struct target *target = &targets->list[at];

		if (!target->values)
			moves[(*width)++] = (struct move){ .from = target->first };
		json_array_foreach (target->values, i, value) {
			size_t own = place_of(target->column->values, json_string_value(value));
			bool is_new = own == json_array_size(target->column->values);

			moves[(*width)++] = (struct move){ target->first + (is_new ? 0 : own), is_new };
		}
	}
	return moves;
}

static bool stay(const struct move *moves, size_t width, const struct dataset *dataset)
{
	size_t at = 0;

	while (at < width && moves[at].from == at && !moves[at].is_new)
		at++;
	return at == width && width == dataset->columns;
}

static int move_features(const struct targets *targets, struct dataset *dataset, struct rounds_error *error)
{
	size_t width;
	scoped(free) void *room = plan_moves(targets, &width);
	const struct move *moves = room;
	float *features;

	if (!moves)
		return error_no_memory(error);
	if (width == 0)
		return failure_error(error, FAILURE_DATASET, "path", 0, 0, "the job leaves the table no features");
	if (stay(moves, width, dataset))
		return 0;
	features = calloc(dataset->rows * width + 1, sizeof(float));
	if (!features)
		return error_no_memory(error);
	for (size_t row = 0; row < dataset->rows; row++) {
		const float *from = dataset->features + row * dataset->columns;

		for (size_t i = 0; i < width; i++)
			features[row * width + i] = moves[i].is_new && !isnan(from[moves[i].from])
							    ? 0
							    : from[moves[i].from];
	}
	free(dataset->features);
	dataset->features = features;
	dataset->columns = width;
	return 0;
}

static int name_features(
	const struct targets *targets, const json_t *params, struct dataset *dataset, struct rounds_error *error)
{
	for (size_t at = 0; at < targets->count; at++) {
		const struct target *target = &targets->list[at];
		const char *name = target->column->name;
		const json_t *listed = json_object_get(json_object_get(params, "categories"), name);

		if (target->values ? names_add_values(dataset->names, name, target->values, listed, error)
				   : names_add_column(dataset->names, name, error))
			return -1;
	}
	return 0;
}

static int align_features(
	const json_t *schema, const json_t *params, struct dataset *dataset, struct rounds_error *error)
{
	scoped(targets_free) struct targets own = { 0 }, chosen = { 0 };
	json_auto_t *places = json_object();
	bool says = json_object_get(schema, "features") != NULL;
	const struct targets *targets = says ? &chosen : &own;

	if (!dataset->header)
		return 0;
	if (list_own(dataset, params, &own, places, error) ||
		(says && choose(schema, dataset, &own, places, &chosen, error)))
		return -1;
	return move_features(targets, dataset, error) || name_features(targets, params, dataset, error) ? -1 : 0;
}

static int align_label(const json_t *schema, struct dataset *dataset, struct rounds_error *error)
{
	const json_t *said = json_object_get(schema, "classes");
	json_auto_t *order = agree(said, dataset->class_names);

	if (!dataset->header || !json_object_get(schema, "label"))
		return 0;
	if (strcmp(json_text_or(schema, "label", ""), dataset->label) != 0)
		return failure_error(error, FAILURE_SCHEMA, "label", 0, 0,
			"the model predicts \"%.100s\", this dataset's label is \"%.100s\": name the columns alike",
			json_text_or(schema, "label", ""), dataset->label);
	if (!said && dataset->classes == 0)
		return 0;
	if (!order || dataset->classes == 0)
		return failure_error(error, FAILURE_SCHEMA, "classes", 0, 0,
			"the classes of \"%.100s\" are not the model's: every site must give the label the same `classes` in the "
			"same order in site.json, or the job must list them (trainer.classes)",
			dataset->label);
	for (size_t row = 0; row < dataset->rows; row++)
		dataset->labels[row] = (float)place_of(
			order, json_string_value(json_array_get(dataset->class_names, (size_t)dataset->labels[row])));
	json_decref(dataset->class_names);
	dataset->class_names = json_incref(order);
	dataset->classes = json_array_size(order);
	return 0;
}

int schema_align(const json_t *schema, const json_t *params, struct dataset *dataset, struct rounds_error *error)
{
	if (align_features(schema, params, dataset, error) || align_label(schema, dataset, error))
		return -1;
	dataset->schema = schema ? json_canonical(schema) : NULL;
	return schema && !dataset->schema ? error_no_memory(error) : 0;
}
