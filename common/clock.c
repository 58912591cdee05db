#include "common/clock.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int64_t clock_us(clockid_t id)
{
	struct timespec now;

	clock_gettime(id, &now);
	return (int64_t)now.tv_sec * SECOND_US + now.tv_nsec / 1000;
}

int64_t clock_steady_us(void)
{
	return clock_us(CLOCK_BOOTTIME);
}

int64_t clock_wall_us(void)
{
	return clock_us(CLOCK_REALTIME);
}

void clock_boot_id(char id[37])
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, id, 36);

	if (fd >= 0)
		close(fd);
	/* Without a boot id every start counts as a new boot: leases are then granted anew, which is safe. */
	if (got != 36)
		snprintf(id, 37, "unknown-%lld", (long long)clock_wall_us());
	id[36] = '\0';
}

void time_format(int64_t wall_us, char text[TIME_TEXT_SIZE])
{
	time_t seconds = (time_t)(wall_us / SECOND_US);
	struct tm utc;
	char date[21];

	if (!gmtime_r(&seconds, &utc) || !strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &utc))
		memcpy(date, "0000-00-00T00:00:00", 20);
	snprintf(text, TIME_TEXT_SIZE, "%s.%06uZ", date, (unsigned)(wall_us % SECOND_US) % 1000000u);
}

int64_t time_parse(const char *text)
{
	struct tm utc = { 0 };
	const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &utc);
	int64_t fraction = 0, unit = SECOND_US / 10;

	if (rest && *rest == '.')
		for (rest++; *rest >= '0' && *rest <= '9'; rest++, unit /= 10)
			fraction += (*rest - '0') * unit;
	return rest && !strcmp(rest, "Z") ? (int64_t)timegm(&utc) * SECOND_US + fraction : -1;
}
