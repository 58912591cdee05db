/*
 * Two clocks, never mixed. Times are int64_t microseconds.
 *
 * Steady time (CLOCK_BOOTTIME) measures leases and deadlines: it never jumps, goes on while the machine sleeps,
 * and means the same in two processes of one boot. Wall time is what people read; it may jump either way.
 */
#ifndef ROUNDS_COMMON_CLOCK_H
#define ROUNDS_COMMON_CLOCK_H

#include <stdint.h>

#define SECOND_US INT64_C(1000000)

int64_t clock_steady_us(void);
int64_t clock_wall_us(void);

/* The kernel's name for this boot: steady times of another boot mean nothing. Fills 37 bytes, NUL included. */
void clock_boot_id(char id[37]);

/* RFC 3339 in UTC with microseconds: 2026-03-01T12:00:00.000000Z */
#define TIME_TEXT_SIZE 32
void time_format(int64_t wall_us, char text[TIME_TEXT_SIZE]);
/* What time_format wrote, with any number of digits in the fraction; -1 if it is no such text. */
int64_t time_parse(const char *text);

#endif
