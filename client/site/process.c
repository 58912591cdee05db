#include "client/site/process.h"

#include "common/clock.h"
#include "common/file.h"
#include "common/json.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { KILL_MS = 500 }; /* what the kernel may take to remove what was killed */

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
static const char **environment_list(const json_t *settings, const char *variable, char (*kept)[600])
{
	static const char *const names[] = { "PATH", "HOME", "LANG" };
	const json_t *given = json_object_get(settings, "environment");
	const char **list = text_list(given, ARRAY_SIZE(names) + 1);
	size_t at = json_array_size(given);

	if (list)
		list[at++] = variable;
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

/* Our end is kept and never blocks; the program's is closed here. */
static int keep_end(const int *pair, int ours)
{
	file_close(pair[1 - ours]);
	fcntl(pair[ours], F_SETFL, O_NONBLOCK);
	return pair[ours];
}

int process_start(const json_t *settings, const char *directory, const char *variable, struct process *process,
	struct rounds_error *error)
{
	int in[2] = { -1, -1 }, out[2] = { -1, -1 }, err[2] = { -1, -1 };
	char kept[3][600];
	const char **argv = text_list(json_object_get(settings, "command"), 0);
	const char **environment = environment_list(settings, variable, kept);
	struct rlimit memory = limit_of(settings, "memory_mb", 1 << 20), cpu = limit_of(settings, "cpu_seconds", 1);
	bool ready = argv && environment && !pipe2(in, O_CLOEXEC) && !pipe2(out, O_CLOEXEC) && !pipe2(err, O_CLOEXEC);

	*process = (struct process){ .pid = 0, .input = -1, .output = -1, .words = -1 };
	if (ready) {
		process->pid = fork();
		if (process->pid == 0)
			become(argv, (char **)(uintptr_t)environment, directory, (int[]){ in[0], out[1], err[1] },
				&memory, &cpu);
	}
	free(argv);
	free(environment);
	if (!ready || process->pid < 0) {
		error_errno(error, "cannot start an executor");
		close_pair(in);
		close_pair(out);
		close_pair(err);
		process->pid = 0;
		return -1;
	}
	process->input = keep_end(in, 1);
	process->output = keep_end(out, 0);
	process->words = keep_end(err, 0);
	return 0;
}

/* Without reaping it: as long as it is a zombie its number, and so its group's, is nobody else's. */
bool process_has_ended(const struct process *process, int milliseconds, int *status)
{
	struct timespec pause = { .tv_nsec = 10 * 1000 * 1000 };
	int64_t until = clock_steady_us() + milliseconds * INT64_C(1000);
	siginfo_t info = { 0 };

	while (waitid(P_PID, (id_t)process->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0) {
		if (clock_steady_us() >= until)
			return false;
		nanosleep(&pause, NULL);
	}
	if (status)
		*status = info.si_code == CLD_EXITED ? W_EXITCODE(info.si_status, 0) : W_EXITCODE(0, info.si_status);
	return true;
}

static void close_end(int *descriptor)
{
	file_close(*descriptor);
	*descriptor = -1;
}

void process_end(struct process *process, int grace_ms)
{
	close_end(&process->input);
	if (process->pid > 0) {
		if (!process_has_ended(process, 0, NULL)) {
			kill(-process->pid, SIGTERM);
			process_has_ended(process, grace_ms, NULL);
		}
		kill(-process->pid, SIGKILL);
		process_has_ended(process, KILL_MS, NULL);
		waitpid(process->pid, NULL, WNOHANG); /* one that the kernel cannot end now stays a zombie of ours */
		process->pid = 0;
	}
	close_end(&process->output);
	close_end(&process->words);
}
