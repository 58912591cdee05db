#include "common/blas/one_thread.h"

#include <cblas.h>

/*
 * What OpenBLAS asks itself when it is loaded: the value of OPENBLAS_NUM_THREADS. A program's symbols come before its
 * libraries', so this answer takes the place of its own. To set the variable would need a second start of the program, since
 * the library reads it before main.
 */
int openblas_num_threads_env(void);

int openblas_num_threads_env(void)
{
	return 1;
}

void blas_use_one_thread(void)
{
	openblas_set_num_threads(1);
}
