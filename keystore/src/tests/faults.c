/*
 * Stands between a process and its C library: fails a chosen call, ends the process at it, and writes
 * down everything that is done to the files below one folder, so that a loss of power can be played
 * afterwards. Preloaded by tests/faults.rs.
 *
 *   FAULTS_DIR      the folder
 *   FAULTS_JOURNAL  where to write down
 *   FAULTS_AT       which call, from 1; 0 or none: no call
 *   FAULTS_KIND     enospc, eio, short (half, then ENOSPC), kill, torn (half, then killed),
 *                   hang (the first from there on that is about the file db does not return)
 *   FAULTS_ALL      from that call on all of them, not this one alone (enospc, eio)
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char folder[PATH_MAX];
static int journal = -1;
static long count, at;
static const char *kind = "";
static int all;

__attribute__((constructor)) static void begin(void)
{
	const char *dir = getenv("FAULTS_DIR"), *to = getenv("FAULTS_JOURNAL");
	const char *n = getenv("FAULTS_AT"), *what = getenv("FAULTS_KIND");
	if (!dir || !to)
		return;
	snprintf(folder, sizeof folder, "%s", dir);
	at = n ? atol(n) : 0;
	kind = what ? what : "";
	all = getenv("FAULTS_ALL") != NULL;
	journal = syscall(SYS_openat, AT_FDCWD, to, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static int ours(const char *path)
{
	size_t len = strlen(folder);
	return journal >= 0 && len && !strncmp(path, folder, len) && (path[len] == '/' || !path[len]);
}

/* Where a descriptor leads to; 0: not into the folder. */
static int path_of(int fd, char *path)
{
	char link[64];
	if (journal < 0)
		return 0;
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	ssize_t len = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
	if (len < 0)
		return 0;
	path[len] = 0;
	return ours(path) && !strstr(path, " (deleted)");
}

static int path_at(int dir, const char *name, char *path)
{
	if (name[0] == '/' || dir == AT_FDCWD) {
		snprintf(path, PATH_MAX, "%s", name);
		return ours(path);
	}
	if (!path_of(dir, path))
		return 0;
	size_t len = strlen(path);
	snprintf(path + len, PATH_MAX - len, "/%s", name);
	return 1;
}

static void put(const void *bytes, size_t len)
{
	const char *p = bytes;
	while (len) {
		ssize_t n = syscall(SYS_write, journal, p, len);
		if (n <= 0)
			_exit(99);
		p += n;
		len -= n;
	}
}

static void note(char op, const char *path, const char *other, uint64_t offset, const void *data,
		 uint64_t len)
{
	uint32_t lens[2] = { strlen(path), other ? strlen(other) : 0 };
	put(&op, 1);
	put(lens, 8);
	put(&offset, 8);
	put(&len, 8);
	put(path, lens[0]);
	put(other, lens[1]);
	if (data)
		put(data, len);
}

/* What is to become of this call. */
enum fate { GO, FAIL, HALF, DIE, HALF_AND_DIE };

static enum fate fate(const char *path)
{
	static int full;
	count++;
	if (full == count) {
		errno = ENOSPC;
		return FAIL;
	}
	if (at && count >= at && !strcmp(kind, "hang")) {
		size_t len = strlen(path);
		if (len < 3 || strcmp(path + len - 3, "/db"))
			return GO;
		pthread_mutex_unlock(&lock);
		for (;;)
			pause();
	}
	if (!at || (all ? count < at : count != at))
		return GO;
	if (!strcmp(kind, "kill"))
		return DIE;
	if (!strcmp(kind, "torn"))
		return HALF_AND_DIE;
	if (!strcmp(kind, "short")) {
		full = count + 1;
		return HALF;
	}
	errno = !strcmp(kind, "eio") ? EIO : ENOSPC;
	return FAIL;
}

static void die(void)
{
	kill(getpid(), SIGKILL);
	for (;;)
		pause();
}

