/*
 * What a daemon settles about its own process before it opens anything: what it holds of patients and keys is for its
 * own user's eyes alone, on disk as in memory.
 */
#ifndef ROUNDS_COMMON_PROCESS_H
#define ROUNDS_COMMON_PROCESS_H

/*
 * Files and directories that it makes are for its own user alone (umask 077), and so are those of its children; a crash
 * leaves no image of its memory, not even with a program that the kernel hands core dumps to.
 */
void process_keep_private(void);

/* As many open files as the hard limit allows; how many that are. */
unsigned long process_raise_file_limit(void);

#endif
