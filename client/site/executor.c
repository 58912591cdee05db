#include "client/site/executor.h"

#include "common/clock.h"
#include "common/file.h"
#include "common/json.h"
#include "common/log.h"
#include "common/text.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LINE_LIMIT = 1 << 20, LAST_WORDS = 2000, WATCH_MS = 500, GRACE_MS = 3000, LOG_LINE = 500 };

struct executor {
	pid_t pid;     /* 0: it was started by someone else */
	int listening; /* the socket to which that one connects, or -1 */
	char *socket_path;
	int input, output, words; /* its stdin, stdout, stderr */
	char *line;               /* what has come of a line */
	size_t line_size;
	char last[LAST_WORDS + 1]; /* of stderr */
	size_t last_size;
	bool exited;
	int status;
	json_t *progress; /* its last report */
	json_t *log;      /* lines that nobody has taken yet */
};

/* Between fork and exec: only what is safe there. */
static void become(const char *const *argv, char **environment, const char *directory, const int *pipes,
	const struct rlimit *memory, const struct rlimit *cpu)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	setsid();
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (dup2(pipes[0], 0) < 0 || dup2(pipes[1], 1) < 0 || dup2(pipes[2], 2) < 0 || chdir(directory))
		_exit(126);
	close_range(3, ~0U, 0); /* the sockets of libcurl are not close-on-exec */
	if ((memory->rlim_cur && setrlimit(RLIMIT_AS, memory)) || (cpu->rlim_cur && setrlimit(RLIMIT_CPU, cpu)))
		_exit(126);
	execvpe(argv[0], (char *const *)(uintptr_t)argv, environment);
	dprintf(2, "cannot run %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

static const char **text_list(const json_t *list, size_t extra)
{
	const char **texts = calloc(json_array_size(list) + extra + 1, sizeof(char *));

	for (size_t i = 0; texts && i < json_array_size(list); i++)
		texts[i] = json_string_value(json_array_get(list, i));
	return texts;
}

/* PATH, HOME and LANG, and what the administrator gave: no secret of this daemon's environment goes on. */
static const char **environment_list(const json_t *settings, char (*kept)[600])
{
	static const char *const names[] = { "PATH", "HOME", "LANG" };
	const json_t *given = json_object_get(settings, "environment");
	const char **list = text_list(given, ARRAY_SIZE(names) + 1);
	size_t at = json_array_size(given);

	if (list)
		list[at++] = "ROUNDS_PROTOCOL=1"; /* a program sees that it is an executor */
	for (size_t i = 0; list && i < ARRAY_SIZE(names); i++) {
		if (!getenv(names[i]))
			continue;
		snprintf(kept[i], sizeof(kept[i]), "%s=%s", names[i], getenv(names[i]));
		list[at++] = kept[i];
	}
	return list;
}

static struct rlimit limit_of(const json_t *settings, const char *key, rlim_t unit)
{
	rlim_t value = (rlim_t)json_integer_or(settings, key, 0) * unit;

	return (struct rlimit){ value, value };
}

static void close_pair(const int *pair)
{
	file_close(pair[0]);
	file_close(pair[1]);
}

static int spawn(struct executor *executor, const json_t *settings, const char *directory, struct rounds_error *error)
{
	int in[2] = { -1, -1 }, out[2] = { -1, -1 }, err[2] = { -1, -1 };
	char kept[3][600];
	const char **argv = text_list(json_object_get(settings, "command"), 0);
	const char **environment = environment_list(settings, kept);
	struct rlimit memory = limit_of(settings, "memory_mb", 1 << 20), cpu = limit_of(settings, "cpu_seconds", 1);
	bool ready = argv && environment && !pipe2(in, O_CLOEXEC) && !pipe2(out, O_CLOEXEC) && !pipe2(err, O_CLOEXEC);

	if (ready) {
		executor->pid = fork();
		if (executor->pid == 0)
			become(argv, (char **)(uintptr_t)environment, directory, (int[]){ in[0], out[1], err[1] },
				&memory, &cpu);
	}
	free(argv);
	free(environment);
	if (!ready || executor->pid < 0) {
		error_errno(error, "cannot start an executor");
		close_pair(in);
		close_pair(out);
		close_pair(err);
		executor->pid = 0;
		return -1;
	}
	file_close(in[0]);
	file_close(out[1]);
	file_close(err[1]);
	executor->input = in[1];
	executor->output = out[0];
	executor->words = err[0];
	fcntl(executor->input, F_SETFL, O_NONBLOCK);
	return 0;
}

/* Only this daemon's user may connect. */
static int listen_at(struct executor *executor, const char *path, struct rounds_error *error)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	mode_t before;
	int failed;

	if (strlen(path) >= sizeof(address.sun_path))
		return error_set(error, ERROR_INVALID, "the path of a socket has at most %zu characters",
			sizeof(address.sun_path) - 1);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	unlink(path);
	executor->socket_path = strdup(path);
	executor->listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	before = umask(0177);
	failed = !executor->socket_path || executor->listening < 0 ||
		 bind(executor->listening, (struct sockaddr *)&address, sizeof(address)) ||
		 listen(executor->listening, 1);
	umask(before);
	return failed ? error_errno(error, "cannot listen at %s", path) : 0;
}