/* A call that is done or not. Half of it is an error. */
#define WHOLE(path, call, record)                    \
	do {                                         \
		pthread_mutex_lock(&lock);           \
		enum fate f = fate(path);                \
		int result = -1;                     \
		if (f == DIE || f == HALF_AND_DIE)   \
			die();                       \
		if (f == HALF)                       \
			errno = EIO;                 \
		if (f == GO)                         \
			result = (call);             \
		int e = errno;                       \
		if (result >= 0)                     \
			record;                      \
		else                                 \
			note('E', path, 0, 0, 0, 0); \
		pthread_mutex_unlock(&lock);         \
		errno = e;                           \
		return result;                       \
	} while (0)

/* A write of one piece; an offset of -1 is wherever the file stands. */
static ssize_t write_some(int fd, const void *data, size_t len, off64_t offset, const char *path)
{
	pthread_mutex_lock(&lock);
	enum fate f = fate(path);
	ssize_t result = -1;
	if (f == DIE)
		die();
	if (f == HALF || f == HALF_AND_DIE)
		len = (len + 1) / 2;
	if (f != FAIL) {
		off64_t place = offset;
		if (offset < 0) {
			int end = syscall(SYS_fcntl, fd, F_GETFL) & O_APPEND;
			place = syscall(SYS_lseek, fd, 0, end ? SEEK_END : SEEK_CUR);
			result = syscall(SYS_write, fd, data, len);
		} else {
			result = syscall(SYS_pwrite64, fd, data, len, offset);
		}
		if (result >= 0)
			note('W', path, 0, place, data, result);
	}
	int e = errno;
	if (result < 0)
		note('E', path, 0, 0, 0, 0);
	if (f == HALF_AND_DIE)
		die();
	pthread_mutex_unlock(&lock);
	errno = e;
	return result;
}

ssize_t write(int fd, const void *data, size_t len)
{
	char path[PATH_MAX];
	if (path_of(fd, path))
		return write_some(fd, data, len, -1, path);
	ssize_t result = syscall(SYS_write, fd, data, len);
	/* What it says is part of the story. */
	if (fd == 1 && journal >= 0 && result > 0) {
		pthread_mutex_lock(&lock);
		note('A', "", 0, 0, data, result);
		pthread_mutex_unlock(&lock);
	}
	return result;
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t offset)
{
	char path[PATH_MAX];
	if (path_of(fd, path))
		return write_some(fd, data, len, offset, path);
	return syscall(SYS_pwrite64, fd, data, len, offset);
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t offset)
{
	return pwrite64(fd, data, len, offset);
}

ssize_t writev(int fd, const struct iovec *parts, int n)
{
	char path[PATH_MAX];
	if (!path_of(fd, path))
		return REAL(writev)(fd, parts, n);
	for (int i = 0; i < n; i++)
		if (parts[i].iov_len)
			return write_some(fd, parts[i].iov_base, parts[i].iov_len, -1, path);
	return 0;
}

ssize_t copy_file_range(int in, off64_t *in_at, int out, off64_t *out_at, size_t len, unsigned flags)
{
	char path[PATH_MAX];
	(void)in_at, (void)out_at, (void)len, (void)flags, (void)in;
	/* Then it is read and written instead. */
	if (path_of(out, path)) {
		errno = EXDEV;
		return -1;
	}
	return REAL(copy_file_range)(in, in_at, out, out_at, len, flags);
}

ssize_t sendfile64(int out, int in, off64_t *offset, size_t len)
{
	char path[PATH_MAX];
	if (path_of(out, path)) {
		errno = EINVAL;
		return -1;
	}
	return syscall(SYS_sendfile, out, in, offset, len);
}

ssize_t sendfile(int out, int in, off_t *offset, size_t len)
{
	return sendfile64(out, in, offset, len);
}

ssize_t splice(int in, off64_t *in_at, int out, off64_t *out_at, size_t len, unsigned flags)
{
	char path[PATH_MAX];
	if (path_of(out, path)) {
		errno = EINVAL;
		return -1;
	}
	return syscall(SYS_splice, in, in_at, out, out_at, len, flags);
}

