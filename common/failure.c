#include "common/failure.h"

#include "common/json.h"
#include "common/text.h"

#include <stdio.h>
#include <string.h>

/* A sentence says what is wrong and, where one remedy fits all, what would be right. */
static const struct {
	const char *name, *sentence;
} kinds[FAILURE_KIND_COUNT] = {
	[FAILURE_CELL] = { "cell", "a cell of the table cannot be read as what its column holds" },
	[FAILURE_HEADER] = { "header", "the table's header is missing, or names a column twice or not at all" },
	[FAILURE_COLUMN] = { "column", "a column that the job or site.json names is not in the table" },
	[FAILURE_ENCODING] = { "encoding",
		"the table is not written as site.json says, or its encoding is not known" },
	[FAILURE_LABEL] = { "label", "a label is missing or is none of the classes" },
	[FAILURE_CATEGORY] = { "category",
		"a column of text holds a value that its categories do not list, or two whose digests are alike" },
	[FAILURE_DATASET] = { "dataset", "the dataset cannot be opened or used for this" },
	[FAILURE_SCHEMA] = { "schema", "the site's columns, categories or classes differ from the model's" },
	[FAILURE_TOO_FEW] = { "too_few", "there are too few rows for this" },
	[FAILURE_EXECUTOR] = { "executor", "the site's executor could not be started or reached" },
	[FAILURE_EXIT] = { "exit", "the executor ended before it gave a result" },
	[FAILURE_SIGNAL] = { "signal", "the executor was killed before it gave a result" },
	[FAILURE_TIMEOUT] = { "timeout", "the task took longer than its limit" },
	[FAILURE_OUTPUT] = { "output", "the executor wrote what is not its protocol" },
	[FAILURE_PROGRAM] = { "program", "the executor's program failed" },
	[FAILURE_UNSUPPORTED] = { "unsupported", "the executor does not do what the job asks" },
	[FAILURE_NO_UPDATE] = { "no_update", "the executor gave a result without the file that belongs to it" },
	[FAILURE_TENSOR] = { "tensor", "a tensor of the update does not fit the model" },
	[FAILURE_NOT_FINITE] = { "not_finite", "training gave numbers that are not finite" },
	[FAILURE_WEIGHT] = { "weight", "the result's weight is no number of samples" },
	[FAILURE_METRIC] = { "metric", "a metric of the result is not fit to be told" },
	[FAILURE_RESULT_REFUSED] = { "result_refused", "the server refused the result" },
	[FAILURE_MODEL] = { "model", "the model that was given cannot be used here" },
	[FAILURE_DOWNLOAD] = { "download", "the model could not be fetched" },
	[FAILURE_NO_SPACE] = { "no_space", "the site's disk is full" },
	[FAILURE_NO_MEMORY] = { "no_memory", "the site has not enough memory for this" },
	[FAILURE_PARAMS] = { "params", "a parameter of the job is not what the executor takes" },
	[FAILURE_POLICY] = { "policy", "the site's own rules do not allow this" },
	[FAILURE_INTERNAL] = { "internal", "something went wrong at the site that should not" },
};

const struct field failure_fields[] = {
	{ "kind", FIELD_NAME, "What went wrong, of a fixed list", .required = true },
	{ "role", FIELD_NAME, "Which of the dataset's files, such as path or labels" },
	{ "row", FIELD_INTEGER, "The row of that file, counted from 1", .min = 1, .max = 9e15 },
	{ "column", FIELD_INTEGER, "The column of that file, counted from 1", .min = 1, .max = 9e15 },
	{ "tensor", FIELD_TEXT, "The tensor at fault", .min = 1, .max = FAILURE_TENSOR_SIZE - 1 },
	{ "ref", FIELD_NAME, "Finds the program's own words in the site's log" },
	{ "retry", FIELD_BOOL, "Whether another try may succeed" },
	{ "text", FIELD_TEXT, "The program's own words, where the site's administrator lets them be told", .min = 1,
		.max = FAILURE_TEXT_SIZE - 1 },
	{ NULL },
};

const char *failure_name(enum failure_kind kind)
{
	return kinds[kind < FAILURE_KIND_COUNT ? kind : FAILURE_INTERNAL].name;
}

bool failure_parse(const char *name, enum failure_kind *kind)
{
	for (size_t i = 0; name && i < FAILURE_KIND_COUNT; i++)
		if (!strcmp(kinds[i].name, name)) {
			*kind = (enum failure_kind)i;
			return true;
		}
	return false;
}

/* A copy without the members that are null: absent and null say the same. */
static json_t *without_nulls(const json_t *value)
{
	json_t *copy = json_is_object(value) ? json_object() : json_incref((json_t *)(uintptr_t)value);
	const char *name;
	json_t *item;

	json_object_foreach ((json_t *)(uintptr_t)value, name, item)
		if (!json_is_null(item))
			json_object_set(copy, name, item);
	return copy;
}

/* A tensor is named by a program's author, not by a sentence: nothing in it but what can be seen. */
static bool is_tensor_name(const char *name)
{
	for (const unsigned char *c = (const unsigned char *)name; *c; c++)
		if (*c <= ' ' || *c == 0x7f)
			return false;
	return true;
}

