/* Refusals are many and alike: those of a minute are one record with a count, and a flood of them costs no disk. */
#include "server/audit/internal.h"

#include <stdio.h>
#include <string.h>

static bool is_alike(const struct tally *a, const struct tally *b)
{
	return a->status == b->status && !strcmp(a->kind, b->kind) && !strcmp(a->by, b->by) &&
	       !strcmp(a->role, b->role);
}

/* The last place is for all that find none of their own. */
static void add(struct audit *audit, const struct tally *more)
{
	struct tally *tally = audit->tallies, *end = tally + audit->tally_count;

	while (tally < end && !is_alike(tally, more))
		tally++;
	if (tally == end && audit->tally_count == TALLIES) {
		tally = end - 1;
		*tally = (struct tally){ "others", "", "", "several", 403, tally->since_us, tally->count };
	} else if (tally == end) {
		audit->tally_count++;
		*tally = *more;
		return;
	}
	if (strcmp(tally->from, more->from) != 0)
		strcpy(tally->from, "several");
	tally->count += more->count;
}

void audit_count(struct audit *audit, const struct audit_entry *entry)
{
	struct tally tally = { .status = entry->status, .since_us = world_wall_us(audit->world), .count = 1 };

	snprintf(tally.kind, sizeof(tally.kind), "%s", entry->kind);
	snprintf(tally.by, sizeof(tally.by), "%s", entry->by);
	snprintf(tally.role, sizeof(tally.role), "%s", entry->role);
	snprintf(tally.from, sizeof(tally.from), "%s", entry->from);
	pthread_mutex_lock(&audit->lock);
	add(audit, &tally);
	pthread_mutex_unlock(&audit->lock);
}

size_t tallies_take(struct audit *audit, int64_t before_us, struct tally *due)
{
	size_t taken = 0, kept = 0;

	pthread_mutex_lock(&audit->lock);
	for (size_t i = 0; i < audit->tally_count; i++)
		if (audit->tallies[i].since_us <= before_us)
			due[taken++] = audit->tallies[i];
		else
			audit->tallies[kept++] = audit->tallies[i];
	audit->tally_count = kept;
	pthread_mutex_unlock(&audit->lock);
	return taken;
}

void tallies_return(struct audit *audit, const struct tally *due, size_t count)
{
	pthread_mutex_lock(&audit->lock);
	for (size_t i = 0; i < count; i++)
		add(audit, &due[i]);
	pthread_mutex_unlock(&audit->lock);
}