int ftruncate64(int fd, off64_t len)
{
	char path[PATH_MAX];
	if (!path_of(fd, path))
		return syscall(SYS_ftruncate, fd, len);
	WHOLE(path, syscall(SYS_ftruncate, fd, len), note('T', path, 0, len, 0, 0));
}

int ftruncate(int fd, off_t len)
{
	return ftruncate64(fd, len);
}

int fsync(int fd)
{
	char path[PATH_MAX];
	if (!path_of(fd, path))
		return syscall(SYS_fsync, fd);
	WHOLE(path, syscall(SYS_fsync, fd), note('S', path, 0, 0, 0, 0));
}

int fdatasync(int fd)
{
	char path[PATH_MAX];
	if (!path_of(fd, path))
		return syscall(SYS_fdatasync, fd);
	WHOLE(path, syscall(SYS_fdatasync, fd), note('S', path, 0, 0, 0, 0));
}

/* It promises nothing about the device's cache, so nothing is durable by it. */
int sync_file_range(int fd, off64_t offset, off64_t len, unsigned flags)
{
	char path[PATH_MAX];
	if (!path_of(fd, path))
		return syscall(SYS_sync_file_range, fd, offset, len, flags);
	WHOLE(path, syscall(SYS_sync_file_range, fd, offset, len, flags),
	      note('R', path, 0, offset, 0, 0));
}

int rename(const char *from, const char *to)
{
	if (!ours(from))
		return REAL(rename)(from, to);
	WHOLE(from, REAL(rename)(from, to), note('M', from, to, 0, 0, 0));
}

int mkdir(const char *path, mode_t mode)
{
	if (!ours(path))
		return REAL(mkdir)(path, mode);
	WHOLE(path, REAL(mkdir)(path, mode), note('D', path, 0, 0, 0, 0));
}

int rmdir(const char *path)
{
	if (!ours(path))
		return REAL(rmdir)(path);
	WHOLE(path, REAL(rmdir)(path), note('U', path, 0, 0, 0, 0));
}

int unlink(const char *path)
{
	if (!ours(path))
		return REAL(unlink)(path);
	WHOLE(path, REAL(unlink)(path), note('U', path, 0, 0, 0, 0));
}

int unlinkat(int dir, const char *name, int flags)
{
	char path[PATH_MAX];
	if (!path_at(dir, name, path))
		return REAL(unlinkat)(dir, name, flags);
	WHOLE(path, REAL(unlinkat)(dir, name, flags), note('U', path, 0, 0, 0, 0));
}

static int open_at(int dir, const char *name, int flags, mode_t mode)
{
	char path[PATH_MAX];
	struct stat before;
	if (!(flags & (O_CREAT | O_TRUNC)) || !path_at(dir, name, path))
		return syscall(SYS_openat, dir, name, flags, mode);
	int there = fstatat(dir, name, &before, AT_SYMLINK_NOFOLLOW) == 0;
	if (there && !(flags & O_TRUNC))
		return syscall(SYS_openat, dir, name, flags, mode);
	WHOLE(path, syscall(SYS_openat, dir, name, flags, mode),
	      note(there ? 'T' : 'C', path, 0, 0, 0, 0));
}

#define OPEN(dir, name)                                       \
	mode_t mode = 0;                                      \
	if (flags & (O_CREAT | __O_TMPFILE)) {                \
		va_list rest;                                 \
		va_start(rest, flags);                        \
		mode = va_arg(rest, mode_t);                  \
		va_end(rest);                                 \
	}                                                     \
	return open_at(dir, name, flags, mode)

int open(const char *name, int flags, ...) { OPEN(AT_FDCWD, name); }
int open64(const char *name, int flags, ...) { OPEN(AT_FDCWD, name); }
int openat(int dir, const char *name, int flags, ...) { OPEN(dir, name); }
int openat64(int dir, const char *name, int flags, ...) { OPEN(dir, name); }