/* Waits until someone's program is there; whoever waits may call it off. */
static int accept_program(struct executor *executor, int64_t give_up, executor_watch_fn *watch, void *context,
	struct rounds_error *error)
{
	struct pollfd ready = { .fd = executor->listening, .events = POLLIN };

	while (executor->listening >= 0 && executor->input < 0) {
		if (poll(&ready, 1, WATCH_MS) > 0) {
			executor->input = accept4(executor->listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
			executor->output = executor->input < 0 ? -1 : fcntl(executor->input, F_DUPFD_CLOEXEC, 0);
		} else if (clock_steady_us() > give_up) {
			return error_set(
				error, ERROR_UNAVAILABLE, "no program has connected to %s", executor->socket_path);
		} else if (!watch(context, NULL)) {
			return error_set(error, ERROR_CONFLICT, "the task was called off");
		}
	}
	return 0;
}

int executor_start(const json_t *settings, const char *directory, struct executor **out, struct rounds_error *error)
{
	scoped(executor_free) struct executor *executor = calloc(1, sizeof(*executor));

	if (!executor)
		return error_no_memory(error);
	executor->input = executor->output = executor->words = executor->listening = -1;
	if (json_object_get(settings, "socket")) {
		if (listen_at(executor, json_text_or(settings, "socket", ""), error))
			return -1;
	} else if (spawn(executor, settings, directory, error))
		return -1;
	*out = executor;
	executor = NULL;
	return 0;
}

static void reap(struct executor *executor, int options)
{
	if (!executor->exited && executor->pid > 0 &&
		waitpid(executor->pid, &executor->status, options) == executor->pid)
		executor->exited = true;
}

/* Asks, waits a moment, then insists; children of its own go with it. */
static void end(struct executor *executor)
{
	struct timespec pause = { .tv_nsec = 10 * 1000 * 1000 };

	if (executor->pid <= 0)
		return;
	file_close(executor->input);
	executor->input = -1;
	reap(executor, WNOHANG);
	if (!executor->exited)
		kill(-executor->pid, SIGTERM);
	for (int waited = 0; !executor->exited && waited < GRACE_MS; waited += 10) {
		nanosleep(&pause, NULL);
		reap(executor, WNOHANG);
	}
	kill(-executor->pid, SIGKILL);
	reap(executor, 0);
}

void executor_free(struct executor *executor)
{
	if (!executor)
		return;
	end(executor);
	file_close(executor->input);
	file_close(executor->output);
	file_close(executor->words);
	file_close(executor->listening);
	if (executor->socket_path)
		unlink(executor->socket_path);
	free(executor->socket_path);
	json_decref(executor->progress);
	json_decref(executor->log);
	free(executor->line);
	free(executor);
}

static void take_words(struct executor *executor)
{
	char block[1024];
	ssize_t got = read(executor->words, block, sizeof(block));
	size_t size = got > 0 ? (size_t)got : 0, keep;

	if (got <= 0) {
		file_close(executor->words);
		executor->words = -1;
		return;
	}
	keep = executor->last_size + size > LAST_WORDS ? LAST_WORDS - size : executor->last_size;
	memmove(executor->last, executor->last + executor->last_size - keep, keep);
	memcpy(executor->last + keep, block, size);
	executor->last_size = keep + size;
	executor->last[executor->last_size] = '\0';
}

/* The last non-empty lines of stderr, on one line. */
static void last_words(const struct executor *executor, char *text, size_t size)
{
	const char *from = executor->last_size > 400 ? executor->last + executor->last_size - 400 : executor->last;

	snprintf(text, size, "%s", from);
	for (char *c = text; *c; c++)
		if ((unsigned char)*c < ' ')
			*c = *c == '\n' ? '|' : ' ';
	for (size_t length = strlen(text); length > 0 && (text[length - 1] == '|' || text[length - 1] == ' ');
		length--)
		text[length - 1] = '\0';
}

static int say_exit(struct executor *executor, struct rounds_error *error)
{
	char words[420];

	if (executor->pid == 0)
		return error_set(error, ERROR_IO, "the program that had connected went away before it gave a result");
	while (executor->words >= 0)
		take_words(executor);
	reap(executor, 0);
	last_words(executor, words, sizeof(words));
	if (WIFSIGNALED(executor->status))
		return error_set(error, ERROR_IO, "the executor was killed by signal %d (%s)%s%s",
			WTERMSIG(executor->status), strsignal(WTERMSIG(executor->status)), words[0] ? ": " : "",
			words);
	return error_set(error, ERROR_IO, "the executor ended with status %d before it gave a result%s%s",
		WEXITSTATUS(executor->status), words[0] ? ": " : "", words);
}

/* Of many lines, the last. Text is cut between characters, as JSON needs it. */
static void keep_log(struct executor *executor, const char *line)
{
	size_t size = strlen(line);

	if (size > LOG_LINE)
		for (size = LOG_LINE; size > 0 && ((unsigned char)line[size] & 0xc0) == 0x80;)
			size--;
	if (!executor->log)
		executor->log = json_array();
	if (json_array_size(executor->log) == EXECUTOR_LOG_LINES)
		json_array_remove(executor->log, 0);
	json_array_append_new(executor->log, json_stringn(line, size));
}

json_t *executor_take_log(struct executor *executor)
{
	json_t *log = executor->log;

	executor->log = NULL;
	return log;
}

bool executor_has_log(const struct executor *executor)
{
	return json_array_size(executor->log) > 0;
}

enum heard { HEARD_NOTHING, HEARD_RESULT, HEARD_ERROR };

/* One line of its protocol. */
static enum heard hear(struct executor *executor, const char *line, size_t size, json_t **result, bool *retry,
	struct rounds_error *error)
{
	json_auto_t *said = NULL;
	struct rounds_error fault;
	const char *type;

