/* Named float64 tensors of rank 0 to 2 that are filled in and then written as a safetensors file: what adds up over sites. */
#ifndef ROUNDS_CLIENT_TRAINERS_SUMS_H
#define ROUNDS_CLIENT_TRAINERS_SUMS_H

#include "common/error.h"
#include "common/tensors.h"

struct sums {
	struct tensor_plan *plan;
	double **values;
	size_t count, room;
	char *covariates;   /* what the file says in its metadata as "rounds.covariates"; NULL: nothing */
	const char *schema; /* what the file says of the columns (schema.h); NULL: nothing */
};

/* Zeros, rows x columns (0: one less rank), which live as long as the sums; NULL without memory. */
double *sums_add(struct sums *sums, uint64_t rows, uint64_t columns, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
must_check int sums_write(const struct sums *sums, const char *path, struct rounds_error *error);
void sums_free(struct sums sums);

/* The values of a float64 tensor of so many elements, in the file's memory; an error that names it if it is not like that. */
must_check int sums_find(const struct tensor_file *file, const char *name, uint64_t count, const double **values,
	struct rounds_error *error);

#endif
