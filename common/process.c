#include "common/process.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

void process_keep_private(void)
{
	const struct rlimit none = { 0, 0 };

	umask(077);
	setrlimit(RLIMIT_CORE, &none);
	/* The limit does not hold where the kernel pipes core dumps to a program; this does. A child is dumpable again. */
	prctl(PR_SET_DUMPABLE, 0);
}

unsigned long process_raise_file_limit(void)
{
	struct rlimit files = { 1024, 1024 };

	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
		getrlimit(RLIMIT_NOFILE, &files);
	}
	return (unsigned long)files.rlim_cur;
}
