/*
 * The n-th allocation or file operation fails: dqlite's test/lib/fault.c, heap.c and fs.c are the models. The functions below stand
 * in this program in the place of libc's, and so for its libraries as well; a sanitizer has its own allocator, which is left alone.
 *
 *     fault_begin(FAULT_MEMORY, n);
 *     failed = call();
 *     reached = fault_end();          // false: the call needs fewer than n
 *
 * Include it in one file of a program.
 */
#ifndef ROUNDS_TESTS_UNIT_FAULTS_H
#define ROUNDS_TESTS_UNIT_FAULTS_H

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FAULTS_OF_MEMORY 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define FAULTS_OF_MEMORY 0
#endif
#endif
#ifndef FAULTS_OF_MEMORY
#define FAULTS_OF_MEMORY 1
#endif

enum fault_kind {
	FAULT_NONE,
	FAULT_MEMORY, /* malloc, calloc, realloc: NULL */
	FAULT_SPACE,  /* write, open of a new file, truncate: ENOSPC */
	FAULT_TORN,   /* write: half of it is written, then EIO; rename, link, unlink: EIO */
	FAULT_SYNC,   /* fsync, fdatasync: EIO */
};

static enum fault_kind fault_kind;
static atomic_long fault_countdown; /* the one that makes it 0 fails */
static atomic_bool fault_reached;

static inline void fault_begin(enum fault_kind kind, long n)
{
	fault_reached = false;
	fault_countdown = n;
	fault_kind = kind;
}

static inline bool fault_end(void)
{
	fault_kind = FAULT_NONE;
	return fault_reached;
}

static bool fault_strikes(enum fault_kind kind)
{
	if (fault_kind != kind || atomic_fetch_sub(&fault_countdown, 1) != 1)
		return false;
	fault_reached = true;
	return true;
}

#if FAULTS_OF_MEMORY
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *at, size_t size);

void *malloc(size_t size)
{
	if (fault_strikes(FAULT_MEMORY)) {
		errno = ENOMEM;
		return NULL;
	}
	return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	if (fault_strikes(FAULT_MEMORY)) {
		errno = ENOMEM;
		return NULL;
	}
	return __libc_calloc(count, size);
}

void *realloc(void *at, size_t size)
{
	if (fault_strikes(FAULT_MEMORY)) {
		errno = ENOMEM;
		return NULL;
	}
	return __libc_realloc(at, size);
}
#endif

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/*
 * A digest that cannot be made ends the process (common/digest.c): the allocations of those that need some are not among those
 * that fail.
 */
int EVP_Digest(
	const void *bytes, size_t size, unsigned char *digest, unsigned *length, const EVP_MD *type, ENGINE *engine)
{
	enum fault_kind kind = fault_kind;
	int made;

	fault_kind = FAULT_NONE;
	made = REAL(EVP_Digest)(bytes, size, digest, length, type, engine);
	fault_kind = kind;
	return made;
}

int EVP_DigestInit_ex(EVP_MD_CTX *context, const EVP_MD *type, ENGINE *engine)
{
	enum fault_kind kind = fault_kind;
	int made;

	fault_kind = FAULT_NONE;
	made = REAL(EVP_DigestInit_ex)(context, type, engine);
	fault_kind = kind;
	return made;
}

/* libc's own, of the same name. With 64-bit offsets, open and pwrite are the symbols open64 and pwrite64, as in SQLite. */
#define FAIL(code) return errno = (code), -1

ssize_t write(int fd, const void *bytes, size_t size)
{
	if (fault_strikes(FAULT_SPACE))
		FAIL(ENOSPC);
	if (fault_strikes(FAULT_TORN)) {
		(void)!REAL(write)(fd, bytes, size / 2);
		FAIL(EIO);
	}
	return REAL(write)(fd, bytes, size);
}

static ssize_t pwrite_or_fail(int fd, const void *bytes, size_t size, off_t at)
{
	if (fault_strikes(FAULT_SPACE))
		FAIL(ENOSPC);
	if (fault_strikes(FAULT_TORN)) {
		(void)!REAL(pwrite)(fd, bytes, size / 2, at);
		FAIL(EIO);
	}
	return REAL(pwrite)(fd, bytes, size, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at)
{
	return pwrite_or_fail(fd, bytes, size, at);
}

int fsync(int fd)
{
	if (fault_strikes(FAULT_SYNC))
		FAIL(EIO);
	return REAL(fsync)(fd);
}

int fdatasync(int fd)
{
	if (fault_strikes(FAULT_SYNC))
		FAIL(EIO);
	return REAL(fdatasync)(fd);
}

int rename(const char *from, const char *to)
{
	if (fault_strikes(FAULT_TORN))
		FAIL(EIO);
	return REAL(rename)(from, to);
}

int link(const char *from, const char *to)
{
	if (fault_strikes(FAULT_TORN))
		FAIL(EIO);
	return REAL(link)(from, to);
}

int unlink(const char *path)
{
	if (fault_strikes(FAULT_TORN))
		FAIL(EIO);
	return REAL(unlink)(path);
}

static int open_or_fail(const char *path, int flags, mode_t mode)
{
	if ((flags & O_CREAT) && fault_strikes(FAULT_SPACE))
		FAIL(ENOSPC);
	return REAL(open)(path, flags, mode);
}

static mode_t mode_of(int flags, va_list arguments)
{
	return flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
}

int open(const char *path, int flags, ...)
{
	va_list arguments;
	int fd;

	va_start(arguments, flags);
	fd = open_or_fail(path, flags, mode_of(flags, arguments));
	va_end(arguments);
	return fd;
}

#endif
