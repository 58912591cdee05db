#include "common/program.h"

#include "common/config.h"

#include <stdio.h>
#include <string.h>

void program_help(const struct program *program)
{
	printf("%s: %s\n\n", program->name, program->description);
	for (const struct program_command *command = program->commands; command->words; command++) {
		char line[100];

		snprintf(line, sizeof(line), "%s %s%s%s", program->name, command->words, *command->words ? " " : "",
			command->usage);
		printf("  %-32s %s\n", line, command->help);
	}
	printf("  %s --version\n\n%s:\n", program->name,
		program->has_file ? "Options (also ROUNDS_NAME in the environment, or \"name\" in the JSON file that "
				    "--config names)"
				  : "For all commands");
	config_help(program->flags);
	if (program->remarks)
		printf("\n%s\n", program->remarks);
}

/* Text for man(7): what it would read as a request or an escape is told as text. */
static void put_text(const char *text)
{
	if (*text == '.' || *text == '\'')
		fputs("\\&", stdout);
	for (; *text; text++) {
		if (*text == '\\')
			fputs("\\e", stdout);
		else if (*text == '-')
			fputs("\\-", stdout);
		else
			putchar(*text);
	}
}

static void put_line(const char *before, const char *text, const char *after)
{
	fputs(before, stdout);
	put_text(text);
	fputs(after, stdout);
}

static void put_flags(const struct field *fields)
{
	for (; fields && fields->name; fields++) {
		bool in_file = fields->type == FIELD_OBJECT || fields->type == FIELD_MAP;
		char flag[80];

		config_flag(fields, flag);
		put_line(in_file ? ".TP\n.BR " : ".TP\n.BR \\-\\-", flag,
			in_file ? " \" (in the file alone)\"\n" : "\n");
		put_line("", fields->help, ".");
		for (int i = 0; i < FIELD_CHOICES && fields->choices[i]; i++)
			put_line(i ? ", " : " One of ", fields->choices[i], fields->choices[i + 1] ? "" : ".");
		if (fields->fallback)
			put_line(" Default: ", fields->fallback, ".");
		putchar('\n');
	}
}

static void put_commands(const struct program *program)
{
	for (const struct program_command *command = program->commands; command->words; command++) {
		put_line(".TP\n.B ", program->name, *command->words ? " " : "");
		put_text(command->words);
		put_line("\n", command->help, ".\n");
		if (command->flags) {
			fputs(".RS\n", stdout);
			put_flags(command->flags);
			fputs(".RE\n", stdout);
		}
	}
}

static void print_manual(const struct program *program)
{
	printf(".TH \"%s\" %d \"\" \"Rounds %s\" \"Rounds\"\n.SH NAME\n", program->name, program->section,
		ROUNDS_VERSION);
	put_text(program->name);
	put_line(" \\- ", program->summary, "\n.SH SYNOPSIS\n");
	for (const struct program_command *command = program->commands; command->words; command++) {
		put_line(
			command == program->commands ? ".B " : ".br\n.B ", program->name, *command->words ? " " : "");
		put_text(command->words);
		put_line(*command->usage ? "\n.I " : "\n", command->usage, *command->usage ? "\n" : "");
		fputs("[OPTION...]\n", stdout);
	}
	put_line(".SH DESCRIPTION\n", program->description, "\n.SH COMMANDS\n");
	put_commands(program);
	if (program->flags)
		fputs(".SH OPTIONS\n", stdout);
	if (program->has_file)
		fputs("Each is a flag, a variable ROUNDS_NAME of the environment, or a member of the JSON file that \\-\\-config "
		      "names, in that order.\n.TP\n.BR \\-\\-config\nThat file.\n",
			stdout);
	put_flags(program->flags);
	if (program->remarks)
		put_line(".SH REMARKS\n", program->remarks, "\n");
}

/* Each asks the program itself. %1$s is its name, %2$s the same as a shell's name for a function, %3$s how it is run. */
static const struct {
	const char *shell, *script;
} scripts[] = {
	{ "bash", "_%2$s() {\n"
		  "    local candidate current=${COMP_WORDS[COMP_CWORD]} IFS=$'\\n'\n"
		  "    COMPREPLY=()\n"
		  "    for candidate in $(\"%3$s\" --complete \"${COMP_WORDS[@]:1:COMP_CWORD}\" 2>/dev/null); do\n"
		  "        if [[ $candidate == :files ]]; then\n"
		  "            COMPREPLY+=($(compgen -f -- \"$current\"))\n"
		  "        elif [[ ${candidate%%%%$'\\t'*} == \"$current\"* ]]; then\n"
		  "            COMPREPLY+=(\"${candidate%%%%$'\\t'*}\")\n"
		  "        fi\n"
		  "    done\n"
		  "}\n"
		  "complete -F _%2$s %1$s\n" },
	{ "zsh", "#compdef %1$s\n"
		 "_%2$s() {\n"
		 "    local line\n"
		 "    local -a candidates\n"
		 "    while IFS= read -r line; do\n"
		 "        if [[ $line == :files ]]; then\n"
		 "            _files\n"
		 "        else\n"
		 "            candidates+=(\"${${line//:/\\\\:}/$'\\t'/:}\")\n"
		 "        fi\n"
		 "    done < <(\"%3$s\" --complete \"${(@)words[2,CURRENT]}\" 2>/dev/null)\n"
		 "    (( ${#candidates} )) && _describe '%1$s' candidates\n"
		 "}\n"
		 "if [[ $funcstack[1] == _%1$s ]]; then _%2$s \"$@\"; else compdef _%2$s %1$s; fi\n" },
	{ "fish", "function __%2$s\n"
		  "    set -l words (commandline -opc) (commandline -ct)\n"
		  "    \"%3$s\" --complete $words[2..-1] 2>/dev/null\n"
		  "end\n"
		  "complete -c %1$s -f -a '(__%2$s | string match -v :files)'\n"
		  "complete -c %1$s -n '__%2$s | string match -q :files' -F\n" },
};

