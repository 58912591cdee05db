/*
 * OpenBLAS without threads of its own: the server divides its work itself, and a trainer's sums are to be the same on every
 * machine.
 *
 * A program that links this room has none from its first instruction on. Otherwise the library starts one for each
 * processor as it is loaded, and each of them turns idly for a tenth of a second before it sleeps: with many small sites
 * that was a third of a first round. To ask it afterwards to have one thread does not undo that.
 */
#ifndef ROUNDS_COMMON_BLAS_ONE_THREAD_H
#define ROUNDS_COMMON_BLAS_ONE_THREAD_H

/* Once, before the first use: also where a library of another make has started threads after all. */
void blas_use_one_thread(void);

#endif
