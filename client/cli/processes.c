#include "client/cli/processes.h"

#include "common/clock.h"
#include "common/file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A site that ends in peace gives its task back; after Ctrl-C nobody wants to wait. */
enum { PATIENCE_MS = 15000, INTERRUPTED_MS = 700 };

static struct {
	atomic_int pid; /* 0: it has ended */
	char name[64];
} processes[PROCESSES_MOST];
static atomic_int started;
static atomic_bool stop, interrupted;
static atomic_int ended = -1, ended_status; /* the first that went away by itself */

static void on_interrupt(int number)
{
	(void)number;
	atomic_store(&interrupted, true);
	atomic_store(&stop, true);
}

static void on_child(int number)
{
	int before = errno, status;

	(void)number;
	for (int i = 0; i < atomic_load(&started); i++) {
		pid_t pid = atomic_load(&processes[i].pid);

		if (pid <= 0 || waitpid(pid, &status, WNOHANG) != pid)
			continue;
		atomic_store(&processes[i].pid, 0);
		if (atomic_load(&ended) < 0) {
			atomic_store(&ended_status, status);
			atomic_store(&ended, i);
		}
		atomic_store(&stop, true);
	}
	errno = before;
}

void processes_begin(void)
{
	struct sigaction interrupt = { .sa_handler = on_interrupt }, child = { .sa_handler = on_child };

	sigaction(SIGINT, &interrupt, NULL);
	sigaction(SIGTERM, &interrupt, NULL);
	sigaction(SIGCHLD, &child, NULL);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
}

const atomic_bool *processes_stop(void)
{
	return &stop;
}

bool processes_interrupted(void)
{
	return atomic_load(&interrupted);
}

int processes_explain(struct rounds_error *error)
{
	int which = atomic_load(&ended), status = atomic_load(&ended_status);

	if (processes_interrupted())
		return error_set(error, ERROR_INTERNAL, "interrupted: the simulated federation is stopped");
	if (which < 0)
		return -1;
	return error_set(error, ERROR_INTERNAL, "the simulated %s ended by itself (%s %d); its log tells why",
		processes[which].name, WIFSIGNALED(status) ? "signal" : "status",
		WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

/* Between fork and exec. */
static void become(char *const argv[], const char *log, int input)
{
	int out = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (setpgid(0, 0) || dup2(input < 0 ? open("/dev/null", O_RDONLY | O_CLOEXEC) : input, 0) < 0 ||
		dup2(out, 1) < 0 || dup2(out, 2) < 0)
		_exit(126);
	execvp(argv[0], argv);
	dprintf(2, "cannot run %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

int processes_start(const char *name, char *const argv[], const char *log, struct rounds_error *error)
{
	int at = atomic_load(&started);
	sigset_t child, before;
	pid_t pid;

	if (at == PROCESSES_MOST)
		return error_set(error, ERROR_INVALID, "a simulation has at most %d sites", PROCESSES_MOST - 1);
	/* Whoever ends at once is in the list before its end is told. */
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, &before);
	pid = fork();
	if (pid == 0)
		become(argv, log, -1);
	if (pid > 0) {
		setpgid(pid, pid); /* the child does the same: whoever is first */
		snprintf(processes[at].name, sizeof(processes[at].name), "%s", name);
		atomic_store(&processes[at].pid, pid);
		atomic_store(&started, at + 1);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	return pid < 0 ? error_errno(error, "cannot start %s", name) : 0;
}

int processes_run(char *const argv[], const char *log, const char *input, struct rounds_error *error)
{
	int pipes[2] = { -1, -1 }, status = 0;
	pid_t pid;

	if (input && pipe2(pipes, O_CLOEXEC))
		return error_errno(error, "cannot run %s", argv[0]);
	pid = fork();
	if (pid == 0)
		become(argv, log, pipes[0]);
	file_close(pipes[0]);
	if (input && pid > 0 && write(pipes[1], input, strlen(input)) < 0)
		kill(pid, SIGTERM);
	file_close(pipes[1]);
	while (pid > 0 && waitpid(pid, &status, 0) != pid) {
		if (errno != EINTR)
			return error_errno(error, "cannot run %s", argv[0]);
		if (atomic_load(&stop))
			kill(pid, SIGKILL);
	}
	if (pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	return error_set(error, ERROR_INTERNAL, "%s %s failed; see %s", argv[0], argv[1], log);
}

static void signal_all(int from, int to, int number)
{
	for (int i = from; i < to; i++)
		if (atomic_load(&processes[i].pid) > 0)
			kill(-atomic_load(&processes[i].pid), number);
}

/* Asks them to end, waits as long as is meet, then insists. */
static void end_some(int from, int to, int patience_ms)
{
	int64_t until = clock_steady_us() + (int64_t)patience_ms * 1000;
	bool insisted = false;

	signal_all(from, to, SIGTERM);
	for (int i = from; i < to; i++) {
		pid_t pid = atomic_load(&processes[i].pid);

		while (pid > 0 && waitpid(pid, NULL, WNOHANG) == 0) {
			if (!insisted && clock_steady_us() > until) {
				signal_all(i, to, SIGKILL);
				insisted = true;
			}
			nanosleep(&(struct timespec){ .tv_nsec = 5 * 1000 * 1000 }, NULL);
		}
		atomic_store(&processes[i].pid, 0);
	}
}

/* What they started and left behind is this process's by now. */
static void end_orphans(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	for (int pid = 1; pid > 0;) {
		scoped(text_free) char *children = NULL;
		struct rounds_error ignored;
		size_t size;

		if (file_read(path, 1 << 20, &children, &size, &ignored))
			return;
		pid = atoi(children);
		if (pid > 0 && kill(pid, SIGKILL) == 0)
			waitpid(pid, NULL, 0);
	}
}

void processes_end(void)
{
	int count = atomic_load(&started);

	signal(SIGCHLD, SIG_DFL);
	if (atomic_load(&stop)) {
		end_some(0, count, INTERRUPTED_MS);
	} else {
		end_some(count > 0, count, PATIENCE_MS);
		end_some(0, count > 0, PATIENCE_MS);
	}
	atomic_store(&started, 0);
	end_orphans();
}