bool program_completion(const struct program *program, const char *shell, const char *path)
{
	char function[80];

	snprintf(function, sizeof(function), "%s", program->name);
	for (char *c = function; *c; c++)
		*c = *c == '-' ? '_' : *c;
	for (size_t i = 0; i < ARRAY_SIZE(scripts); i++) {
		if (strcmp(scripts[i].shell, shell) != 0)
			continue;
		printf(scripts[i].script, program->name, function, path);
		return true;
	}
	return false;
}

static void complete_value(const struct field *field)
{
	if (field->type == FIELD_BOOL)
		puts("true\nfalse");
	else if (!field->choices[0] && field->type == FIELD_TEXT)
		puts(":files");
	for (int i = 0; i < FIELD_CHOICES && field->choices[i]; i++)
		puts(field->choices[i]);
}

static void complete_flags(const struct field *fields)
{
	for (; fields && fields->name; fields++) {
		char flag[80];

		config_flag(fields, flag);
		if (fields->type != FIELD_OBJECT && fields->type != FIELD_MAP)
			printf("--%s\t%s\n", flag, fields->help);
	}
}

/* How many of `words` are the command's own; -1: they lead elsewhere. *whole: all of its words are there. */
static int match(const struct program_command *command, char **words, int count, bool *whole)
{
	const char *at = command->words;
	int own = 0;

	while (*at && own < count) {
		size_t length = strcspn(at, " ");

		if (strlen(words[own]) != length || strncmp(words[own], at, length) != 0)
			return -1;
		own++;
		at += length + (at[length] == ' ');
	}
	*whole = !*at;
	return own;
}

/* The word of `text` at `index`; its length, 0: it has fewer. */
static size_t word_at(const char *text, int index, const char **word)
{
	for (*word = text; index > 0 && **word; index--) {
		*word += strcspn(*word, " ");
		*word += strspn(*word, " ");
	}
	return strcspn(*word, " ");
}

static void complete_argument(const struct program *program, const char *usage, int index)
{
	const char *word;
	size_t length = word_at(usage, index, &word);
	char name[40];

	snprintf(name, sizeof(name), "%.*s", (int)length, word);
	if (strstr(name, "FILE") || strstr(name, ".json"))
		puts(":files");
	else if (length && program->names)
		program->names(name);
}

static void complete_word(const struct program *program, char **words, int count)
{
	const char *last = "";
	size_t last_length = 0;

	for (const struct program_command *command = program->commands; command->words; command++) {
		const char *next;
		size_t length = word_at(command->words, count, &next);
		bool whole, is_new = length != last_length || strncmp(next, last, length) != 0;
		int own = match(command, words, count, &whole);

		if (own < 0)
			continue;
		if (whole)
			complete_argument(program, command->usage, count - own);
		else if (is_new)
			printf("%.*s\t%s\n", (int)length, next, next[length] ? "" : command->help);
		last = next;
		last_length = length;
	}
}

static const struct field *find_flag(const struct field *fields, const char *flag)
{
	for (; fields && fields->name; fields++) {
		char name[80];

		config_flag(fields, name);
		if (!strcmp(name, flag))
			return fields;
	}
	return NULL;
}

/* NULL: no such flag, or one without a value behind it. */
static const struct field *flag_with_value(const struct program *program, char **words, int count, const char *flag)
{
	static const struct field file = { "config", FIELD_TEXT, "" };
	const struct field *found = program->has_file && !strcmp(flag, file.name) ? &file : NULL;
	bool whole;

	for (const struct program_command *command = program->commands; command->words && !found; command++)
		if (match(command, words, count, &whole) >= 0 && whole)
			found = find_flag(command->flags, flag);
	if (!found)
		found = find_flag(program->flags, flag);
	return found && found->type != FIELD_BOOL ? found : NULL;
}

static void complete_option(const struct program *program, char **words, int count)
{
	bool whole;

	for (const struct program_command *command = program->commands; command->words; command++)
		if (match(command, words, count, &whole) >= 0 && whole)
			complete_flags(command->flags);
	complete_flags(program->flags);
	if (program->has_file)
		puts("--config\tThe JSON file of these settings");
	puts("--help\tWhat it does");
}

/* What the last of `words` may be; they are reordered. */
static void complete(const struct program *program, char **words, int count)
{
	const char *current = count ? words[count - 1] : "";
	const struct field *flag = NULL;
	int kept = 0;

	/* What is no option and no option's value comes to the front. */
	for (int i = 0; i < count - 1; i++) {
		if (flag)
			flag = NULL;
		else if (!strncmp(words[i], "--", 2))
			flag = flag_with_value(program, words, kept, words[i] + 2);
		else
			words[kept++] = words[i];
	}
	if (flag)
		complete_value(flag);
	else if (*current == '-')
		complete_option(program, words, kept);
	else
		complete_word(program, words, kept);
}

bool program_describes(const struct program *program, int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--manual")) {
		print_manual(program);
		return true;
	}
	if (argc == 3 && !strcmp(argv[1], "--completion") && program_completion(program, argv[2], program->name))
		return true;
	if (argc >= 2 && !strcmp(argv[1], "--complete")) {
		complete(program, argv + 2, argc - 2);
		return true;
	}
	return false;
}