int failure_read(const json_t *value, struct failure *failure, struct rounds_error *error)
{
	struct failure read = { 0 };
	json_auto_t *faults = json_array(), *given = without_nulls(value), *checked = NULL;

	checked = fields_apply(failure_fields, given, "", faults);
	if (!checked)
		return fields_error(faults, error);
	if (!failure_parse(json_text_or(checked, "kind", ""), &read.kind))
		return error_field(error, "kind", "is not a kind of failure that this version knows");
	if (!is_tensor_name(json_text_or(checked, "tensor", "")))
		return error_field(error, "tensor", "must be a name without spaces and control characters");
	if (strlen(json_text_or(checked, "ref", "")) >= sizeof(read.ref))
		return error_field(error, "ref", "must have at most %zu characters", sizeof(read.ref) - 1);
	read.retry = json_bool_or(checked, "retry", false);
	read.row = json_integer_or(checked, "row", 0);
	read.column = json_integer_or(checked, "column", 0);
	snprintf(read.role, sizeof(read.role), "%s", json_text_or(checked, "role", ""));
	snprintf(read.tensor, sizeof(read.tensor), "%s", json_text_or(checked, "tensor", ""));
	snprintf(read.ref, sizeof(read.ref), "%s", json_text_or(checked, "ref", ""));
	snprintf(read.text, sizeof(read.text), "%s", json_text_or(checked, "text", ""));
	*failure = read;
	return 0;
}

json_t *failure_json(const struct failure *failure)
{
	json_t *made = json_pack("{s:s, s:b}", "kind", failure_name(failure->kind), "retry", failure->retry);
	const struct {
		const char *name, *text;
	} texts[] = {
		{ "role", failure->role },
		{ "tensor", failure->tensor },
		{ "ref", failure->ref },
		{ "text", failure->text },
	};

	for (size_t i = 0; made && i < ARRAY_SIZE(texts); i++)
		if (texts[i].text[0])
			json_object_set_new(made, texts[i].name, json_string(texts[i].text));
	if (made && failure->row > 0)
		json_object_set_new(made, "row", json_integer(failure->row));
	if (made && failure->column > 0)
		json_object_set_new(made, "column", json_integer(failure->column));
	return made;
}

void failure_set_text(struct failure *failure, const char *words)
{
	text_print(failure->text, sizeof(failure->text), "%s", words);
	for (char *c = failure->text; *c; c++)
		if ((unsigned char)*c < ' ')
			*c = ' ';
}

void failure_sentence(const struct failure *failure, char *sentence, size_t size)
{
	char row[32] = "", column[32] = "", tensor[FAILURE_TENSOR_SIZE + 10] = "", place[400] = "", ref[60] = "";
	const char *parts[] = { failure->role, row, column, tensor };

	if (failure->row > 0)
		snprintf(row, sizeof(row), "row %lld", (long long)failure->row);
	if (failure->column > 0)
		snprintf(column, sizeof(column), "column %lld", (long long)failure->column);
	if (failure->tensor[0])
		snprintf(tensor, sizeof(tensor), "tensor \"%s\"", failure->tensor);
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		size_t used = strlen(place);

		if (parts[i][0])
			snprintf(place + used, sizeof(place) - used, "%s%s", used ? ", " : " (", parts[i]);
	}
	if (failure->ref[0])
		snprintf(ref, sizeof(ref), "; the site's log: %s", failure->ref);
	text_print(sentence, size, "%s%s%s%s%s%s", kinds[failure->kind].sentence, place, place[0] ? ")" : "", ref,
		failure->text[0] ? ": " : "", failure->text);
}

int failure_error(struct rounds_error *error, enum failure_kind kind, const char *role, size_t row, size_t column,
	const char *format, ...)
{
	va_list arguments;

	if (!error)
		return -1;
	error_field(error, role, "%s", "");
	va_start(arguments, format);
	text_print_from(error->message, sizeof(error->message), format, arguments);
	va_end(arguments);
	error->cause = 1 + (unsigned)kind;
	error->row = (int64_t)row;
	error->column = (int64_t)column;
	return -1;
}

/* Of an error that says no cause: what its kind lets one know. */
static enum failure_kind kind_of(const struct rounds_error *error)
{
	switch (error->kind) {
	case ERROR_NO_MEMORY:
		return FAILURE_NO_MEMORY;
	case ERROR_NO_SPACE:
		return FAILURE_NO_SPACE;
	case ERROR_UNPROCESSABLE:
		return FAILURE_MODEL;
	case ERROR_INVALID:
		return strncmp(error->field, "trainer", 7) && strncmp(error->field, "algorithm", 9) ? FAILURE_DATASET
												    : FAILURE_PARAMS;
	default:
		return FAILURE_INTERNAL;
	}
}

void failure_of_error(const struct rounds_error *error, struct failure *failure)
{
	bool of_tensor;

	*failure = (struct failure){ .kind = error->cause ? (enum failure_kind)(error->cause - 1) : kind_of(error) };
	failure->retry = !error->cause &&
			 (error->kind == ERROR_NO_MEMORY || error->kind == ERROR_NO_SPACE || error->kind == ERROR_IO);
	failure->row = error->row;
	failure->column = error->column;
	of_tensor = failure->kind == FAILURE_TENSOR || failure->kind == FAILURE_NOT_FINITE ||
		    failure->kind == FAILURE_MODEL;
	if (of_tensor && strlen(error->field) < sizeof(failure->tensor) && is_tensor_name(error->field))
		snprintf(failure->tensor, sizeof(failure->tensor), "%s", error->field);
	else if (!of_tensor && name_is_valid(error->field))
		snprintf(failure->role, sizeof(failure->role), "%s", error->field);
}