	if (json_parse(line, size, &said, &fault)) {
		*retry = false;
		error_set(error, ERROR_INVALID, "the executor wrote a line that is not JSON: %.120s", line);
		return HEARD_ERROR;
	}
	type = json_text_or(said, "type", "");
	if (!strcmp(type, "progress")) {
		json_decref(executor->progress);
		executor->progress = json_incref(said);
	} else if (!strcmp(type, "log")) {
		log_info("executor", "says", json_text_or(said, "message", ""), NULL);
		keep_log(executor, json_text_or(said, "message", ""));
	} else if (!strcmp(type, "result")) {
		*result = json_incref(said);
		return HEARD_RESULT;
	} else if (!strcmp(type, "error")) {
		*retry = json_bool_or(said, "retry", false);
		error_set(error, ERROR_INVALID, "%s",
			json_text_or(said, "message", "the executor failed without a message"));
		return HEARD_ERROR;
	}
	return HEARD_NOTHING; /* of a later protocol */
}

static enum heard take_output(struct executor *executor, json_t **result, bool *retry, struct rounds_error *error)
{
	char *newline;
	enum heard heard = HEARD_NOTHING;
	ssize_t got;

	if (!executor->line && !(executor->line = malloc(LINE_LIMIT + 1)))
		goto broken;
	got = read(executor->output, executor->line + executor->line_size, LINE_LIMIT - executor->line_size);
	if (got <= 0) {
		say_exit(executor, error);
		*retry = true;
		return HEARD_ERROR;
	}
	executor->line_size += (size_t)got;
	while (heard == HEARD_NOTHING && (newline = memchr(executor->line, '\n', executor->line_size))) {
		size_t length = (size_t)(newline - executor->line);

		*newline = '\0';
		if (length > 0)
			heard = hear(executor, executor->line, length, result, retry, error);
		executor->line_size -= length + 1;
		memmove(executor->line, newline + 1, executor->line_size);
	}
	if (heard != HEARD_NOTHING || executor->line_size < LINE_LIMIT)
		return heard;
broken:
	*retry = false;
	error_set(error, ERROR_TOO_LARGE, "the executor wrote a line of more than %d bytes", LINE_LIMIT);
	return HEARD_ERROR;
}

static int hand_over(struct executor *executor, const json_t *task, struct rounds_error *error)
{
	scoped(text_free) char *text = json_dumps(task, JSON_COMPACT);
	scoped(text_free) char *line = text ? text_new("%s\n", text) : NULL;
	const char *next;
	size_t left;

	if (!line)
		return error_no_memory(error);
	for (next = line, left = strlen(line); left > 0;) {
		struct pollfd ready = { .fd = executor->input, .events = POLLOUT };
		ssize_t put = write(executor->input, next, left);

		if (put < 0 && errno == EAGAIN && poll(&ready, 1, 10000) > 0)
			continue;
		if (put < 0)
			return say_exit(executor, error);
		next += put;
		left -= (size_t)put;
	}
	return 0;
}

int executor_run(struct executor *executor, const json_t *task, int64_t timeout_us, executor_watch_fn *watch,
	void *context, json_t **result, bool *retry, struct rounds_error *error)
{
	int64_t give_up = timeout_us > 0 ? clock_steady_us() + timeout_us : INT64_MAX;
	enum heard heard = HEARD_NOTHING;

	*retry = true;
	json_decref(executor->progress);
	json_decref(executor->log);
	executor->progress = NULL;
	executor->log = NULL;
	if (accept_program(executor, give_up, watch, context, error) || hand_over(executor, task, error))
		return -1;
	while (heard == HEARD_NOTHING) {
		struct pollfd ready[2] = {
			{ .fd = executor->output, .events = POLLIN },
			{ .fd = executor->words, .events = POLLIN },
		};

		if (poll(ready, 2, WATCH_MS) < 0 && errno != EINTR)
			return error_errno(error, "cannot wait for the executor");
		if (ready[1].revents)
			take_words(executor);
		if (ready[0].revents)
			heard = take_output(executor, result, retry, error);
		if (heard == HEARD_NOTHING && clock_steady_us() > give_up) {
			*retry = false;
			return error_set(error, ERROR_UNAVAILABLE, "the task took longer than its limit of %lld s",
				(long long)(timeout_us / SECOND_US));
		}
		if (heard == HEARD_NOTHING && !watch(context, executor->progress))
			return error_set(error, ERROR_CONFLICT, "the task was called off");
	}
	return heard == HEARD_RESULT ? 0 : -1;
}
