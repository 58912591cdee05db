/*
 * What a job keeps at its site between tasks and never sends: SCAFFOLD's control variate, a personal model, the layers that
 * are not shared. A file for each kind and round: a task that is done again begins from the same files as before.
 */
#ifndef ROUNDS_CLIENT_TRAINERS_OWN_H
#define ROUNDS_CLIENT_TRAINERS_OWN_H

#include <stdint.h>

/* The newest file of that kind from a round before `round`: the caller frees; NULL if there is none. */
char *own_find(const char *directory, const char *kind, int64_t round);
/* Where this round's goes: the caller frees; NULL without memory. */
char *own_path(const char *directory, const char *kind, int64_t round);
/* Removes files of that kind from rounds that no task can begin from any more. */
void own_trim(const char *directory, const char *kind, int64_t round);

#endif
